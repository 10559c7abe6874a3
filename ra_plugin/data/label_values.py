"""Labels of a list: the same label means the same class, however it is written.

CSV has text alone, JSON has text and numbers, and pandas writes ``2.0`` for 2 where a column had a gap. So labels that
are all whole numbers are class numbers, in whatever form.
"""
import re
from collections.abc import Sequence

from ra_plugin.options import NUMBER_AS_TEXT, OptionError

Label = int | float | str
Entry = tuple[str, Label]  # path or lmdb key, relative to dataroot_gt; label as it is written

_WHOLE = re.compile(r'[+-]?[0-9]+(\.0*)?')


def whole_number(label: Label) -> int | None:
    """Return the whole number that is written, e.g. as ``7``, ``7.0`` or ``' 7'``; None: it is none."""
    if isinstance(label, str):
        label = label.strip()
        return int(label.partition('.')[0]) if _WHOLE.fullmatch(label) else None
    return int(label) if label == label and abs(label) != float('inf') and label == int(label) else None


def as_numbers(entries: Sequence[Entry]) -> list[int]:
    """Return the whole numbers that labels write, once `are_numbers` has said that they do."""
    return [number for _, label in entries if (number := whole_number(label)) is not None]


def are_numbers(entries: Sequence[Entry], classes: Sequence[str] | None, where: str, key: str) -> bool:
    """Tell whether labels are class numbers rather than names, and check that they are one of the two throughout.

    Raises:
        OptionError: Some are numbers and some names, unless ``classes`` lists them all as names; a fraction; one number
            written as two names (``1`` and ``01``); or numbers that are names of ``classes`` in another order.
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
                              f"{label!r} for '{path}'. Use either numbers or names; where a number is a name, list "
                              'all in classes.')
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
            raise OptionError(f"{place}: expected one way to write a label, got '{first}' and '{text}' (for '{path}'). "
                              'Are these names? List them in classes.')


def _name_classes(entries: Sequence[Entry], classes: Sequence[str] | None, place: str) -> bool:
    """Tell whether the numbers are names that ``classes`` lists, rather than places in it."""
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
                              f"name of class number {named} in classes. Which is meant? Order classes by their "
                              'numbers, or give labels that are no numbers.')
    return False
