"""Identity of option blocks: their one canonical form, and a digest of the files that they name.

Two files may write one block in two ways: a path relative to another folder, a default spelled out, keys in another
order. `canonical` gives the one form that all of them share. `digest` makes a short text of it, for records that are
kept, together with the content of what the block names: `named_files`.
"""
import dataclasses
import hashlib
import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ra_plugin.builders.block_classes import Text, class_of, hints_within, item_hint, texts
from ra_plugin.builders.named_sources import config_files, module_files, onnx_files
from ra_plugin.option_types import ClassNames, named_by
from ra_plugin.recognizers.frozen.out_of_sight import OutOfSight

_SMALL = 2 ** 22  # bytes; files up to this are known by their content, larger ones by what the file system says
_LOCK = 'lock.mdb'  # of an lmdb: it changes whenever somebody reads
# keys of a recognizer's block that say how images reach its network and how answers are read, not which network it is
_ABOUT_IMAGES = {'mean', 'std', 'input_size', 'fit', 'interpolation', 'resize', 'classes', 'feature_layer',
                 'probabilities', 'differentiable', 'seed', 'trainable', 'conditions', 'autocast', 'task', 'output',
                 'keep_classes', 'score_threshold', 'height', 'width', 'min_width', 'fill', 'channel_order', 'prompts',
                 'preprocess', 'batch_first'}
_WEIGHTS = ('checkpoint', 'file')
_CONFIG, _TENSORS = 'config.json', '.safetensors'  # which network the model in a folder is


def canonical(node: Any, hint: Any = None) -> Any:
    """Return a block in its one form: defaults filled in, paths absolute, numbers as floats, sequences as lists.

    Args:
        node: A block of options, or any value in one.
        hint: Its annotation, see `hints_within`; text that is annotated as a path is one where something is there.
    """
    if isinstance(node, Mapping):
        filled = {**_defaults(node), **node}
        hints = hints_within(filled, hint)
        return {str(name): canonical(filled[name], hints.get(name)) for name in sorted(filled, key=str)}
    if isinstance(node, (list, tuple)):
        return [canonical(value, item_hint(hint)) for value in node]
    if isinstance(node, (int, float)) and not isinstance(node, bool):
        return float(node)
    names = named_by(hint, node)
    if names is not None and names.what != 'module':
        path = os.path.expanduser(str(node))
        return os.path.realpath(path) if os.path.exists(path) else node
    return node


def _defaults(block: Mapping) -> dict[str, Any]:
    """Return the arguments that a block leaves to what it builds."""
    cls = class_of(block)
    if cls is None:
        return {}
    target = getattr(cls, 'options_type', cls)  # data sets take their block as one argument
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):  # of a class that is not written in Python
        return {}
    return {name: p.default for name, p in parameters.items() if p.default is not p.empty}


# ----------------------------------------------------------------------------------- which network a recognizer is
def members(block: Any) -> list[Mapping]:
    """Return the blocks of single recognizers in a recognizer's block: its own, or an ensemble's at any depth."""
    if not isinstance(block, Mapping):
        return []
    within = block.get('recognizers')
    if not isinstance(within, (list, tuple)):
        return [block]
    return [member for inner in within for member in members(inner)]


def same_network(first: Mapping, second: Mapping) -> bool:
    """Return True if two blocks of single recognizers name one network with the same weights.

    How images reach it (size, normalization, ``resize``) does not count: a detector that was trained against on crops
    and judges whole images is one network. Files and folders of weights are the same by their place or by their
    content.
    """
    weights = [next((block[key] for key in _WEIGHTS if isinstance(block.get(key), str)), '')
               for block in (first, second)]
    if all(weights):
        return _same_file(weights[0], weights[1])
    one, other = _model_folder(first), _model_folder(second)
    if one and other:
        return _network(first, one[0]) == _network(second, other[0]) and _same_model(one[1], other[1])
    classes = [canonical(block.get('classes'), ClassNames) for block in (first, second)]
    is_asked = getattr(class_of(first), 'open_vocabulary', False)
    return weights[0] == weights[1] and _network(first) == _network(second) and (
        is_asked or not all(classes) or classes[0] == classes[1])


def _network(block: Mapping, but: str = '') -> Mapping:
    return {key: value for key, value in canonical(block).items()
            if key not in _ABOUT_IMAGES and key != but and value not in (None, {}, [])}


def _model_folder(block: Mapping) -> tuple[str, str] | None:
    """Return the key and the path of the folder that a block takes a model from, if there is one."""
    return next(((text.key, path) for text in texts(block) if text.names is not None and text.names.is_folder
                 for path in [os.path.realpath(os.path.expanduser(text.text))] if os.path.isdir(path)), None)


def _same_model(first: str, second: str) -> bool:
    """Return True if two folders have the same config and weights."""
    if first == second:
        return True
    files = [sorted(name for name in os.listdir(folder) if name == _CONFIG or name.endswith(_TENSORS))
             for folder in (first, second)]
    return files[0] == files[1] and all(_same_file(os.path.join(first, name), os.path.join(second, name))
                                        for name in files[0])


def _same_file(first: str, second: str) -> bool:
    paths = [Path(os.path.realpath(os.path.expanduser(path))) for path in (first, second)]
    if paths[0] == paths[1]:
        return True
    if not all(path.is_file() for path in paths) or paths[0].stat().st_size != paths[1].stat().st_size:
        return False
    return _content(paths[0]) == _content(paths[1])


# ---------------------------------------------------------------------------------------------------------- digests
def digest(*parts: Any) -> str:
    """Return 20 hexadecimal digits of plain data, arrays and dataclasses; equal for equal values alone."""
    found = hashlib.sha256()
    for part in _flat(parts):
        found.update(f'{len(part)}:'.encode())
        found.update(part)
    return found.hexdigest()[:20]


def _flat(node: Any) -> Iterator[bytes]:
    if dataclasses.is_dataclass(node) and not isinstance(node, type):
        node = {field.name: getattr(node, field.name) for field in dataclasses.fields(node)}
    if isinstance(node, torch.Tensor):
        node = node.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy() if node.numel() else node.shape
    if isinstance(node, Mapping):
        yield b'{%d' % len(node)
        for key in sorted(node, key=str):
            yield str(key).encode()
            yield from _flat(node[key])
    elif isinstance(node, (list, tuple)):
        yield b'[%d' % len(node)
        for value in node:
            yield from _flat(value)
    elif isinstance(node, np.ndarray):
        yield f'{node.dtype} {node.shape}'.encode()
        yield np.ascontiguousarray(node).tobytes()
    else:
        yield f'{type(node).__name__} {node}'.encode(errors='surrogateescape')


def weights_digest(network: nn.Module) -> str:
    """Return the `digest` of all parameters and buffers of a network, on any device."""
    return digest(_tensors(network))


def _tensors(network: nn.Module) -> list:
    """Return every parameter and buffer, including those that ``state_dict`` leaves out."""
    found = []
    for name, module in network.named_modules():
        for held in (module._parameters, module._buffers):
            found += [[name, key, str(value.dtype), list(value.shape), value] for key, value in held.items()
                      if value is not None]
        for inner in module.hidden().values() if isinstance(module, OutOfSight) else ():
            found += _tensors(inner)
    return found


def named_files(block: Any, hint: Any = None, but: Sequence[str] = (), seen: frozenset[str] = frozenset()) -> list:
    """Return the identity of all files and folders that a block names, at any depth; it changes when they do.

    Args:
        block: Options in any nesting.
        hint: Annotation of ``block``, see `hints_within`.
        but: Keys to pass over.
        seen: Files to pass over in folders, absolute.
    """
    found = []
    for text in texts(block, hint):
        if text.key in but:
            continue
        if text.names is not None and text.names.what != 'file':
            found += [file_identity(path) for path in _leads_to(text)]
        elif text.names is not None or os.sep in text.text:
            path = os.path.expanduser(text.text.removeprefix('local-dir:'))
            if os.path.isdir(path) and text.names is not None and text.names.is_folder:
                found += [file_identity(file) for file in _files_of(path)]
            elif os.path.isdir(path):
                found.append(folder_identity(path, seen))
            elif os.path.isfile(path):
                found += [file_identity(file) for file in (path, *onnx_files(path))]
    for cls in _classes(block):
        found += [file_identity(path) for path in module_files(f'{cls.__module__}.')]
    return found


def contents(block: Any, hint: Any = None) -> list:
    """Return digests of the files that a block names, also of those in the folder of a model; of those in folders of
    images the names and sizes: no times.
    """
    found = []
    for text in texts(block, hint):
        if text.names is None:
            continue
        path = os.path.expanduser(text.text)
        if text.names.what != 'file':
            found.append([_content(file) for file in _leads_to(text)])
        elif os.path.isdir(path) and text.names.is_folder:
            found.append([[os.path.relpath(file, os.path.realpath(path)), _content(file)] for file in _files_of(path)])
        elif os.path.isdir(path):
            found.append([entry[:2] for entry in folder_identity(path)[1]])
        elif os.path.isfile(path):
            found.append([_content(file) for file in (path, *onnx_files(path))])
    return found


def _leads_to(text: Text) -> list[Path]:
    """Return the files that a module imports, or a config is based on, and its own."""
    is_module = text.names is not None and text.names.what == 'module'
    return module_files(text.text) if is_module else config_files(text.text)


def _classes(node: Any) -> Iterator[Callable]:
    """Yield what the blocks in a block build, each by its type."""
    if isinstance(node, Mapping):
        cls = class_of(node)
        yield from [cls] if cls else []
    for value in node.values() if isinstance(node, Mapping) else node if isinstance(node, (list, tuple)) else ():
        yield from _classes(value)


def without_secrets(node: Any, key: str = '') -> Any:
    """Return options that are safe to show: values of headers are masked, names of environment variables kept."""
    if isinstance(node, Mapping):
        return {name: without_secrets(value, 'headers' if key == 'headers' else name) for name, value in node.items()}
    if isinstance(node, list):
        return [without_secrets(value, key) for value in node]
    return '***' if key == 'headers' and '$' not in str(node) else node


def file_identity(path: str | os.PathLike) -> list:
    """Return the path of a file and its content where it is small, else its size and times.

    The time of the last change of the inode is among them: archives and copies bring an older time of the content.
    """
    state = os.stat(path)
    return [os.path.realpath(path), _content(path) if state.st_size <= _SMALL else _times(state)]


def state_identity(path: str | os.PathLike) -> list:
    """Return size and times of a file, without reading it: cheap enough for thousands of images."""
    try:
        return _times(os.stat(path))
    except OSError:
        return []


def folder_identity(folder: str | os.PathLike, but: frozenset[str] = frozenset()) -> list:
    """Return the identity of all files of a folder, at any depth; hidden files do not count.

    Args:
        folder: Path of the folder; links on the way to it are followed.
        but: Absolute paths of files to pass over.
    """
    root = os.path.realpath(folder)
    return [root, sorted(_walk(root, '', but))]


def _files_of(folder: str) -> list[str]:
    """Return the paths of all files of a folder, at any depth; hidden files do not count."""
    root, files = folder_identity(folder)
    return [os.path.join(root, name) for name, *_ in files]


def _walk(folder: str, below: str, but: frozenset[str]) -> Iterator[list]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f'{below}{entry.name}'
            if entry.name.startswith('.') or entry.name == _LOCK:
                continue
            if entry.is_dir():
                yield from _walk(entry.path, f'{name}/', but)
            elif entry.path not in but:
                yield [name, *state_identity(entry.path)]


def _times(state: os.stat_result) -> list[int]:
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns]


def _content(path: str | os.PathLike) -> str:
    found = hashlib.sha256()
    with open(path, 'rb') as file:
        while part := file.read(1 << 20):
            found.update(part)
    return found.hexdigest()
