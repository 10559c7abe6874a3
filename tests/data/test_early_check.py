"""Unreadable files are found by their first and last bytes, and no readable file is rejected."""
import io
import re

import numpy as np
import pytest
from PIL import Image

from ra_plugin.data.early_check import check_images, read_head
from ra_plugin.data.labeled_image_dataset import LabeledImageDataset
from ra_plugin.evaluation.record_plan import item_files

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))
FORMATS = ['png', 'jpg', 'bmp', 'webp', 'tiff', 'ppm']


def content(suffix, image=NOISE):
    file = io.BytesIO()
    image.save(file, {'jpg': 'jpeg'}.get(suffix, suffix))
    return file.getvalue()


def checked(root, **options):
    dataset = LabeledImageDataset({'phase': 'test', 'dataroot_gt': str(root), **options})
    check_images(dataset, range(len(dataset)), item_files)


@pytest.fixture
def root(tmp_path):
    """Write an image of each format, one of them with data after its end."""
    (tmp_path / 'a').mkdir()
    for suffix in FORMATS:
        (tmp_path / 'a' / f'{suffix}.{suffix}').write_bytes(content(suffix))
    (tmp_path / 'a' / 'more.jpg').write_bytes(content('jpg') + b'\0' * 5000)
    NOISE.convert('P').save(tmp_path / 'a' / 'palette.png')
    return tmp_path


def test_sound_files_pass(root):
    checked(root)


@pytest.mark.parametrize('suffix', FORMATS)
@pytest.mark.parametrize('share', [0, 0.3, 0.95])
def test_a_file_that_ends_too_early_is_named(root, suffix, share):
    file = root / 'a' / f'{suffix}.{suffix}'
    file.write_bytes(file.read_bytes()[:int(share * file.stat().st_size)])
    with pytest.raises(ValueError, match=re.escape(f'a/{suffix}.{suffix}: expected an image')) as error:
        checked(root)
    assert '\n' not in str(error.value)


def test_broken_files_are_counted(root):
    for suffix in FORMATS:
        (root / 'a' / f'{suffix}.{suffix}').write_text('404: Not Found')
    with pytest.raises(ValueError, match=re.escape('(6 such files of 8)')) as error:
        checked(root)
    assert str(error.value).count('expected an image') == 3


def test_images_that_the_data_set_refuses_are_found(root):
    NOISE.resize((60, 10)).save(root / 'a' / 'low.png')
    checked(root)
    with pytest.raises(ValueError, match='low.png: expected at least 32x32'):
        checked(root, crop_size=32)
    Image.fromarray(np.zeros((40, 40), np.uint16)).save(root / 'a' / 'deep.png')
    with pytest.raises(ValueError, match='deep.png: expected an image with 8 bits'):
        checked(root)


def test_whole_images_are_not_decoded(root, monkeypatch):
    monkeypatch.setattr('ra_plugin.data.early_check.open_image', None)
    for suffix in ('png', 'jpg'):
        assert not read_head(str(root / 'a' / f'{suffix}.{suffix}')).is_doubtful
