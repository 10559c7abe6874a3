"""Conversion of network images to the input of recognizers: RGB in [0, 1], for any data set."""
import numpy as np
import pytest
import torch
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.utils import bgr2ycbcr
from PIL import Image

from ra_plugin.models.recog_validation import recognizable

Y = {'color': 'y'}


def luma(rgb):
    """Return BasicSR's Y of ``(H, W, 3)`` in [0, 1] as ``(1, 1, H, W)``, as in its data sets."""
    return torch.from_numpy(bgr2ycbcr(rgb[..., ::-1].astype(np.float32), y_only=True))[None, None].float()


@pytest.mark.parametrize('level', [0.0, 0.25, 0.5, 1.0])
def test_gray_stays_gray_through_basicsrs_luma(level):
    shown = recognizable(luma(np.full((2, 2, 3), level)), Y)
    torch.testing.assert_close(shown, torch.full((1, 3, 2, 2), level), rtol=0, atol=1e-5)


def test_colors_have_the_brightness_that_pil_gives_them():
    rgb = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    expected = np.asarray(Image.fromarray(rgb).convert('L')) / 255
    shown = recognizable(luma(rgb / 255), Y)
    assert np.abs(shown[0, 0].numpy() - expected).max() * 255 < 1  # PIL rounds
    assert torch.equal(shown[:, 0], shown[:, 1]) and torch.equal(shown[:, 0], shown[:, 2])


def test_the_gradient_passes_with_the_factor_of_the_range():
    images = torch.rand(1, 1, 2, 2, requires_grad=True)
    recognizable(images, Y).sum().backward()
    torch.testing.assert_close(images.grad, torch.full_like(images, 3 * 255 / 219))


def test_mean_and_std_are_undone_before_the_range():
    white = (torch.full((1, 1, 1, 1), 235 / 255) - 0.4) / 0.2
    torch.testing.assert_close(recognizable(white, {**Y, 'mean': [0.4], 'std': [0.2]}), torch.ones(1, 3, 1, 1))


def test_other_images_are_left_as_they_are():
    gray, rgb = torch.rand(2, 1, 3, 3), torch.rand(2, 3, 3, 3)
    assert torch.equal(recognizable(gray, {}), gray.expand(2, 3, 3, 3))
    assert recognizable(rgb, Y) is rgb


def test_a_data_set_of_basicsr_is_read_at_full_range(tmp_path):
    """Black and white, from its file to the recognizer."""
    for folder in ('gt', 'lq'):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.repeat(np.uint8([[0, 255]]), 3).reshape(1, 2, 3)).save(tmp_path / folder / 'a.png')
    opt = {'name': 'y', 'phase': 'val', 'scale': 1, 'io_backend': {'type': 'disk'}, 'dataroot_gt': str(tmp_path / 'gt'),
           'dataroot_lq': str(tmp_path / 'lq'), **Y}
    image = PairedImageDataset(opt)[0]['gt'][None]
    assert image.min() > 0.06 and image.max() < 0.93  # as BasicSR has it
    shown = recognizable(image, opt)
    torch.testing.assert_close(shown[0, :, 0], torch.tensor([[0.0, 1.0]] * 3), rtol=0, atol=1e-5)
