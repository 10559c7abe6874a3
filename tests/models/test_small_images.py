"""BasicSR's metrics on images that are too small: NaN and a warning, in the validation of any model."""
import math

import numpy as np
import pytest
from basicsr.metrics import calculate_metric
from basicsr.utils import get_root_logger

from ra_plugin.models.plain_validation import PlainValidationMixin
from ra_plugin.models.recog_validation import RecogValidationMixin, _value

METRICS = ('calculate_psnr', 'calculate_ssim', 'calculate_niqe')


def pair(height: int, width: int) -> dict:
    rng = np.random.default_rng(0)
    return {name: rng.integers(0, 256, (height, width, 3), np.uint8) for name in ('img', 'img2')}


@pytest.mark.parametrize('metric, border, size', [
    ('calculate_psnr', 8, (16, 16)), ('calculate_psnr', 8, (17, 16)), ('calculate_psnr', 9, (16, 40)),
    ('calculate_ssim', 0, (10, 32)), ('calculate_ssim', 3, (16, 40)), ('calculate_ssim', 8, (16, 16)),
    ('calculate_niqe', 0, (16, 16)), ('calculate_niqe', 0, (96, 150)), ('calculate_niqe', 2, (192, 99))])
@pytest.mark.parametrize('luma', [False, True])
def test_an_image_that_is_too_small_has_no_value(metric, border, size, luma):
    options = {'type': metric, 'crop_border': border} | ({} if 'niqe' in metric else {'test_y_channel': luma})
    with pytest.warns(UserWarning, match=f'{metric} is not defined for images of {size[1]}x{size[0]} pixels with '):
        assert math.isnan(calculate_metric(pair(*size), options))


@pytest.mark.parametrize('metric, border, size', [
    ('calculate_psnr', 8, (17, 17)), ('calculate_ssim', 0, (11, 11)), ('calculate_ssim', 2, (15, 15)),
    ('calculate_niqe', 0, (96, 192))])
def test_the_smallest_that_is_large_enough_has_one(metric, border, size, recwarn):
    assert math.isfinite(calculate_metric(pair(*size), {'type': metric, 'crop_border': border}))
    assert not [warning for warning in recwarn if 'not defined' in str(warning.message)]


def test_psnr_is_that_of_its_definition():
    images = pair(20, 30)
    difference = images['img'].astype(float) - images['img2']
    inner = difference[3:-3, 3:-3]
    found = calculate_metric(images, {'type': 'calculate_psnr', 'crop_border': 3})
    assert found == pytest.approx(10 * math.log10(255 ** 2 / np.square(inner).mean()), abs=1e-9)


def test_the_mean_is_over_the_images_that_have_a_value(monkeypatch):
    told = []
    monkeypatch.setattr(get_root_logger(), 'warning', told.append)
    assert RecogValidationMixin()._mean([1.0, math.nan, 2.0], 'ssim', 'set') == 1.5
    assert math.isnan(RecogValidationMixin()._mean([math.nan], 'ssim', 'set'))
    assert ['not defined for 1 of 3 images of set' in line for line in told] == [True, False]
    assert RecogValidationMixin()._mean([math.inf, 1.0], 'psnr', 'set') == 1
    assert PlainValidationMixin()._mean([math.inf, 1.0], 'psnr', 'set') == math.inf


def test_images_of_two_sizes_are_told_with_the_file():
    images = {'img': np.zeros((8, 8, 3), np.uint8), 'img2': np.zeros((16, 16, 3), np.uint8)}
    with pytest.raises(ValueError, match='^val.metrics.psnr: a.png: expected a restored image of 16x16 .*got 8x8'):
        _value(images, {'type': 'calculate_psnr', 'crop_border': 0}, 'val.metrics.psnr: a.png')
