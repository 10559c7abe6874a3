"""Checks and listings of files by name; no file is opened."""
import os
from collections.abc import Callable, Iterator

from ra_plugin.options import OptionError

IMAGE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp')
MOST_SAMPLED = 20  # files, evenly spaced, that are opened when a data set is built
RELATIVE = ('A relative path is looked up in the current folder, then among the files of ra_plugin: in a clone below '
            'its top folder.')


class UnsettledFileError(ValueError):
    """Raised for an intact file that needs an option to be read, and therefore must not be skipped."""


def check_folder(path: str, where: str) -> None:
    if not os.path.isdir(path):
        raise OptionError(f"{where}: no folder '{path}'. {RELATIVE}")


def check_file(path: str, where: str) -> None:
    if not os.path.isfile(path):
        raise OptionError(f"{where}: no file '{path}'. {RELATIVE}")


def files_below(root: str, suffixes: str | tuple[str, ...], subfolder: str = '',
                on_error: Callable[[OSError], object] | None = None) -> Iterator[str]:
    """Yield files at any depth, relative to ``root``, with one of ``suffixes`` (in any case), without hidden ones.

    Links are followed, but not those to a folder that they are in. ``on_error`` is called for a subfolder that cannot
    be read; by default it is left out.
    """
    suffixes = suffixes.lower() if isinstance(suffixes, str) else suffixes
    for folder, subfolders, files in os.walk(os.path.join(root, subfolder), onerror=on_error, followlinks=True):
        subfolders[:] = [name for name in subfolders if not name.startswith('.') and not _is_above(folder, name)]
        relative = os.path.relpath(folder, root)
        for file in files:
            if file.lower().endswith(suffixes) and not file.startswith('.'):
                yield os.path.normpath(os.path.join(relative, file))


def _is_above(folder: str, name: str) -> bool:
    """Return True for a link in a folder that leads to this folder, or to one that it is in."""
    path = os.path.join(folder, name)
    return os.path.islink(path) and os.path.join(os.path.realpath(folder), '').startswith(
        os.path.join(os.path.realpath(path), ''))


def files_by_stem(root: str, suffix: str | None, where: str) -> dict[str, str]:
    """Return the files below ``root``, relative to it, by their names without ``suffix`` (None: any image suffix)."""
    found: dict[str, str] = {}
    for file in sorted(files_below(root, suffix or IMAGE_SUFFIXES)):
        stem = file[:-len(suffix)] if suffix else os.path.splitext(file)[0]
        first = found.setdefault(stem, file)
        if first != file:
            raise OptionError(f"{where}: expected one file for '{stem}' in '{root}', got {first} and {file}. "
                              'Remove one of them, or keep the two kinds in separate folders.')
    return found


def evenly_spaced_sample(total: int, most: int = MOST_SAMPLED) -> list[int]:
    """Return up to ``most`` evenly spaced integers below ``total``, including the first and the last one."""
    if total <= most:
        return list(range(total))
    return [round(i * (total - 1) / (most - 1)) for i in range(most)]
