"""Registries that help: an unknown name gets a suggestion, a duplicate says where the first one lives.

BasicSR keeps its own registries for architectures, losses, models and datasets; these hold what BasicSR has no kind
for, and build without BasicSR. Options are checked against the constructor's signature before anything is built.
"""
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ra_plugin.library_errors import translated
from ra_plugin.options import OptionError, check_arguments, suggestion
from ra_plugin.utils.text import shown

Registered = TypeVar('Registered', bound=Callable)


class Registry:
    """Maps the ``type`` of an option block to the class that it builds.

    Args:
        kind: What is registered, for messages: ``'recognizer'``.
    """

    def __init__(self, kind: str):
        self.kind = kind
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

    def __iter__(self):
        return iter(sorted(self._entries))

    def get(self, name: str, where: str) -> Any:
        """The class called ``name``; ``where`` is the place in the options, for the message.

        Raises:
            OptionError: No such name.
        """
        if not isinstance(name, str) or name not in self._entries:
            given = name if isinstance(name, str) else shown(name)
            raise OptionError(f"{where}.type: no {self.kind} '{given}'.{suggestion(given, self._entries)} "
                              f"Registered: {', '.join(self)}")
        return self._entries[name]

    def check(self, opt: Any, where: str) -> Any:
        """Check an option block without building it; returns the class it names.

        Raises:
            OptionError: The block is no mapping, ``type`` or a key is missing or unknown, or a value has
                the wrong type.
        """
        if not isinstance(opt, Mapping):
            raise OptionError(f'{where}: expected a block with a type, got {shown(opt)}. Write {{type: ..., ...}}.')
        if 'type' not in opt:
            raise OptionError(f"{where}: no 'type'. Registered: {', '.join(self)}")
        cls = self.get(opt['type'], where)
        arguments = {key: value for key, value in opt.items() if key != 'type'}
        check_arguments(cls, arguments, where)
        nested = getattr(cls, 'check_options', None)  # blocks within the block
        if nested:
            nested(arguments, where)
        return cls

    def build(self, opt: Mapping, where: str) -> Any:
        """Check the block and build the object that it describes; ``opt`` is left as it is.

        Raises:
            OptionError: As `check`, and for what other packages raise as it is built; the place is in each message.
        """
        cls = self.check(opt, where)
        with translated(where):
            return cls(**{key: value for key, value in opt.items() if key != 'type'})


RECOGNIZER_REGISTRY = Registry('recognizer')
DEGRADATION_REGISTRY = Registry('degradation')
