"""Output folders and files: checked before hours of work rather than after, and named at the end in one form."""
import os
from collections.abc import Sequence
from pathlib import Path

from ra_plugin.options import OptionError


def check_out_folder(folder: Path, where: str = '--out') -> None:
    """Check that a folder is writable or can be created; nothing is created.

    Raises:
        OptionError: The folder is not writable, or part of its path is not a folder.
    """
    place = Path(os.path.abspath(folder))
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        raise OptionError(f"{where}: expected a folder for results, got '{folder}', but '{place}' is not a "
                          'folder. Choose another one.')
    if not os.access(place, os.W_OK | os.X_OK):
        raise OptionError(f"{where}: expected a folder for results, got '{folder}', but '{place}' is not "
                          'writable. Choose another one, or change its permissions.')


def check_out_file(file: Path, overwrite: bool, sources: Sequence[Path] = (), where: str = '--out') -> None:
    """Check that a file can be written; nothing is.

    Args:
        file: It.
        overwrite: A file that is there already may be replaced.
        sources: Files that it is made from, which are never replaced.
        where: Place of the option, for messages.

    Raises:
        OptionError: It is there already, is a folder or one of its sources, or its folder is not writable.
    """
    if file.is_dir():
        raise OptionError(f"{where}: expected a file, got the folder '{file}'. Name a file in it.")
    if any(file.exists() and source.exists() and file.samefile(source) for source in sources):
        raise OptionError(f"{where}: '{file}' is the file that it is made from. Choose another name.")
    if os.path.lexists(file) and not overwrite:
        raise OptionError(f"{where}: '{file}' is there already. Replace it with --overwrite, or choose another name.")
    check_out_folder(file.parent, where)


def say_written(place: Path, *files: str) -> None:
    """Print where results are, which is the last line of each command that writes some.

    Args:
        place: Folder or file, see `from_here`.
        files: Names of the files in the folder, where some alone are meant.
    """
    print(f'Written to {from_here(place)}{": " if files else ""}{", ".join(files)}.', flush=True)


def from_here(place: Path) -> Path:
    """Return a path relative to the current folder where it lies below it, else the absolute one."""
    here, path = Path.cwd(), Path(os.path.abspath(place))
    return path.relative_to(here) if here in path.parents else path
