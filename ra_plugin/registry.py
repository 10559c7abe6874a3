"""Registries of recognizers and degradations, for which BasicSR has none; they work without BasicSR.

An unknown name gets a suggestion, a duplicate names the module of the first. Options are checked against the
constructor's signature before anything is built.
"""
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, TypeVar

from ra_plugin.library_errors import translated
from ra_plugin.options import OptionError, check_arguments, unknown
from ra_plugin.type_hints import OF_A_TYPE
from ra_plugin.utils.text import shown

Registered = TypeVar('Registered', bound=Callable)


class Registry:
    """Map from the ``type`` of an option block to the class that it builds.

    As a note in an annotation, ``Annotated[Mapping[str, Any], REGISTRY]``, it stands for a block that it can build.

    Args:
        kind: Name of what is registered, for messages: ``'recognizer'``.
        is_tried: Building costs nothing: a block is checked by building what it describes, and leaving that.
    """

    def __init__(self, kind: str, is_tried: bool = False):
        self.kind = kind
        self.is_tried = is_tried
        self._entries: dict[str, Callable] = {}

    def register(self, cls: Registered) -> Registered:
        """Add ``cls`` under its own name; use it as a decorator.

        Raises:
            KeyError: The name is taken by another object.
        """
        first = self._entries.setdefault(cls.__name__, cls)
        if first is not cls:
            raise KeyError(f"{self.kind} '{cls.__name__}' from {cls.__module__} is already registered by "
                           f'{first.__module__}. Choose another class name.')
        return cls

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def find(self, name: str) -> Callable | None:
        """Return the class called ``name``, or None."""
        return self._entries.get(name)

    def get(self, name: str, where: str) -> Any:
        """Return the class called ``name``; ``where`` is the place in the options, for the message.

        Raises:
            OptionError: No such name.
        """
        if not isinstance(name, str) or name not in self._entries:
            raise unknown(self.kind, name, self, f'{where}.type', 'Registered')
        return self._entries[name]

    def check(self, opt: Any, where: str) -> Any:
        """Check an option block, with the blocks within it, and return the class that it names.

        Raises:
            OptionError: The block is no mapping, ``type`` or a key is missing or unknown, or a value is not as it is
                annotated.
        """
        cls, arguments = self._checked(opt, where)
        if self.is_tried:
            with translated(where):
                cls(**arguments)
        return cls

    def build(self, opt: Mapping, where: str) -> Any:
        """Check the block and build the object that it describes; ``opt`` is left as it is.

        Raises:
            OptionError: As `check`, and for what other packages raise as it is built; the place is in each message.
        """
        cls, arguments = self._checked(opt, where)
        with translated(where):
            return cls(**arguments)

    def _checked(self, opt: Any, where: str) -> tuple[Callable, dict[str, Any]]:
        """Return the class of a block and its arguments."""
        if not isinstance(opt, Mapping):
            raise OptionError(f'{where}: expected a block with a type, got {shown(opt)}. Write {OF_A_TYPE}.')
        if 'type' not in opt:
            raise OptionError(f"{where}: no 'type'. Registered: {', '.join(self)}")
        cls = self.get(opt['type'], where)
        return cls, check_arguments(cls, {key: value for key, value in opt.items() if key != 'type'}, where)


RECOGNIZER_REGISTRY = Registry('recognizer')
DEGRADATION_REGISTRY = Registry('degradation', is_tried=True)

RecognizerBlock = Annotated[Mapping[str, Any], RECOGNIZER_REGISTRY]
DegradationBlock = Annotated[Mapping[str, Any], DEGRADATION_REGISTRY]
