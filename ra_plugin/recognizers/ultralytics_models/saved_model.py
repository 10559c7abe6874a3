"""Reading of ultralytics' ``.pt`` files, which are pickled networks, without running any code of theirs.

Each object of the library, of torch's layers and of torchvision's transforms becomes a stand-in that keeps its
attributes: no class that a file names is imported or called. From the stand-ins come the weights by name and the table
of layers, from which a network is built, see `architecture`.

The library's own restricted reading (``safe_only``, 8.4.190) calls constructors of its classes with arguments from the
file. That of ``DistillationModel`` reads a second file, or an address, without restriction, and runs its code.
"""
import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ra_plugin.checkpoint import load_file

_STOOD_IN = re.compile(r'(ultralytics|torch\.nn\.modules|torchvision\.transforms)\.[\w.]+')
_MOST = 20_000  # weights of a network; the largest of the library have less than a tenth


class _Object:
    """Stand-in for an object of a library: its attributes, by name."""

    def __new__(cls, *args: object, **kwargs: object) -> '_Object':
        made = super().__new__(cls)
        made.content = {}
        return made

    def __init__(self, *args: object, **kwargs: object):
        pass

    def __setstate__(self, state: object) -> None:
        self.content = state if type(state) is dict else {}


@dataclass(frozen=True)
class SavedModel:
    """Content of a ``.pt`` file, or of a yaml file."""

    weights: dict[str, torch.Tensor] | None  # None: there are none
    layers: dict[str, Any]  # the table that the network was built from, as in a yaml file
    names: tuple[str, ...]  # of the classes
    settings: Mapping[str, Any] = field(default_factory=dict)  # of its training: gains of the loss, size of the images


def read_saved_model(path: Path, where: str) -> SavedModel:
    """Return what a ``.pt`` file of ultralytics has; averaged weights where it has those.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, has code or something else in it, or a quantized network.
    """
    with _users_classes_set_aside():
        content = load_file(path, where, _stand_ins(path))
    if not isinstance(content, Mapping):
        raise ValueError(f'{where}: {path} is no checkpoint of ultralytics, but a {type(content).__name__}. Save it '
                         'with model.save(FILE).')
    model = next((item for item in map(content.get, ('ema', 'model')) if isinstance(item, _Object)), None)
    if model is None or type(model.content.get('yaml')) is not dict:
        raise ValueError(f"{where}: {path} has no network of ultralytics under 'ema' or 'model'. For a file of weights "
                         'alone, name its yaml file: model: yolo11n.yaml, checkpoint: FILE.')
    if content.get('modelopt') is not None:
        raise ValueError(f'{where}: {path} has a quantized network, which this package does not build. Give the one '
                         'before quantization.')
    settings = content.get('train_args')
    try:
        names = model.content.get('names') or ()
        names = tuple(str(names[i]) for i in range(len(names)))
        counts: dict[int, int] = {}
        if _count(model, counts) > _MOST:
            raise ValueError(f'{where}: {path} has more than {_MOST} weights, which no network of ultralytics has.')
        return SavedModel(dict(_weights(model, counts)), model.content['yaml'], names,
                          dict(settings) if isinstance(settings, Mapping) else {})
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f'{where}: {path} is damaged: its network has no layers or no class names '
                         f'({type(error).__name__}).') from error


@contextlib.contextmanager
def _users_classes_set_aside() -> Iterator[None]:
    """Take classes that others allowed files to call, as the library does for good, off torch's list in the context."""
    aside: list[Any] = [entry for entry in torch.serialization.get_safe_globals() if _STOOD_IN.fullmatch(
        entry[1] if isinstance(entry, tuple) else f'{entry.__module__}.{entry.__qualname__}')]
    with torch.serialization.safe_globals(aside):
        pass  # on its way out, it takes them off
    try:
        yield
    finally:
        torch.serialization.add_safe_globals(aside)


def _stand_ins(path: Path) -> list[tuple[type, str]]:
    try:
        named = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # of a file of another kind, which is refused when it is read
        return []
    return [(_Object, name) for name in named if _STOOD_IN.fullmatch(name)]


def _own_weights(module: _Object) -> Iterator[tuple[str, torch.Tensor]]:
    passed_over = module.content.get('_non_persistent_buffers_set', ())
    for group in ('_parameters', '_buffers'):
        for name, value in module.content.get(group, {}).items():
            if isinstance(value, torch.Tensor) and name not in passed_over:
                yield name, value.detach()


def _children(module: _Object) -> Iterator[tuple[str, _Object]]:
    for name, child in module.content.get('_modules', {}).items():
        if isinstance(child, _Object):
            yield name, child


def _count(module: _Object, counts: dict[int, int]) -> int:
    """Return the number of names in ``state_dict()``; parts that are used twice, by `id`, are counted once."""
    if id(module) not in counts:
        counts[id(module)] = (sum(1 for _ in _own_weights(module))
                              + sum(_count(child, counts) for _, child in _children(module)))
    return counts[id(module)]


def _weights(module: _Object, counts: dict[int, int], prefix: str = '') -> Iterator[tuple[str, torch.Tensor]]:
    """Yield what ``state_dict()`` of the network would have; parts without weights are passed over."""
    for name, value in _own_weights(module):
        yield prefix + name, value
    for name, child in _children(module):
        if counts[id(child)]:
            yield from _weights(child, counts, f'{prefix}{name}.')
