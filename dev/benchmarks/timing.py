"""Times that can be compared: the cases take turns, so that what else the machine does meets all of them."""
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch

from ra_plugin.utils.progress import progress


def interleaved(cases: Mapping[str, Callable[[], object]], rounds: int, device: torch.device,
                name: str = '') -> dict[str, list[float]]:
    """Seconds of each case in each round; a first round, in which caches fill, does not count.

    Args:
        cases: Name -> what to time.
        rounds: Times that each is run and timed.
        device: Whose work is waited for.
        name: Of the progress bar.
    """
    torch.backends.cudnn.benchmark = True  # as in a training
    seconds: dict[str, list[float]] = {case: [] for case in cases}
    for number in progress(range(rounds + 1), desc=name, unit='round'):
        for case, run in cases.items():
            start = time.perf_counter()
            run()
            if device.type == 'cuda':
                torch.cuda.synchronize(device)
            if number:
                seconds[case].append(time.perf_counter() - start)
    return seconds


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Median, least and largest of the ratios within each round."""
    found = np.array(ours) / np.array(theirs)
    return float(np.median(found)), float(found.min()), float(found.max())


def spread(ratio: tuple[float, float, float]) -> str:
    """Return what `ratios` gives, for a table."""
    median, low, high = ratio
    return f'{median:.2f} ({low:.2f} to {high:.2f})'


class Elsewhere:
    """An object in a process of its own, whose methods are called by name: it has an allocator of its own.

    Args:
        build: What makes the object there, a function of a module.
        args: For it.
    """

    def __init__(self, build: Callable[..., Any], *args):
        context = multiprocessing.get_context('spawn')
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, build, args), daemon=True)
        self._process.start()
        theirs.close()

    def call(self, method: str, *args) -> Any:
        """Return what the method returns there; raises RuntimeError with what went wrong there."""
        try:
            self._connection.send((method, args))
            value, error = self._connection.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            raise RuntimeError(f'the other process has ended with exit status {self._process.exitcode}.') from None
        if error:
            raise RuntimeError(error)
        return value

    def __enter__(self) -> 'Elsewhere':
        return self

    def __exit__(self, *_) -> None:
        self._connection.close()  # which ends it
        self._process.join()


def _serve(connection: Connection, build: Callable[..., Any], args: Sequence) -> None:
    torch.backends.cudnn.benchmark = True
    served = build(*args)
    while True:
        try:
            method, values = connection.recv()
        except EOFError:
            return
        try:
            connection.send((getattr(served, method)(*values), None))
        except Exception as error:
            connection.send((None, f'{type(error).__name__}: {error}'))
