"""Errors of a disk without room."""
import errno

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


def is_full_disk(error: BaseException | None) -> bool:
    """Return True for the system's error that there is no room on a disk, or none left for this user."""
    return isinstance(error, OSError) and error.errno in FULL_DISK
