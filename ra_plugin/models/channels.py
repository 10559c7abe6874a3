"""A network whose images have other channels than the clean ones: one channel would be compared with each of three."""
from typing import Any

import torch
from torch import nn

from ra_plugin.models.stock import is_stock
from ra_plugin.options import OptionError

_NETWORKS = ('net_g', 'net_t')


def watch_channels(model: Any) -> None:
    """Check the first images that each restoration network of a model makes, before any loss or metric sees them.

    A loss would broadcast one channel to three, in silence. Code of a user's own is left to itself: it may make images
    of what its network gives, a mean and a variance as an example.

    Raises:
        OptionError: In the first step, or the first image of a validation.
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
    """Check that restored images have the channels of others, both ``(N, C, H, W)``.

    Raises:
        OptionError: One has a single channel, the other more.
    """
    if restored.dim() != 4 or len(like) != 4 or restored.shape[1] == like[1]:
        return
    raise OptionError(f'{where}: expected images of {like[1]} channels from the network, got {restored.shape[1]}. Set '
                      'its number of output channels (num_out_ch, out_nc, ...), or give it images of as many (color: y '
                      'of PairedImageDataset).')
