"""Gradient checkpointing of a frozen network (Chen et al., arXiv:1604.06174): a second forward pass saves memory."""
import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeGuard

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

_LAYERS = (nn.modules.conv._ConvNd, nn.Linear)
_LISTS = (nn.ModuleList, nn.ModuleDict)  # have no forward


def checkpoint_unchanged(model: nn.Module, gradient: Callable[[], torch.Tensor]) -> int:
    """Checkpoint the blocks of a network, in place, unless its gradient changes.

    Args:
        model: The network, or a part of it.
        gradient: Returns the gradient of always the same answers of the network.

    Returns:
        The number of blocks that are computed again.

    Raises:
        ValueError: The gradient is not the same then; the network is left as it was.
    """
    before = gradient()
    blocks = checkpoint_blocks(model)
    after = before.new_full((), torch.nan)
    with contextlib.suppress(RuntimeError):  # of torch, where a block changed what it was given
        after = gradient()
    if not torch.allclose(after, before, rtol=1e-4, atol=1e-4 * before.abs().max().item()):
        for block in blocks:
            del block.forward
        raise ValueError('its gradient changes. Leave it out.')
    return len(blocks)


def checkpoint_blocks(model: nn.Module) -> list[nn.Module]:
    """Let blocks of the network store their input alone and compute the rest again in the backward pass; in place.

    A part is about the square root of a sequence of blocks or layers: of a stage of a ResNet, of VGG; elsewhere a
    smallest member of a list of modules that has two convolutions or linear layers, as the layer of a transformer, or a
    smallest module that has them. The results stay the same where a network in inference mode changes nothing in place
    that a part is given.

    Returns:
        The modules that have another ``forward`` now; ``del module.forward`` gives them back their own.
    """
    large = {module for module in model.modules() if not isinstance(module, _LISTS) and _count(module) >= 2}
    sequences = _smallest({module for module in large if _is_sequence(module) and large & set(module.children())})
    members = _smallest(large & {member for owner in model.modules() if isinstance(owner, (nn.Sequential, *_LISTS))
                                 for member in owner.children()})
    blocks: list[nn.Module] = []
    for module in (*sequences, *members, *_smallest(large)):
        own = set(module.modules())
        if not any(block in own or module in block.modules() for block in blocks):
            blocks.append(module)
    for block in blocks:
        in_pieces = functools.partial(_in_turn, _pieces(block)) if _is_sequence(block) else functools.partial(
            _checkpointed, block.forward)
        vars(block)['forward'] = in_pieces
    return blocks


def _count(module: nn.Module) -> int:
    return sum(isinstance(layer, _LAYERS) for layer in module.modules())


def _is_sequence(module: nn.Module) -> TypeGuard[nn.Sequential]:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _smallest(modules: set[nn.Module]) -> list[nn.Module]:
    """Return the modules that contain no other of them."""
    return [module for module in modules if not any(within in modules for within in list(module.modules())[1:])]


def _pieces(layers: nn.Sequential) -> list[nn.Sequential]:
    """Split into as many pieces as each has layers with weights. Each begins with such a layer: others may work in
    place.
    """
    children = list(layers)
    starts = [i for i, layer in enumerate(children) if _count(layer)]
    step = round(len(starts) ** 0.5)
    cuts = [0, *starts[step::step], len(children)]
    return [nn.Sequential(*children[start:end]) for start, end in zip(cuts, cuts[1:], strict=False)]


def _in_turn(pieces: Sequence[nn.Module], value: Any) -> Any:
    for piece in pieces:
        value = _checkpointed(piece, value)
    return value


def _checkpointed(forward: Callable, *args, **kwargs) -> Any:
    """Call ``forward`` with checkpointing; lists are copied, since a DenseNet appends to the list of its features."""
    return checkpoint(forward, *(list(arg) if type(arg) is list else arg for arg in args), **kwargs,
                      use_reentrant=False, preserve_rng_state=False)
