"""Scores against BasicSR's and scikit-image's metrics and hand counts; intervals against known values."""
import numpy as np
import pytest
import torch
from basicsr.metrics import calculate_psnr, calculate_ssim
from skimage.metrics import structural_similarity

import ra_plugin  # noqa: F401  (mends BasicSR)
from ra_plugin.evaluation.quality import psnr, ssim, to_uint8
from ra_plugin.evaluation.scores import clean, evaluate, no_processing
from ra_plugin.evaluation.significance import paired_difference, proportion
from ra_plugin.recognizers import build_recognizer
from ra_plugin.report.comparison import compare, to_markdown
from ra_plugin.report.pictures import choose, picture_grid


@pytest.fixture
def pair():
    reference = torch.randint(0, 256, (3, 3, 24, 20), dtype=torch.uint8)
    noisy = (reference.float() + 12 * torch.randn(reference.shape)).clamp(0, 255).round().to(torch.uint8)
    return noisy, reference


def hwc(image):
    return image.permute(1, 2, 0).numpy()


def test_psnr_and_ssim_are_basicsrs(pair):
    for i in range(3):
        a, b = hwc(pair[0][i]), hwc(pair[1][i])
        assert psnr(*pair)[i].item() == pytest.approx(calculate_psnr(a, b, crop_border=0), abs=1e-9)
        assert ssim(*pair)[i].item() == pytest.approx(calculate_ssim(a, b, crop_border=0), abs=1e-9)


def test_ssim_is_scikit_images(pair):
    for i in range(3):
        theirs = structural_similarity(hwc(pair[0][i]), hwc(pair[1][i]), channel_axis=2, data_range=255,
                                       gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
        assert ssim(*pair)[i].item() == pytest.approx(theirs, abs=1e-6)


def test_equal_images_have_infinite_psnr_and_ssim_one(pair):
    assert torch.isinf(psnr(pair[0], pair[0])).all()
    torch.testing.assert_close(ssim(pair[0], pair[0]), torch.ones(3, dtype=torch.float64))


def test_one_image_scores_as_in_a_batch(pair):
    for score in (psnr, ssim):
        alone = score(pair[0][1], pair[1][1])
        assert alone.shape == () and alone.item() == pytest.approx(score(*pair)[1].item(), abs=1e-12)


def test_eight_bits_are_what_basicsr_saves():
    from basicsr.utils import tensor2img
    image = torch.rand(3, 9, 9) * 1.4 - 0.2
    assert np.array_equal(hwc(to_uint8(image))[..., ::-1], tensor2img([image]))


def test_wilson_interval_is_the_published_one():
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
    for right, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        estimate = proportion(np.arange(n) < right)
        assert (estimate.low, estimate.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_paired_interval_matches_the_normal_one_for_many_images():
    rng = np.random.default_rng(0)
    a, b = rng.random(20000) < 0.7, rng.random(20000) < 0.6
    estimate = paired_difference(a, b)
    difference = a.astype(float) - b
    half = 1.96 * difference.std() / 20000 ** 0.5
    assert estimate.value == pytest.approx(difference.mean())
    assert estimate.low == pytest.approx(difference.mean() - half, abs=0.05 * half)
    assert estimate.high == pytest.approx(difference.mean() + half, abs=0.05 * half)
    many_values = paired_difference(rng.normal(0.5, 1, 5000), np.zeros(5000))
    assert many_values.low == pytest.approx(many_values.value - 1.96 / 5000 ** 0.5, abs=3e-3)


def test_pairing_makes_the_interval_tighter():
    rng = np.random.default_rng(0)
    b = rng.random(5000) < 0.6
    a = b | (rng.random(5000) < 0.05)
    paired, shuffled = paired_difference(a, b), paired_difference(a, rng.permutation(b))
    assert paired.high - paired.low < 0.5 * (shuffled.high - shuffled.low)


@pytest.fixture
def scores():
    recognizers = {name: build_recognizer({'type': 'ModuleRecognizer',
                                           'module': f'ra_plugin.recognizers.tiny_nets.{net}',
                                           'mean': [0.5] * 3, 'std': [0.2] * 3}) for name, net in
                   (('resnet', 'TinyResNet'), ('vgg', 'TinyVGG'))}
    batches = [{'lq': torch.rand(4, 3, 16, 16), 'gt': torch.rand(4, 3, 32, 32), 'label': torch.randint(0, 10, (4,))}
               for _ in range(3)]
    calls = []

    def restorer(lq, gt):
        calls.append(len(lq))
        return (no_processing(lq, gt) + 0.1 * gt).clamp(0, 1)

    processings = {'clean': clean, 'no processing': no_processing, 'plain': lambda lq, gt: 0.5 * gt, 'RA': restorer}
    return evaluate(batches, processings, recognizers), batches, recognizers, restorer, calls


def test_each_image_is_restored_once_and_judged_as_saved(scores):
    scores, batches, recognizers, restorer, calls = scores
    assert calls == [4, 4, 4]  # whatever the number of recognizers
    for name, recognizer in recognizers.items():
        expected = []
        for batch in batches:
            saved = (restorer(batch['lq'], batch['gt']) * 255).round().to(torch.uint8).float() / 255
            expected.append((recognizer.logits(saved).argmax(1) == batch['label']).numpy())
        assert np.array_equal(scores['RA'].right[name], np.concatenate(expected))
    assert scores['RA'].psnr.shape == (12,)


def test_comparison_tables_and_pictures(scores, tmp_path):
    scores = scores[0]
    result = compare(scores, 'resnet')
    assert result['n'] == 12 and set(result['differences_to_plain']) == {'RA'}
    accuracy = result['processings']['RA']['scores']['vgg']
    assert accuracy['value'] == pytest.approx(scores['RA'].right['vgg'].mean())
    assert accuracy['low'] <= accuracy['value'] <= accuracy['high']
    difference = result['differences_to_plain']['RA']['scores']['vgg']['value']
    assert difference == pytest.approx(scores['RA'].right['vgg'].mean() - scores['plain'].right['vgg'].mean())
    table = to_markdown(result)
    assert 'resnet (used)' in table and '| clean' in table
    widths = {line.count('|') for line in table.splitlines()[2:7]}
    assert len(widths) == 1

    chosen = choose(scores['RA'], scores['plain'], 'vgg')
    for index, rule in chosen:
        if rule == 'plain wrong, RA right':
            assert scores['RA'].right['vgg'][index] and not scores['plain'].right['vgg'][index]
    images = np.zeros((2, 32, 32, 3), np.uint8)
    picture_grid({'input': images, 'RA': images}, {'RA': [[('vgg: cat', True)], [('vgg: dog', False)]]}, ['a', 'b'],
                 'title', tmp_path / 'grid.png')
    assert (tmp_path / 'grid.png').stat().st_size > 500


def test_gap_recovered_is_the_share_of_the_way_to_clean_and_not_given_for_a_small_gap(scores):
    scores = scores[0]
    right = np.arange(100) < np.array([[90], [50], [70], [88]])
    made = {name: type(scores['clean'])(np.full(100, 30.0), np.ones(100), {}, {'r': row})
            for name, row in zip(('clean', 'plain', 'RA', 'other'), right)}
    assert compare(made, 'r')['differences_to_plain']['RA']['gap_recovered']['r'] == pytest.approx(0.5)
    made['plain'] = made['other']
    assert compare(made, 'r')['differences_to_plain']['RA']['gap_recovered']['r'] is None
