"""A network in an evaluation is fed as in its training: sizes, normalized images, color; else one line says why not."""
import copy

import pytest
import torch
import torch.nn.functional as F
import yaml
from basicsr.archs import build_network
from basicsr.models.swinir_model import SwinIRModel
from basicsr.utils.registry import DATASET_REGISTRY, MODEL_REGISTRY
from torch import nn
from torchvision.utils import save_image

from ra_plugin.builders.loaders import with_scale
from ra_plugin.builders.networks import check_color
from ra_plugin.builders.run_networks import network_input
from ra_plugin.evaluation.judging import Batch
from ra_plugin.evaluation.restorer_network import Network
from ra_plugin.evaluation.restorers import RestorerOptions, build_restorer, restorer_options
from ra_plugin.metrics.gate import Gate
from ra_plugin.options import OptionError
from ra_plugin.utils.tensors import denormalized, extended, normalized

SWINIR = {'type': 'SwinIR', 'upscale': 1, 'in_chans': 3, 'img_size': 16, 'window_size': 8, 'img_range': 1.0,
          'depths': [1], 'embed_dim': 8, 'num_heads': [2], 'mlp_ratio': 2, 'upsampler': '', 'resi_connection': '1conv'}
RUN = {'name': 'run', 'model_type': 'SwinIRModel', 'scale': 1, 'network_g': SWINIR}


def batch(height, width):
    return Batch(torch.rand(2, 3, height, width), torch.rand(2, 3, height, width), torch.zeros(2), [0, 1], ['a', 'b'])


class Window(nn.Module):
    """Takes sides that the number divides."""

    def __init__(self, number=16, channels=3):
        super().__init__()
        self.number = number
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        assert x.shape[-1] % self.number == 0 and x.shape[-2] % self.number == 0
        return self.conv(x)


class AnyWindowModel(SwinIRModel):
    """Somebody's, derived from it."""


@pytest.mark.parametrize('size', [(26, 30), (16, 24), (9, 8), (3, 5)])
def test_a_run_of_swinir_is_padded_as_its_model_class_pads(size):
    torch.manual_seed(0)
    net = swinir()
    images = batch(*size)
    ours = Network(net, **network_input(RUN))(images)
    if min(size) > 8 - max(-size[0] % 8, -size[1] % 8):  # else the model class cannot
        model = object.__new__(SwinIRModel)
        model.opt, model.net_g, model.lq = copy.deepcopy(RUN), net, images.lq
        model.test()
        torch.testing.assert_close(ours, model.output, rtol=0, atol=0)
    assert ours.shape == images.gt.shape


def swinir():
    return build_network(copy.deepcopy(SWINIR)).eval().requires_grad_(False)


@pytest.mark.parametrize('run, expected', [
    (RUN, {'multiple_of': 8}), ({**RUN, 'model_type': 'RecogAwareModel', 'base_model_type': 'SwinIRModel'},
                                {'multiple_of': 8}),
    ({**RUN, 'model_type': 'AnyWindowModel'}, {'multiple_of': 8}), ({**RUN, 'model_type': 'SRModel'}, {}),
    ({**RUN, 'model_type': 'SRModel', 'datasets': {'train': {'mean': [.1] * 3, 'std': [.2] * 3}}},
     {'mean': [.1] * 3, 'std': [.2] * 3}),
    ({**RUN, 'model_type': 'SRModel', 'datasets': {'train': {'mean': None}}}, {})],
    ids=['SwinIR', 'recognition-aware', 'derived', 'SRModel', 'normalized', 'not normalized'])
def test_what_an_option_file_says_of_its_networks_input(run, expected, monkeypatch):
    monkeypatch.setitem(MODEL_REGISTRY._obj_map, 'AnyWindowModel', AnyWindowModel)
    assert network_input(run) == expected


def test_an_explicit_key_comes_before_the_runs(tmp_path):
    run = {**RUN, 'datasets': {'train': {'mean': [.1] * 3, 'std': [1] * 3}}}
    (tmp_path / 'run.yml').write_text(yaml.safe_dump(run))
    models = tmp_path / 'experiments' / 'run' / 'models'
    models.mkdir(parents=True)
    torch.save({'params': swinir().state_dict()}, models / 'net_g_latest.pth')
    options = restorer_options({'option_file': str(tmp_path / 'run.yml'), 'multiple_of': 16, 'mean': [0] * 3,
                                'std': [1] * 3}, tmp_path, {}, 'restorers.x')
    assert (options.multiple_of, options.mean, options.std) == (16, [0] * 3, [1] * 3)
    network = build_restorer('x', options, torch.device('cpu')).processings[0].fitted
    assert (network.multiple_of, network.mean) == (16, [0] * 3)


def test_a_block_that_was_not_completed_is_refused():
    with pytest.raises(OptionError, match=r'^restorers\.x: expected a complete block, got neither folder nor'):
        build_restorer('x', RestorerOptions(option_file='run.yml'), torch.device('cpu'))


@pytest.mark.parametrize('number', [2, 8, 16])
def test_a_size_that_a_network_does_not_take_is_one_line_with_what_works(number):
    with pytest.raises(ValueError, match=rf'^restorers\.x: the network does not take an image of 35x19 pixels '
                                         rf'\(AssertionError.*\)\. It takes certain sizes; with multiple_of: '
                                         rf'{number} in its block it works\.$'):
        Network(Window(number), where='restorers.x')(batch(19, 35))


def test_a_network_that_takes_no_size_is_one_line():
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError('first line\nsecond line')

    with pytest.raises(ValueError, match=r'30x26 pixels \(RuntimeError: first line\)\. Set multiple_of, if it takes'):
        Network(Broken())(batch(26, 30))


def test_memory_that_does_not_do_is_one_line():
    class Large(nn.Module):
        def forward(self, x):
            raise torch.OutOfMemoryError('CUDA out of memory.')

    with pytest.raises(ValueError, match='needs more memory than there is. Set tile'):
        Network(Large())(batch(26, 30))


@pytest.mark.parametrize('tile', [None, 10])
def test_a_network_of_normalized_images_is_given_such_ones(tile):
    mean, std = [0.4, 0.5, 0.6], [0.1, 0.2, 0.3]
    net, images = nn.Conv2d(3, 3, 3, padding=1).eval().requires_grad_(False), batch(12, 20)
    shift, scale = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
    expected = net((images.lq - shift) / scale) * scale + shift
    if tile is None:
        torch.testing.assert_close(Network(net, mean=mean, std=std)(images), expected)
    else:
        inner = Network(net, tile, 4, mean=mean, std=std)(images)
        torch.testing.assert_close(inner[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])


@pytest.mark.parametrize('block', [{'mean': [0.5] * 3}, {'std': [0.5] * 3}, {'mean': [0.5] * 3, 'std': [0.5, 0, 0.5]},
                                   {'mean': [0.5], 'std': [0.5]}])
def test_half_a_normalization_is_refused(block, tmp_path):
    with pytest.raises(OptionError, match=r'restorers\.x: expected mean and std, three numbers each, positive for std'):
        restorer_options({'network_g': {'type': 'Interpolation'}, **block}, tmp_path, {}, 'restorers.x')


def test_normalizing_and_back_is_the_image():
    images = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    there = normalized(images, [0.4, 0.5, 0.6], [0.1, 0.2, 0.3])
    torch.testing.assert_close(denormalized(there, [0.4, 0.5, 0.6], [0.1, 0.2, 0.3]), images)
    assert normalized(images, None, None) is images and denormalized(images, None, None) is images


@pytest.mark.parametrize('size, number', [((3, 5), 8), ((1, 1), 4), ((9, 2), 16)])
def test_small_images_are_mirrored_again_and_again(size, number):
    image = torch.rand(1, 1, *size)
    found = extended(image, number)
    assert found.shape[-2] % number == found.shape[-1] % number == 0
    assert torch.equal(found[..., :size[0], :size[1]], image)
    expected = image
    while expected.shape[-1] < found.shape[-1] or expected.shape[-2] < found.shape[-2]:
        right = min(found.shape[-1] - expected.shape[-1], max(expected.shape[-1] - 1, 0))
        below = min(found.shape[-2] - expected.shape[-2], max(expected.shape[-2] - 1, 0))
        if size[1] == 1:
            expected = expected.expand(-1, -1, -1, found.shape[-1])
            right = 0
        if size[0] == 1:
            expected = expected.expand(-1, -1, found.shape[-2], -1)
            below = 0
        if right or below:
            expected = F.pad(expected, (0, right, 0, below), 'reflect')
    assert found.shape == expected.shape and torch.equal(found[..., :size[0], :], expected[..., :size[0], :])


def test_a_network_for_one_channel_is_one_line(tmp_path):
    with pytest.raises(OptionError, match='network_g: the network takes images of one channel, and is given RGB. Use'):
        check_color(Window(channels=1), 'network_g', 'Use another.')
    check_color(Window(), 'network_g', '')
    check_color(nn.Identity(), 'network_g', '')
    block = {'type': 'SRResNet', 'num_in_ch': 1, 'num_out_ch': 1, 'num_feat': 4, 'num_block': 1, 'upscale': 1}
    torch.save({'params': build_network(dict(block)).state_dict()}, tmp_path / 'net.pth')
    options = restorer_options({'network_g': block, 'checkpoint': str(tmp_path / 'net.pth')}, tmp_path, {}, 'r.x')
    with pytest.raises(OptionError, match=r'^restorers\.x\.network_g: the network takes images of one channel'):
        build_restorer('x', options, torch.device('cpu'))


@pytest.mark.parametrize('gt, lq, scale', [((16, 24), (16, 24), 1), ((16, 24), (8, 12), 2), ((17, 25), (8, 12), 2),
                                           ((16, 24), (8, 24), None), ((8, 8), (16, 16), None)])
def test_pairs_without_a_scale_have_that_of_their_images(gt, lq, scale, tmp_path):
    for kind, size in (('gt', gt), ('lq', lq)):
        (tmp_path / kind).mkdir()
        save_image(torch.rand(3, *size), tmp_path / kind / 'a.png')
    block = {'type': 'PairedImageDataset', 'phase': 'test', 'name': 'x', 'dataroot_gt': str(tmp_path / 'gt'),
             'dataroot_lq': str(tmp_path / 'lq'), 'io_backend': {'type': 'disk'}}
    cls = DATASET_REGISTRY.get('PairedImageDataset')
    if scale is None:
        with pytest.raises(OptionError, match='datasets: x: expected clean images of a multiple of the size'):
            with_scale(block, cls, 'datasets: x')
    else:
        assert with_scale(block, cls, 'datasets: x')['scale'] == scale
    assert with_scale({**block, 'scale': 7}, cls, 'datasets: x')['scale'] == 7
    assert 'scale' not in with_scale(block, DATASET_REGISTRY.get('LabeledImageDataset'), 'datasets: x')


class Inverted(nn.Module):
    """Network whose results are unlike what it is given."""

    def forward(self, x):
        return 1 - x


def test_a_gate_takes_images_with_little_noise_as_they_are_given():
    clean = torch.linspace(0.3, 0.6, 32).expand(3, 32, 32)
    lq = torch.stack([clean, clean + 0.1 * torch.randn(3, 32, 32)])
    images = Batch(lq, lq, torch.zeros(2), [0, 1], ['a', 'b'])
    made = Network(Inverted(), tile=16, gate=Gate.named('noise', 'gate'))(images)
    torch.testing.assert_close(made, torch.stack([lq[0], 1 - lq[1]]))


def test_a_gate_is_for_networks_that_keep_the_size():
    with pytest.raises(ValueError, match='x: gate: expected a network of scale 1, .* got 16x16 pixels for 8x8. Leave'):
        Network(nn.Upsample(scale_factor=2), where='x', gate=Gate.named('noise', 'gate'))(batch(8, 8))


@pytest.mark.parametrize(('block', 'message'), [
    ({'network_g': {'type': 'Interpolation'}, 'gate': 'blur'}, "restorers.x.gate: expected noise, jpeg, .* got 'blur'"),
    ({'folder': 'restored', 'gate': 'noise'}, 'restorers.x.gate: it is for networks, and these images are restored')])
def test_invalid_gates_are_refused(block, message, tmp_path):
    with pytest.raises(OptionError, match=message):
        restorer_options(block, tmp_path, {}, 'restorers.x')


def test_the_gate_of_a_block_reaches_its_network(tmp_path):
    options = restorer_options({'network_g': {'type': 'Interpolation', 'upscale': 1}, 'gate': 'jpeg:1.5'}, tmp_path, {},
                               'restorers.x')
    process, = build_restorer('x', options, torch.device('cpu')).processings
    assert process.gate == Gate('jpeg', 1.5)
