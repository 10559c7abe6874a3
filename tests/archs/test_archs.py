"""Networks: published and hand-counted sizes, shape and range of the output, and golden outputs."""
from pathlib import Path

import pytest
import torch

from ra_plugin import archs
from ra_plugin.archs import DBPN, RDN, ResnetGenerator, SRDenseNet, SRResNet

GOLDEN = Path(__file__).parents[1] / 'golden' / 'archs.pt'  # made by tests/golden/make_archs.py
SMALL = {SRResNet: {'num_feat': 4, 'num_block': 1}, ResnetGenerator: {'num_feat': 4, 'num_block': 1},
         SRDenseNet: {'num_feat': 4, 'num_block': 2, 'num_layer': 3, 'num_grow_ch': 2, 'num_bottleneck_ch': 5},
         RDN: {'num_feat': 4, 'num_block': 2, 'num_layer': 2, 'num_grow_ch': 3},
         DBPN: {'num_init_feat': 4, 'num_feat': 2, 'num_block': 3}}
LINEAR = [(SRDenseNet, 1), (SRDenseNet, 2), (SRDenseNet, 4), (RDN, 1), (RDN, 2), (RDN, 3), (RDN, 4), (RDN, 8),
          (DBPN, 2), (DBPN, 4), (DBPN, 8)]
SCALES = [(SRResNet, 1), (SRResNet, 2), (SRResNet, 4), (ResnetGenerator, 1), *LINEAR]


def build(cls, upscale):
    return cls(**SMALL[cls], **({} if cls is ResnetGenerator else {'upscale': upscale}))


def count(net) -> int:
    return sum(p.numel() for p in net.parameters())


def conv(i: int, o: int, k: int, bias: bool = True) -> int:
    return i * o * k * k + o * bias


@pytest.mark.parametrize('upscale', [1, 2, 4])
def test_srresnet_has_the_papers_parameters(upscale):
    block = 2 * conv(64, 64, 3) + 2 * 2 * 64 + 1  # two convolutions, two batch norms, one PReLU
    expected = (conv(3, 64, 9) + 1) + 5 * block + (conv(64, 64, 3) + 1) + conv(64, 3, 9)
    expected += {1: 0, 2: 1, 4: 2}[upscale] * (conv(64, 256, 3) + 1)
    assert count(SRResNet(upscale=upscale)) == expected


def test_resnet_generator_has_cyclegans_parameters():
    bn = 2
    expected = conv(3, 64, 7, False) + bn * 64
    expected += conv(64, 128, 3, False) + bn * 128 + conv(128, 256, 3, False) + bn * 256
    expected += 6 * 2 * (conv(256, 256, 3, False) + bn * 256)
    expected += conv(256, 128, 3, False) + bn * 128 + conv(128, 64, 3, False) + bn * 64 + conv(64, 3, 7)
    assert count(ResnetGenerator()) == expected


@pytest.mark.parametrize('upscale, deconvolutions', [(1, 0), (2, 1), (4, 2)])
def test_srdensenet_has_the_papers_parameters(upscale, deconvolutions):
    within = sum(conv(16 * i, 16, 3) for i in range(1, 8))  # layers 2 to 8 of a block see its layers before
    expected = conv(3, 128, 3) + sum(conv(128 * i, 16, 3) + within for i in range(1, 9))  # layer 1: the blocks before
    expected += conv(9 * 128, 256, 1) + deconvolutions * conv(256, 256, 3) + conv(256, 3, 3)
    assert count(SRDenseNet(upscale=upscale)) == expected


def test_srdensenet_has_the_papers_69_layers():
    assert sum(p.dim() == 4 for p in SRDenseNet().parameters()) == 69


@pytest.mark.slow
@pytest.mark.parametrize('upscale, shuffles, published', [
    (1, [], None), (2, [2], 22.1e6), (3, [3], 22.3e6), (4, [2, 2], 22.3e6), (8, [2, 2, 2], None)])
def test_rdn_has_the_papers_parameters(upscale, shuffles, published):
    block = sum(conv(64 * i, 64, 3) for i in range(1, 9)) + conv(9 * 64, 64, 1)
    expected = conv(3, 64, 3) + conv(64, 64, 3) + 16 * block + conv(16 * 64, 64, 1) + conv(64, 64, 3)
    expected += sum(conv(64, factor ** 2 * 64, 3) for factor in shuffles) + conv(64, 3, 3)
    assert count(RDN(upscale=upscale)) == expected
    assert published is None or round(expected, -5) == published


@pytest.mark.slow
@pytest.mark.parametrize('upscale, kernel, published', [(2, 6, None), (4, 8, 10.4e6), (8, 12, None)])
def test_dbpn_has_the_papers_parameters(upscale, kernel, published):
    projections = (7 + 6) * 3 * (conv(64, 64, kernel) + 1)  # each layer but the tail has a PReLU
    reduced = [2, 3, 4, 5, 6] + [2, 3, 4, 5, 6]  # inputs of up 3 to 7 and down 2 to 6
    expected = conv(3, 256, 3) + 1 + conv(256, 64, 1) + 1 + projections + conv(7 * 64, 3, 3)
    expected += sum(conv(64 * i, 64, 1) + 1 for i in reduced)
    assert count(DBPN(upscale=upscale)) == expected
    assert published is None or round(expected, -5) == published


@pytest.mark.parametrize('cls, upscale', SCALES)
def test_output_has_the_scale(cls, upscale):
    assert build(cls, upscale)(torch.rand(2, 3, 12, 16)).shape == (2, 3, 12 * upscale, 16 * upscale)


@pytest.mark.parametrize('cls, upscale', [case for case in SCALES if case not in LINEAR])
def test_output_lies_in_0_1(cls, upscale):
    output = build(cls, upscale)(torch.rand(2, 3, 12, 16))
    assert 0 < output.min() and output.max() < 1


@pytest.mark.parametrize('cls, upscale', LINEAR)
def test_output_is_linear_in_the_tail(cls, upscale):
    net, x = build(cls, upscale), torch.rand(1, 3, 5, 6)
    with torch.no_grad():
        once = net(x)
        for p in net.tail.parameters():
            p.mul_(64)
        torch.testing.assert_close(net(x), 64 * once)
    assert (64 * once).abs().max() > 1


@pytest.mark.parametrize('cls, upscale', SCALES)
def test_gradient_reaches_every_pixel(cls, upscale):
    x = torch.rand(1, 3, 12, 16, requires_grad=True)
    output = build(cls, upscale)(x)
    (output * torch.randn_like(output)).sum().backward()
    assert x.grad.isfinite().all() and (x.grad != 0).all()


@pytest.mark.parametrize('cls', [SRResNet, SRDenseNet, RDN, DBPN])
def test_channels_of_the_images_are_free(cls):
    net = cls(**SMALL[cls], num_in_ch=1, num_out_ch=2, upscale=2)
    assert net(torch.rand(1, 1, 5, 6)).shape == (1, 2, 10, 12)


@pytest.mark.parametrize('size', [(13, 18), (16, 15)])
def test_resnet_generator_takes_sides_that_four_does_not_divide(size):
    assert build(ResnetGenerator, 1)(torch.rand(1, 3, *size)).shape == (1, 3, *size)


@pytest.mark.slow
@pytest.mark.parametrize('cls', [SRDenseNet, DBPN])
def test_weights_start_as_he_et_al_have_it(cls):
    for name, p in cls().named_parameters():
        if p.dim() == 4 and p.numel() > 5000:
            assert p.std().item() == pytest.approx((2 / p[0].numel()) ** 0.5, rel=0.1), name


@pytest.mark.parametrize('cls, upscale, expected', [
    *((cls, upscale, '1, 2, 4 or another power of two') for cls in (SRResNet, SRDenseNet) for upscale in (0, 3, -2)),
    *((RDN, upscale, '1, 2, 3, 4 or 8') for upscale in (0, 5, -2)),
    *((DBPN, upscale, '2, 4 or 8') for upscale in (0, 1, 3, 16))])
def test_other_scales_are_refused(cls, upscale, expected):
    with pytest.raises(ValueError) as error:
        cls(upscale=upscale)
    assert str(error.value).startswith(f'{cls.__name__}: upscale: expected {expected}, got {upscale}.')
    assert '\n' not in str(error.value)


def test_dbpn_names_networks_that_do_not_upscale():
    with pytest.raises(ValueError) as error:
        DBPN(upscale=1)
    named = [cls for cls in (SRResNet, SRDenseNet, RDN) if cls.__name__ in str(error.value)]
    assert named
    for cls in named:
        build(cls, 1)


def test_a_residual_generator_starts_as_the_identity_and_learns():
    network = ResnetGenerator(num_feat=4, num_block=1, residual=True)
    images = torch.rand(2, 3, 10, 12)
    assert torch.equal(network(images), images)
    network(images).square().sum().backward()
    assert network.layers[-2].weight.grad.abs().sum() > 0
    with pytest.raises(ValueError, match='as many output as input channels, got 3 and 1'):
        ResnetGenerator(num_out_ch=1, residual=True)


@pytest.mark.parametrize('name', ['SRResNet_x1', 'SRResNet_x2', 'SRResNet_x4', 'ResnetGenerator', 'SRDenseNet_x1',
                                  'SRDenseNet_x4', 'RDN_x3', 'RDN_x4', 'DBPN_x2', 'DBPN_x4'])
def test_golden_output(name):
    """Weights and input of the file give its output, so that checkpoints stay valid."""
    case = torch.load(GOLDEN, weights_only=True)[name]
    kind, _, scale = name.partition('_x')
    net = build(getattr(archs, kind), int(scale or 1))
    net.load_state_dict(case['state_dict'])
    with torch.no_grad():
        torch.testing.assert_close(net.eval()(case['input']), case['output'], rtol=1e-4, atol=1e-5)
