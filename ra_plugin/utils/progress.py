"""One progress bar for all programs: live on a terminal, a line now and then in a log file."""
import sys

from tqdm import tqdm

_SECONDS_BETWEEN_LOG_LINES = 30


def progress(items=None, desc: str = '', total: int | None = None, unit: str = 'it',
             initial: int = 0, disable: bool = False) -> tqdm:
    """``tqdm`` on standard error; where that is no terminal, one line every 30 seconds and one at the end."""
    if sys.stderr.isatty():
        return tqdm(items, desc, total, initial=initial, unit=unit, dynamic_ncols=True, disable=disable)
    every = _SECONDS_BETWEEN_LOG_LINES
    return tqdm(items, desc, total, initial=initial, unit=unit, ncols=100, mininterval=every, maxinterval=every,
                delay=every / 10, disable=disable)
