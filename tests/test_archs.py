"""The paper's networks: sizes counted by hand, output range, and golden outputs."""
from pathlib import Path

import pytest
import torch

from ra_plugin.archs import ResnetGenerator, SRResNet

GOLDEN = Path(__file__).parent / 'golden' / 'archs.pt'  # made by tests/golden/make_archs.py


def conv(i: int, o: int, k: int, bias: bool = True) -> int:
    return i * o * k * k + o * bias


@pytest.mark.parametrize('upscale', [1, 2, 4])
def test_srresnet_has_the_papers_parameters(upscale):
    block = 2 * conv(64, 64, 3) + 2 * 2 * 64 + 1  # two convolutions, two batch norms, one PReLU
    expected = (conv(3, 64, 9) + 1) + 5 * block + (conv(64, 64, 3) + 1) + conv(64, 3, 9)
    expected += {1: 0, 2: 1, 4: 2}[upscale] * (conv(64, 256, 3) + 1)
    assert sum(p.numel() for p in SRResNet(upscale=upscale).parameters()) == expected


def test_resnet_generator_has_cyclegans_parameters():
    bn = 2
    expected = conv(3, 64, 7, False) + bn * 64
    expected += conv(64, 128, 3, False) + bn * 128 + conv(128, 256, 3, False) + bn * 256
    expected += 6 * 2 * (conv(256, 256, 3, False) + bn * 256)
    expected += conv(256, 128, 3, False) + bn * 128 + conv(128, 64, 3, False) + bn * 64 + conv(64, 3, 7)
    assert sum(p.numel() for p in ResnetGenerator().parameters()) == expected


@pytest.mark.parametrize('net, factor', [(SRResNet(num_feat=8, num_block=1, upscale=u), u) for u in (1, 2, 4)] +
                         [(ResnetGenerator(num_feat=4, num_block=1), 1)])
def test_output_has_the_scale_and_lies_in_0_1(net, factor):
    output = net(torch.rand(2, 3, 12, 16))
    assert output.shape == (2, 3, 12 * factor, 16 * factor)
    assert 0 < output.min() and output.max() < 1


@pytest.mark.parametrize('size', [(13, 18), (16, 15)])
def test_resnet_generator_takes_sides_that_four_does_not_divide(size):
    assert ResnetGenerator(num_feat=4, num_block=1)(torch.rand(1, 3, *size)).shape == (1, 3, *size)


@pytest.mark.parametrize('upscale', [0, 3, -2])
def test_srresnet_refuses_other_scales(upscale):
    with pytest.raises(ValueError, match='expected 1, 2, 4 or another power of two'):
        SRResNet(upscale=upscale)


@pytest.mark.parametrize('name', ['SRResNet_x1', 'SRResNet_x2', 'SRResNet_x4', 'ResnetGenerator'])
def test_golden_output(name):
    """Same weights, same input, same output as when the file was made: a checkpoint keeps its meaning."""
    case = torch.load(GOLDEN, weights_only=True)[name]
    kind, _, scale = name.partition('_x')
    net = SRResNet(num_feat=4, num_block=1, upscale=int(scale)) if scale else ResnetGenerator(num_feat=4, num_block=1)
    net.load_state_dict(case['state_dict'])
    with torch.no_grad():
        torch.testing.assert_close(net.eval()(case['input']), case['output'], rtol=1e-4, atol=1e-5)
