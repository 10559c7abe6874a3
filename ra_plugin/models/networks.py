"""The networks of a BasicSR model: its attributes ``net_g``, ``net_d``, ``net_t``, ``net_g_ema``, ..."""
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn


def network_buffers(model: Any) -> Iterator[torch.Tensor]:
    """Yield the buffers of all networks, which a forward pass in training mode changes, e.g. batch norm statistics."""
    for name, network in vars(model).items():
        if name.startswith('net_') and isinstance(network, nn.Module):
            yield from network.buffers()
