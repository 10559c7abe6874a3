"""High-order degradation: each step equals BasicSR's on equal draws, and so does the whole."""
import dataclasses
import random

import cv2
import numpy as np
import pytest
import torch
from basicsr.data import degradations as published
from basicsr.utils import DiffJPEG
from basicsr.utils.img_process_util import filter2D
from basicsr_degradation import FIRST, SECOND, degrade, draw_item, fed_model
from PIL import Image
from scipy import stats
from skimage import data
from torch.nn import functional as F

from ra_plugin.data.detection_dataset import DetectionDataset
from ra_plugin.degradations import BicubicDownsample, HighOrderDegradation, build_degradation
from ra_plugin.degradations.high_order import kernels, steps
from ra_plugin.degradations.high_order.options import KERNELS, Stage
from ra_plugin.options import OptionError


def photo(height=128, width=128, top=60, left=160):
    """Return a part of a photo, uint8."""
    return np.ascontiguousarray(data.astronaut()[top:top + height, left:left + width])


def as_unit(image):
    return image.astype(np.float32) / 255


def as_tensor(image):
    return torch.from_numpy(image).permute(2, 0, 1)[None]


def as_array(tensor):
    return tensor[0].permute(1, 2, 0).numpy()


def rng(seed=0):
    return np.random.default_rng(seed)


# Kernels

@pytest.mark.parametrize('kind', KERNELS)
@pytest.mark.parametrize('size, sigma, angle, beta', [(7, (0.2, 3), 0.3, 0.5), (13, (2.5, 0.7), -2.9, 1.0),
                                                      (21, (3, 1.4), 1.6, 4.0)])
def test_bell_equals_the_published_kernel(kind, size, sigma, angle, beta):
    name = {'generalized': 'bivariate_generalized_Gaussian', 'plateau': 'bivariate_plateau'}.get(
        kind.split('_')[0], 'bivariate_Gaussian')
    is_isotropic = kind in ('iso', 'generalized_iso', 'plateau_iso')
    shape = [] if name == 'bivariate_Gaussian' else [beta]
    expected = getattr(published, name)(size, *sigma, angle, *shape, isotropic=is_isotropic)
    kernel = kernels.bell(size, (sigma[0], sigma[0]) if is_isotropic else sigma, 0 if is_isotropic else angle,
                          *(shape or [1]), 'plateau' if kind.startswith('plateau') else 'gaussian')
    np.testing.assert_allclose(kernel, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize('size, cutoff', [(7, np.pi / 3), (13, np.pi / 5), (21, 2.0), (9, np.pi)])
def test_sinc_equals_the_published_kernel(size, cutoff):
    np.testing.assert_allclose(kernels.sinc(size, cutoff), published.circular_lowpass_kernel(cutoff, size),
                               rtol=0, atol=1e-12)


def widths(drawn):
    """Return the standard deviation of each kernel, in pixels, along the rows."""
    return [np.sqrt(np.sum(kernel * (np.arange(len(kernel)) - len(kernel) // 2) ** 2)) for kernel in drawn]


@pytest.mark.parametrize('kind', KERNELS)
def test_drawn_kernels_are_as_wide_as_the_published(kind):
    shares = [float(name == kind) for name in KERNELS]
    stage = Stage(sinc_prob=0, kernel_size=(21, 21), kernel_prob=shares)
    np.random.seed(0)
    expected = [published.random_mixed_kernels(KERNELS, shares, 21, [0.2, 3], [0.2, 3], [-np.pi, np.pi], [0.5, 4],
                                               [1, 2]) for _ in range(300)]
    generator = rng()
    drawn = [kernels.draw_kernel(stage, generator) for _ in range(300)]
    assert stats.ks_2samp(widths(drawn), widths(expected)).pvalue > 0.01


def test_kinds_and_sizes_are_drawn_with_their_probabilities(monkeypatch):
    calls = []
    monkeypatch.setattr(kernels, 'bell', lambda size, sigma, angle, beta=1, shape='gaussian':
                        calls.append(((angle != 0), shape, beta != 1)) or np.ones((size, size)))
    monkeypatch.setattr(kernels, 'sinc', lambda size, cutoff: calls.append('sinc') or np.ones((size, size)))
    generator = rng()
    sizes = [len(kernels.draw_kernel(Stage(), generator)) for _ in range(4000)]
    bells = 0.9 * np.array(Stage().kernel_prob)
    expected = {'sinc': 0.1, (False, 'gaussian', False): bells[0], (True, 'gaussian', False): bells[1],
                (False, 'gaussian', True): bells[2], (True, 'gaussian', True): bells[3],
                # half of the plateaus are drawn from [1, 1]
                (False, 'plateau', True): bells[4] / 2, (True, 'plateau', True): bells[5] / 2,
                (False, 'plateau', False): bells[4] / 2, (True, 'plateau', False): bells[5] / 2}
    counts = [calls.count(kind) for kind in expected]
    assert sum(counts) == 4000
    assert stats.chisquare(counts, 4000 * np.array(list(expected.values()))).pvalue > 0.01
    assert stats.chisquare([sizes.count(size) for size in range(7, 22, 2)]).pvalue > 0.01


# Blur and resizing

@pytest.mark.parametrize('kernel', [kernels.bell(21, (2, 2)), kernels.bell(13, (3, 0.5), 1), kernels.sinc(15, 1),
                                    kernels.bell(7, (2, 2), beta=2, shape='plateau')],
                         ids=['separable', 'turned', 'sinc', 'plateau'])
def test_blur_equals_the_published_filter(kernel):
    image = as_unit(photo(40, 56))
    expected = filter2D(as_tensor(image), torch.from_numpy(kernel).float()[None])
    np.testing.assert_allclose(steps.blur(image, kernel), as_array(expected), rtol=0, atol=2e-6)


class Lowest:
    """Generator that draws the lower end, or the most probable, and ``share`` between 0 and 1."""

    def __init__(self, method, share=0.0):
        self.method = method
        self.share = share

    def random(self):
        return self.share

    def uniform(self, low, high):
        return low

    def integers(self, number):
        return self.method if number == len(steps.FILTERS) else 0

    def choice(self, number, p):
        return int(np.argmax(p))

    def standard_normal(self, shape, dtype):
        return np.ones(shape, dtype)


METHODS = ('area', 'bilinear', 'bicubic')


@pytest.mark.parametrize('size', [(20, 30), (13, 47), (61, 100), (40, 60), (1, 1)])
@pytest.mark.parametrize('method', ['bilinear', 'bicubic'])
def test_resizing_equals_torch(method, size):
    image = as_unit(photo(40, 60))
    expected = F.interpolate(as_tensor(image), size, mode=method, align_corners=False)
    resized = steps.resize(image, *size, Lowest(METHODS.index(method)))
    np.testing.assert_allclose(resized, as_array(expected), rtol=0, atol=1e-4)  # weights of OpenCV have few digits


def test_area_is_the_mean_of_what_a_pixel_covers():
    image = as_unit(photo(12, 20))
    tiny = image.astype(np.float64).repeat(7, axis=0).repeat(9, axis=1)  # 7 divides the height, 9 the width
    expected = tiny.reshape(7, 12, 9, 20, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(steps.resize(image, 7, 9, Lowest(0)), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize('size', [(6, 10), (24, 40)])
def test_area_equals_torch_where_the_factor_is_whole(size):
    image = as_unit(photo(12, 20))
    expected = as_array(F.interpolate(as_tensor(image), size, mode='area'))
    np.testing.assert_allclose(steps.resize(image, *size, Lowest(0)), expected, rtol=0, atol=1e-6)


def test_sizes_are_rounded_down_and_at_least_a_pixel():
    assert steps.resize(as_unit(photo(8, 8)), 4.9, 0.3, rng()).shape == (4, 1, 3)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('size', [(15, 20), (44, 71), (50, 75)])
def test_resizing_does_not_move_the_content(method, size):
    across, down = np.meshgrid(np.arange(60) + 0.5, np.arange(40) + 0.5)  # a ramp: each value is its own place
    ramp = np.stack([across / 60, down / 40, across / 60], axis=2).astype(np.float32)
    resized = steps.resize(ramp, *size, Lowest(METHODS.index(method)))
    across, down = np.meshgrid((np.arange(size[1]) + 0.5) / size[1], (np.arange(size[0]) + 0.5) / size[0])
    error = resized - np.stack([across, down, across], axis=2)
    # area takes nearest pixels where it enlarges, bicubic bends a ramp, and the border is repeated
    atol = {'area': 0.5, 'bicubic': 0.2, 'bilinear': 0.02}[method] / 40
    np.testing.assert_allclose(error[4:-4, 4:-4], 0, atol=atol)
    np.testing.assert_allclose(error.mean(axis=(0, 1)), 0, atol=1e-3)


# Noise

@pytest.mark.parametrize('is_gray', [False, True])
def test_gaussian_noise_has_the_published_statistics(is_gray):
    image = np.full((150, 150, 3), 0.5, np.float32)
    torch.manual_seed(0)
    expected = as_array(published.generate_gaussian_noise_pt(as_tensor(image), 20, float(is_gray)))
    noise = np.broadcast_to(steps.gaussian_noise(image, 20, is_gray, rng()), image.shape)
    compare_noise(noise, expected, np.ones(image.shape[:2], bool), is_gray)


@pytest.mark.parametrize('is_gray', [False, True])
@pytest.mark.parametrize('levels', [200, 9], ids=['256 photons', '16 photons'])
def test_poisson_noise_has_the_published_statistics(is_gray, levels):
    ramp = np.rint(np.linspace(20, 220, levels)).repeat(-(-200 // levels))[:200]
    image = as_unit(np.stack([np.tile(ramp, (100, 1))] * 3, axis=2))
    torch.manual_seed(0)
    expected = as_array(published.generate_poisson_noise_pt(as_tensor(image), 1.5, float(is_gray)))
    noise = np.broadcast_to(steps.poisson_noise(image, 1.5, is_gray, rng()), image.shape)
    for part in (image[..., 0] < 0.3, image[..., 0] > 0.7):
        compare_noise(noise, expected, part, is_gray)


def compare_noise(noise, expected, part, is_gray):
    noise, expected = noise[part], expected[part]
    independent = noise.shape[0] * (1 if is_gray else 3)
    assert abs(noise.mean() - expected.mean()) < 4 * expected.std() * (2 / independent) ** 0.5
    assert abs(noise.std() / expected.std() - 1) < 4 / independent ** 0.5
    correlation = np.corrcoef(noise.T)[0, 1]
    assert correlation == pytest.approx(1) if is_gray else abs(correlation) < 4 / len(noise) ** 0.5
    assert np.corrcoef(expected.T)[0, 1] == pytest.approx(correlation, abs=8 / len(noise) ** 0.5)


def test_noise_is_clamped():
    image = np.clip(as_unit(photo(64, 64)) * 3 - 1, 0, 1)
    noisy = steps.add_noise(image, Stage(noise_range=(200, 255), gaussian_noise_prob=1), rng())
    assert noisy.min() == 0 and noisy.max() == 1 and noisy.dtype == np.float32


# JPEG, which BasicSR only simulates

@pytest.mark.parametrize('quality', [30, 60, 95])
def test_jpeg_loses_as_much_as_the_published_simulation(quality):
    image = as_unit(photo(160, 160))
    with torch.no_grad():
        simulated = as_array(DiffJPEG(differentiable=False)(as_tensor(image), quality=torch.tensor([float(quality)])))
    ours = steps.compress(image, (quality, quality), rng())
    assert psnr(ours, image) == pytest.approx(psnr(simulated, image), abs=0.5)
    assert psnr(ours, simulated) > psnr(ours, image)


def psnr(image, reference):
    return -10 * np.log10(np.mean((image - reference) ** 2))


# The whole

@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('is_jpeg_last', [True, False], ids=['sinc, JPEG', 'JPEG, sinc'])
def test_equals_the_published_degradation_on_equal_draws(method, is_jpeg_last, monkeypatch):
    share = 0.0 if is_jpeg_last else 0.9
    # halves of whole sizes, where area is the same in both, and noise whose draws are known: none
    opt = {'kernel_prob': (0, 1, 0, 0, 0, 0), 'sinc_prob': 0, 'kernel_size': (9, 9), 'blur_sigma': (1.5, 1.5),
           'resize_prob': (0, 1, 0), 'resize_range': (0.5, 1), 'gaussian_noise_prob': 1, 'noise_range': (0, 0),
           'blur_prob': 1}
    ours = HighOrderDegradation(2, None, {**opt, 'jpeg_range': (70, 70)}, {**opt, 'jpeg_range': (40, 40)}, 1.0, (9, 9))
    result = ours(photo(), Lowest(METHODS.index(method), share))

    bell = np.pad(published.bivariate_Gaussian(9, 1.5, 1.5, 0), 6)
    final = published.circular_lowpass_kernel(np.pi / 3, 9, pad_to=21)
    model = fed_model(2, jpeger=pil_jpeg, **{
        'resize_prob': [0, 1, 0], 'resize_range': [0.5, 1], 'gaussian_noise_prob': 1, 'noise_range': [0, 0],
        'jpeg_range': [70, 70], 'second_blur_prob': 1, 'resize_prob2': [0, 1, 0], 'resize_range2': [0.5, 1],
        'gaussian_noise_prob2': 1, 'noise_range2': [0, 0], 'jpeg_range2': [40, 40]})
    monkeypatch.setattr(np.random, 'uniform', lambda low=None, high=None: share if low is None else low)
    monkeypatch.setattr('random.choice', lambda modes: modes[METHODS.index(method)])
    expected = degrade(model, photo(), {'kernel1': bell, 'kernel2': bell, 'sinc_kernel': final})
    difference = np.abs(result - np.rint(expected * 255))
    # a value that rounding puts into the next level before a JPEG changes its block a little
    assert difference.mean() < 0.15 and np.mean(difference > 2) < 0.01


def pil_jpeg(batch, quality):
    return as_tensor(steps.compress(as_array(batch), [float(quality)] * 2, rng()))


@pytest.mark.slow
def test_loses_as_much_as_the_published_degradation(tmp_path):
    sources = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    generator, downsample, ours = rng(), BicubicDownsample(4), HighOrderDegradation(4)
    model, expected, found = fed_model(4), [], []
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    for i in range(64):
        source = sources[i % len(sources)]
        top, left = (int(generator.integers(side - 159)) for side in source.shape[:2])
        gt = np.ascontiguousarray(source[top:top + 160, left:left + 160])
        clean = as_unit(downsample(gt, generator))
        expected.append(psnr(degrade(model, gt, draw_item(tmp_path)), clean))
        found += [psnr(as_unit(ours(gt, generator)), clean) for _ in range(4)]
    error = (np.var(expected) / len(expected) + np.var(found) / len(found)) ** 0.5
    assert abs(np.mean(found) - np.mean(expected)) < 3 * error
    assert stats.ks_2samp(found, expected).pvalue > 0.01
    assert 0.7 < np.std(found) / np.std(expected) < 1.4


def test_the_defaults_are_those_of_the_published_option_file():
    ours = HighOrderDegradation(4)
    for stage, published_options in ((ours.first, FIRST), (ours.second, SECOND)):
        values = {key: list(value) if isinstance(value, tuple) else value
                  for key, value in dataclasses.asdict(stage).items()}
        # kernels of 7 to 21 pixels are fixed in the data set
        assert values.pop('kernel_size') == [7, 21]
        assert values == published_options
    assert ours.final_sinc_prob == 0.8 and ours.final_jpeg_prob == 0.5


def test_scale_1_has_constants_of_its_own_unless_named():
    assert HighOrderDegradation(1).first.resize_range == (0.6, 1.5)
    assert HighOrderDegradation(1, 'real_esrgan').first == HighOrderDegradation(2).first
    assert HighOrderDegradation(2, 'restoration').second == HighOrderDegradation(1).second


def test_the_content_stays_in_place():
    """A dark square stays where it was: the mean over draws of its center of mass is that of the clean image."""
    image = np.full((128, 128, 3), 200, np.uint8)
    image[24:56, 68:100] = 40
    degrade_image, generator = HighOrderDegradation(4), rng()
    darkness = np.mean([200.0 - degrade_image(image, generator) for _ in range(30)], axis=0).mean(axis=2).clip(30)
    weights = darkness - darkness.min()
    down, across = (np.sum(weights.sum(axis=1 - axis) * (np.arange(32) + 0.5)) / weights.sum() for axis in (0, 1))
    assert (4 * down, 4 * across) == (pytest.approx(40, abs=0.8), pytest.approx(84, abs=0.8))


@pytest.mark.parametrize('shape', [(1, 1), (2, 40), (17, 3)])
@pytest.mark.parametrize('constants', ['real_esrgan', 'restoration'])
def test_tiny_images_are_degraded_too(shape, constants):
    generator, degrade_image = rng(), HighOrderDegradation(1, constants)
    assert {degrade_image(photo(*shape), generator).shape for _ in range(12)} == {(*shape, 3)}


def test_an_image_that_scale_does_not_divide_is_refused():
    with pytest.raises(ValueError, match='divisible by scale 4, got an image of 30x32. Crop it to 28x32'):
        HighOrderDegradation(4)(photo(32, 30), rng())


def test_boxes_go_with_the_image_and_an_item_stays_the_same(tmp_path):
    for folder in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (tmp_path / folder).mkdir(parents=True)
    for i in range(2):
        Image.fromarray(photo(64, 96, top=60 + i)).save(tmp_path / f'JPEGImages/{i}.png')
        (tmp_path / f'Annotations/{i}.xml').write_text(
            f'<annotation><filename>{i}.png</filename><size><width>96</width><height>64</height></size><object>'
            '<name>face</name><bndbox><xmin>11</xmin><ymin>21</ymin><xmax>40</xmax><ymax>60</ymax></bndbox>'
            '</object></annotation>')
    (tmp_path / 'ImageSets/Main/val.txt').write_text('0\n1\n')
    opt = {'phase': 'val', 'dataroot_gt': str(tmp_path), 'split': 'val', 'classes': ['face'], 'scale': 4,
           'degradation': {'type': 'HighOrderDegradation', 'scale': 4}}
    plain = {**opt, 'degradation': {'type': 'BicubicDownsample', 'scale': 4}}
    items = [DetectionDataset(opt)[i] for i in (0, 1, 0)]
    assert items[0]['lq'].shape == (3, 16, 24)
    torch.testing.assert_close(items[0]['label']['boxes'], DetectionDataset(plain)[0]['label']['boxes'])
    torch.testing.assert_close(items[0]['lq'], items[2]['lq'], rtol=0, atol=0)
    assert not torch.equal(items[0]['lq'], DetectionDataset({**opt, 'seed': 1})[0]['lq'])
    assert not torch.equal(items[0]['lq'], items[1]['lq'])


# Options

@pytest.mark.parametrize('keys, message', [
    ({'scale': 0}, r'd\.scale: expected a whole number >= 1, got 0'),
    ({'constants': 'real'}, r"d\.constants: expected 'real_esrgan' \| 'restoration'"),
    ({'first': {'noise': [1, 2]}}, r"d\.first: unknown key 'noise'"),
    ({'first': {'noise_range': [1, 300]}}, r'd\.first\.noise_range: expected \[low, high\], two numbers from 0 to 255'),
    ({'first': {'noise_range': [30, 1]}}, r'd\.first\.noise_range: .* got \[30, 1\]'),
    ({'first': {'noise_range': [1]}}, r'd\.first\.noise_range: .* got \[1\]'),
    ({'first': {'noise_range': 5}}, r'd\.first\.noise_range: expected a list of numbers, got 5'),
    ({'second': {'resize_range': [0.3, 0.9]}}, r'd\.second\.resize_range: .* with 1 between them, got \[0\.3, 0\.9\]'),
    ({'second': {'betap_range': [1.5, 2]}}, r'd\.second\.betap_range: .* with 1 between them'),
    ({'first': {'kernel_size': [7, 20]}}, r'd\.first\.kernel_size: expected \[low, high\], two odd numbers from'),
    ({'first': {'kernel_prob': [0.5, 0.5]}}, r'd\.first\.kernel_prob: expected 6 probabilities with a sum of 1'),
    ({'first': {'resize_prob': [0.5, 0.6, -0.1]}}, r'd\.first\.resize_prob: .* down, keep, got \[0\.5, 0\.6, -0\.1\]'),
    ({'first': {'blur_sigma': [0, 3]}}, r'd\.first\.blur_sigma: .* from 0\.05 to 100'),
    ({'first': {'jpeg_range': [0, 95]}}, r'd\.first\.jpeg_range: .* from 1 to 100'),
    ({'first': {'jpeg_range': [float('nan'), 95]}}, r'd\.first\.jpeg_range: .*got \[nan, 95\]'),
    ({'first': {'gray_noise_prob': 1.5}}, r'd\.first\.gray_noise_prob: expected a number >= 0 and <= 1, got 1\.5'),
    ({'final_sinc_prob': 2}, r'd\.final_sinc_prob: expected a number >= 0 and <= 1, got 2'),
    ({'final_kernel_size': [21, 7]}, r'd\.final_kernel_size: expected \[low, high\]'),
])
def test_bad_options_are_refused_when_built(keys, message):
    with pytest.raises(OptionError, match=rf'^val\.{message}'):
        build_degradation({'type': 'HighOrderDegradation', 'scale': 4, **keys}, 'val.d')


def test_python_calls_are_checked_as_option_files_are():
    with pytest.raises(OptionError, match=r'^HighOrderDegradation\.final_sinc_prob: expected a number >= 0 and <= 1'):
        HighOrderDegradation(4, final_sinc_prob=3)


def test_separable_filters_are_told_from_others(monkeypatch):
    monkeypatch.setattr(cv2, 'filter2D', lambda *args, **kwargs: pytest.fail('not filtered by rows and columns'))
    steps.blur(as_unit(photo(30, 30)), kernels.bell(21, (1.3, 1.3)))
