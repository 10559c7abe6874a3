"""Times that can be compared: the cases take turns, so that what else the machine does meets all of them."""
import time
from collections.abc import Callable, Mapping, Sequence

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
    """What `ratios` gives, for a table."""
    median, low, high = ratio
    return f'{median:.2f} ({low:.2f} to {high:.2f})'
