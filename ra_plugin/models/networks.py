"""The networks of a BasicSR model: its attributes ``net_g``, ``net_d``, ``net_t``, ``net_g_ema``, ..."""
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn


def network_buffers(model: Any) -> Iterator[torch.Tensor]:
    """The buffers of all its networks: what a forward pass in training mode changes, as batch norm's statistics."""
    for name, network in vars(model).items():
        if name.startswith('net_') and isinstance(network, nn.Module):
            yield from network.buffers()
