"""Safe loading of weights from safetensors and torch files: no code of a file is executed, and mismatches are named."""
import functools
import json
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ra_plugin.state_dicts import WEIGHT_KEYS, load_fitting
from ra_plugin.utils.optional import require

OWN_KEY = 'ra_plugin'  # key of our own entries in a training state, beside those of BasicSR
# Classes (or packages) of objects that trainers save beside the weights: settings, dates, paths.
_SETTINGS = re.compile(
    r'argparse\.Namespace|types\.SimpleNamespace|collections\.(defaultdict|OrderedDict|Counter|deque)'
    r'|pathlib(\._local)?\.(Pure)?(Posix|Windows)?Path|datetime\.\w+|uuid\.UUID|enum\.\w+|typing\.\w+'
    r'|(builtins\.)?(dict|list|tuple|set|frozenset|int|float|complex|str|bytes|bool|object|slice|range)'
    r'|(omegaconf|yacs|addict|easydict|ml_collections|munch|box)\.[\w.]+'
    r'|(mmengine\.config|mmcv\.utils\.config|fvcore\.common\.config|detectron2\.config)\.[\w.]+'
    r'|(lightning|pytorch_lightning|lightning_fabric)\.([\w.]+\.)?(AttributeDict|AttrDict)'
    r'|timm\.[\w.]*(Config|Cfg)\w*')
_SETTINGS_AT_MOST = 100  # different classes in a file


class _Ignored:
    """Stand-in for an object without weights; its content is dropped."""

    def __setstate__(self, state: object) -> None:
        pass


class _Settings:
    """Stand-in for a class of `_SETTINGS`, which is neither imported nor called; a mapping keeps its items."""

    def __new__(cls, *args: object, **kwargs: object) -> OrderedDict:
        return OrderedDict()  # the only type with attributes that torch lets a file set


def _no_getattr(*args: object) -> None:
    """Stand-in for ``getattr``, through which a file could reach any function."""


def read_weights(path: str | Path, where: str) -> dict[str, torch.Tensor]:
    """Return the weights in a checkpoint; see `read_checkpoint`."""
    return read_checkpoint(path, where)[0]


def read_checkpoint(path: str | Path, where: str) -> tuple[dict[str, torch.Tensor], dict]:
    """Return the weights and the metadata of a ``.safetensors`` or torch file; no code in it is executed.

    Args:
        path: The file. A torch checkpoint may keep the weights under ``params``, ``state_dict`` or another usual key,
            beside its training state.
        where: Name of the caller, for messages.

    Returns:
        The weights by name, on the CPU, and the metadata: OpenMMLab's ``meta`` (whose ``dataset_meta`` has the
        classes), or `read_record` of a safetensors file; otherwise an empty dict.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or contains code, e.g. a pickled module.
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


def load_file(path: Path, where: str, stand_ins: Sequence[tuple[type, str]] = ()) -> Any:
    """Return the whole content of a ``.safetensors`` or torch file, on the CPU; raises as `read_checkpoint` does.

    Args:
        path: The file.
        where: Name of the caller, for messages.
        stand_ins: Harmless classes, each with the dotted name in a torch file that it stands for.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{where}: {path} is a folder. Name the file in it.' if path.is_dir() else
                                f'{where}: no checkpoint {path}')
    if path.suffix == '.safetensors':
        library = require('safetensors.torch', where)
        try:
            return library.load_file(path)
        except Exception as error:  # the library has its own exception class
            raise ValueError(f'{where}: {path} is not a readable safetensors file ({error}).') from None
    if _is_torchscript(path):
        raise ValueError(f'{where}: {path} is a TorchScript program, and loading it could run code. Convert it where '
                         'it was made: torch.save(torch.jit.load(FILE).state_dict(), NEW_FILE).')
    settings: list[tuple[type, str]] = []
    while True:
        try:
            added = [*_harmless(), *stand_ins, *settings]
            present = set(torch.serialization.get_safe_globals())  # on its way out, the context drops what it is given
            with torch.serialization.safe_globals([item for item in added if item not in present]):
                return torch.load(path, map_location='cpu', weights_only=True)
        except OSError:
            raise
        except Exception as error:  # for a file of another kind torch raises any error of its parser
            refused = re.search(r'GLOBAL (\S+)', str(error)) if isinstance(error, pickle.UnpicklingError) else None
            if refused is None:
                raise ValueError(
                    f'{where}: {path} is damaged, or not a weights file ({type(error).__name__}).') from None
            if not _SETTINGS.fullmatch(refused[1]) or len(settings) == _SETTINGS_AT_MOST:
                raise ValueError(
                    f'{where}: {path} contains more than tensors (a pickled {refused[1]}), and loading it could run '
                    'code. Save only the weights: torch.save(model.state_dict(), NEW_FILE).') from None
            settings += [(_Settings, refused[1]), (_Settings, f'builtins.{refused[1]}')]  # torch drops `builtins.`


def _is_torchscript(path: Path) -> bool:
    """Return True for a file of ``torch.jit.save``, which `torch.load` would pass on to ``torch.jit.load``."""
    try:
        with zipfile.ZipFile(path) as file:
            return any(name.endswith('/constants.pkl') for name in file.namelist())
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError):  # old or damaged: torch raises for it
        return False


@functools.cache
def _harmless() -> list:
    """Return the safe globals of OpenMMLab's training checkpoints, as torch takes them: objects or (object, name).

    Numpy's scalars and arrays are built by numpy itself. The loss curves, in mmengine's ``HistoryBuffer``, refer to
    their methods with ``getattr``: both get stand-ins, so that neither the class nor the function is ever called.
    """
    # numpy 2 renamed the module of these functions; old files have the old name
    rebuild, scalar = np.array(0).__reduce__()[0], np.float64(0).__reduce__()[0]
    numpy = [np.ndarray, np.dtype] + [
        (function, f'numpy.{core}.multiarray.{name}') for core in ('core', '_core')
        for name, function in (('_reconstruct', rebuild), ('scalar', scalar))]
    # without the dtype of object arrays
    types = {type(np.dtype(code)) for code in np.typecodes['AllInteger'] + np.typecodes['AllFloat'] + '?SU'}
    stand_ins = [(_Ignored, 'mmengine.logging.history_buffer.HistoryBuffer'), (_no_getattr, 'builtins.getattr')]
    return [*numpy, *types, *stand_ins]


def read_record(path: str | Path) -> dict:
    """Return the metadata of a safetensors file (mean, std, classes, ...); an empty dict for other files."""
    return {key: _decoded(value) for key, value in read_metadata(path).items()}


def read_metadata(path: str | Path) -> dict[str, str]:
    """Return the metadata of a safetensors file as the texts that it has; an empty dict for other files."""
    if Path(path).suffix != '.safetensors':
        return {}
    with require('safetensors', 'read_metadata').safe_open(path, 'pt') as file:
        return dict(file.metadata() or {})


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:  # other programs write plain text: {'format': 'pt', 'date': '2024-05-01'}
        return text


def load_weights(model: nn.Module, path: str | Path, where: str) -> None:
    """Load a checkpoint into ``model``, without the prefixes of a trainer's wrappers; see `load_fitting`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, contains code, or does not fit.
    """
    path = Path(path)
    load_fitting(model, load_file(path, where), str(path), where)
