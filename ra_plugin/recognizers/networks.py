"""Helpers for networks of any origin: unwrapping, copying, and reading their answers."""
import copy
from typing import Any

import torch
from torch import nn

from ra_plugin.utils.text import first_line

_WRAPPERS = ('OptimizedModule', 'DistributedDataParallel', 'DataParallel')


def unwrapped(network: nn.Module) -> nn.Module:
    """Return the network within what compiles or distributes it."""
    while type(network).__name__ in _WRAPPERS:
        network = next(network.children())
    return network


def copy_of(network: nn.Module, where: str) -> nn.Module:
    """Copy a caller's network, `unwrapped`.

    Raises:
        ValueError: It cannot be copied.
    """
    try:
        return copy.deepcopy(unwrapped(network))
    except Exception as error:  # of whatever the network holds
        raise ValueError(f'{where}: the network cannot be copied ({type(error).__name__}: {first_line(error)}), and '
                         'yours is not changed. Give the function that builds it, as package.module.name, and its '
                         'checkpoint.') from error


def with_plain_gradient(module: nn.BatchNorm2d, args: tuple, output: torch.Tensor) -> None:
    """Give batch norm a gradient of an unambiguous memory layout; a forward hook.

    With a single image the stride between images means nothing, and what follows may leave any there, as layer norm
    over transposed tokens does. On a CPU, torch (2.15 at least) then mistakes the layout and returns a wrong gradient.
    """
    if len(output) == 1 and output.requires_grad:
        output.register_hook(lambda grad: grad if grad.stride(0) == grad[0].numel() else grad.contiguous())


def float_tensors(answer: Any) -> list[torch.Tensor]:
    """Return all floating-point tensors of an answer, also those in lists within."""
    if isinstance(answer, (list, tuple)):
        return [tensor for item in answer for tensor in float_tensors(item)]
    return [answer] if isinstance(answer, torch.Tensor) and answer.is_floating_point() else []


def widened(answer: Any) -> Any:
    """Return tensors of 16 bits as float32, in which losses are computed, also within mappings and lists; others
    unchanged.
    """
    if isinstance(answer, dict):
        return {name: widened(value) for name, value in answer.items()}
    if type(answer) in (list, tuple):
        return type(answer)(map(widened, answer))
    is_half = isinstance(answer, torch.Tensor) and answer.dtype in (torch.bfloat16, torch.float16)
    return answer.float() if is_half else answer
