"""Class names in options, and comparisons of them."""
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from ra_plugin.utils.text_file import read_text

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
