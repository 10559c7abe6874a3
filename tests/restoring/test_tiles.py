"""Tiles of an image: they cover it once, and give what the network gives on the whole image."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ra_plugin.restoring.pixels import rounded
from ra_plugin.restoring.reach import BOUND, measured_reach
from ra_plugin.restoring.tiles import Tiling, restored_in_tiles, spans, weights


def photo(height, width, seed=0):
    """Return smooth shapes with edges and noise, uint8 ``(H, W, 3)``."""
    draws = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 8 + 2, width // 8 + 2, generator=draws)
    image = F.interpolate(coarse, (height, width), mode='nearest')[0] + 0.05 * torch.randn(3, height, width,
                                                                                         generator=draws)
    return (image.clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()


def on_pixels(network):
    """Return the network as `restored_in_tiles` takes it."""
    def restore(pixels):
        with torch.no_grad():
            return network(torch.from_numpy(pixels / np.float32(255)).permute(2, 0, 1)[None])[0]
    return restore


def convolutions(scale=1, layers=4):
    torch.manual_seed(1)
    net = nn.Sequential(*(layer for i in range(layers) for layer in (
        nn.Conv2d(3 if i == 0 else 8, 8, 3, padding=1), nn.ReLU())),
        nn.Conv2d(8, 3 * scale ** 2, 3, padding=1), nn.PixelShuffle(scale))
    for layer in net:
        if isinstance(layer, nn.Conv2d):
            layer.weight.data *= 3
    return net.requires_grad_(False)


class Windows(nn.Module):
    """Attention over windows of 8: each pixel gets the weighted mean of its window."""

    def forward(self, x):
        n, c, h, w = x.shape
        parts = x.view(n, c, h // 8, 8, w // 8, 8).permute(0, 2, 4, 3, 5, 1).reshape(-1, 64, c)
        parts = ((8 * parts @ parts.mT).softmax(-1) @ parts).view(n, h // 8, w // 8, 8, 8, c)
        return parts.permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)


class Strides(nn.Module):
    """A U-net's way down and up, which takes any size: half the size twice."""

    def forward(self, x):
        height, width = x.shape[-2:]
        padded = F.pad(x, (0, -width % 4, 0, -height % 4), mode='replicate')
        low = F.avg_pool2d(padded, 4)
        return F.interpolate(low, scale_factor=4)[..., :height, :width]


class Mean(nn.Module):
    """Global pooling."""

    def forward(self, x):
        return 0.3 + 0.4 * x - 0.5 * (x.mean((-2, -1), keepdim=True) - 0.5)  # in [0, 1]


@pytest.mark.parametrize('length', [1, 15, 16, 17, 40, 47, 48, 49, 100, 1001])
@pytest.mark.parametrize('tiling', [Tiling(32, 16, 8, 16), Tiling(20, 5, 5), Tiling(16, 3, 0), Tiling(64, 64, 32, 64)])
def test_a_side_is_covered_once(length, tiling):
    total = torch.zeros(2 * length)
    for span in spans(length, tiling):
        assert 0 <= span.start <= span.first < span.last <= span.stop <= length
        assert span.stop - span.start <= tiling.side
        assert span.start % tiling.align == 0 and (span.stop == length or span.stop % tiling.align == 0)
        for place, cut in ((span.first, span.start), (length - span.last, length - span.stop)):
            assert place == cut == 0 or place - cut >= tiling.margin - tiling.ramp
        total[2 * span.first:2 * span.last] += weights(span, length, tiling.ramp, 2)
    torch.testing.assert_close(total, torch.ones(2 * length), rtol=0, atol=1e-6)


@pytest.mark.parametrize('core, margin, ramp, align', [(30, 16, 8, 16), (32, 8, 8, 16), (32, 16, 17, 16), (8, 8, 5, 8)])
def test_rules_that_leave_gaps_are_refused(core, margin, ramp, align):
    with pytest.raises(ValueError, match='expected core and margin'):
        Tiling(core, margin, ramp, align)


@pytest.mark.parametrize('scale', [1, 2, 3])
@pytest.mark.parametrize('size', [(70, 90), (33, 130), (20, 20)])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_tiles_give_what_the_whole_image_gives(scale, size, dtype):
    restore, pixels = on_pixels(convolutions(scale)), photo(*size)
    shares = []
    tiled = restored_in_tiles(restore, pixels, scale, Tiling(24, 9, 4), dtype, shares.append)  # it sees 5 pixels far
    whole = rounded(restore(pixels), dtype)
    assert tiled.shape == whole.shape == (scale * size[0], scale * size[1], 3) and tiled.dtype == dtype
    assert np.abs(tiled.astype(int) - whole).max() <= 1 and sum(shares) == pytest.approx(1)
    assert whole.std() > 10  # not all alike


def test_a_margin_that_is_too_small_is_seen():
    restore, pixels = on_pixels(convolutions()), photo(70, 90)
    tiled = restored_in_tiles(restore, pixels, 1, Tiling(24, 1, 1), np.uint8)
    assert np.abs(tiled.astype(int) - rounded(restore(pixels), np.uint8)).max() > 3


def measured(network, multiple_of=1):
    return measured_reach(on_pixels(network), [photo(256, 256, 5), photo(256, 256, 6)], multiple_of)


@pytest.mark.slow
@pytest.mark.parametrize('distance', [1, 7, 20])
def test_the_margin_is_how_far_the_network_sees(distance):
    conv = nn.Conv2d(3, 3, 3, padding=distance, dilation=distance).requires_grad_(False)
    found = measured(conv)
    assert (found.margin, found.align) == (distance, 1) and found.error < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize('network, multiple_of, align', [(Windows(), 8, 8), (Strides(), 1, 4)])
def test_tiles_begin_at_windows_and_strides(network, multiple_of, align):
    found = measured(network, multiple_of)
    assert (found.align, found.margin) == (align, 0) and found.error < 1e-3
    pixels, restore = photo(96, 136), on_pixels(network)
    tiled = restored_in_tiles(restore, pixels, 1, Tiling(40, 24, 4, 8), np.uint8)
    assert np.abs(tiled.astype(int) - rounded(restore(pixels), np.uint8)).max() <= 1


@pytest.mark.slow
def test_a_network_that_sees_the_whole_image_is_told_from_others():
    found = measured(Mean())
    patches = [photo(256, 256, seed) / 255 for seed in (5, 6)]
    # the parts begin and end at odd multiples of 1, 2, ... 64, 48 or more pixels from the border of the patch
    places = [(49, 208), (50, 208), (52, 208), (56, 208), (48, 192), (96, 192), (64, 128)]
    means = [max(np.abs(patch.mean((0, 1)) - patch[begin:end, begin:end].mean((0, 1))).max() for patch in patches)
             for begin, end in places]
    assert not found.is_local and found.error > BOUND
    assert found.error == pytest.approx(0.5 * 255 * min(means), rel=1e-3)
    assert measured(convolutions(2, 8)).is_local


def test_patches_that_are_too_small():
    with pytest.raises(ValueError, match='expected patches of at least'):
        measured_reach(on_pixels(nn.Identity()), [photo(100, 100)])


def test_values_that_are_not_finite():
    with pytest.raises(ValueError, match='not finite'):
        rounded(torch.full((3, 2, 2), float('nan')), np.uint8)
