"""Degradations give PIL's own pixels and the specified noise, and use only the given generator."""
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ra_plugin.degradations import (
    BicubicDownsample,
    Compose,
    Degradation,
    GaussianNoise,
    JPEGCompression,
    build_degradation,
)
from ra_plugin.options import OptionError
from ra_plugin.registry import DEGRADATION_REGISTRY

HALF = {'type': 'BicubicDownsample', 'scale': 2}
BLOCKS = [  # one for each registered degradation, in any order
    HALF,
    {'type': 'GaussianNoise', 'sigma': 0.1},
    {'type': 'JPEGCompression', 'quality': 10},
    {'type': 'ImageNetC', 'corruption': 'shot_noise', 'severity': 3},
    {'type': 'HighOrderDegradation', 'scale': 4},
    {'type': 'Compose', 'steps': [{'type': 'GaussianNoise', 'sigma': 0.1}, {'type': 'BicubicDownsample', 'scale': 2},
                                  {'type': 'JPEGCompression', 'quality': 30}]},
]


def test_every_registered_degradation_has_a_block():
    assert {block['type'] for block in BLOCKS} == set(DEGRADATION_REGISTRY)
    assert all(issubclass(DEGRADATION_REGISTRY.get(name, ''), Degradation) for name in DEGRADATION_REGISTRY)


def make_image(height=24, width=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def as_float(image):
    return image.astype(np.float32) / 255


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(params=BLOCKS, ids=lambda block: block['type'])
def degradation(request):
    return DEGRADATION_REGISTRY.build(request.param, 'degradation')


# The contract, for each of them

@pytest.mark.parametrize('to_input', [lambda image: image, as_float], ids=['uint8', 'float32'])
def test_result_has_the_scaled_shape_and_an_image_type(degradation, to_input):
    result = degradation(to_input(make_image(32, 48)), rng())
    assert result.shape == (32 // degradation.scale, 48 // degradation.scale, 3)
    assert result.dtype in (np.uint8, np.float32)
    assert result.dtype == np.uint8 or (result.min() >= 0 and result.max() <= 1)
    assert result.flags.writeable and result.flags.c_contiguous


def test_same_generator_state_gives_the_same_result(degradation):
    np.testing.assert_array_equal(degradation(make_image(32, 48), rng(3)), degradation(make_image(32, 48), rng(3)))


@pytest.mark.parametrize('to_input', [lambda image: image, as_float], ids=['uint8', 'float32'])
def test_input_stays_as_it_was(degradation, to_input):
    image = to_input(make_image(32, 48))
    image.setflags(write=False)
    before = image.copy()
    degradation(image, rng())
    np.testing.assert_array_equal(image, before)


def test_a_view_that_is_not_contiguous_gives_what_its_copy_gives(degradation):
    view = make_image(32, 48)[:, ::-1]
    np.testing.assert_array_equal(degradation(view, rng()), degradation(view.copy(), rng()))


def test_the_global_generator_is_not_touched(degradation):
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    degradation(make_image(32, 48), rng())
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize('image, error, message', [
    (make_image()[..., 0], ValueError, r'expected an RGB image \(H, W, 3\), got \(24, 32\)'),
    (np.zeros((4, 4, 4), np.uint8), ValueError, r'got \(4, 4, 4\)'),
    (np.zeros((0, 4, 3), np.uint8), ValueError, r'got \(0, 4, 3\)'),
    (np.zeros((4, 4, 3), np.float64), TypeError, 'expected an array of uint8, or of float32 in .0, 1., got float64'),
    (Image.new('RGB', (4, 4)), TypeError, 'got Image'),
    (make_image().astype(np.float32), ValueError, r'expected float32 in \[0, 1\], got \[0, 255\]. Divide'),
    (np.full((4, 4, 3), np.nan, np.float32), ValueError, r'got \[nan, nan\]'),
])
def test_what_is_no_image_is_refused(degradation, image, error, message):
    with pytest.raises(error, match=message):
        degradation(image, rng())


# Bicubic

@pytest.mark.parametrize('scale', [1, 2, 4])
def test_bicubic_of_uint8_is_byte_for_byte_pil(scale):
    image = make_image()
    expected = Image.fromarray(image).resize((32 // scale, 24 // scale), Image.BICUBIC)
    np.testing.assert_array_equal(BicubicDownsample(scale)(image, rng()), np.asarray(expected))


def test_bicubic_of_float_is_the_same_filter_without_rounding():
    image = make_image()
    exact = BicubicDownsample(4)(as_float(image), rng())
    rounded = BicubicDownsample(4)(image, rng())
    assert np.abs(exact * 255 - rounded).max() <= 1.01  # PIL rounds 8-bit images after each of its two passes
    assert len(np.unique(exact)) > 100


def test_bicubic_of_float_clamps_the_overshoot():
    image = np.zeros((16, 16, 3), np.float32)
    image[:, 8:] = 1
    result = BicubicDownsample(2)(image, rng())
    assert result.min() == 0 and result.max() == 1


@pytest.mark.parametrize('size, message', [
    ((24, 30), 'expected height and width divisible by scale 4, got an image of 30x24. Crop it to 28x24'),
    ((23, 32), 'got an image of 32x23. Crop it to 32x20'),
])
def test_bicubic_of_a_size_that_scale_does_not_divide_is_refused(size, message):
    with pytest.raises(ValueError, match=message):
        BicubicDownsample(4)(make_image(*size), rng())


# Noise

def test_noise_has_the_stated_mean_and_deviation():
    gray = np.full((128, 128, 3), 0.5, np.float32)
    noise = GaussianNoise(0.1)(gray, rng()) - gray
    assert abs(noise.mean()) < 0.002  # about 4 standard errors
    assert abs(noise.std() - 0.1) < 0.002
    channels = noise.reshape(-1, 3).T
    assert np.abs(np.corrcoef(channels) - np.eye(3)).max() < 0.04  # each channel has noise of its own


def test_noise_is_clamped_and_not_rounded():
    result = GaussianNoise(0.5)(make_image(), rng())
    assert result.dtype == np.float32 and result.min() == 0 and result.max() == 1
    assert not np.allclose(result * 255, np.rint(result * 255), atol=1e-3)


def test_noise_on_uint8_equals_noise_on_its_float_image():
    image = make_image()
    np.testing.assert_array_equal(GaussianNoise(0.1)(image, rng()), GaussianNoise(0.1)(as_float(image), rng()))


def test_no_noise_gives_the_image_divided_by_255():
    np.testing.assert_array_equal(GaussianNoise(0)(make_image(), rng()), as_float(make_image()))


def test_noise_differs_from_draw_to_draw():
    generator = rng()
    assert (GaussianNoise(0.1)(make_image(), generator) != GaussianNoise(0.1)(make_image(), generator)).any()


# JPEG

@pytest.mark.parametrize('quality', [1, 10, 100])
def test_jpeg_equals_a_file_saved_and_read_by_pil(quality, tmp_path):
    Image.fromarray(make_image()).save(tmp_path / 'image.jpg', quality=quality)
    expected = np.asarray(Image.open(tmp_path / 'image.jpg'))
    np.testing.assert_array_equal(JPEGCompression(quality)(make_image(), rng()), expected)


def test_jpeg_rounds_a_float_image_to_the_nearest_8_bit_image():
    image = make_image()
    off = (image + rng().uniform(-0.49, 0.49, image.shape)).clip(0, 255).astype(np.float32) / 255
    np.testing.assert_array_equal(JPEGCompression(50)(off, rng()), JPEGCompression(50)(image, rng()))


# Chains

def test_compose_is_its_steps_one_after_the_other_with_one_generator():
    opt = {'type': 'Compose', 'steps': [HALF, {'type': 'GaussianNoise', 'sigma': 0.1},
                                        {'type': 'JPEGCompression', 'quality': 10}]}
    generator, image = rng(5), make_image()
    for step in (BicubicDownsample(2), GaussianNoise(0.1), JPEGCompression(10)):
        image = step(image, generator)
    np.testing.assert_array_equal(DEGRADATION_REGISTRY.build(opt, 'degradation')(make_image(), rng(5)), image)


def test_compose_scales_by_the_product():
    chain = Compose([{'type': 'BicubicDownsample', 'scale': 2}, {'type': 'Compose', 'steps': [HALF]}])
    assert chain.scale == 4
    assert chain(make_image(), rng()).shape == (6, 8, 3)


def test_no_options_mean_no_degradation():
    identity = build_degradation(None, 'degradation')
    assert identity.scale == 1
    np.testing.assert_array_equal(identity(make_image(), rng()), make_image())


# Options

@pytest.mark.parametrize('opt, message', [
    ({'type': 'JPEGCompression', 'quality': 0}, 'expected quality from 1 to 100, got 0'),
    ({'type': 'JPEGCompression', 'quality': 101}, 'got 101'),
    ({'type': 'JPEGCompression', 'quality': 10.5}, r'd\.quality: expected a whole number, got 10\.5'),
    ({'type': 'GaussianNoise', 'sigma': -0.1}, r'sigma: expected a number in \[0, 1\], got -0\.1'),
    ({'type': 'GaussianNoise', 'sigma': float('nan')}, r'd\.sigma: expected a number, got nan'),
    ({'type': 'GaussianNoise', 'sigma': '1e-1'}, r"d\.sigma: .* YAML reads 1e-1 as text"),
    ({'type': 'GaussianNoise', 'sgima': 0.1}, "d: unknown key 'sgima'. Did you mean 'sigma'"),
    ({'type': 'BicubicDownsample', 'scale': 0}, 'expected scale >= 1, got 0'),
    ({'type': 'BicubicDownsample'}, "d: 'scale' is missing"),
    ({'type': 'BicubicDownsampel', 'scale': 2}, r"d\.type: no degradation .* Did you mean 'BicubicDownsample'"),
    ({'type': 'Compose', 'steps': [HALF, {'type': 'GaussianNoise', 'level': 1}]},
     r"d\.steps\[1\]: unknown key 'level'"),
    ({'type': 'Compose', 'steps': [{'type': 'Compose', 'steps': [{'scale': 2}]}]},
     r"d\.steps\[0\]\.steps\[0\]: no 'type'"),
    ({'type': 'Compose', 'steps': ['GaussianNoise']}, r'd\.steps: expected a list of blocks'),
])
def test_bad_options_are_refused_when_built(opt, message):
    with pytest.raises(OptionError, match=message):
        build_degradation(opt, 'd')


def test_checking_a_chain_checks_the_values_of_its_steps():
    assert DEGRADATION_REGISTRY.check({'type': 'Compose', 'steps': [HALF]}, 'd') is Compose
    with pytest.raises(OptionError,
                       match=r'^val\.d\.steps\[1\]: JPEGCompression: expected quality from 1 to 100, got 0'):
        DEGRADATION_REGISTRY.check({'type': 'Compose', 'steps': [HALF, {'type': 'JPEGCompression', 'quality': 0}]},
                                   'val.d')


@pytest.mark.slow
def test_degradations_do_not_import_basicsr_themselves():
    # ra_plugin itself may import BasicSR to register in it; an empty package in its place leaves what degradations need
    code = ('import sys, types, importlib.util as u; package = types.ModuleType("ra_plugin"); '
            'package.__path__ = list(u.find_spec("ra_plugin").submodule_search_locations); '
            'sys.modules["ra_plugin"] = package; import ra_plugin.degradations; '
            'sys.exit("basicsr" in sys.modules or "torch" in sys.modules)')
    subprocess.run([sys.executable, '-c', code], check=True)
