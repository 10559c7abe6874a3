"""Option values against the signature of what they build: one clear line before anything heavy loads.

The constructor's signature is the schema: its names are the keys that a block may hold, its annotations their types.
"""
import collections.abc
import datetime
import difflib
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from ra_plugin.utils.text import printable, shown

# What PyYAML leaves as text although it reads as a number: YAML 1.1 wants a dot and a signed exponent.
NUMBER_AS_TEXT = re.compile(r'[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?')


class OptionError(ValueError):
    """Raised for an invalid option; the message is a single line for the user."""

    def __init__(self, message: str):
        super().__init__(printable(' '.join(message.splitlines())))  # a key or value of theirs may have several lines


def check_arguments(target: Callable, arguments: Mapping[str, Any], where: str,
                    given: typing.Iterable[str] = ()) -> None:
    """Check option values against the parameters of ``target``.

    Args:
        target: What is called with the values.
        arguments: The values by name.
        where: Their place, for messages.
        given: Parameters that the caller adds: no options.

    Raises:
        OptionError: A key that ``target`` does not take (with the nearest it does), a required one that is missing, or
            a value of another type than the annotation says, e.g. the text ``'1e-3'`` for a number.
    """
    parameters = inspect.signature(target).parameters
    hints = typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    named = {name: p for name, p in parameters.items()
             if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and name not in given}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for key, value in arguments.items():
        if key in named:
            check_type(value, hints.get(key, Any), f'{where}.{key}')
        elif not open_ended:
            raise OptionError(f"{where}: unknown key '{key}'.{suggestion(key, named)} Known: {', '.join(named)}")
    missing = [name for name, p in named.items() if p.default is p.empty and name not in arguments]
    if missing:
        raise OptionError(f"{where}: '{missing[0]}' is missing. Known: {', '.join(named)}")


def type_of(block: Mapping[str, Any], where: str) -> Any:
    """The ``type`` of a block.

    Raises:
        OptionError: It has none; with the key that may have been meant to be it.
    """
    if 'type' not in block:
        meant = nearest('type', map(str, block))
        raise OptionError(f"{where}: 'type' is missing." + (f" Did you mean it by '{meant}'?" if meant else ''))
    return block['type']


def suggestion(key: object, known: typing.Iterable[str], cutoff: float = 0.6) -> str:
    """`` Did you mean 'x'?`` with the closest of ``known``, or an empty string.

    Close are names of much the same letters, in any case, and those that the key is a part of, or that are part of it.
    """
    text, names = str(key), list(known)
    close = difflib.get_close_matches(text, names, n=1, cutoff=cutoff)
    if not close:
        folded = {name.casefold(): name for name in names}
        close = difflib.get_close_matches(text.casefold(), folded, n=1, cutoff=cutoff) or difflib.get_close_matches(
            text.casefold(), [name for name in folded if _is_part(text.casefold(), name)], n=1, cutoff=0)
        close = [folded[name] for name in close]
    return f" Did you mean '{close[0]}'?" if close else ''


def _is_part(one: str, other: str) -> bool:
    """Tell whether one of two names begins or ends with the other, of two letters or more."""
    short, long = sorted((one, other), key=len)
    return len(short) >= 2 and (long.startswith(short) or long.endswith(short))


def nearest(key: object, known: typing.Iterable[str], cutoff: float = 0.8) -> str | None:
    """The one of ``known`` that a slip may have made ``key`` of; None where they have too little in common.

    A letter too many, too few, another one or two exchanged; in words of six letters or more, two of those; another
    case; a beginning of five letters or more; or much of the same letters in the same order.
    """
    text, known = str(key), list(known)
    distances = {name: _distance(text.casefold(), name.casefold()) for name in known}
    best = min(distances, key=distances.get, default=None)
    if best is not None and distances[best] <= (1 if len(text) < 6 else 2):
        return best
    begun = [name for name in known if len(text) >= 5 and name.startswith(text)]
    if len(begun) == 1:
        return begun[0]
    close = difflib.get_close_matches(text, known, n=1, cutoff=cutoff)
    return close[0] if close else None


def _distance(one: str, other: str) -> int:
    """Letters to insert, leave out, replace or exchange with their neighbor (optimal string alignment)."""
    before, last = [], list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (a != b)))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                row[j] = min(row[j], before[j - 2] + 1)
        before, last = last, row
    return last[-1]


def check_number(value: Any, where: str, *, least: float | None = None, most: float | None = None,
                 above: float | None = None, below: float | None = None, whole: bool = False,
                 remedy: str = '') -> None:
    """Check that a value is a number within limits; NaN is in none.

    Args:
        least, most: Limits that may be reached.
        above, below: Limits that may not.
        whole: No fraction. A float such as 1e6, as YAML reads it, is taken.

    Raises:
        OptionError: With the limits and the value.
    """
    if value == value:  # NaN is out of the limits
        check_type(value, float, where)
    if math.isfinite(value) and (not whole or value == int(value)) and (least is None or value >= least) and (
            most is None or value <= most) and (above is None or value > above) and (below is None or value < below):
        return
    low = '' if least is None else f'>= {least}'
    low = f'> {above}' if above is not None else low
    high = '' if most is None else f'<= {most}'
    high = f'< {below}' if below is not None else high
    limits = ' and '.join(filter(None, (low, high)))
    raise OptionError(f'{where}: expected a {"whole " if whole else ""}number{f" {limits}" if limits else ""}, '
                      f'got {value!r}.{f" {remedy}" if remedy else ""}')


def check_type(value: Any, hint: Any, where: str) -> None:
    """Check one value against an annotation: numbers, text, bool, sequences, mappings, ``Literal``, unions of them.

    Raises:
        OptionError: With the place, what was expected and what came.
    """
    if fits(value, hint):
        return
    remedy = suggestion(value, [str(v) for v in literals(hint)])
    if isinstance(value, str) and NUMBER_AS_TEXT.fullmatch(value):
        if fits(0.5, hint):
            remedy = f" YAML reads {value} as text: write '!!float {value}'."
        elif float(value).is_integer() and fits(int(float(value)), hint):
            remedy = f' YAML reads {value} as text: write {int(float(value))}.'
    remedy = remedy or _quotes(value, hint)
    raise OptionError(f'{where}: expected {_name(hint)}, got {shown(value)}.{remedy}')


def _quotes(value: Any, hint: Any) -> str:
    """The remedy where text was written that YAML reads as something else: 1, 1.0, yes, off, ~, 2024-01-31, 12:30."""
    items = value if isinstance(value, list) else [value]
    read = next((item for item in items if not isinstance(item, str)), None)
    if not all(isinstance(item, (str, *_SCALARS)) for item in items) or not fits(
            [str(item) for item in items] if isinstance(value, list) else str(value), hint):
        return ''
    if read is None and not isinstance(value, list):  # a key without a value
        return ''
    return next(told for kind, told in _SCALARS.items() if isinstance(read, kind)).format(read)


_SCALARS = {  # bool before int, which it is; a time is a date
    bool: " YAML reads yes, no, on, off, true and false as true or false: put text in quotes, e.g. 'yes'.",
    int: " YAML reads this as a number: put text in quotes, e.g. '{}'.",
    float: " YAML reads this as a number: put text in quotes, e.g. '{}'.",
    datetime.date: " YAML reads this as a date: put text in quotes, e.g. '{}'.",
    type(None): " YAML reads ~ and null as nothing: put text in quotes, e.g. 'null'."}


def literals(hint: Any) -> list:
    """Return the values that an annotation lists."""
    args = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return list(args)
    return [v for option in args for v in literals(option)] if _is_union(hint) else []


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def fits(value: Any, hint: Any) -> bool:
    """Tell whether `check_type` takes a value."""
    origin = typing.get_origin(hint)
    if hint is Any or isinstance(hint, typing.TypeVar):
        return True
    if hint is None or hint is type(None):
        return value is None
    if _is_union(hint):
        return any(fits(value, option) for option in typing.get_args(hint))
    if origin is typing.Literal:
        return any(type(value) is type(option) and value == option for option in typing.get_args(hint))
    kind = origin or hint
    if not isinstance(kind, type):
        return True
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value  # no NaN
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is collections.abc.Sequence or kind in (list, tuple):
        items = [item for item in typing.get_args(hint) if item is not Ellipsis] or [Any]
        return isinstance(value, (list, tuple)) and all(any(fits(v, item) for item in items) for v in value)
    return isinstance(value, kind)


_PLURALS = {'a number': 'numbers', 'a whole number': 'whole numbers', 'a block': 'blocks'}


def _name(hint: Any) -> str:
    origin = typing.get_origin(hint)
    if hint is type(None):
        return 'nothing (~)'
    if _is_union(hint):
        return ' or '.join(_name(option) for option in typing.get_args(hint))
    if origin is typing.Literal:
        return ' | '.join(repr(option) for option in typing.get_args(hint))
    if (origin or hint) in (collections.abc.Sequence, list, tuple):
        inner = [_name(v) for v in typing.get_args(hint) if v is not Ellipsis]
        items = ' or '.join(dict.fromkeys(_PLURALS.get(name, name) for name in inner))
        return f'a list of {items}' if items else 'a list'
    names = {float: 'a number', int: 'a whole number', str: 'text', bool: 'true or false', dict: 'a block'}
    return names.get(origin or hint, 'a block' if (origin or hint) is Mapping else getattr(hint, '__name__', str(hint)))
