"""Check option blocks: a dataclass, or the signature of a constructor, is the schema of a block.

Its names are the keys that the block may hold, its annotations are their types, ranges, nested blocks and paths. What
an annotation cannot say, as a condition between keys, is checked by the dataclass or the constructor itself.
"""
import collections.abc
import dataclasses
import datetime
import inspect
import math
import re
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from ra_plugin.type_hints import example, fits, in_words, is_dataclass, is_union, literals
from ra_plugin.utils.suggestions import nearest, suggestion
from ra_plugin.utils.text import printable, shown

CHANGE = 'Change it or leave it out.'
# What PyYAML leaves as text although it reads as a number: YAML 1.1 wants a dot and a signed exponent.
NUMBER_AS_TEXT = re.compile(r'[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?')


class OptionError(ValueError):
    """Raised for an invalid option; the message is a single line for the user.

    Args:
        message: The line.
        key: The key of its block that the message is about, where the block's place is not known yet, see `at`.
    """

    def __init__(self, message: str, key: str = ''):
        message = f'{key}: {message}' if key else message
        super().__init__(printable(' '.join(message.splitlines())))  # a key or value of theirs may have several lines
        self.key = key

    def at(self, where: str) -> 'OptionError':
        """Return this error with the place of its block in front."""
        return OptionError(f'{where or "option file"}: {self}' if not self.key else within(where, str(self)))


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits of a number, as part of its annotation: ``Annotated[float, Limits(least=0)]``. NaN is in none.

    Attributes:
        least: Smallest number that is allowed.
        most: Largest number that is allowed.
        above: Number that has to be exceeded.
        below: Number that must not be reached.
        whole: No fraction is allowed. A float such as 1e6, as YAML reads it, is.
        remedy: What to do about a number that is out of them, for the message.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    whole: bool = False
    remedy: str = ''

    def __str__(self) -> str:
        low = f'> {self.above}' if self.above is not None else f'>= {self.least}' if self.least is not None else ''
        high = f'< {self.below}' if self.below is not None else f'<= {self.most}' if self.most is not None else ''
        return ' and '.join(filter(None, (low, high)))

    def check(self, value: Any, where: str) -> None:
        """Check that a value is a number within the limits.

        Raises:
            OptionError: It is not; with the limits and the value.
        """
        if value == value:  # NaN is out of the limits
            check_type(value, float, where)
        if math.isfinite(value) and (not self.whole or value == int(value)) and (
                self.least is None or value >= self.least) and (self.most is None or value <= self.most) and (
                self.above is None or value > self.above) and (self.below is None or value < self.below):
            return
        limits = f' {self}' if str(self) else ''
        raise OptionError(f'{where}: expected a {"whole " if self.whole else ""}number{limits}, '
                          f'got {value!r}.{f" {self.remedy}" if self.remedy else ""}')


def check_number(value: Any, where: str, **limits: Any) -> None:
    """Check that a value is a number within `Limits`.

    Raises:
        OptionError: It is not; with the limits and the value.
    """
    Limits(**limits).check(value, where)


def check_least(value: int | None, least: int, where: str) -> None:
    """Check that a number is not below ``least``; None is a default.

    Raises:
        OptionError: It is.
    """
    if value is not None and value < least:
        raise OptionError(f'{where}: expected a whole number >= {least}, got {value}. {CHANGE}')


def check_limits(value: Any, hint: Any, where: str) -> None:
    """Check a number against the `Limits` in its annotation, if it has any; what is no number is left alone.

    Raises:
        OptionError: It is out of them.
    """
    for note in typing.get_args(hint)[1:] if typing.get_origin(hint) is Annotated else ():
        if isinstance(note, Limits) and value is not None:
            note.check(value, where)
    for option in typing.get_args(hint) if is_union(hint) and value is not None else ():
        check_limits(value, option, where)


def build_block(cls: type, block: Any, where: str) -> Any:
    """Check the block of a dataclass, and return the dataclass.

    Args:
        cls: The dataclass. An OptionError of its ``__post_init__`` says with ``key`` which key it is about.
        block: The values by key.
        where: The place of the block, for messages.

    Raises:
        OptionError: See `check_arguments`; or a condition between keys is not met.
    """
    values = check_arguments(cls, block, where)
    try:
        return cls(**values)
    except OptionError as error:
        raise error.at(where) from None


def check_arguments(target: Callable, arguments: Any, where: str, given: typing.Iterable[str] = ()) -> dict[str, Any]:
    """Check option values against the parameters of ``target``, and return them as these are annotated.

    Args:
        target: What is called with the values.
        arguments: The values by name.
        where: Their place, for messages; '' is the option file itself.
        given: Parameters that the caller adds: no options.

    Returns:
        The values by name; blocks that are annotated as dataclasses are built.

    Raises:
        OptionError: A key that ``target`` does not take (with the nearest it does), a required one that is missing, or
            a value that is not as the annotation says, e.g. the text ``'1e-3'`` for a number.
    """
    if not isinstance(arguments, Mapping):
        raise OptionError(f'{where or "option file"}: expected a block, got {shown(arguments)}.'
                          f'{_to_write(Mapping)}')
    parameters = inspect.signature(target).parameters
    hints = option_hints(target)
    named = {name: p for name, p in parameters.items()
             if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and name not in given}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    values = {}
    for key, value in arguments.items():
        if key in named:
            value = check_value(value, hints.get(key, Any), within(where, key))
        elif not open_ended:
            raise OptionError(f"{where or 'option file'}: unknown key '{key}'.{suggestion(key, named)} "
                              f"Known: {', '.join(named)}")
        values[key] = value
    missing = [name for name, p in named.items() if p.default is p.empty and name not in arguments]
    if missing:
        raise OptionError(f"{where or 'option file'}: '{missing[0]}' is missing. Known: {', '.join(named)}")
    return values


def within(where: str, key: object) -> str:
    """Return the place of a key in the block at ``where``; '' is the option file itself."""
    return f'{where}.{key}' if where else str(key)


def option_hints(target: Callable) -> dict[str, Any]:
    """Return the annotations of what takes options: a class's constructor or options, a function, a TypedDict."""
    target = getattr(target, 'options_type', target)
    is_constructor = inspect.isclass(target) and not typing.is_typeddict(target)
    return typing.get_type_hints(target.__init__ if is_constructor else target, include_extras=True)


def type_of(block: Mapping[str, Any], where: str) -> Any:
    """Return the ``type`` of a block.

    Raises:
        OptionError: It has none; with the key that may have been meant to be it.
    """
    if 'type' not in block:
        raise missing('type', block, where)
    return block['type']


def missing(key: str, block: typing.Iterable[object], where: str) -> OptionError:
    """Return the error of a key that a block lacks, with the key in it that may have been meant."""
    meant = nearest(key, map(str, block))
    return OptionError(f"{where}: '{key}' is missing." + (f" Did you mean it by '{meant}'?" if meant else ''))


def unknown(kind: str, name: object, known: typing.Iterable[str], where: str, heading: str = 'Known') -> OptionError:
    """Return the error of a name that nothing of its kind has, with the nearest that something has."""
    known, name = list(known), name if isinstance(name, str) else shown(name)
    return OptionError(f"{where}: no {kind} '{name}'.{suggestion(name, known)} {heading}: {', '.join(known)}")


def check_value(value: Any, hint: Any, where: str) -> Any:
    """Check one value against an annotation, with the blocks and the limits of numbers in it.

    Returns:
        The value; a block that is annotated as a dataclass is built.

    Raises:
        OptionError: With the place, what was expected and what came.
    """
    if isinstance(value, float) and value != value:
        check_limits(value, hint, where)  # which NaN is out of: the message has them
    check_type(value, hint, where)
    return _checked(value, hint, where)


def _checked(value: Any, hint: Any, where: str) -> Any:
    """Check what is within a value of the right type."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if is_union(hint):
        return next((_checked(value, option, where) for option in args if fits(value, option)), value)
    if origin is Annotated:
        value = _checked(value, args[0], where)
        for note in args[1:]:
            if hasattr(note, 'check'):
                note.check(value, where)
    elif hint is Path:
        return Path(value)
    elif is_dataclass(hint):
        return build_block(hint, value, where) if isinstance(value, Mapping) else value
    elif typing.is_typeddict(hint):
        hints = option_hints(hint)
        return {key: check_value(item, hints.get(key, Any), within(where, key))
                for key, item in value.items()}
    elif (origin or hint) is collections.abc.Mapping and len(args) == 2 and args[1] is not Any:
        for key in value:
            check_type(key, args[0], f'{where}: name {key}')
        return {key: check_value(item, args[1], within(where, key)) for key, item in value.items()}
    elif origin in (collections.abc.Sequence, list) and isinstance(value, (list, tuple)):
        return type(value)([_checked(item, args[0], f'{where}[{i}]') for i, item in enumerate(value)])
    return value


def check_type(value: Any, hint: Any, where: str) -> None:
    """Check the type of a value against an annotation: numbers, text, bool, lists, blocks, ``Literal``, unions of them.

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
    remedy = remedy or _quotes(value, hint) or _to_write(hint)
    raise OptionError(f'{where}: expected {in_words(hint)}, got {shown(value)}.{remedy}')


def _to_write(hint: Any) -> str:
    """Return the remedy where a block is expected; '' where none is."""
    return f' Write {text}.' if (text := example(hint)) else ''


def _quotes(value: Any, hint: Any) -> str:
    """Return the remedy for text that YAML reads as something else: 1, 1.0, yes, off, ~, 2024-01-31, 12:30."""
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
