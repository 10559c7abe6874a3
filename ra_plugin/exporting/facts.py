"""What is known of a network from itself."""
from dataclasses import dataclass

import torch

from ra_plugin.archs import SpandrelNetwork
from ra_plugin.builders.fitted_network import FittedNetwork
from ra_plugin.exporting.graph import stages


@dataclass(frozen=True)
class NetworkFacts:
    """What is known of a network from itself.

    Attributes:
        architectures: Names: that of ``net_g``, and of the transformer after it if there is one.
        parameters: Their number, of all networks together.
        scale: How many times as large the results are.
    """

    architectures: tuple[str, ...]
    parameters: int
    scale: int


def network_facts(fitted: FittedNetwork) -> NetworkFacts:
    """Return what is known of a network, with the scale from what it makes of an image of 64 x 64 pixels."""
    parts = stages(fitted.network)
    names = [part.architecture if isinstance(part, SpandrelNetwork) else type(part).__name__ for part in parts]
    parameters = sum(parameter.numel() for parameter in fitted.network.parameters())
    with torch.no_grad():
        scale = fitted(torch.rand(1, 3, 64, 64)).shape[-1] // 64
    return NetworkFacts(tuple(names), parameters, scale)
