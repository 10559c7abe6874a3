"""Files that are never half there: written aside, brought to the disk, then renamed; and how to tell a damaged one."""
import contextlib
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import torch


@contextlib.contextmanager
def written_aside(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A file to write to that takes the place of ``path`` once all of it is on the disk.

    Whatever ends the process, ``path`` is the old file or the new one. An error leaves the old one and nothing else.
    """
    path = Path(path)
    aside = path.with_name(f'.{path.name}.part')  # BasicSR overlooks names that begin with a dot
    try:
        with aside.open('wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # else the rename may reach the disk before the content does
        os.replace(aside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise
    with contextlib.suppress(OSError):  # the name, too; some network file systems cannot
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def atomic_write(text: str, path: str | os.PathLike) -> None:
    """A text file through `written_aside`."""
    with written_aside(path) as file:
        file.write(text.encode())


def atomic_save(obj: object, path: str | os.PathLike, **kwargs) -> None:
    """``torch.save`` through `written_aside`."""
    with written_aside(path) as file:
        torch.save(obj, file, **kwargs)


def is_intact(path: str | os.PathLike) -> bool:
    """Return whether a file of ``torch.save`` is all there, by its checksums, which ``torch.load`` does not look at."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # on damaged data zipfile raises whatever its parsers and decompressors stumble over
        return False
