"""Gradient checkpointing of a frozen network (Chen et al., arXiv:1604.06174): memory for a second forward pass."""
import functools
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

_LAYERS = (nn.modules.conv._ConvNd, nn.Linear)
_LISTS = (nn.ModuleList, nn.ModuleDict)  # have no forward
_HOW = {'use_reentrant': False, 'preserve_rng_state': False}


def checkpoint_blocks(model: nn.Module) -> int:
    """Let each block of the network keep its input alone, and compute the rest again for the backward pass; in place.

    A block is a smallest member of a list of modules that has two convolutions or linear layers: the residual block of
    a ResNet, the layer of a transformer; elsewhere a smallest module that has them. A plain sequence of layers, as
    VGG's, is cut into pieces. The results stay the same where a network in inference mode draws nothing, and changes
    nothing in place that a block is given.

    Returns:
        How many there are.
    """
    large = {module for module in model.modules() if not isinstance(module, _LISTS)
             and sum(isinstance(layer, _LAYERS) for layer in module.modules()) >= 2}
    members = _smallest({member for owner in model.modules() if isinstance(owner, (nn.Sequential, *_LISTS))
                         for member in owner.children()} & large)
    covered = {module for member in members for module in member.modules()}
    others = [block for block in _smallest(large - covered) if not covered & set(block.modules())]
    for block in (*members, *others):
        if type(block) is nn.Sequential:
            block.forward = functools.partial(_in_turn, _pieces(block))
        else:
            block.forward = functools.partial(_checkpointed, block.forward)
    return len(members) + len(others)


def _checkpointed(forward: Callable, *args, **kwargs) -> Any:
    """``forward(...)``; of lists a copy is kept, since a DenseNet goes on to append to the list of its features."""
    return checkpoint(forward, *(list(arg) if type(arg) is list else arg for arg in args), **kwargs, **_HOW)


def _pieces(layers: nn.Sequential) -> list[nn.Sequential]:
    """As many as each has convolutions and linear layers. It begins with one: others may change what they are given."""
    starts = [i for i, layer in enumerate(layers) if any(isinstance(module, _LAYERS) for module in layer.modules())]
    step = round(len(starts) ** 0.5)
    cuts = [0, *starts[step::step], len(layers)]
    return [layers[start:end] for start, end in zip(cuts, cuts[1:])]


def _in_turn(pieces: Sequence[nn.Module], value: Any) -> Any:
    for piece in pieces:
        value = _checkpointed(piece, value)
    return value


def _smallest(modules: set[nn.Module]) -> list[nn.Module]:
    """Those that hold no other of them."""
    return [module for module in modules if not any(within in modules for within in list(module.modules())[1:])]
