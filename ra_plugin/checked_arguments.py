"""Constructors that check what they are given, called from Python or with the keys of an option file."""
import functools
import inspect
import os
import typing
from collections.abc import Callable, Sequence
from typing import Any

from ra_plugin.options import check_type, fits, literals


class ChecksArguments:
    """The constructors of this package's own subclasses check the types of their arguments by their annotations.

    Numbers and arrays of numpy and torch become the plain numbers and lists that they hold, paths text.

    Raises:
        OptionError: At the call, ``Class: argument: expected ..., got ...``.
    """

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if '__init__' in vars(cls) and cls.__module__.partition('.')[0] == 'ra_plugin':
            cls.__init__ = _checked(cls.__init__)


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
            hints.update(typing.get_type_hints(init))
        for name, value in bound.arguments.items():
            if name in hints and not fits(value, hints[name]) and not _has_words(hints[name]):
                bound.arguments[name] = _plain(value)
                check_type(bound.arguments[name], hints[name], f'{type(self).__name__}: {name}')
        init(*bound.args, **bound.kwargs)

    return checked


def _has_words(hint: Any) -> bool:
    """Tell whether an annotation lists words: the constructor itself says what they mean, and what else it takes."""
    return any(isinstance(word, str) for word in literals(hint))


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, 'tolist'):
        return value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) or type(value).__name__ == 'ModuleList':
        return [_plain(item) for item in value]
    return value
