"""The networks of a finished training, built for inference: net_g, the transformer after it, and how they are fed."""
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ra_plugin.archs import SpandrelNetwork
from ra_plugin.builders.networks import check_color, pads_to_window, trained_network
from ra_plugin.builders.option_paths import resolve_paths
from ra_plugin.options import OptionError


def folder_of(run: Mapping[str, Any], root: Path) -> Path:
    """Return the folder of a run's results below ``root``."""
    return root / 'experiments' / str(run['name'])


def last_weights(folder: Path) -> Path:
    """Return the file of the last weights of a run's ``net_g``."""
    return folder / 'models' / 'net_g_latest.pth'


def networks_of(run: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Return the blocks ``network_g`` and ``network_t`` of a run's option file, with the keys of `network_input`.

    Args:
        run: The option file.
        root: Folder below which relative paths are looked up, of networks that are in a file.
    """
    networks = {key: run.get(key) for key in ('network_g', 'network_t')}
    resolve_paths(networks, root)
    return {**networks, **network_input(run)}


def network_input(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a restorer's block that say how a run's option file feeds its network.

    ``multiple_of`` is the window to which the run's model class pads in its validation. ``mean`` and ``std`` are those
    with which its data set normalizes.
    """
    found: dict[str, Any] = {}
    window = run['network_g'].get('window_size') if isinstance(run.get('network_g'), Mapping) else None
    if isinstance(window, int) and pads_to_window(run):
        found['multiple_of'] = window
    datasets = run.get('datasets') or {}
    blocks = [block for phase, block in datasets.items() if isinstance(block, Mapping)] if datasets else []
    train = [datasets['train']] if isinstance(datasets.get('train'), Mapping) else []
    for block in (*train, *blocks):
        if block.get('mean') is not None and block.get('std') is not None:
            return {**found, 'mean': block['mean'], 'std': block['std']}
    return found


def built_network(network_g: Mapping | None, network_t: Mapping | None, checkpoint: str | None, where: str,
                  remedy: str) -> nn.Module:
    """Build ``net_g``, with the transformer ``net_t`` after it if there is one, for inference.

    Args:
        network_g: Block of the network; None for the one in ``checkpoint``, whose architecture spandrel finds.
        network_t: Block of the transformer; its weights are beside ``checkpoint``: ``net_t_*`` for ``net_g_*``.
        checkpoint: Weights of ``net_g``.
        where: Place in the options, for messages.
        remedy: What to do with a network for images of one channel.

    Raises:
        OptionError: The blocks are invalid, or the network takes images of one channel.
        ValueError: The weights do not fit.
    """
    if network_g is None:
        place, networks = where, [trained_network({'type': 'SpandrelNetwork', 'checkpoint': checkpoint}, None, where)]
    else:
        place = f'{where}.network_g'
        networks = [trained_network(network_g, checkpoint, place)]
    check_color(networks[0], place, remedy)
    if network_t:
        path = Path(checkpoint or '')
        beside = path.with_name(path.name.replace('net_g_', 'net_t_', 1))
        if beside == path:
            raise OptionError(f'{where}.checkpoint: expected a file named net_g_*, with net_t_* beside it for '
                              f'network_t, got {path.name}.')
        networks.append(trained_network(network_t, str(beside), f'{where}.network_t'))
    return nn.Sequential(*networks).to(memory_format=torch.channels_last)  # faster on a CPU


def stages(network: nn.Module) -> list[nn.Module]:
    """Return ``net_g``, and the transformer after it if there is one, of what `built_network` returns."""
    return list(network) if isinstance(network, nn.Sequential) else [network]


def architectures(network: nn.Module) -> list[str]:
    """Return the names of the architectures of the `stages`; that of the network in a file as spandrel has it."""
    return [stage.architecture if isinstance(stage, SpandrelNetwork) else type(stage).__name__
            for stage in stages(network)]
