"""One progress bar for all programs: live on a terminal, a line now and then in a log file."""
import sys
from typing import Any, TextIO

from tqdm import tqdm

_SECONDS_BETWEEN_LOG_LINES = 30


def progress(items=None, desc: str = '', total: int | None = None, unit: str = 'it',
             initial: int = 0, disable: bool = False) -> tqdm:
    """``tqdm`` on standard error; where that is no terminal, one line every 30 seconds and one at the end."""
    settings = {'initial': initial, 'unit': unit, 'disable': disable, 'file': _Lasting(sys.stderr)}
    if sys.stderr.isatty():
        return tqdm(items, desc, total, dynamic_ncols=True, **settings)
    every = _SECONDS_BETWEEN_LOG_LINES
    return tqdm(items, desc, total, ncols=100, mininterval=every, maxinterval=every, delay=every / 10, **settings)


class _Lasting:
    """A stream whose reader may go, as ``head`` does: what can no longer be shown is no reason to end a run."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except OSError:
            pass

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            pass
