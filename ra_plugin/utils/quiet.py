"""Standard output without what libraries print."""
import contextlib
import ctypes
import io
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_output() -> Iterator[None]:
    """Discard what is written to standard output, also by compiled code of this process."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with open(os.devnull, 'wb') as nowhere:
            os.dup2(nowhere.fileno(), 1)
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        ctypes.CDLL(None).fflush(None)  # C's buffer would be written later
        os.dup2(kept, 1)
        os.close(kept)
