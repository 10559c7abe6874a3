"""Corruptions equal the published ones: against the package imagecorruptions, and against formulas."""
import cv2
import numpy as np
import pytest
import scipy.ndimage
import skimage.filters
import torch
from imagecorruptions import corruptions as published
from PIL import Image

from ra_plugin.data.labeled_image_dataset import LabeledImageDataset
from ra_plugin.degradations import ImageNetC, build_degradation
from ra_plugin.degradations.corruptions import CONSTANTS, CORRUPTIONS, filters
from ra_plugin.options import OptionError

ALL = pytest.mark.parametrize('name', CORRUPTIONS)
SEVERITIES = pytest.mark.parametrize('severity', range(1, 6))


def make_image(height=40, width=56, seed=0):
    """Return a smooth, grainy image that contains black and white."""
    rng = np.random.default_rng(seed)
    smooth = cv2.resize(rng.uniform(-50, 300, (6, 6, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
    return (smooth + rng.normal(0, 8, smooth.shape)).clip(0, 255).astype(np.uint8)


def rng(seed=0):
    return np.random.default_rng(seed)


class LegacyGenerator(np.random.RandomState):
    """Generator with the method names of numpy's Generator and the draws of numpy.random's functions."""

    integers = np.random.RandomState.randint

    def standard_normal(self, size, dtype):
        return super().standard_normal(size).astype(dtype)


# The published definitions

# In levels of 255: how far a value before the cut may be off. The default is single precision.
TOLERANCE = {'glass_blur': 1.01,  # a rounding error before its first cut is a level
             'snow': 3,  # the package rounds the flakes once, the published program cuts them twice
             'spatter': 0.3}  # a rounding error may move the rim of a drop
NOT_COMPARED = {'elastic_transform', 'impulse_noise'}  # defined otherwise there; drawn from a generator without a seed


@pytest.mark.parametrize('name', sorted(set(CORRUPTIONS) - NOT_COMPARED))
@SEVERITIES
def test_equals_the_package_with_the_same_random_numbers(name, severity, monkeypatch):
    def gaussian(image, sigma, multichannel=False):  # scikit-image renamed what the package gives
        return skimage.filters.gaussian(image, sigma, channel_axis=-1 if multichannel else None)

    monkeypatch.setattr(published, 'gaussian', gaussian)
    # Snow where the zoomed flakes end at the border: the package smears what is beyond, too. Else a size like 224: no
    # pixel lies just between two blocks of pixelate, and rounding loses none of the zoomed ones.
    image = make_image(180, 180) if name == 'snow' else make_image(64, 76)
    np.random.seed(severity)
    expected = np.asarray(getattr(published, name)(Image.fromarray(image), severity), np.float64)
    result = ImageNetC(name, severity)(image, LegacyGenerator(severity))
    tolerance = TOLERANCE.get(name, 0.002)
    assert (result >= np.floor(expected - tolerance)).all()
    assert (result <= np.floor(expected + tolerance)).all()


@pytest.mark.parametrize('constants', CONSTANTS)
@SEVERITIES
def test_elastic_transform_is_an_affine_map_and_smooth_displacements(severity, constants):
    image = make_image(48, 60)
    alpha, sigma, reach = CONSTANTS[constants]['elastic_transform'][severity - 1]
    generator = rng(severity)
    center, side = np.array([24, 30]), 48 // 3
    points = np.float32([center + side, [center[0] + side, center[1] - side], center - side])
    moved = points + generator.uniform(-reach, reach, (3, 2)).astype(np.float32)
    expected = cv2.warpAffine(np.float32(image / 255), cv2.getAffineTransform(points, moved), (60, 48),
                              borderMode=cv2.BORDER_REFLECT_101)
    dx, dy = (alpha * skimage.filters.gaussian(generator.uniform(-1, 1, (48, 60)), sigma, mode='reflect', truncate=3)
              for _ in range(2))
    y, x, z = np.meshgrid(np.arange(48.), np.arange(60.), np.arange(3.), indexing='ij')
    positions = np.stack([y + dy[..., None], x + dx[..., None], z])
    expected = 255 * scipy.ndimage.map_coordinates(np.float64(expected), positions, order=1, mode='reflect')
    result = ImageNetC('elastic_transform', severity, constants)(image, rng(severity))
    assert (result >= np.floor(expected - 0.05)).all() and (result <= np.floor(expected + 0.05)).all()


@SEVERITIES
@pytest.mark.parametrize('constants, amounts', [('imagenet', (0.03, 0.06, 0.09, 0.17, 0.27)),
                                                ('cifar10', (0.01, 0.02, 0.03, 0.05, 0.07))])
def test_impulse_noise_makes_its_share_black_or_white(severity, constants, amounts):
    gray = np.full((256, 256, 3), 100, np.uint8)
    result = ImageNetC('impulse_noise', severity, constants)(gray, rng())
    share = amounts[severity - 1] / 2
    for value in (0, 255):
        assert abs((result == value).mean() - share) < 5 * (share / gray.size) ** 0.5  # five standard errors
    assert set(np.unique(result)) == {0, 100, 255}


@pytest.mark.parametrize('name, expected', [
    ('gaussian_noise', (0.04, 0.06, 0.08, 0.09, 0.10)),
    ('shot_noise', [(0.4 / photons) ** 0.5 for photons in (500, 250, 100, 75, 50)]),
    ('speckle_noise', [0.4 * sigma for sigma in (0.06, 0.1, 0.12, 0.16, 0.2)]),
])
@SEVERITIES
def test_noise_for_small_images_has_the_stated_deviation(name, expected, severity):
    gray = np.full((256, 256, 3), 102, np.uint8)  # 0.4
    noise = ImageNetC(name, severity, 'cifar10')(gray, rng())[10:].astype(float) / 255
    assert abs(noise.std() - expected[severity - 1]) < 0.02 * expected[severity - 1] + 0.0005  # cut to 8 bits
    assert abs(noise.mean() - 0.4 + 0.5 / 255) < 0.002


@pytest.mark.slow
def test_constants_for_small_images_are_milder():
    image = make_image(64, 64)

    def error(name, severity, constants):
        return np.mean([np.abs(ImageNetC(name, severity, constants)(image, rng(i)).astype(float) - image).mean()
                        for i in range(3)])

    for name in CORRUPTIONS:
        for severity in (3, 4, 5):
            assert error(name, severity, 'cifar10') < error(name, severity, 'imagenet'), (name, severity)


@pytest.mark.parametrize('name', sorted(set(CORRUPTIONS) - {'elastic_transform', 'glass_blur', 'saturate', 'snow'}))
def test_error_grows_with_the_severity(name):
    image = make_image(224, 224)
    errors = [np.abs(ImageNetC(name, severity)(image, rng()).astype(float) - image).mean() for severity in range(1, 6)]
    assert (np.diff(errors) > 0).all()


@pytest.mark.parametrize('size, sigma', [((24, 40), 2.44), ((24, 40), 19.5), ((5, 8), 170.8)])
def test_smoothing_is_scipys_mirrored_gaussian(size, sigma):
    field = rng().uniform(-1, 1, size)
    expected = scipy.ndimage.gaussian_filter(field, sigma, mode='reflect', truncate=3)
    np.testing.assert_allclose(filters.smooth(field, sigma), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize('size, factor, extra', [(33, 4.5, 3), (35, 4.5, 1), (34, 1, 0), (50, 1.29, 0)])
def test_zoom_keeps_the_middle_of_scipys(size, factor, extra):
    line = rng().normal(size=size)
    middle = int(np.ceil(size / factor))
    first = (size - middle) // 2
    expected = scipy.ndimage.zoom(line[first:first + middle], factor, order=1)
    assert len(expected) == size + extra
    expected = expected[extra // 2:extra // 2 + size]
    np.testing.assert_allclose(filters.zoom_matrix(size, factor) @ line, expected, rtol=0, atol=1e-6)


def test_spatter_without_a_drop_leaves_the_image():
    image = make_image()
    result = CORRUPTIONS['spatter'](image, rng(), 0.1, 0.1, 1, 0.9, 0.6, False)
    np.testing.assert_array_equal(filters.cut_to_bytes(result), image)


@pytest.mark.parametrize('name', ['gaussian_blur', 'glass_blur', 'motion_blur', 'zoom_blur'])
def test_blur_leaves_what_is_flat(name):
    for value in range(0, 256, 5):  # single precision gives some a little less than a whole number
        flat = np.full((32, 32, 3), value, np.uint8)
        np.testing.assert_array_equal(ImageNetC(name, 3)(flat, rng()), flat)


# The contract of a degradation

@ALL
@pytest.mark.parametrize('constants', CONSTANTS)
@pytest.mark.parametrize('size', [(32, 32), (37, 61)])
def test_result_is_an_image_of_8_bits(name, constants, size):
    image = make_image(*size)
    image.setflags(write=False)
    before = image.copy()
    for severity in range(1, 6):
        result = ImageNetC(name, severity, constants)(image, rng())
        assert result.shape == (*size, 3) and result.dtype == np.uint8
        assert result.flags.writeable and result.flags.c_contiguous
        assert (result != image).any()
    np.testing.assert_array_equal(image, before)


@ALL
def test_draws_from_the_given_generator_alone(name):
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    image, corruption = make_image(), ImageNetC(name, 3)
    first = corruption(image, rng(1))
    np.testing.assert_array_equal(corruption(image, rng(1)), first)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    is_random = name in {'elastic_transform', 'glass_blur', 'motion_blur', 'snow', 'spatter'} or name.endswith('noise')
    assert (corruption(image, rng(2)) != first).any() == is_random


@ALL
def test_a_float_image_is_rounded_first(name):
    image, corruption = make_image(), ImageNetC(name, 2)
    off = (image + rng().uniform(-0.49, 0.49, image.shape)).clip(0, 255).astype(np.float32) / 255
    np.testing.assert_array_equal(corruption(off, rng()), corruption(image, rng()))


@ALL
def test_a_view_that_is_not_contiguous_gives_what_its_copy_gives(name):
    view = make_image()[:, ::-1]
    np.testing.assert_array_equal(ImageNetC(name, 4)(view, rng()), ImageNetC(name, 4)(view.copy(), rng()))


def test_of_several_each_is_drawn_evenly():
    image = make_image(32, 32)
    choices = [(name, severity) for name in ('brightness', 'contrast') for severity in (2, 5)]
    results = {ImageNetC(*choice)(image, rng()).tobytes(): choice for choice in choices}
    corruption = ImageNetC(['brightness', 'contrast'], [2, 5])
    drawn = [results[corruption(image, rng(seed)).tobytes()] for seed in range(400)]
    for choice in choices:
        assert abs(drawn.count(choice) - 100) < 4 * (400 * 0.25 * 0.75) ** 0.5


@pytest.mark.slow
def test_an_item_depends_on_seed_and_index_alone(tmp_path):
    for i in range(6):
        (tmp_path / 'cat').mkdir(exist_ok=True)
        Image.fromarray(make_image(seed=i)).save(tmp_path / f'cat/{i}.png')

    def read(workers, seed=0):
        dataset = LabeledImageDataset({
            'phase': 'val', 'dataroot_gt': str(tmp_path), 'seed': seed,
            'degradation': {'type': 'ImageNetC', 'corruption': list(CORRUPTIONS), 'severity': [1, 2, 3, 4, 5]}})
        return torch.cat([item['lq'] for item in torch.utils.data.DataLoader(dataset, num_workers=workers)])

    first = read(0)
    torch.testing.assert_close(read(2), first, rtol=0, atol=0)
    assert (read(0, seed=1) != first).any()


# Options

@pytest.mark.parametrize('opt, message', [
    ({'corruption': 'snwo', 'severity': 5}, "^ImageNetC: no corruption 'snwo'. Did you mean 'snow'. Known: bright"),
    ({'corruption': 'frost', 'severity': 5}, "no corruption 'frost'"),
    ({'corruption': ['snow', 'x'], 'severity': 5}, "no corruption 'x'"),
    ({'corruption': 'snow', 'severity': 0}, '^ImageNetC: expected a severity from 1 to 5, got 0. Higher is worse.$'),
    ({'corruption': 'snow', 'severity': [1, 6]}, 'got 6'),
    ({'corruption': 'snow', 'severity': 2.5}, r'd\.severity: expected a whole number or a list of whole numbers'),
    ({'corruption': [], 'severity': 1}, 'expected a corruption and a severity, got an empty list'),
    ({'corruption': 'snow', 'severity': []}, 'expected a corruption and a severity, got an empty list'),
    ({'corruption': 'snow'}, "d: 'severity' is missing"),
    ({'corruption': 'snow', 'severity': 1, 'constants': 'cifar'}, r"d\.constants: .*Did you mean 'cifar10'"),
])
def test_bad_options_are_refused_when_built(opt, message):
    with pytest.raises(OptionError, match=message):
        build_degradation({'type': 'ImageNetC', **opt}, 'd')


@pytest.mark.parametrize('size', [(31, 40), (40, 31)])
def test_an_image_that_is_too_small_is_refused(size):
    with pytest.raises(ValueError, match='^ImageNetC: expected an image of at least 32x32, got (31x40|40x31). Corrupt'):
        ImageNetC('snow', 1)(make_image(*size), rng())
