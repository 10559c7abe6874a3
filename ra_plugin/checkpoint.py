"""Read weights safely: safetensors, or torch files that hold tensors only; say exactly what does not fit."""
import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ra_plugin.utils.optional import require

# Where programs keep the weights within a checkpoint: BasicSR, timm, Lightning and OpenMMLab, plain training scripts.
_WEIGHT_KEYS = ('params_ema', 'params', 'state_dict_ema', 'state_dict', 'model_state_dict', 'model', 'net')
_WRAPPER_PREFIXES = ('module.', '_orig_mod.')  # of DataParallel and torch.compile


def read_weights(path: str | Path, where: str) -> dict[str, torch.Tensor]:
    """The weights in a ``.safetensors`` or torch file, on the CPU; nothing in the file is executed.

    Args:
        path: The file. A torch checkpoint may keep the weights under ``params``, ``state_dict`` or another usual key.
        where: Who asks, for messages.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file is damaged, or holds more than tensors: a pickled module is refused.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{where}: no checkpoint {path}')
    if path.suffix == '.safetensors':
        library = require('safetensors.torch', where)
        try:
            return library.load_file(path)
        except Exception as error:  # the library has its own exception class
            raise ValueError(f'{where}: {path} is no readable safetensors file ({error}).') from None
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch meets a file that is none of its own with whatever its parser stumbles over
        refused = re.search(r'GLOBAL (\S+)', str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if refused is None:
            raise ValueError(f'{where}: {path} is damaged, or no file of weights ({type(error).__name__}).') from None
        raise ValueError(
            f'{where}: {path} holds more than tensors (a pickled {refused[1]}), and loading it could run code that it '
            'carries. In the program that made it: torch.save(model.state_dict(), NEW_FILE).') from None
    for key in _WEIGHT_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not all(isinstance(v, torch.Tensor) for v in content.values()):
        found = list(content)[:8] if isinstance(content, Mapping) else type(content).__name__
        raise ValueError(f'{where}: {path} has no weights under {", ".join(_WEIGHT_KEYS)}; found {found}.')
    return dict(content)


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
