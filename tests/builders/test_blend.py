"""Blends: the mean of weights, by hand in double precision, and which networks have none."""
import copy

import pytest
import torch
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from test_spandrel_network import NETWORKS, written
from torch import nn

from ra_plugin.archs import SpandrelNetwork
from ra_plugin.builders.blend import averages_statistics, blended, shares
from ra_plugin.options import OptionError


class Normalized(nn.Module):
    """Network with weights, running statistics and a count."""

    def __init__(self, seed, width=4):
        super().__init__()
        torch.manual_seed(seed)
        self.conv, self.norm = nn.Conv2d(3, width, 3), nn.BatchNorm2d(width)
        for _ in range(seed + 1):
            self(torch.rand(2, 3, 8, 8))

    def forward(self, x):
        return self.norm(self.conv(x))


def state(network):
    return {key: value.clone() for key, value in network.state_dict().items()}


@pytest.mark.parametrize('alpha, parts', [(None, [0.5, 0.5]), (0.3, [0.7, 0.3]), (0., [1, 0]), (1., [0, 1])])
def test_shares_of_two(alpha, parts):
    assert shares(2, alpha) == pytest.approx(parts)


@pytest.mark.parametrize('count, alpha, said', [
    (1, None, 'blend: expected two networks or more, got 1.'), (3, 0.3, 'share of the second of two networks, and '
                                                                        'there are 3'),
    (2, 1.2, r'alpha: expected a number from 0 .* got 1\.2'), (2, -0.1, 'got -0.1'), (2, float('nan'), 'got nan')])
def test_shares_that_are_none(count, alpha, said):
    with pytest.raises(OptionError, match=said):
        shares(count, alpha)


@pytest.mark.parametrize('count', [2, 3])
def test_the_mean_of_weights_and_statistics(count):
    networks = [Normalized(seed) for seed in range(count)]
    states, parts = [state(network) for network in networks], shares(count, 0.3 if count == 2 else None)
    result = blended(networks, parts, 'abc'[:count])
    assert result is networks[0] and averages_statistics(result)
    for key, value in result.state_dict().items():
        if key.endswith('num_batches_tracked'):
            assert value == count  # the last one's
            continue
        mean = sum(part * one[key].numpy().astype('float64') for part, one in zip(parts, states, strict=True))
        torch.testing.assert_close(value, torch.from_numpy(mean).float(), rtol=1e-7, atol=0)
    assert all(torch.equal(value, networks[1].state_dict()[key]) for key, value in states[1].items())


@pytest.mark.parametrize('alpha', [0., 1.])
def test_the_ends_are_the_networks_themselves(alpha):
    networks = [Normalized(seed) for seed in range(2)]
    states = [state(network) for network in networks]
    result = blended(networks, shares(2, alpha), 'ab').state_dict()
    assert all(torch.equal(value, states[int(alpha)][key]) for key, value in result.items()
               if value.is_floating_point())


def test_equal_weights_stay_bit_for_bit():
    networks = [Normalized(3), Normalized(3), Normalized(3)]
    before = state(networks[0])
    assert all(torch.equal(value, before[key]) for key, value in
               blended(networks, shares(3, None), 'abc').state_dict().items())


def test_networks_of_files_and_transformers_behind_them(tmp_path):
    networks = []
    for seed in range(2):
        torch.manual_seed(seed)
        file = written(tmp_path / f'{seed}.pth', NETWORKS['Compact']())
        networks.append(nn.Sequential(SpandrelNetwork(file), nn.Conv2d(3, 3, 1)).requires_grad_(False))
    both = copy.deepcopy(networks)
    result = blended(networks, [0.5, 0.5], 'ab')
    for name in ('0.body.0.weight', '1.weight'):
        torch.testing.assert_close(result.state_dict()[name], sum(one.state_dict()[name] for one in both) / 2)
    images = torch.rand(1, 3, 8, 8)
    assert not torch.equal(result(images), both[0](images)) and not averages_statistics(result)


@pytest.mark.parametrize('other, said', [
    (lambda: nn.Conv2d(3, 4, 3), 'a and b: expected networks of one architecture, got Normalized and Conv2d. Blend a '
                                 'network and what was trained from it.'),
    (lambda: Normalized(1, width=5), r'of one size, got 6 keys of another shape: conv.weight \(\(4, 3, 3, 3\), '
                                     r'\(5, 3, 3, 3\)\), .* and 3 more\.'),
    (lambda: without_statistics(), r'3 keys missing in the second: norm.running_mean, norm.running_var, '
                                   r'norm.num_batches_tracked\.')])
def test_networks_that_are_not_alike(other, said):
    network = Normalized(0)
    before = state(network)
    with pytest.raises(OptionError, match=said) as error:
        blended([network, other()], [0.5, 0.5], 'ab')
    assert '\n' not in str(error.value)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def without_statistics():
    network = Normalized(0)
    network.norm = nn.BatchNorm2d(4, track_running_stats=False)
    return network


def test_architectures_of_files_are_compared(tmp_path):
    one = SpandrelNetwork(written(tmp_path / 'a.pth', NETWORKS['Compact']()))
    other = SpandrelNetwork(written(tmp_path / 'b.pth', NETWORKS['RRDBNet']()))
    with pytest.raises(OptionError, match='got RealESRGAN Compact and ESRGAN'):
        blended([one, other], [0.5, 0.5], 'ab')
    deeper = SpandrelNetwork(written(tmp_path / 'c.pth', SRVGGNetCompact(3, 3, num_feat=4, num_conv=2, upscale=2)))
    with pytest.raises(OptionError, match='missing in the first'):
        blended([one, deeper], [0.5, 0.5], 'ab')
