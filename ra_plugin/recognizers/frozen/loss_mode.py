"""Frozen networks in training mode, for losses that exist, or are right, in that mode alone."""
import contextlib
import copy
from collections.abc import Iterator, Sequence

from torch import nn

# What draws random numbers or keeps running statistics, by the name of the class or of one of its bases.
_PINNED = ('Dropout', 'DropPath', 'DropBlock', 'StochasticDepth', '_BatchNorm', '_NormBase',
           'FrozenBatchNorm2d')
_COUNTER_SIZE = 10 ** 6  # numbers; larger buffers are tables that no layer changes


class LossMode:
    """Training mode of a network for the time of a call, while it stays frozen.

    Layers with running statistics or randomness stay in inference mode; what the others update from call to call is as
    it was afterwards.
    """

    def __init__(self, model: nn.Module):
        pinned = pinned_layers(model)
        self._unpinned = [module for module in model.modules() if module not in pinned]
        self._counters = counters(self._unpinned)

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Switch to training mode within the context."""
        kept = [(module, name, copy.deepcopy(getattr(module, name))) for module, name in self._counters]
        try:
            for module in self._unpinned:
                module.training = True
            yield
        finally:
            for module in self._unpinned:
                module.training = False
            for module, name, value in kept:
                setattr(module, name, value)


def pinned_layers(model: nn.Module) -> set[nn.Module]:
    """Return the layers that stay in inference mode while the model computes its loss."""

    def is_pinned(module: nn.Module) -> bool:
        names = [cls.__name__ for cls in type(module).__mro__]
        return isinstance(module, nn.MultiheadAttention) or any(
            name == pinned or pinned in ('Dropout', 'DropPath', 'DropBlock') and name.startswith(pinned)
            for name in names for pinned in _PINNED)

    return {module for module in model.modules() if is_pinned(module)}


def counters(modules: Sequence[nn.Module]) -> list[tuple[nn.Module, str]]:
    """Return what layers in training mode update from call to call, as (layer, attribute): a frozen one must not.

    Running means of a loss or an attention are buffers; DDOD's head counts its positive samples
    in lists, that of Dynamic R-CNN keeps the course of its training.
    """
    found = [(module, name) for module in modules for name, buffer in module.named_buffers(recurse=False)
             if buffer.numel() <= _COUNTER_SIZE]
    return found + [(module, name) for module in modules for name in vars(module)
                    if 'num_pos_samples' in name or 'history' in name]
