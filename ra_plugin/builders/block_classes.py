"""Find the class that an option block names by its type, and with it the annotations of the keys of the block."""
import collections.abc
import dataclasses
import functools
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY, Registry

from ra_plugin.data.with_labels import LabelOptions
from ra_plugin.option_types import FilePath, Names, named_by
from ra_plugin.options import option_hints
from ra_plugin.registry import DEGRADATION_REGISTRY, RECOGNIZER_REGISTRY
from ra_plugin.type_hints import is_union, without_notes

SUFFIX = '_basicsr'  # what BasicSR adds to its own names where another package may have registered the same
_OF_BASICSR = (DATASET_REGISTRY, ARCH_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY)


class ImageFolders(typing.TypedDict, total=False):
    """Keys of BasicSR's data sets, and of a user's own, that name files and folders.

    Attributes:
        dataroot_gt: Folder of the clean images, or an lmdb.
        dataroot_lq: Folder of the degraded images, or an lmdb.
        dataroot_flow: Folder of the optical flow, in data sets of videos.
        meta_info: List of the images to use.
        meta_info_file: List of the images to use.
    """

    dataroot_gt: FilePath | Sequence[FilePath]
    dataroot_lq: FilePath | Sequence[FilePath]
    dataroot_flow: FilePath
    meta_info: FilePath | Sequence[FilePath]
    meta_info_file: FilePath


@dataclass(frozen=True)
class Text:
    """Text in a block of options.

    Attributes:
        holder: Block or list that holds the text.
        place: Key or index of the text there.
        key: Key of the text in its block; for an item of a list, the key of the list.
        text: The text.
        names: The file or folder that it names by its annotation; None for none.
    """

    holder: Any
    place: Any
    key: str
    text: str
    names: Names | None


def texts(node: Any, hint: Any = None, key: str = '') -> Iterator[Text]:
    """Yield every text in a block, at any depth, by the order of the keys.

    Args:
        node: Options in any nesting.
        hint: Annotation of ``node``, see `hints_within`.
        key: Its key.
    """
    if isinstance(node, Mapping):
        items = [(name, node[name], str(name)) for name in sorted(node, key=str)]
        hints = hints_within(node, hint)
    elif isinstance(node, (list, tuple)):
        items = [(place, value, key) for place, value in enumerate(node)]
        hints = dict.fromkeys(range(len(node)), item_hint(hint))
    else:
        return
    for place, value, name in items:
        if isinstance(value, str):
            yield Text(node, place, name, value, named_by(hints.get(place), value))
        else:
            yield from texts(value, hints.get(place), name)


def hints_within(block: Mapping[str, Any], hint: Any = None) -> Mapping[Any, Any]:
    """Return the annotations of the keys of a block: those of the class that its type names, if there is one.

    Args:
        block: The block.
        hint: The annotation of a block without a type, or those of its keys by key. Default: none.
    """
    cls = class_of(block)
    if cls is not None:
        return _hints_of(cls)
    if isinstance(hint, dict):
        return hint
    option: Any
    for option in _options(hint):
        if typing.is_typeddict(option) or dataclasses.is_dataclass(option):
            return option_hints(typing.cast(Any, option))
        if typing.get_origin(option) is collections.abc.Mapping:
            return dict.fromkeys(block, typing.get_args(option)[1])
    return {}


def item_hint(hint: Any) -> Any:
    """Return the annotation of the items of a list; None where it has none."""
    found = (typing.get_args(option)[0] for option in _options(hint) if typing.get_origin(option) in (
        collections.abc.Sequence, list))
    return next(found, None)


def _options(hint: Any) -> list[Any]:
    """Return the annotations that a value may have one of, without notes."""
    return [without_notes(option) for option in (typing.get_args(hint) if is_union(hint) else [hint])]


def class_of(block: Mapping[str, Any]) -> Callable | None:
    """Return what the type of a block names; None where nothing has that name."""
    name = block.get('type')
    if not isinstance(name, str):
        return None
    found = (registry.find(name) for registry in (RECOGNIZER_REGISTRY, DEGRADATION_REGISTRY))
    found = (*found, *(registered_entry(registry, name) for registry in _OF_BASICSR))
    return next((entry for entry in found if entry is not None), None)


def registered_entry(registry: Registry, name: object) -> Any:
    """Return what a registry of BasicSR's has under a name, with or without `SUFFIX`; None where it has nothing."""
    entries = dict(iter(registry))
    names = (name, f'{name}{SUFFIX}') if isinstance(name, str) else ()
    return next((entries[key] for key in names if key in entries), None)


@functools.cache
def _hints_of(cls: Callable) -> Mapping[str, Any]:
    if not hasattr(cls, 'options_type') and any(entry is cls for _, entry in DATASET_REGISTRY):
        return {**option_hints(ImageFolders), **option_hints(LabelOptions)}
    try:
        return option_hints(cls)
    except (NameError, TypeError, AttributeError):  # annotations of other code that cannot be evaluated
        return {}
