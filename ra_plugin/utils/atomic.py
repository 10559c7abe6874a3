"""Atomic file writes (temporary file, fsync, rename), and a check for damaged checkpoints."""
import contextlib
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import torch


@contextlib.contextmanager
def written_aside(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces ``path`` once it is completely on disk.

    If the process is killed, ``path`` is either the old file or the complete new one. After an error the old file
    remains and the temporary file is deleted.
    """
    path = Path(path)
    aside = path.with_name(f'.{path.name}.part')  # BasicSR ignores names that begin with a dot
    try:
        with aside.open('wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # otherwise the rename may reach the disk before the content
        os.replace(aside, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        if isinstance(error, OSError) and error.errno and error.filename is None:  # a write's error names no file
            error.filename = str(path)
        raise
    with contextlib.suppress(OSError):  # sync the name, too; some network file systems do not support it
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def atomic_write(text: str, path: str | os.PathLike) -> None:
    """Write a UTF-8 text file atomically; see `written_aside`."""
    with written_aside(path) as file:
        file.write(text.encode())


def atomic_save(obj: object, path: str | os.PathLike, **kwargs) -> None:
    """Call ``torch.save`` atomically; see `written_aside`."""
    with written_aside(path) as file:
        torch.save(obj, file, **kwargs)


def is_intact(path: str | os.PathLike) -> bool:
    """Return True if a file of ``torch.save`` is complete, by its checksums, which ``torch.load`` does not verify."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # on damaged data zipfile raises any error of its parsers and decompressors
        return False
