"""Timing of cases in turns, so that other load on the machine affects all of them alike."""
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
    """Measure the seconds of each case in each round; the first round, which fills caches, is not counted.

    Args:
        cases: Functions to time, by name.
        rounds: Number of measurements of each case.
        device: Device to synchronize with.
        name: Name of the progress bar.
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
    """Return median, minimum and maximum of the ratios within each round."""
    found = np.array(ours) / np.array(theirs)
    return float(np.median(found)), float(found.min()), float(found.max())


def spread(ratio: tuple[float, float, float]) -> str:
    """Format a result of `ratios` for a table."""
    median, low, high = ratio
    return f'{median:.2f} ({low:.2f} to {high:.2f})'


class Elsewhere:
    """Object in a separate process, with its own allocator; its methods are called by name.

    Args:
        build: Module-level function that creates the object in the process.
        args: Arguments of ``build``.
    """

    def __init__(self, build: Callable[..., Any], *args):
        context = multiprocessing.get_context('spawn')
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, build, args), daemon=True)
        self._process.start()
        theirs.close()

    def call(self, method: str, *args) -> Any:
        """Call a method in the process and return its result; raise RuntimeError for an error there."""
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
        self._connection.close()  # ends the process
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
