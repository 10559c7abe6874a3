"""Check that a network's images have as many channels as the clean ones, which losses would silently broadcast."""
from typing import Any

import torch
from torch import nn

from ra_plugin.models.stock import is_stock
from ra_plugin.options import OptionError
from ra_plugin.utils.text import how_many

_NETWORKS = ('net_g', 'net_t')


def watch_channels(model: Any) -> None:
    """Check the first output of each restoration network of a model, before any loss or metric uses it.

    A loss would silently broadcast one channel to three. A user's own model class is not checked: it may turn the
    outputs of its network, e.g. a mean and a variance, into images.

    Raises:
        OptionError: In the first step, or at the first image of a validation.
    """
    for name in _NETWORKS:
        network = getattr(model, name, None)
        if isinstance(network, nn.Module):
            _watch(model, model.get_bare_model(network), f'network_{name.removeprefix("net_")}')


def _watch(model: Any, network: nn.Module, where: str) -> None:
    def check(module: nn.Module, args: tuple, output: Any) -> None:
        clean = getattr(model, 'gt', None)
        if not is_stock(type(model), 'optimize_parameters' if module.training else 'test'):
            return
        if isinstance(output, torch.Tensor) and isinstance(clean, torch.Tensor):
            check_channels(output, clean.shape, where)
            handle.remove()

    handle = network.register_forward_hook(check)


def check_channels(restored: torch.Tensor, like: torch.Size, where: str) -> None:
    """Check that restored images have as many channels as others, both ``(N, C, H, W)``.

    Raises:
        OptionError: The number of channels differs.
    """
    if restored.dim() != 4 or len(like) != 4 or restored.shape[1] == like[1]:
        return
    raise OptionError(f'{where}: expected images of {how_many(like[1], "channel")} from the network, got '
                      f'{restored.shape[1]}. Set its number of output channels (num_out_ch, out_nc, ...), or use '
                      'images with that many (color: y of PairedImageDataset).')
