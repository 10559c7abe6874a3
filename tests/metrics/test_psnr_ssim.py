"""PSNR and SSIM against BasicSR's and scikit-image's; the interval of a share against a published table."""
import numpy as np
import pytest
import torch
from basicsr.metrics import calculate_psnr, calculate_ssim
from skimage.metrics import structural_similarity

import ra_plugin.basicsr  # noqa: F401  (registers)
from ra_plugin.evaluation.statistics.significance import proportion
from ra_plugin.metrics.psnr_ssim import psnr, ssim, to_uint8


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
