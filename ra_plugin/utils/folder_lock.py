"""A lock on a folder that one process alone may write to."""
import errno
from pathlib import Path
from typing import IO

from ra_plugin.options import OptionError

LOCK = '.lock'


def lock_folder(folder: Path, message: str) -> IO:
    """Lock a folder for this process, and return the open file that holds the lock.

    The system releases it when the file is closed, or the process ends in any way. On Windows, and on a file system
    without locks, nothing is locked.

    Args:
        folder: Path of the folder, which is made where it is missing.
        message: Line for the user where another process has it.

    Raises:
        OptionError: Another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / LOCK).open('w')
    try:
        import fcntl
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # Windows
        pass
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):  # else a file system without locks
            file.close()
            raise OptionError(message) from None
    return file
