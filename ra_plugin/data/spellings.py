"""Lookup of names in either Unicode form: é is one character (NFC), or e with an accent (NFD, as on macOS).

Both look the same, but are two names on Linux. An exact match comes first; otherwise a name that differs only in the
form is found.
"""
import os
import unicodedata
from collections.abc import Iterable

from ra_plugin.options import OptionError


class Spellings:
    """Set of names that are found in any Unicode form.

    Args:
        names: Existing names.
        where: Place of the name that is looked up, for messages.
    """

    def __init__(self, names: Iterable[str], where: str):
        self._names = names if isinstance(names, (set, dict)) else set(names)
        self._where = where
        self._by_form: dict[str, list[str]] | None = None

    def find(self, name: str) -> str | None:
        """Return a name in its existing form; None if there is none.

        Raises:
            OptionError: There is no exact match, but the name exists in two other forms.
        """
        if name in self._names:
            return name
        if name.isascii():
            return None
        if self._by_form is None:
            self._by_form = {}
            for known in self._names:
                if not known.isascii():
                    self._by_form.setdefault(_form(known), []).append(known)
        found = self._by_form.get(_form(name), [])
        if len(found) > 1:
            raise OptionError(f"{self._where}: '{name}' matches {len(found)} names that differ only in their Unicode "
                              f'form (NFC, NFD): {", ".join(map(ascii, found))}. Rename one of them.')
        return found[0] if found else None


class FilesOnDisk:
    """Lookup of files below a folder; each folder is listed once instead of checking file by file.

    Args:
        root: The folder.
        where: Place of the paths, for messages.
    """

    def __init__(self, root: str, where: str):
        self._root, self._where = root, where
        self._folders: dict[str, Spellings] = {}

    def find(self, path: str) -> str | None:
        """Return a path below the folder in its form on the disk; None if it does not exist."""
        folder, name = os.path.split(path)
        if folder and not path.isascii() and folder not in self._folders and not os.path.isdir(self._join(folder)):
            there = self.find(folder)  # the folder may have another form, too
            if there is None:
                return None
            folder = there
        if folder not in self._folders:
            whole = self._join(folder)
            self._folders[folder] = Spellings(os.listdir(whole) if os.path.isdir(whole) else (), self._where)
        there = self._folders[folder].find(name)
        if there is None:
            return None
        return path if there == name and os.path.split(path)[0] == folder else os.path.join(folder, there)

    def _join(self, folder: str) -> str:
        return os.path.join(self._root, folder)


def normal_forms(names: Iterable[str]) -> list[str]:
    """Return names in the same Unicode form, for comparison."""
    return list(map(_form, names))


def _form(name: str) -> str:
    return unicodedata.normalize('NFC', name)
