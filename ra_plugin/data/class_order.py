"""The order of class names that nobody has listed: it numbers the classes, and libraries differ in it.

torchvision sorts class folders as text (``10`` before ``2``), timm naturally (``2`` before ``10``, and without regard
to case). A recognizer trained with the other order reads every label wrong, and no check of names can see it.
"""
import logging
import re
from collections.abc import Iterable
from typing import Literal

from ra_plugin.options import OptionError

ClassOrder = Literal['text', 'natural']

_DIGITS = re.compile(r'([0-9]+)')


def order_classes(names: Iterable[str], class_order: ClassOrder | None, where: str) -> tuple[str, ...]:
    """Return the names, each once, in order; None: as text, where that does not need to be asked.

    Raises:
        OptionError: All names are whole numbers, their order as text is another one, and ``class_order`` is None.
    """
    text = sorted(set(names))
    natural = sorted(text, key=_natural)
    if class_order == 'natural':
        return tuple(natural)
    if class_order is None and text != natural:
        first = next(i for i, names in enumerate(zip(text, natural)) if names[0] != names[1])
        orders = f'{_around(first, text)} as text (torchvision), {_around(first, natural)} in natural order (timm)'
        if all(name.isascii() and name.isdigit() for name in text):
            raise OptionError(f'{where}.class_order: the names of the classes are numbers, {orders}. Set it to the '
                              'order that the recognizers were trained with: text or natural.')
        logging.getLogger('basicsr').warning(
            f'{where}: the classes are {orders}. Taken as text; if the recognizers were trained with the other order, '
            'set class_order: natural. class_order: text silences this.')
    return tuple(text)


def _natural(name: str) -> list[str | int]:
    """Numbers within a name by their value, text without case; odd places are the numbers."""
    return [int(part) if i % 2 else part for i, part in enumerate(_DIGITS.split(name.lower()))]


def _around(first: int, names: list[str]) -> str:
    """Some names, from the one before the ``first`` that differs."""
    start, end = max(first - 1, 0), first + 3
    return f"({'..., ' if start else ''}{', '.join(names[start:end])}{', ...' if end < len(names) else ''})"
