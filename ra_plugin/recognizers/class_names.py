"""Class names in options, and comparisons of them."""
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from ra_plugin.option_types import FilePath
from ra_plugin.utils.suggestions import suggestion
from ra_plugin.utils.text_file import read_text

KeepClasses = Sequence[str | int] | FilePath

_ID = re.compile(r'[a-z]?[0-9]+')


def read_classes(classes: Sequence[str] | str | int) -> tuple[str, ...] | None:
    """Return the names in a list, or in a text file with one a line; None for a number of classes.

    Raises:
        ValueError: No such file, no names or an empty one among them, or no positive number.
    """
    if isinstance(classes, int):
        if classes < 1:
            raise ValueError(f'classes: expected 1 or more, got {classes}.')
        return None
    if isinstance(classes, str):
        path = Path(classes)
        if not path.is_file():
            raise ValueError(f'classes: no file {path}. Name a text file with one class per line.')
        classes = read_text(path, 'classes').strip().splitlines()
    if not classes or not all(name.strip() for name in classes):
        raise ValueError('classes: expected a name for each, got none, or an empty one.')
    return tuple(name.strip() for name in classes)


def kept_ids(keep: KeepClasses, classes: Sequence[str] | None, count: int, where: str) -> list[int]:
    """Return the ids of the classes to keep.

    Args:
        keep: Names or ids, as a list or a text file with one a line. Digits are an id unless a class is called so.
        classes: The names of all classes, where known.
        count: Number of all classes.
        where: The place of the list, for messages.

    Raises:
        ValueError: No such file, nothing to keep, no such class, one that is listed twice, or a name of several.
    """
    if isinstance(keep, str):
        try:
            keep = read_classes(keep) or ()
        except ValueError as error:
            raise ValueError(f'{where}: {str(error).removeprefix("classes: ")}') from None
    if not keep:
        raise ValueError(f'{where}: expected at least one class, got none.')
    ids = [_id_of(item, classes or (), count, where) for item in keep]
    twice = next((item for item, i in zip(keep, ids, strict=True) if ids.count(i) > 1), None)
    if twice is not None:
        raise ValueError(f'{where}: expected each class once, got {twice!r} more than once.')
    return ids


def _id_of(item: str | int, classes: Sequence[str], count: int, where: str) -> int:
    name = str(item).strip()
    named = [] if isinstance(item, int) else [i for i, known in enumerate(classes) if known == name] or [
        i for i, known in enumerate(classes) if casefolded(known) == casefolded(name)]
    if len(named) > 1:
        raise ValueError(f"{where}: '{name}' is the name of the classes {', '.join(map(str, named))}. Give the id.")
    if named:
        return named[0]
    if not re.fullmatch(r'-?[0-9]+', name):
        known = suggestion(name, classes) or ('' if classes else ' The names are not known: give ids, or classes.')
        raise ValueError(f"{where}: no class '{name}'.{known}")
    if not 0 <= int(name) < count:
        raise ValueError(f'{where}: expected ids in 0..{count - 1}, got {name}.')
    return int(name)


def casefolded(name: str) -> str:
    """Return a name without case and spacing, in which programs differ."""
    return ' '.join(name.casefold().split())


def first_difference(ours: Sequence[str], theirs: Sequence[str]) -> int | None:
    """Return the first class that two lists of equal length name differently; None where there is none.

    Case, punctuation, the Unicode form and further words do not count: what one library calls ``crane`` is ``crane
    bird`` to another.
    Numbers, as the ids of WordNet, say nothing beside words.
    """
    lists = [[_words(name) for name in names] for names in (ours, theirs)]
    ids = [all(_ID.fullmatch(''.join(words)) for words in names) for names in lists]
    if ids[0] != ids[1]:
        return None
    return next((place for place, (a, b) in enumerate(zip(*lists, strict=False))
                 if a[:len(b)] != b[:len(a)] or ids[0] and a != b), None)


def _words(name: str) -> list[str]:
    name = unicodedata.normalize('NFC', name.partition(',')[0])
    return re.sub(r'[\W_]+', ' ', name.casefold()).split()


def class_word(label: int, names: Sequence[str] | None) -> str:
    """Return the name of a class, or its number where there are no names."""
    if label < 0:
        return 'none of the classes'
    return names[label] if names else f'class {label}'
