"""Annotations of options: which values they take, and how they are said in words."""
import collections.abc
import dataclasses
import os
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any


def literals(hint: Any) -> list:
    """Return the values that an annotation lists."""
    hint = without_notes(hint)
    args = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return list(args)
    return [v for option in args for v in literals(option)] if is_union(hint) else []


def without_notes(hint: Any) -> Any:
    """Return an annotation without the ``Annotated`` around it."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


def is_dataclass(hint: Any) -> bool:
    """Tell whether an annotation is a dataclass."""
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def is_union(hint: Any) -> bool:
    """Tell whether an annotation lists several, as ``int | None`` does."""
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def fits(value: Any, hint: Any) -> bool:
    """Tell whether a value is of the type that an annotation says; an int is a number, NaN is none."""
    hint = without_notes(hint)
    origin = typing.get_origin(hint)
    if hint is Any or isinstance(hint, typing.TypeVar):
        return True
    if is_dataclass(hint):
        return isinstance(value, (Mapping, hint))
    if typing.is_typeddict(hint):
        return isinstance(value, Mapping)
    if hint is Path:
        return isinstance(value, (str, os.PathLike))
    if hint is None or hint is type(None):
        return value is None
    if is_union(hint):
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


@dataclasses.dataclass(frozen=True)
class Example:
    """Note in an annotation of a block: what such a block looks like, for messages.

    Attributes:
        text: The block as YAML, in one line.
    """

    text: str


OF_A_TYPE = '{type: ..., ...}'
TypedBlock = Annotated[Mapping, Example(OF_A_TYPE)]


def example(hint: Any) -> str:
    """Return what a block of an annotation looks like in YAML; '' for an annotation of something else."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        texts = (note.text if isinstance(note, Example) else OF_A_TYPE if hasattr(note, 'kind') else ''
                 for note in args[1:])
        return next(filter(None, texts), '') or example(args[0])
    if is_union(hint):
        return next(filter(None, map(example, args)), '')
    if (origin or hint) is collections.abc.Mapping and args and args[1] is not Any:
        return f'{{NAME: {example(args[1]) or "..."}}}'
    if is_dataclass(hint):
        needed = [field.name for field in dataclasses.fields(hint) if field.init
                  and field.default is field.default_factory is dataclasses.MISSING]
        return f'{{{", ".join(f"{key}: ..." for key in needed)}}}' if needed else '{KEY: ..., ...}'
    is_block = (origin or hint) in (collections.abc.Mapping, dict) or typing.is_typeddict(hint)
    return '{KEY: ..., ...}' if is_block else ''


_PLURALS = {'a number': 'numbers', 'a whole number': 'whole numbers', 'a block': 'blocks'}


def in_words(hint: Any) -> str:
    """Return an annotation in words: ``a number or nothing (~)``."""
    hint = without_notes(hint)
    origin = typing.get_origin(hint)
    if hint is type(None):
        return 'nothing (~)'
    if is_union(hint):
        return ' or '.join(in_words(option) for option in typing.get_args(hint))
    if origin is typing.Literal:
        return ' | '.join(repr(option) for option in typing.get_args(hint))
    if (origin or hint) in (collections.abc.Sequence, list, tuple):
        inner = [in_words(v) for v in typing.get_args(hint) if v is not Ellipsis]
        items = ' or '.join(dict.fromkeys(_PLURALS.get(name, name) for name in inner))
        return f'a list of {items}' if items else 'a list'
    if (origin or hint) is collections.abc.Mapping or is_dataclass(hint) or typing.is_typeddict(hint):
        return 'a block'
    names = {float: 'a number', int: 'a whole number', str: 'text', bool: 'true or false', dict: 'a block',
             Path: 'text'}
    return names.get(origin or hint, getattr(hint, '__name__', str(hint)))
