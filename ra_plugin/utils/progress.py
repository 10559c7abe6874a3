"""Progress bar of all programs: live on a terminal, an occasional line in a log file."""
import sys
from typing import Any, TextIO

from tqdm import tqdm

_SECONDS_BETWEEN_LOG_LINES = 30


def progress(items=None, desc: str = '', total: int | None = None, unit: str = 'it',
             initial: int = 0, disable: bool = False, unit_scale: bool = False) -> tqdm:
    """Return a ``tqdm`` on standard error; if that is not a terminal, one line every 30 seconds and one at the end."""
    settings = {'initial': initial, 'unit': unit, 'unit_scale': unit_scale, 'disable': disable,
                'file': _Lasting(sys.stderr)}
    if sys.stderr.isatty():
        return tqdm(items, desc, total, dynamic_ncols=True, **settings)
    every = _SECONDS_BETWEEN_LOG_LINES
    return tqdm(items, desc, total, ncols=100, mininterval=every, maxinterval=every, delay=every / 10, **settings)


class _Lasting:
    """Stream that ignores write errors, so that a closed reader (e.g. ``head``) does not end a run."""

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
