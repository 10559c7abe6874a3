"""Estimates of the noise and of the blocks of JPEG in an image, by itself: without a clean one, without a network."""
import math

import torch

_ROWS = 512  # that are looked at together, a multiple of the block's side: memory for them alone is taken
_BLOCK = 8  # pixels, of JPEG
_FLAT = 1e-3  # a quarter of a level of 255: what counts as a difference within blocks at least
_LUMA = (0.299, 0.587, 0.114)  # of ITU-R BT.601, which JPEG files use


def noise_level(images: torch.Tensor) -> torch.Tensor:
    """Return the standard deviation of the noise, on the ``[0, 1]`` scale, after Immerkaer (CVIU 64, 1996, 300-302).

    The image is filtered by the outer product of ``(1, -2, 1)`` with itself, which takes away what is smooth; the mean
    absolute value is what Gaussian noise of that deviation would leave. Fine texture counts as noise, too.

    Args:
        images: ``(N, C, H, W)``, float in ``[0, 1]``, uint8 or uint16.

    Returns:
        ``(N,)`` float64, the mean over the channels; NaN for images of less than 3 pixels a side.
    """
    height, width = images.shape[-2:]
    total = torch.zeros(len(images), dtype=torch.float64, device=images.device)
    for top in range(0, height - 2, _ROWS):
        total += _bends(_bends(_in_one(images[..., top:top + _ROWS + 2, :]), -1), -2).abs().double().sum((1, 2, 3))
    count = images.shape[1] * max(height - 2, 0) * max(width - 2, 0)
    return math.sqrt(math.pi / 2) / 6 * (total / count if count else total * math.nan)


def blockiness(images: torch.Tensor) -> torch.Tensor:
    """Return how much larger steps are from one 8x8 block of JPEG to the next than within the blocks.

    It is the mean absolute difference of neighbors on the two sides of a border, over that of neighbors in one block;
    each is the sum of that along rows and that along columns, of the luma. Images without blocks have about 1.
    Blocks begin at the top left corner, as in a file that has not been cropped, turned or resized since.

    Args:
        images: ``(N, C, H, W)``, RGB or gray, float in ``[0, 1]``, uint8 or uint16.

    Returns:
        ``(N,)`` float64; NaN for images without a border.
    """
    height, width = images.shape[-2:]
    across, within = (torch.zeros(len(images), 2, dtype=torch.float64, device=images.device) for _ in range(2))
    for top in range(0, height, _ROWS):
        band = _luma(_in_one(images[..., top:top + _ROWS + 1, :]))
        for axis, part in enumerate((band[:, :_ROWS], band.transpose(1, 2))):
            steps = part.diff(dim=2).abs().double().sum(1)
            border = torch.arange(1, steps.shape[1] + 1, device=steps.device) % _BLOCK == 0
            across[:, axis] += steps[:, border].sum(1)
            within[:, axis] += steps[:, ~border].sum(1)
    count = torch.tensor([(width - 1) // _BLOCK * height, (height - 1) // _BLOCK * width], device=images.device)
    others = torch.tensor([(width - 1) * height, (height - 1) * width], device=images.device) - count
    found = count > 0
    if not found.any():
        return across.sum(1) * math.nan
    return (across / count)[:, found].sum(1) / (_FLAT + (within / others)[:, found].sum(1))


def _bends(values: torch.Tensor, axis: int) -> torch.Tensor:
    return values.diff(n=2, dim=axis)


def _luma(images: torch.Tensor) -> torch.Tensor:
    return images[:, 0] if images.shape[1] == 1 else (images * images.new_tensor(_LUMA).view(3, 1, 1)).sum(1)


def _in_one(images: torch.Tensor) -> torch.Tensor:
    """Return images as float in ``[0, 1]``."""
    return images if images.is_floating_point() else images.float() / torch.iinfo(images.dtype).max
