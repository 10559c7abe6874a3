"""Weights in BasicSR's files: written atomically, read safely, and found by ``param_key``."""
import types
from collections.abc import Mapping
from pathlib import Path

import torch
from basicsr.models import base_model
from basicsr.models.base_model import BaseModel
from basicsr.utils import get_root_logger

from ra_plugin.checkpoint import load_file
from ra_plugin.compat.patching import replace
from ra_plugin.state_dicts import fit, unwrapped
from ra_plugin.utils.atomic import atomic_save


def safe_checkpoints() -> None:
    """Write checkpoints atomically and load them safely.

    BasicSR's models call ``torch.save``, which leaves a broken file if the process is killed, and ``torch.load``. Their
    module gets a ``torch`` whose ``save`` writes to a temporary file and renames it, and whose ``load`` is
    `ra_plugin.checkpoint.load_file`, which also reads safetensors and rejects files with code in one line. Prefixes of
    wrappers (compile, DDP, Lightning) are removed from the names. ``torch`` itself, as the rest of the process sees it,
    and the content of the files are unchanged.
    """

    class TorchOfBaseModel(types.ModuleType):
        save = staticmethod(atomic_save)

        @staticmethod
        def load(path, map_location=None):
            return load_file(Path(path), 'path.pretrain_network')

        def __getattr__(self, name):
            return getattr(torch, name)

    base_model.torch = TorchOfBaseModel('torch')

    @replace(BaseModel, 'load_network')
    def load_network(original, self, net, load_path, strict=True, param_key='params'):
        net = self.get_bare_model(net)
        name, own = type(net).__name__, net.state_dict()
        place = next((f'path.{key}' for key, path in self.opt['path'].items()
                      if key.startswith('pretrain_network') and str(path) == str(load_path)), 'path.pretrain_network')
        weights, param_key = _part(load_file(Path(load_path), place), load_path, param_key, f'{place}: {load_path}')
        weights = fit(weights, own, load_path, place, f'{name} with param_key {param_key}') if strict else \
            unwrapped(weights, own)
        get_root_logger().info(f'Loading {name} model from {load_path}, with param key: [{param_key}].')
        self._print_different_keys_loading(net, weights, strict)
        net.load_state_dict(weights, strict=strict)


def _part(content, path: str, param_key: str | None, where: str) -> tuple[dict, str | None]:
    """Return the weights under ``param_key`` (or ``params``, BasicSR's fallback) and the key that was used."""
    part = content
    if str(path).endswith('.safetensors'):  # these have no keys above the weights
        param_key = None
    if param_key is not None and isinstance(content, Mapping):
        if param_key not in content and 'params' in content:
            get_root_logger().info(f'Loading: {param_key} does not exist, use params.')
            param_key = 'params'
        if param_key not in content:
            bare = all(isinstance(value, torch.Tensor) for value in content.values())
            remedy = 'The file has only weights: use ~' if bare else \
                f'The file has {", ".join(map(repr, list(content)[:6]))}: use one of them'
            raise ValueError(f"{where}: no key '{param_key}'. {remedy} as path.param_key_g (or _d, _t).")
        part = content[param_key]
    if not isinstance(part, Mapping) or not all(isinstance(value, torch.Tensor) for value in part.values()):
        found = ', '.join(map(repr, list(part)[:6])) if isinstance(part, Mapping) else f'a {type(part).__name__}'
        raise ValueError(f'{where}: expected weights by name with param_key {param_key}, found {found}.')
    return dict(part), param_key
