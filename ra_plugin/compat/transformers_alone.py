"""Contexts in which transformers asks neither other processes nor the hub."""
import contextlib
import importlib
import sys
from collections.abc import Iterator
from typing import Any

from torch import nn

_LOSSES = 'transformers.loss.'
# Questions of losses before they sum the number of objects over all processes.
_ARE_THERE_OTHERS = ('is_accelerate_available', '_is_torch_distributed_initialized')


@contextlib.contextmanager
def without_other_processes(network: nn.Module) -> Iterator[None]:
    """Let losses of transformers count the objects of this process alone within the context.

    They would wait for all processes once in each call, and for ever where another one calls less often.

    Args:
        network: The network whose loss is computed; some have it among their modules.
    """
    names = {type(module).__module__ for module in network.modules()}
    names |= {name for name in sys.modules if name.startswith(_LOSSES)}
    modules = [sys.modules[name] for name in names if name.startswith('transformers.')]
    kept = [(module, name, vars(module)[name]) for module in modules for name in _ARE_THERE_OTHERS
            if name in vars(module)]
    try:
        for module, name, _ in kept:
            setattr(module, name, _no)
        yield
    finally:
        for module, name, function in kept:
            setattr(module, name, function)


@contextlib.contextmanager
def without_hub() -> Iterator[None]:
    """Take the name of a backbone in a config for one of timm within the context, as where the hub has none such.

    It would be looked up there even if all files of the model are at hand.
    """
    module: Any = importlib.import_module('transformers.backbone_utils')
    kept = module.hf_api
    try:
        module.hf_api = _EmptyHub
        yield
    finally:
        module.hf_api = kept


def _no() -> bool:
    return False


class _EmptyHub:
    """A hub with no repository."""

    def repo_exists(self, name: str) -> bool:
        return False
