"""Crops larger than the images are found when a data set is built, with the key, an image and its size."""
import numpy as np
import pytest
from PIL import Image

from ra_plugin.builders import crop_check
from ra_plugin.builders.loaders import build_dataset
from ra_plugin.options import OptionError
from ra_plugin.training.resumable_batches import PlacedItems


@pytest.fixture
def pairs(tmp_path):
    """``pairs(*sizes)``: the block of clean images of these (width, height), and of degraded ones of half of that."""

    def write(*sizes):
        for folder, scale in (('gt', 1), ('lq', 2)):
            (tmp_path / folder).mkdir()
            for i, (width, height) in enumerate(sizes):
                Image.fromarray(np.zeros((height // scale, width // scale, 3), np.uint8)).save(
                    tmp_path / folder / f'{i}.png')
        return {'name': 'n', 'phase': 'train', 'type': 'PairedImageDataset', 'dataroot_gt': str(tmp_path / 'gt'),
                'dataroot_lq': str(tmp_path / 'lq'), 'scale': 2, 'io_backend': {'type': 'disk'}, 'use_hflip': True,
                'use_rot': False}

    return write


def test_crops_of_pairs_fit_every_image_or_the_first_that_is_too_small_is_named(pairs):
    block = pairs((20, 24), (16, 30), (12, 12))
    assert len(build_dataset({**block, 'gt_size': 12}, 'datasets.train')) == 3
    message = (r'^datasets\.train\.gt_size: expected images with sides of at least 16 pixels, got 12x12: .*2\.png\. '
               r'Set a smaller gt_size, or leave small images out\. \(1 of the 3 images')
    with pytest.raises(OptionError, match=message):
        build_dataset({**block, 'gt_size': 16}, 'datasets.train')
    assert len(build_dataset({**block, 'gt_size': 16, 'on_bad_image': 'skip'}, 'datasets.train')) == 3
    assert len(build_dataset({**block, 'gt_size': 16, 'phase': 'val'}, 'datasets.val')) == 3  # takes no crops


def test_a_degraded_image_that_is_too_small_is_named(pairs, tmp_path):
    block = pairs((20, 24))
    Image.fromarray(np.zeros((5, 20, 3), np.uint8)).save(tmp_path / 'lq' / '0.png')
    with pytest.raises(OptionError, match=r'at least 8 pixels, gt_size over scale, .* got 20x5: .*lq/0\.png'):
        build_dataset({**block, 'gt_size': 16}, 'datasets.train')


def test_crops_of_our_own_data_sets(tmp_path):
    (tmp_path / 'a').mkdir()
    Image.fromarray(np.zeros((24, 20, 3), np.uint8)).save(tmp_path / 'a' / '0.png')
    for opt, fits in (({'crop_size': 20}, True), ({'crop_size': 22}, False), ({'crop_size': 22, 'resize': 30}, True),
                      ({}, True)):
        block = {'name': 'n', 'phase': 'train', 'type': 'LabeledImageDataset', 'dataroot_gt': str(tmp_path),
                 'degradation': {'type': 'BicubicDownsample', 'scale': 2}, **opt}
        if fits:
            assert len(build_dataset(block, 'datasets.train')) == 1
        else:
            with pytest.raises(OptionError, match=r'^datasets\.train\.crop_size: .* at least 22 pixels, got 20x24: .*'):
                build_dataset(block, 'datasets.train')


def test_of_many_images_some_are_looked_at_and_the_others_named_when_they_are_read(pairs, monkeypatch):
    monkeypatch.setattr(crop_check, 'evenly_spaced_sample', lambda total, most: [])
    dataset = build_dataset({**pairs((20, 24), (12, 12), (20, 24)), 'gt_size': 16}, 'datasets.train')
    items = PlacedItems(dataset, 0, 'raise', 'datasets.train')
    small = next(i for i, paths in enumerate(dataset.paths) if paths['gt_path'].endswith('1.png'))
    assert items[(small + 1) % 3, 0, 0]['gt'].shape[-2:] == (16, 16)
    with pytest.raises(ValueError, match=r'^datasets\.train\.gt_size: .* at least 16 pixels, got 12x12: .*1\.png'):
        items[small, 0, 1]
