"""Interpretation of the labels in a list as class numbers or names, independent of their spelling.

CSV has only text, JSON has text and numbers, and pandas writes ``2.0`` for 2 if a column had a gap. Labels that are all
whole numbers are therefore class numbers, in any spelling.
"""
import re
from collections.abc import Sequence

from ra_plugin.options import NUMBER_AS_TEXT, OptionError

Label = int | float | str
Entry = tuple[str, Label]  # path or lmdb key, relative to dataroot_gt; label as written in the file

_WHOLE = re.compile(r'[+-]?[0-9]+(\.0*)?')


def whole_number(label: Label) -> int | None:
    """Return the whole number written as e.g. ``7``, ``7.0`` or ``' 7'``; None for other labels."""
    if isinstance(label, str):
        label = label.strip()
        return int(label.partition('.')[0]) if _WHOLE.fullmatch(label) else None
    return int(label) if label == label and abs(label) != float('inf') and label == int(label) else None


def as_numbers(entries: Sequence[Entry]) -> list[int]:
    """Return the whole numbers that labels write, once `are_numbers` has said that they do."""
    return [number for _, label in entries if (number := whole_number(label)) is not None]


def are_numbers(entries: Sequence[Entry], classes: Sequence[str] | None, where: str, key: str) -> bool:
    """Return True if the labels are class numbers, False if they are names; check that they are not mixed.

    Raises:
        OptionError: Numbers and names are mixed, unless ``classes`` lists all of them as names; a label is a fraction;
            a number has two spellings (``1`` and ``01``); or numbers are names in ``classes`` in another order.
    """
    place = f'{where}.{key}'
    names = set(classes or ())
    listed = all(isinstance(label, str) and label in names for _, label in entries)
    first = whole_number(entries[0][1]) is not None
    for path, label in entries:
        if _is_fraction(label) and not listed:
            raise OptionError(f"{place}: expected a whole number or a name as label, got {label} for '{path}'.")
        if (whole_number(label) is not None) != first and not listed:
            raise OptionError(f"{place}: expected {'numbers' if first else 'names'} as labels throughout, got "
                              f"{label!r} for '{path}'. Use either numbers or names; if a number is a name, list "
                              'all names in classes.')
    if not first or any(whole_number(label) is None for _, label in entries):
        return False
    _check_spelling(entries, place)
    return not _name_classes(entries, classes, place)


def _is_fraction(label: Label) -> bool:
    if isinstance(label, str):
        label = label.strip()
        return whole_number(label) is None and (label.lower() == 'nan' or bool(NUMBER_AS_TEXT.fullmatch(label)))
    return whole_number(label) is None


def _check_spelling(entries: Sequence[Entry], place: str) -> None:
    spelling: dict[int, str] = {}
    for (path, label), number in zip(entries, as_numbers(entries), strict=True):
        text = str(label).strip().partition('.')[0].lstrip('+')
        first = spelling.setdefault(number, text)
        if first != text:
            raise OptionError(f"{place}: expected one spelling of a label, got '{first}' and '{text}' (for '{path}'). "
                              'If these are names, list them in classes.')


def _name_classes(entries: Sequence[Entry], classes: Sequence[str] | None, place: str) -> bool:
    """Return True if the numbers are names listed in ``classes``, False if they are indices of it."""
    classes = classes or ()
    places = {name: i for i, name in enumerate(classes)}
    by_name = [places.get(str(label).strip(), places.get(str(whole_number(label)))) for _, label in entries]
    if None in by_name:
        return False
    numbers = as_numbers(entries)
    if not all(0 <= number < len(classes) for number in numbers):
        return True
    for (path, label), number, named in zip(entries, numbers, by_name, strict=True):
        if number != named:
            raise OptionError(f"{place}: label {label} of '{path}' is the number of class '{classes[number]}' and the "
                              f"name of class number {named} in classes. Order classes by their numbers, or use "
                              'labels that are not numbers.')
    return False
