"""Names in either of Unicode's forms: é is one character (NFC) or e and an accent (NFD, as macOS has it).

Both look the same, and on Linux they are two names. A name that is there as it is written counts; else the one that is
the same but for the form.
"""
import os
import unicodedata
from collections.abc import Iterable

from ra_plugin.options import OptionError


class Spellings:
    """Names that are there, to be found in whichever form they are written.

    Args:
        names: As they are there.
        where: Place of the name that is looked up, for messages.
    """

    def __init__(self, names: Iterable[str], where: str):
        self._names = names if isinstance(names, (set, dict)) else set(names)
        self._where = where
        self._by_form: dict[str, list[str]] | None = None

    def find(self, name: str) -> str | None:
        """Return a name as it is there; None where it is not.

        Raises:
            OptionError: It is there in two forms, neither of which is the one that is written.
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
            raise OptionError(f"{self._where}: '{name}' stands for {len(found)} names that differ in their Unicode "
                              f'form alone (NFC, NFD): {", ".join(map(ascii, found))}. Rename one of them.')
        return found[0] if found else None


class FilesOnDisk:
    """Files below a folder, each folder read once instead of asking file by file.

    Args:
        root: The folder.
        where: Place of the paths, for messages.
    """

    def __init__(self, root: str, where: str):
        self._root, self._where = root, where
        self._folders: dict[str, Spellings] = {}

    def find(self, path: str) -> str | None:
        """Return a path below the folder as the disk has it; None where it is not there."""
        folder, name = os.path.split(path)
        if folder and not path.isascii() and folder not in self._folders and not os.path.isdir(self._join(folder)):
            there = self.find(folder)  # which may be in another form itself
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
    """Return names in one form, so that they can be compared."""
    return list(map(_form, names))


def _form(name: str) -> str:
    return unicodedata.normalize('NFC', name)
