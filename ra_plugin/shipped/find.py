"""Find shipped files: in a clone below the repository, in an installed package below the package.

A relative path that an option file or a command line names is looked up below the current folder first, and here where
nothing is there. Option files that are not shipped as files are written to a temporary folder when they are asked for.
"""
import functools
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ra_plugin.options import suggestion
from ra_plugin.shipped.written import table, written_text

_PACKAGE = Path(__file__).resolve().parents[1]
_IN_PACKAGE = Path(__file__).resolve().parent  # a wheel has the folder options here
_OPTIONS = 'options'


def find(path: str | Path, *folders: Path) -> Path | None:
    """Return where a relative path is: below the first of ``folders`` that has it, else among the shipped files.

    In a clone all files of the repository count as shipped: its ``datasets`` and ``weights``, too.
    """
    for folder in (*folders, *_folders(Path(path))):
        if (folder / path).exists():
            return folder / path
    return _written(_name(path)) if _is_written(path) else None


def locate(path: str | Path, root: Path) -> Path:
    """Return where a relative path is, or where it would be below ``root``; see `find`."""
    return find(path, root) or root / path


def option_file(given: str | Path) -> Path:
    """Return the option file that a command line names, of the current folder or else a shipped one.

    Args:
        given: Path, or path of a shipped file with or without ``options/`` and ``.yml``.
    """
    given = Path(given)
    if given.exists() or given.is_absolute():
        return given
    for path in (given, Path(f'{given}.yml'), Path(_OPTIONS, given), Path(_OPTIONS, f'{given}.yml')):
        found = find(path, Path())
        if found and found.is_file():
            return found
    return given


def unknown_option_file(given: str | Path) -> str:
    """Return a hint at the shipped option file that may be meant by one that does not exist."""
    return suggestion(str(given), map(_name, option_files()))


def option_files() -> list[str]:
    """Return the paths of all shipped option files, ``options/...``, those that are written among them."""
    root = _options_folder()
    shipped = {path.relative_to(root.parent).as_posix() for path in root.rglob('*.yml')}
    return sorted({*shipped, *written_files()})


def written_files() -> list[str]:
    """Return the paths of those that are not shipped as files."""
    return [f'{_OPTIONS}/{name}.yml' for name in table()['files']]


def option_text(path: str) -> str:
    """Return the text of a shipped option file, ``options/...``."""
    if _is_written(path):
        return written_text(_name(path), lambda base: option_text(f'{_OPTIONS}/{base}.yml'))
    return (_options_folder().parent / path).read_text(encoding='utf-8')


def shown_name(path: str | Path) -> str:
    """Return a path for people: that of a shipped file as option files name it, others as they are."""
    absolute = Path(path).absolute()
    for root in {_options_folder().parent, *([Path(_temporary().name)] if _temporary.cache_info().currsize else ())}:
        if absolute.is_relative_to(root / _OPTIONS):
            return absolute.relative_to(root).as_posix()
    return str(path)


def shown_path(file: Path, root: Path) -> str:
    """Return a path relative to ``root``, or a shipped file's name in option files, so that results name no folders."""
    file = file.resolve()
    return str(file.relative_to(root.resolve())) if file.is_relative_to(root.resolve()) else shown_name(file)


def _is_installed() -> bool:
    return (_IN_PACKAGE / _OPTIONS).is_dir()


def _options_folder() -> Path:
    return (_IN_PACKAGE if _is_installed() else _PACKAGE.parent) / _OPTIONS


def _folders(path: Path) -> Iterable[Path]:
    """Yield the folders that may have a shipped file; beside an installed package there are other packages' files."""
    if not _is_installed() or path.parts[:1] == (_PACKAGE.name,):
        yield _PACKAGE.parent
    elif path.parts[:1] == (_OPTIONS,):
        yield _IN_PACKAGE


def _name(path: str | Path) -> str:
    return Path(path).as_posix().removeprefix(f'{_OPTIONS}/').removesuffix('.yml')


def _is_written(path: str | Path) -> bool:
    name = _name(path)
    return Path(path) == Path(_OPTIONS, f'{name}.yml') and name in table()['files']


@functools.cache
def _temporary() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix='ra_plugin_')  # goes when the program ends


def _written(name: str) -> Path:
    path = f'{_OPTIONS}/{name}.yml'
    file = Path(_temporary().name, path)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(option_text(path), encoding='utf-8')
    return file
