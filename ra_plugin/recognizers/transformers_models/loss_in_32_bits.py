"""Losses of transformers in float32, whatever the type of the network's weights or of autocast.

They would be in 16 bits there: boxes of three digits, and no distances between them on a CPU.
"""
from typing import Any

import torch
from torch import nn

from ra_plugin.recognizers.networks import float_tensors, widened


def compute_loss_in_32_bits(model: Any) -> None:
    """Let a model of transformers widen the answers that its loss is computed of, in place."""
    if isinstance(getattr(model, 'criterion', None), nn.Module):
        model.criterion = _WideModule(model.criterion)
    elif getattr(model, 'loss_type', None) is not None:
        model.loss_function = _WideFunction(model.loss_function)


class _WideFunction:
    """A loss function on widened arguments."""

    def __init__(self, function: Any):
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _wide(self.function, args, kwargs)


class _WideModule(nn.Module):
    """A module that computes a loss, on widened arguments; of 32 bits whatever it is cast to."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if any(buffer.dtype in (torch.bfloat16, torch.float16) for buffer in self.module.buffers()):
            self.module.float()
        return _wide(self.module, args, kwargs)


def _wide(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    args, kwargs = tuple(map(widened, args)), widened(kwargs)
    device = next((tensor.device.type for tensor in float_tensors([*args, *kwargs.values()])), 'cpu')
    with torch.autocast(device, enabled=False):
        return function(*args, **kwargs)
