"""Frozen dataclasses to plain JSON data and back: each field is a key, and its type says which values it takes.

A float that is not a number is null in JSON, and null is read as NaN. Two kinds of fields differ from that: one made by
`left_out_if_none` has no key where it is None, and the entries of one made by `flattened` stand beside the other keys.
Keys that no field has are ignored, so that files of a later version can be read.
"""
import math
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, field, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar

from ra_plugin.utils.text import one_line

T = TypeVar('T')
_WORDS = {bool: 'true or false', int: 'a whole number', float: 'a number or null', str: 'text'}


class MalformedResults(ValueError):
    """Raised where a file of results is not as its schema says; the message is a single line for the user."""


def left_out_if_none() -> Any:
    """Return a field whose key is missing in JSON where its value is None, the default."""
    return field(default=None, metadata={'left out': True})


def flattened() -> Any:
    """Return a field whose entries stand beside the other keys in JSON. Default: no entries."""
    return field(default_factory=dict, metadata={'flattened': True})


def to_plain(value: Any) -> Any:
    """Return a dataclass, or any nested data, as JSON has it: no NumPy numbers, and None where there is no number."""
    if is_dataclass(value):
        found: dict[str, Any] = {}
        for one in fields(value):
            content = getattr(value, one.name)
            if 'flattened' in one.metadata:
                found.update(to_plain(content))
            elif content is not None or 'left out' not in one.metadata:
                found[one.name] = to_plain(content)
        return found
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if type(value).__module__ == 'numpy':  # a scalar
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def from_plain(cls: type[T], data: Any, where: str) -> T:
    """Build a dataclass from plain data.

    Args:
        cls: The dataclass, whose fields may be dataclasses, mappings and sequences of them.
        data: As `to_plain` returns it.
        where: File or place, for messages.

    Raises:
        MalformedResults: ``where: expected ..., got ...``.
    """
    _check(isinstance(data, Mapping), where, 'keys and values', data)
    parts, plain = _parts(cls), {}
    for name, (kind, one) in parts.items():
        if 'flattened' in one.metadata:
            data_beside = {key: value for key, value in data.items() if key not in parts}
            plain[name] = _decoded(kind, data_beside, where)
        elif name in data:
            plain[name] = _decoded(kind, data[name], f'{where}: {name}')
        elif one.default is MISSING and one.default_factory is MISSING:
            raise MalformedResults(f"{where}: expected the key '{name}', got none.")
    return cls(**plain)


@cache
def _parts(cls: type) -> dict[str, tuple[Any, Field]]:
    hints = typing.get_type_hints(cls)
    return {one.name: (hints[one.name], one) for one in fields(cls)}


def _decoded(kind: Any, data: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return data
    if origin is types.UnionType:
        return None if data is None else _decoded(next(one for one in arguments if one is not type(None)), data, where)
    if origin is Mapping:
        _check(isinstance(data, Mapping), where, 'keys and values', data)
        return {key: _decoded(arguments[1], value, _below(where, key)) for key, value in data.items()}
    if origin is Sequence:
        _check(isinstance(data, (list, tuple)), where, 'a list', data)
        return [_decoded(arguments[0], value, _below(where, str(i))) for i, value in enumerate(data)]
    if isinstance(kind, type) and is_dataclass(kind):
        return from_plain(kind, data, where)
    if kind is float and data is None:
        return math.nan
    is_number = isinstance(data, (int, float) if kind is float else kind)
    _check(is_number and (kind is bool or not isinstance(data, bool)), where, _WORDS[kind], data)
    _check(kind is not float or not abs(data) > sys.float_info.max, where, 'a finite number or null', data)
    return data


def _below(where: str, key: str) -> str:
    return f'{where}: {key}'


def _check(right: bool, where: str, expected: str, data: Any) -> None:
    if not right:
        text = one_line(repr(data))
        raise MalformedResults(f'{where}: expected {expected}, got {text if len(text) <= 60 else text[:57] + "..."}.')
