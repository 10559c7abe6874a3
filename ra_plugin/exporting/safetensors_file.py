"""Safetensors files of a network's weights, read back and compared."""
import copy
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ra_plugin.archs import SpandrelNetwork, save_restorer
from ra_plugin.archs.restorer_file import Layout
from ra_plugin.builders.fitted_network import FittedNetwork
from ra_plugin.builders.run_networks import stages
from ra_plugin.checkpoint import load_weights, read_weights
from ra_plugin.exporting.onnx_check import largest_difference, references, scale_of

_SHAPE = 1, 64, 64  # of the image that is compared; most networks take such sides


@dataclass(frozen=True)
class WeightsFile:
    """Content of a file, and what was found of it.

    Attributes:
        content: Of the file.
        dtypes: Of the weights in it, e.g. ``('float16',)``.
        opens_in_spandrel: spandrel finds the network in it.
        difference: The largest one of what the network read back makes, of the range ``[0, 1]``.
        scale: How many times as large the results are.
    """

    content: bytes
    dtypes: tuple[str, ...]
    opens_in_spandrel: bool
    difference: float
    scale: int


def weights_file(fitted: FittedNetwork) -> WeightsFile:
    """Write the weights of a network as `save_restorer` does, and read them back.

    Raises:
        ValueError: The network read back makes other images: a fault of this package or of spandrel.
    """
    network, = stages(fitted.network)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, 'net.safetensors')
        save_restorer(network, file)
        weights = read_weights(file, 'ra-plugin export')
        there = _by_spandrel(file)
        if there is None:
            there = copy.deepcopy(network)
            for value in there.state_dict().values():
                value.zero_()
            load_weights(there, file, 'ra-plugin export')
        expected = references(_like(fitted, _as_written(network)), [_SHAPE])
        difference = largest_difference(_like(fitted, there.eval()), expected)
        dtypes = {str(value.dtype).removeprefix('torch.') for value in weights.values() if value.is_floating_point()}
        return WeightsFile(file.read_bytes(), tuple(sorted(dtypes)), isinstance(there, SpandrelNetwork), difference,
                           scale_of(expected))


def _by_spandrel(file: Path) -> SpandrelNetwork | None:
    try:
        return SpandrelNetwork(str(file))
    except (ImportError, ValueError):  # spandrel is missing, or the architecture is none of its
        return None


@torch.no_grad()
def _as_written(network: nn.Module) -> nn.Module:
    """Return a copy whose weights are rounded as the layout of the network's file has them, e.g. to half precision."""
    network = copy.deepcopy(network)
    layout, own = getattr(network, 'layout', None), network.state_dict()
    if isinstance(layout, Layout):
        for name, there in layout.names.items():
            own[name].copy_(own[name].to(layout.dtypes[there]))
    return network


def _like(fitted: FittedNetwork, network: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a network that is fed as another is."""
    @torch.no_grad()
    def run(images: torch.Tensor) -> torch.Tensor:
        return FittedNetwork(network, fitted.multiple_of, fitted.mean, fitted.std, fitted.where)(images)

    return run
