"""Order of class names that are not listed; it numbers the classes, and libraries differ in it.

torchvision sorts class folders as text (``10`` before ``2``), timm naturally (``2`` before ``10``, ignoring case). For
a recognizer trained with the other order all labels are wrong, which no check of names can detect.
"""
import logging
import re
from collections.abc import Iterable
from typing import Literal

from ra_plugin.options import OptionError

ClassOrder = Literal['text', 'natural']

_DIGITS = re.compile(r'([0-9]+)')


def order_classes(names: Iterable[str], class_order: ClassOrder | None, where: str) -> tuple[str, ...]:
    """Return the distinct names in order; for None as text, unless that is ambiguous.

    Raises:
        OptionError: ``class_order`` is None, and the names are whole numbers whose text and natural orders differ.
    """
    text = sorted(set(names))
    natural = sorted(text, key=_natural)
    if class_order == 'natural':
        return tuple(natural)
    if class_order is None and text != natural:
        first = next(i for i, names in enumerate(zip(text, natural, strict=True)) if names[0] != names[1])
        orders = f'{_around(first, text)} as text (torchvision), {_around(first, natural)} in natural order (timm)'
        if all(name.isascii() and name.isdigit() for name in text):
            raise OptionError(f'{where}.class_order: the names of the classes are numbers, {orders}. Set it to the '
                              'order that the recognizers were trained with: text or natural.')
        logging.getLogger('basicsr').warning(
            f'{where}: the classes are {orders}. Using the text order; if the recognizers were trained with the other '
            'one, set class_order: natural. class_order: text silences this warning.')
    return tuple(text)


def _natural(name: str) -> list[str | int]:
    """Return a sort key with numbers (at odd indices) by value and text without case."""
    return [int(part) if i % 2 else part for i, part in enumerate(_DIGITS.split(name.lower()))]


def _around(first: int, names: list[str]) -> str:
    """Return some names, starting one before index ``first``, where the orders differ."""
    start, end = max(first - 1, 0), first + 3
    return f"({'..., ' if start else ''}{', '.join(names[start:end])}{', ...' if end < len(names) else ''})"
