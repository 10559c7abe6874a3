"""Unsupported image sizes are an error of one line with a supported size, before the first step if possible."""
import copy

import numpy as np
import pytest
import runs
import torch
from basicsr.models.sr_model import SRModel
from basicsr.models.swinir_model import SwinIRModel
from basicsr.utils.registry import ARCH_REGISTRY
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

from ra_plugin.options import OptionError
from ra_plugin.training.network_sizes import check_validation_sizes, sizes_told


class Windows(nn.Module):
    """Network that needs sides divisible by its window, like window transformers."""

    def __init__(self, window=8):
        super().__init__()
        self.window, self.conv, self.norm = window, nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, images):
        n, c, height, width = images.shape
        images.reshape(n, c, height // self.window, self.window, width // self.window, self.window)
        return self.norm(self.conv(images))


class OneSize(Windows):
    """Network that only supports images of 200x200 pixels."""

    def forward(self, images):
        assert images.shape[-2:] == (200, 200)
        return self.conv(images)


def model_of(network, base=SRModel, net_t=None):
    class Model(base):
        def __init__(self):
            self.net_g, self.net_t, self.device = network, net_t, torch.device('cpu')

    return Model()


def loader(height, width):
    class Images(list):
        opt = {'name': 'photos', 'phase': 'val'}

    return DataLoader(Images([{'lq': torch.rand(3, height, width)}]))


@pytest.mark.parametrize('size', [(18, 16), (16, 20), (200, 602)])
def test_a_size_that_a_network_does_not_take_is_found_before_training(size):
    model = model_of(Windows())
    with pytest.raises(OptionError, match=f'datasets: photos: network_g: .* {size[1]}x{size[0]} pixels .*It needs '
                                          'sides divisible by 8: set crop_size, or a model_type whose class pads'):
        check_validation_sizes(model, [loader(32, 32), loader(*size)])
    assert model.net_g.training and model.net_g.norm.num_batches_tracked == 0  # as it was


def test_sizes_that_fit_pass_and_large_images_are_tried_in_part():
    model, seen = model_of(Windows()), []
    model.net_g.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape)))
    check_validation_sizes(model, [loader(24, 32), loader(2008, 2000)])
    assert seen == [(1, 3, 24, 32), (1, 3, 88, 80)]
    check_validation_sizes(model_of(OneSize()), [loader(200, 200)])  # where the part does not fit, the whole counts


def test_a_class_that_pads_or_restores_in_its_own_way_is_left_to_it():
    class Own(SRModel):
        def test(self):
            pass

    for base in (SwinIRModel, Own):
        check_validation_sizes(model_of(Windows(), base), [loader(18, 18)])


def test_the_transformer_is_asked_about_the_restored_images():
    with pytest.raises(OptionError, match='network_t: the network does not take an image of 18x18'):
        check_validation_sizes(model_of(nn.Identity(), net_t=Windows()), [loader(18, 18)])


def test_other_errors_are_not_said_to_be_of_the_size():
    model = model_of(Windows())
    model.lq = torch.rand(2, 3, 16, 16)
    with pytest.raises(RuntimeError, match='something else'), sizes_told(model, {'name': 'd', 'phase': 'val'}):
        raise RuntimeError('something else')
    model.lq = torch.rand(2, 3, 18, 16)
    with pytest.raises(OptionError, match=r'datasets: d: network_g: .*set crop_size \(of BasicSR'), sizes_told(
            model, {'name': 'd', 'phase': 'train'}):
        model.net_g(model.lq)


@pytest.fixture
def options(tmp_path, monkeypatch):
    monkeypatch.setattr(ARCH_REGISTRY, '_obj_map', {**ARCH_REGISTRY._obj_map, 'Windows': Windows})
    opt = runs.options(tmp_path)
    opt['network_g'] = {'type': 'Windows'}
    del opt['network_t'], opt['train']['optim_t']
    opt['train']['total_iter'] = 4
    return opt


@pytest.mark.slow
@pytest.mark.parametrize('phase', ['train', 'val'])
def test_training_says_it_in_one_line_before_a_step(options, tmp_path, phase):
    options['datasets'][phase]['crop_size'] = 18
    assert runs.train(tmp_path, options) == 2
    said = runs.output(tmp_path)
    assert f'train.py: datasets: {phase}: network_g: the network does not take an image of 18x18' in said
    assert 'Traceback' not in said and 'l_pix' not in said


@pytest.mark.slow
def test_a_later_image_of_a_validation_costs_nothing_that_was_learned(options, tmp_path):
    folder = tmp_path / 'photos' / 'a'
    folder.mkdir(parents=True)
    for name, side in (('0', 16), ('1', 18)):
        Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(folder / f'{name}.png')
    options['datasets']['val'] = {**copy.deepcopy(options['datasets']['val']), 'dataroot_gt': str(folder.parent),
                                  'classes': list('abcdefghij'), 'crop_size': None, 'batch_size_per_gpu': None,
                                  'num_worker_per_gpu': None}
    assert runs.train(tmp_path, options) == 2
    said = runs.output(tmp_path)
    assert 'datasets: val: network_g: the network does not take an image of 18x18' in said and 'Traceback' not in said
    assert (runs.folder(tmp_path) / 'training_states' / '4.state').exists()
