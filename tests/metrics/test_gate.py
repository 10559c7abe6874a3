"""Estimates of noise and JPEG blocks against their definitions, and the gate that goes by them."""
import math

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d
from test_tiles import photo

from ra_plugin.degradations import GaussianNoise, JPEGCompression
from ra_plugin.metrics import degradation_level
from ra_plugin.metrics.degradation_level import blockiness, noise_level
from ra_plugin.metrics.gate import THRESHOLDS, Gate
from ra_plugin.options import OptionError


def tensor(image):
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]


def test_the_noise_level_is_immerkaers():
    image = np.random.default_rng(0).random((20, 31, 3)).astype(np.float32)
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])
    sums = [np.abs(convolve2d(image[..., c], mask, 'valid')).sum() for c in range(3)]
    expected = math.sqrt(math.pi / 2) / (6 * (31 - 2) * (20 - 2)) * np.mean(sums)
    assert noise_level(tensor(image)).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('sigma', [0.02, 0.05, 0.1])
def test_noise_of_a_known_deviation_is_found(sigma):
    slope = np.linspace(0.3, 0.7, 200, dtype=np.float32)
    noisy = GaussianNoise(sigma)(np.broadcast_to(slope[:, None, None], (200, 180, 3)), np.random.default_rng(0))
    assert noise_level(tensor(noisy)).item() == pytest.approx(sigma, rel=0.02)


def blockiness_by_loops(image):
    """Return it for ``(H, W)`` in [0, 1]."""
    across, within = 0, 0
    for values in (image, image.T):
        steps = {True: [], False: []}
        for x in range(values.shape[1] - 1):
            steps[(x + 1) % 8 == 0].append(np.abs(values[:, x + 1] - values[:, x]).mean())
        if steps[True]:
            across, within = across + np.mean(steps[True]), within + np.mean(steps[False])
    return across / (within + 1e-3)


@pytest.mark.parametrize('size', [(24, 40), (9, 9), (8, 20), (21, 30)])
def test_blockiness_is_its_definition(size):
    image = np.random.default_rng(0).random((*size, 3))
    assert blockiness(tensor(image)).item() == pytest.approx(blockiness_by_loops(image @ [0.299, 0.587, 0.114]))


def test_jpeg_has_blocks_and_its_source_has_none():
    image = photo(96, 128, 0)
    levels = [blockiness(tensor(JPEGCompression(quality)(image, np.random.default_rng(0)))).item()
              for quality in (5, 10, 20)]
    source = blockiness(tensor(image)).item()
    assert levels[0] > levels[1] > levels[2] > source
    assert source < THRESHOLDS['jpeg'] < levels[1]


@pytest.mark.parametrize('estimate', [noise_level, blockiness])
def test_bands_and_types_change_nothing(estimate, monkeypatch):
    images = torch.randint(0, 256, (2, 3, 70, 45), dtype=torch.uint8)
    whole = estimate(images)
    monkeypatch.setattr(degradation_level, '_ROWS', 16)
    torch.testing.assert_close(estimate(images), whole, rtol=1e-6, atol=0)
    torch.testing.assert_close(estimate(images.float() / 255), whole, rtol=1e-6, atol=0)
    deep = torch.from_numpy(images.numpy().astype(np.uint16) * 257)
    torch.testing.assert_close(estimate(deep), whole, rtol=1e-6, atol=0)


@pytest.mark.parametrize('kind', ['noise', 'jpeg'])
def test_an_image_too_small_for_an_estimate_is_restored(kind):
    gate = Gate.named(kind, 'gate')
    level = gate.level(torch.zeros(1, 3, 2, 2))
    assert level.isnan().all() and not gate.keeps(level).any()
    assert gate.keeps(gate.level(torch.zeros(1, 3, 16, 16))).all()


def test_a_text_names_a_gate():
    assert Gate.named('noise', '') == Gate('noise', 0.04)
    assert Gate.named('jpeg:1.5', '') == Gate('jpeg', 1.5)
    assert str(Gate.named('noise:0.05', '')) == 'noise:0.05'


@pytest.mark.parametrize(('text', 'message'), [
    ('noisy', "--gate: expected noise, jpeg, noise:SIGMA .*, got 'noisy'. Did you mean 'noise'"),
    ('', "--gate: expected noise, jpeg, .* got ''"),
    ('noise:', "--gate: expected a positive number after 'noise:', got ''. Leave it out for 0.04"),
    ('noise:-1', "got '-1'"), ('jpeg:nan', "got 'nan'"), ('jpeg:inf', "got 'inf'")])
def test_other_texts_are_refused(text, message):
    with pytest.raises(OptionError, match=message):
        Gate.named(text, '--gate')
