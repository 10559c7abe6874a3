"""Read weights safely: safetensors, or torch files, of which nothing is executed; say exactly what does not fit."""
import functools
import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ra_plugin.utils.optional import require

OWN_KEY = 'ra_plugin'  # in a training state: what a run of ours keeps there, beside what BasicSR reads
# Where programs keep the weights within a checkpoint: BasicSR, timm, Lightning and OpenMMLab, plain training scripts.
_WEIGHT_KEYS = ('params_ema', 'params', 'state_dict_ema', 'state_dict', 'model_state_dict', 'model', 'net')
_WRAPPER_PREFIXES = ('module.', '_orig_mod.')  # of DataParallel and torch.compile


class _Ignored:
    """Takes the place of an object that holds no weights; what it consists of is dropped."""

    def __setstate__(self, state: object) -> None:
        pass


def _no_getattr(*args: object) -> None:
    """Takes the place of ``getattr``, with which a file could get hold of any function."""


def read_weights(path: str | Path, where: str) -> dict[str, torch.Tensor]:
    """The weights of ``read_checkpoint``."""
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
    for key in _WEIGHT_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not all(isinstance(v, torch.Tensor) for v in content.values()):
        found = list(content)[:8] if isinstance(content, Mapping) else type(content).__name__
        raise ValueError(f'{where}: {path} has no weights under {", ".join(_WEIGHT_KEYS)}; found {found}.')
    return dict(content), dict(record) if isinstance(record, Mapping) else {}


def load_file(path: Path, where: str) -> Any:
    """All that a ``.safetensors`` or torch file holds, on the CPU; raises as `read_checkpoint` does."""
    if not path.is_file():
        raise FileNotFoundError(f'{where}: no checkpoint {path}')
    if path.suffix == '.safetensors':
        library = require('safetensors.torch', where)
        try:
            return library.load_file(path)
        except Exception as error:  # the library has its own exception class
            raise ValueError(f'{where}: {path} is no readable safetensors file ({error}).') from None
    try:
        with torch.serialization.safe_globals(_harmless()):
            return torch.load(path, map_location='cpu', weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch meets a file that is none of its own with whatever its parser stumbles over
        refused = re.search(r'GLOBAL (\S+)', str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if refused is None:
            raise ValueError(f'{where}: {path} is damaged, or no file of weights ({type(error).__name__}).') from None
        raise ValueError(
            f'{where}: {path} holds more than tensors (a pickled {refused[1]}), and loading it could run code that it '
            'carries. In the program that made it: torch.save(model.state_dict(), NEW_FILE).') from None


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
    """What a safetensors file says of its weights (mean, std, classes, ...); empty for other files."""
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
    """Load a checkpoint into ``model``; every key and shape has to fit.

    Batch norm's ``num_batches_tracked`` may be missing, as in torchvision's older files: nothing is computed from it.

    Raises:
        ValueError: With the keys that are missing, that are not the model's, and whose shape differs.
    """
    own = model.state_dict()
    weights = read_weights(path, where)
    for prefix in _WRAPPER_PREFIXES * 2:  # either may be the outer one
        wrapped, own_name = (all(key.startswith(prefix) for key in keys) for keys in (weights, own))
        if wrapped and not own_name:
            weights = {key[len(prefix):]: value for key, value in weights.items()}
    problems = [
        _listed('missing', [key for key in own if key not in weights and not key.endswith('num_batches_tracked')]),
        _listed('not of this model', [key for key in weights if key not in own]),
        _listed('of another shape', [
            f'{key} (file {tuple(weights[key].shape)}, model {tuple(own[key].shape)})' for key in own
            if key in weights and weights[key].shape != own[key].shape]),
    ]
    if any(problems):
        raise ValueError(f'{where}: {path} does not fit the model: {"; ".join(filter(None, problems))}.')
    model.load_state_dict(weights)


def _listed(what: str, keys: list[str], most: int = 6) -> str:
    more = f' and {len(keys) - most} more' if len(keys) > most else ''
    return f'{len(keys)} keys {what}: {", ".join(keys[:most])}{more}' if keys else ''
