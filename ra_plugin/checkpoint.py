"""Read weights safely: safetensors, or torch files, of which nothing is executed; say exactly what does not fit."""
import functools
import json
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ra_plugin.state_dicts import WEIGHT_KEYS, load_fitting
from ra_plugin.utils.optional import require

OWN_KEY = 'ra_plugin'  # in a training state: what a run of ours keeps there, beside what BasicSR reads
# What trainers keep beside the weights and what holds none: settings, dates, paths. Names of classes, or of packages.
_SETTINGS = re.compile(
    r'argparse\.Namespace|types\.SimpleNamespace|collections\.(defaultdict|OrderedDict|Counter|deque)'
    r'|pathlib(\._local)?\.(Pure)?(Posix|Windows)?Path|datetime\.\w+|uuid\.UUID|enum\.\w+|typing\.\w+'
    r'|(builtins\.)?(dict|list|tuple|set|frozenset|int|float|complex|str|bytes|bool|object|slice|range)'
    r'|(omegaconf|yacs|addict|easydict|ml_collections|munch|box)\.[\w.]+'
    r'|(mmengine\.config|mmcv\.utils\.config|fvcore\.common\.config|detectron2\.config)\.[\w.]+'
    r'|(lightning|pytorch_lightning|lightning_fabric)\.([\w.]+\.)?(AttributeDict|AttrDict)'
    r'|timm\.[\w.]*(Config|Cfg)\w*')
_SETTINGS_AT_MOST = 100  # different ones in a file


class _Ignored:
    """Takes the place of an object that holds no weights; what it consists of is dropped."""

    def __setstate__(self, state: object) -> None:
        pass


class _Settings:
    """Takes the place of a class of `_SETTINGS`, which is neither imported nor called; a mapping keeps its items."""

    def __new__(cls, *args: object, **kwargs: object) -> OrderedDict:
        return OrderedDict()  # the one type with attributes that torch lets a file fill


def _no_getattr(*args: object) -> None:
    """Takes the place of ``getattr``, with which a file could get hold of any function."""


def read_weights(path: str | Path, where: str) -> dict[str, torch.Tensor]:
    """Return the weights of ``read_checkpoint``."""
    return read_checkpoint(path, where)[0]


def read_checkpoint(path: str | Path, where: str) -> tuple[dict[str, torch.Tensor], dict]:
    """The weights in a ``.safetensors`` or torch file, on the CPU, and what it says of them; nothing in it is executed.

    Args:
        path: The file. A torch checkpoint may keep the weights under ``params``, ``state_dict`` or another usual key,
            beside the state of its training.
        where: Who asks, for messages.

    Returns:
        The weights by name, and the record: what OpenMMLab keeps under ``meta`` (``dataset_meta`` has the classes), or
        ``read_record`` of a safetensors file; else empty.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file is damaged, or holds code: a pickled module is refused.
    """
    path = Path(path)
    content = load_file(path, where)
    if path.suffix == '.safetensors':
        return content, read_record(path)
    record = content.get('meta') if isinstance(content, Mapping) else None
    for key in WEIGHT_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not all(isinstance(v, torch.Tensor) for v in content.values()):
        found = list(content)[:8] if isinstance(content, Mapping) else type(content).__name__
        raise ValueError(f'{where}: {path} has no weights under {", ".join(WEIGHT_KEYS)}; found {found}.')
    return dict(content), dict(record) if isinstance(record, Mapping) else {}


def load_file(path: Path, where: str) -> Any:
    """All that a ``.safetensors`` or torch file holds, on the CPU; raises as `read_checkpoint` does."""
    if not path.is_file():
        raise FileNotFoundError(f'{where}: {path} is a folder. Name the file in it.' if path.is_dir() else
                                f'{where}: no checkpoint {path}')
    if path.suffix == '.safetensors':
        library = require('safetensors.torch', where)
        try:
            return library.load_file(path)
        except Exception as error:  # the library has its own exception class
            raise ValueError(f'{where}: {path} is no readable safetensors file ({error}).') from None
    if _is_torchscript(path):
        raise ValueError(f'{where}: {path} is a TorchScript program, and loading it could run code that it carries. '
                         'Where it comes from: torch.save(torch.jit.load(FILE).state_dict(), NEW_FILE).')
    settings: list[tuple[type, str]] = []
    while True:
        try:
            with torch.serialization.safe_globals([*_harmless(), *settings]):
                return torch.load(path, map_location='cpu', weights_only=True)
        except OSError:
            raise
        except Exception as error:  # torch meets a file that is none of its own with whatever its parser stumbles over
            refused = re.search(r'GLOBAL (\S+)', str(error)) if isinstance(error, pickle.UnpicklingError) else None
            if refused is None:
                raise ValueError(
                    f'{where}: {path} is damaged, or no file of weights ({type(error).__name__}).') from None
            if not _SETTINGS.fullmatch(refused[1]) or len(settings) == _SETTINGS_AT_MOST:
                raise ValueError(
                    f'{where}: {path} holds more than tensors (a pickled {refused[1]}), and loading it could run code '
                    'that it carries. In the program that made it: torch.save(model.state_dict(), NEW_FILE).') from None
            settings += [(_Settings, refused[1]), (_Settings, f'builtins.{refused[1]}')]  # torch cuts that off


def _is_torchscript(path: Path) -> bool:
    """Return whether the file is what ``torch.jit.save`` writes; `torch.load` would hand it to ``torch.jit.load``."""
    try:
        with zipfile.ZipFile(path) as file:
            return any(name.endswith('/constants.pkl') for name in file.namelist())
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError):  # an older or a damaged file: torch will tell
        return False


@functools.cache
def _harmless() -> list:
    """What a training checkpoint of OpenMMLab holds beside tensors, in torch's form: the object that a name stands for.

    Numpy's numbers are made by numpy. The curves of the losses, in mmengine's ``HistoryBuffer``, name their methods
    with ``getattr``: both get stand-ins, so that neither the class nor the function of that name is ever called.
    """
    # numpy 2 renamed the module of the functions, which old files name
    rebuild, scalar = np.array(0).__reduce__()[0], np.float64(0).__reduce__()[0]
    numpy = [np.ndarray, np.dtype] + [
        (function, f'numpy.{core}.multiarray.{name}') for core in ('core', '_core')
        for name, function in (('_reconstruct', rebuild), ('scalar', scalar))]
    # not the type of arrays of objects
    types = {type(np.dtype(code)) for code in np.typecodes['AllInteger'] + np.typecodes['AllFloat'] + '?SU'}
    stand_ins = [(_Ignored, 'mmengine.logging.history_buffer.HistoryBuffer'), (_no_getattr, 'builtins.getattr')]
    return [*numpy, *types, *stand_ins]


def read_record(path: str | Path) -> dict:
    """Return what a safetensors file says of its weights (mean, std, classes, ...); empty for other files."""
    if Path(path).suffix != '.safetensors':
        return {}
    with require('safetensors', 'read_record').safe_open(path, 'pt') as file:
        return {key: _decoded(value) for key, value in (file.metadata() or {}).items()}


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:  # other programs write plain text: {'format': 'pt', 'date': '2024-05-01'}
        return text


def load_weights(model: nn.Module, path: str | Path, where: str) -> None:
    """Load a checkpoint into ``model``, however its trainer wrapped it; see `load_fitting`.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file is damaged, holds code, or does not fit.
    """
    path = Path(path)
    load_fitting(model, load_file(path, where), str(path), where)
