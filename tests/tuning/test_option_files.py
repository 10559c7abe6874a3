"""Option files of a tuning: which image loss, how many images are measured, and that a run takes them."""
from pathlib import Path

import pytest
from torch import nn

from ra_plugin.tuning.image_plan import ImagePlan
from ra_plugin.tuning.option_files import image_loss, measured_images, training_options
from ra_plugin.tuning.options import TuneOptions
from ra_plugin.tuning.probe import Probe
from ra_plugin.tuning.source import Source


def options(**more):
    return TuneOptions(restorer='r', images='i', recognizer='n', **more)


def probe(psnr=28.0, psnr_without=26.0, step=0.1, restoring=0.001):
    return Probe(1e-3, psnr, psnr_without, step, restoring, 0.001)


@pytest.mark.parametrize('asked, psnr, key', [('auto', 28.0, 'pixel_opt'), ('auto', 25.9, 'anchor_opt'),
                                              ('clean', 25.9, 'pixel_opt'), ('original', 28.0, 'anchor_opt')])
def test_a_restorer_below_no_processing_stays_near_its_own_images(asked, psnr, key):
    block = image_loss(options(image_loss=asked), probe(psnr))
    assert list(block) == [key] and block[key]['type'] == 'MSELoss'
    assert block[key].get('to') == ('start' if key == 'anchor_opt' else None)


@pytest.mark.parametrize('there, restoring, expected', [
    (5000, 0.001, 307),  # a fifth of 600 * 0.1 s, for 24 + 15 measurements
    (5000, 0.0001, 1000), (5000, 0.1, 200), (150, 0.0001, 150), (150, 0.1, 150)])
def test_measuring_takes_a_fifth_of_the_training_between_200_and_1000_images(there, restoring, expected):
    images = ImagePlan({}, {'train': 1, 'val': there, 'report': 1}, 16, '', {})
    assert measured_images(options(), images, probe(restoring=restoring)) == expected


@pytest.mark.parametrize('device, num_gpu', [(None, 'auto'), ('cpu', 0), ('cuda', 'auto')])
def test_a_training_is_on_the_cpu_where_that_is_asked_for(device, num_gpu):
    images = ImagePlan({'train': {'type': 'UnlabeledImageDataset'}, 'val': {}}, {'train': 9, 'val': 9}, 16, '', {})
    source = Source('net', Path('net.pth'), {'type': 'SRResNet'}, 2, 'SRModel', nn.Identity())
    assert training_options(options(), source, images, {}, probe(), device)['num_gpu'] == num_gpu
