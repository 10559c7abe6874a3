"""Blends: networks of one architecture become one, whose weights are a mean of theirs."""
from collections.abc import Sequence

import torch
from torch import nn

from ra_plugin.builders.run_networks import architectures
from ra_plugin.options import OptionError
from ra_plugin.state_dicts import listed

_SHOWN = 3  # names of weights in a message


def shares(count: int, alpha: float | None, where: str = 'alpha') -> list[float]:
    """Return the shares of networks in a blend: ``1 - alpha`` and ``alpha`` of two, equal ones of more.

    Args:
        count: Number of networks.
        alpha: Share of the second; None: equal shares.
        where: Place of ``alpha``, for messages.

    Raises:
        OptionError: There are fewer than two, ``alpha`` is outside ``[0, 1]``, or there are more than two with one.
    """
    if count < 2:
        raise OptionError(f'blend: expected two networks or more, got {count}.')
    if alpha is None:
        return [1 / count] * count
    if count > 2:
        raise OptionError(f'{where}: it is the share of the second of two networks, and there are {count}. Leave it '
                          'out: more than two have equal shares.')
    if not 0 <= alpha <= 1:
        raise OptionError(f'{where}: expected a number from 0 (the first network) to 1 (the second), got {alpha}.')
    return [1 - alpha, alpha]


def blended(networks: Sequence[nn.Module], parts: Sequence[float], names: Sequence[str]) -> nn.Module:
    """Return the first network with the mean of all networks' weights and running statistics.

    Whole numbers, such as counts of batches, are those of the last network. Running statistics of batch norm are
    averaged as weights are; those of the blended network would have to be measured on images.

    Args:
        networks: Of one architecture; the first is changed.
        parts: Share of each; they add up to 1.
        names: Of the networks, for messages.

    Raises:
        OptionError: The architectures, or names or shapes of the weights differ.
    """
    own, others = networks[0].state_dict(), [network.state_dict() for network in networks[1:]]
    for network, other, name in zip(networks[1:], others, names[1:], strict=True):
        _check_alike(networks[0], own, network, other, f'{names[0]} and {name}')
    for key, value in own.items():
        values = [value, *(other[key] for other in others)]
        if value.is_floating_point():  # summed in double precision: equal weights stay what they are
            value.copy_(torch.stack([part * one.double() for part, one in zip(parts, values, strict=True)]).sum(0))
        else:
            value.copy_(values[-1])
    return networks[0]


def averages_statistics(network: nn.Module) -> bool:
    """Return True if a network has running statistics, which a blend only approximates."""
    return any(name.rpartition('.')[2] == 'running_mean' for name in network.state_dict())


def _check_alike(network: nn.Module, own: dict, other: nn.Module, theirs: dict, pair: str) -> None:
    kinds = [' and '.join(architectures(one)) for one in (network, other)]
    if kinds[0] != kinds[1]:
        raise OptionError(f'{pair}: expected networks of one architecture, got {kinds[0]} and {kinds[1]}. Blend a '
                          'network and what was trained from it.')
    problems = [listed('missing in the second', [key for key in own if key not in theirs], _SHOWN),
                listed('missing in the first', [key for key in theirs if key not in own], _SHOWN),
                listed('of another shape', [f'{key} ({tuple(own[key].shape)}, {tuple(theirs[key].shape)})'
                                            for key in own if key in theirs and own[key].shape != theirs[key].shape],
                       _SHOWN)]
    if any(problems):
        raise OptionError(f'{pair}: expected networks of one size, got {"; ".join(filter(None, problems))}. Blend a '
                          'network and what was trained from it.')
