"""Recurrent layers in inference mode on a GPU: those of cuDNN have a backward pass in training mode alone."""
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn


def differentiable_recurrence(model: nn.Module) -> None:
    """Let the recurrent layers of a network compute without cuDNN, in place; other layers keep it.

    Each time that a layer is called counts, also where gradient checkpointing calls it again in the backward pass.
    """
    for layer in model.modules():
        if isinstance(layer, nn.RNNBase) and 'forward' not in vars(layer):
            vars(layer)['forward'] = functools.partial(_without_cudnn, layer.forward)


def _without_cudnn(forward: Callable, *args: Any, **kwargs: Any) -> Any:
    with torch.backends.cudnn.flags(enabled=False):
        return forward(*args, **kwargs)
