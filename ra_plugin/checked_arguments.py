"""Check the arguments of constructors, from Python code or from an option file, by their annotations."""
import enum
import functools
import inspect
import os
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from torch import nn

from ra_plugin.options import check_limits, check_type
from ra_plugin.type_hints import fits, literals


class ChecksArguments:
    """Base of classes whose constructors check the types of their arguments by their annotations.

    This is so for subclasses in this package; a user's own are left alone.

    Numbers and arrays of numpy and torch become the plain numbers and lists that they hold, whatever else has an order
    and can be gone through a list, paths text, members of an enumeration (torchvision's weights) their names, and 0 and
    1 false and true.

    Raises:
        OptionError: At the call, ``Class: argument: expected ..., got ...``.
    """

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if '__init__' in vars(cls) and _is_ours(cls.__init__):
            cls.__init__ = _checked(cls.__init__)

    @classmethod
    def users_name(cls) -> str:
        """Return the name of the class that is called to make an object of this one."""
        return cls.__name__


def _checked(init: Callable) -> Callable:
    signature = inspect.signature(init)
    hints: dict[str, Any] = {}

    @functools.wraps(init)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            bound = signature.bind(self, *args, **kwargs)
        except TypeError:
            return init(self, *args, **kwargs)  # which says what it lacks
        if not hints:
            hints.update(typing.get_type_hints(init, include_extras=True))
        _check_bound(bound, hints, self.users_name())
        init(*bound.args, **bound.kwargs)

    return checked


def checked_arguments(cls: Any, args: Iterable[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call of a class by name, as its constructor checks them, before there is an object.

    Raises:
        OptionError: As `ChecksArguments`.
        TypeError: They do not fit the constructor's signature.
    """
    try:
        bound = inspect.signature(cls.__init__).bind(None, *args, **kwargs)
    except TypeError as error:
        raise TypeError(f'{cls.users_name()}: {error}.') from None
    if _is_ours(cls.__init__):
        hints = typing.get_type_hints(cls.__init__, include_extras=True)
        once = [name for name, value in bound.arguments.items() if isinstance(value, Iterator)]  # the constructor's
        _check_bound(bound, {name: hint for name, hint in hints.items() if name not in once}, cls.users_name())
    return dict(list(bound.arguments.items())[1:])


def _is_ours(init: Callable) -> bool:
    return init.__module__.partition('.')[0] == 'ra_plugin'


def _check_bound(bound: inspect.BoundArguments, hints: Mapping[str, Any], user: str) -> None:
    for name, value in bound.arguments.items():
        if name in hints:
            where = f'{user}: {name}'
            if not fits(value, hints[name]):
                bound.arguments[name] = value = as_plain(value, hints[name])
                if not _has_words(hints[name]):
                    check_type(value, hints[name], where)
            check_limits(value, hints[name], where)


def _has_words(hint: Any) -> bool:
    """Tell whether an annotation lists words: the constructor itself says what they mean, and what else it takes."""
    return any(isinstance(word, str) for word in literals(hint))


def as_plain(value: Any, hint: Any) -> Any:
    """Return what Python code gives in place of the plain values of an option file as such."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, 'tolist'):
        value = value.tolist()
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, Iterable) and (not isinstance(value, (str, bytes, Mapping, set, frozenset, nn.Module))
                                        or isinstance(value, nn.ModuleList)):
        return [as_plain(item, Any) for item in value]
    if isinstance(value, int) and value in (0, 1) and not fits(value, hint) and fits(bool(value), hint):
        return bool(value)
    return value
