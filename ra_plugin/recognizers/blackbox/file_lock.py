"""A lock on an open file that only one process has at a time, on POSIX systems and on Windows."""
import contextlib
import os
import time
from collections.abc import Iterator
from typing import BinaryIO

_BEYOND = 2 ** 40  # on Windows a locked byte cannot be read: this one is after any line
_PAUSE = 0.02  # seconds between two tries on Windows, whose own wait ends after ten seconds


@contextlib.contextmanager
def exclusive(file: BinaryIO) -> Iterator[None]:
    """Wait for the lock and hold it within the context; the system releases it when the process ends in any way."""
    lock, unlock = (_lock_windows, _unlock_windows) if os.name == 'nt' else (_lock_posix, _unlock_posix)
    lock(file.fileno())
    try:
        yield
    finally:
        unlock(file.fileno())


def _lock_posix(descriptor: int) -> None:
    import fcntl
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def _unlock_posix(descriptor: int) -> None:
    import fcntl
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def _lock_windows(descriptor: int) -> None:
    import msvcrt
    os.lseek(descriptor, _BEYOND, os.SEEK_SET)  # a file in append mode is written at its end all the same
    while True:
        try:
            return msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:  # another process has it
            time.sleep(_PAUSE)


def _unlock_windows(descriptor: int) -> None:
    import msvcrt
    os.lseek(descriptor, _BEYOND, os.SEEK_SET)
    msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
