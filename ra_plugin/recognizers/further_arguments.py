"""Further arguments of a network (``model_kwargs``, ``cfg_options``), with errors that name the key."""
import collections.abc
import contextlib
import inspect
import typing
from collections.abc import Collection, Iterator, Mapping
from types import TracebackType
from typing import Any

from ra_plugin.checked_arguments import as_plain
from ra_plugin.library_errors import is_network_error, is_worded, told
from ra_plugin.options import OptionError, check_number, check_type, nearest
from ra_plugin.type_hints import fits


def check_further(arguments: Mapping[str, Any], own: Mapping[str, str], where: str) -> None:
    """Check further arguments before a network is built.

    Args:
        arguments: By name.
        own: Names that are no further arguments, with the remedy.
        where: Place of the arguments, for messages.

    Raises:
        OptionError: A name that is no text or one of ``own``; ``num_classes`` or ``in_chans`` that is no number.
    """
    for name, value in arguments.items():
        check_type(name, str, where)
        if name in own:
            raise OptionError(f'{where}.{name}: {own[name]}')
        if name in ('num_classes', 'in_chans') and value is not None:
            value = as_plain(value, int)
            check_type(value, int, f'{where}.{name}')
            check_number(value, f'{where}.{name}', least=0 if name == 'num_classes' else 1)


def check_one_source(pretrained: bool | None, checkpoint: str | None, where: str) -> None:
    """Check that weights come from one place; ``pretrained: false`` asks for random ones.

    Raises:
        ValueError: No choice, or two.
    """
    if pretrained is None and checkpoint is None:
        raise ValueError(f'{where}: no weights. Set pretrained: true, or checkpoint: FILE.')
    if pretrained and checkpoint:
        raise ValueError(f'{where}: both pretrained and checkpoint are set. Keep one.')


@contextlib.contextmanager
def built_with(arguments: Mapping[str, Any], where: str) -> Iterator[None]:
    """Build a network within the context; an error names the argument whose type is not the annotated one, if any.

    Raises:
        OptionError: With the place of that argument, else of all arguments.
    """
    try:
        yield
    except Exception as error:
        of_all = isinstance(error, (ImportError, MemoryError)) or 'registry' in str(error)  # a name that is not there
        if not arguments or of_all or is_worded(error) or is_network_error(error):
            raise
        for cls in _classes(error.__traceback__):
            check_annotated(cls, arguments, where, is_built=False)
        raise OptionError(f'{where}: {told(error)}') from error


def check_annotated(cls: type, arguments: Mapping[str, Any], where: str, is_built: bool = True) -> None:
    """Check arguments against the annotations of a class's constructor, as far as it has any; None is a default.

    Libraries annotate more narrowly than they take: where the class could be built, plain values alone are judged, each
    in a list by itself, and not where the default does not fit its own annotation.

    Raises:
        OptionError: A value of another type.
    """
    try:
        hints = typing.get_type_hints(cls.__init__)
    except (NameError, TypeError, AttributeError):  # annotations that cannot be evaluated
        return
    parameters = inspect.signature(cls.__init__).parameters
    for name, value in arguments.items():
        if value is None or name not in hints or callable(value):
            continue
        value, default = as_plain(value, hints[name]), parameters[name].default
        is_right = default in (None, inspect.Parameter.empty) or fits(default, hints[name])
        if not is_built or is_right and not all(_takes(hints[name], leaf) for leaf in _leaves(value)):
            check_type(value, hints[name], f'{where}.{name}')


def _leaves(value: Any) -> list[Any]:
    return [leaf for item in value for leaf in _leaves(item)] if isinstance(value, (list, tuple)) else [value]


def _takes(hint: Any, leaf: Any) -> bool:
    """True if an annotation accepts a value that is no list, at any depth; a class may accept anything."""
    if leaf is None or fits(leaf, hint):
        return True
    if typing.get_origin(hint) is typing.Literal or hint in (int, float, str, bool, type(None)):
        return False
    if typing.get_origin(hint) in (None, type, collections.abc.Callable):
        return True
    return any(_takes(part, leaf) for part in typing.get_args(hint) if part is not Ellipsis)


def _classes(traceback: TracebackType | None) -> list[type]:
    """Return the classes whose constructors were running, the innermost first."""
    found = []
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_code.co_name == '__init__' and 'self' in frame.f_locals:
            found.append(type(frame.f_locals['self']))
        traceback = traceback.tb_next
    return found[::-1]


def check_dotted(config: Mapping[str, Any], options: Mapping[str, Any], where: str,
                 may_be_new: Collection[str] = ()) -> None:
    """Check that dotted keys lead somewhere: a slip in a block without a ``type`` would have no effect.

    Args:
        config: Config to be changed.
        options: By dotted key.
        where: Place of the arguments, for messages.
        may_be_new: Keys that the config may lack, for they are known.

    Raises:
        OptionError: With the key that is meant; or a text, or true or false, in place of a number.
    """
    for dotted, value in options.items():
        check_type(dotted, str, where)
        node: Any = config
        for depth, name in enumerate(dotted.split('.')):
            if not isinstance(node, Mapping):
                break
            if name not in node:
                if not depth and name in may_be_new:
                    break
                meant = nearest(name, map(str, node))
                if not depth or meant and 'type' not in node:
                    raise OptionError(f"{where}: {dotted}: the config has no '{name}' there."
                                      f"{f' Did you mean {meant!r}?' if meant else ''}")
                break
            node = node[name]
        else:
            kind = next((kind for kind in (bool, float) if fits(node, kind)), None)
            if kind and isinstance(value, (str, int, float)):
                check_type(as_plain(value, kind), kind, f'{where}: {dotted}')
