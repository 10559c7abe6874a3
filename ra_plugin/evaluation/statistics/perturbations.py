"""Small changes of a restored image: a gain that they undo was a pattern for one network."""
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F

from ra_plugin.degradations import build_degradation
from ra_plugin.metrics.psnr_ssim import to_uint8

View = Callable[[torch.Tensor], torch.Tensor]  # uint8 (N, 3, H, W) -> the same
SAVED = '8 bit'  # the image as it is saved, which everything but the audit judges
FLOAT = 'float'  # before it was rounded
SPECTRUM = 'spectrum'  # of the difference to the baseline
_BLUR_SIGMA = 0.5  # pixels
_SHRINK = 0.9


def _jpeg(quality: int) -> View:
    compress = build_degradation({'type': 'JPEGCompression', 'quality': quality}, 'views')
    rng = np.random.default_rng(0)  # which nothing is drawn from

    def view(images: torch.Tensor) -> torch.Tensor:
        compressed = [compress(image, rng) for image in images.permute(0, 2, 3, 1).cpu().numpy()]
        return torch.from_numpy(np.stack(compressed)).permute(0, 3, 1, 2).to(images.device)

    return view


def _shift(images: torch.Tensor) -> torch.Tensor:
    """Shift by one pixel to the right and down; the first row and column are repeated."""
    return F.pad(images[..., :-1, :-1].float(), (1, 0, 1, 0), mode='replicate').to(torch.uint8)


def _blur(images: torch.Tensor) -> torch.Tensor:
    """Blur by a Gaussian of sigma 0.5 pixels over 5x5; the border is repeated."""
    offset = torch.arange(-2, 3, device=images.device)
    line = torch.exp(-offset.square() / (2 * _BLUR_SIGMA ** 2))
    window = (line[:, None] * line / line.sum() ** 2).expand(3, 1, 5, 5)
    return to_uint8(F.conv2d(F.pad(images / 255, (2, 2, 2, 2), mode='replicate'), window, groups=3))


def _resize(images: torch.Tensor) -> torch.Tensor:
    """Resize to 0.9 of the size and back, bicubic; boxes and masks stay where they are."""
    size = images.shape[-2:]
    smaller = F.interpolate(images / 255, [max(1, round(_SHRINK * side)) for side in size], mode='bicubic',
                            antialias=True)
    return to_uint8(F.interpolate(to_uint8(smaller) / 255, size, mode='bicubic', antialias=True))


# in the order of the table
VIEWS: Mapping[str, View] = MappingProxyType({
    'JPEG 95': _jpeg(95), 'JPEG 85': _jpeg(85), 'JPEG 75': _jpeg(75), 'shift by 1 px': _shift,
    'blur': _blur, 'resize by 0.9': _resize})


def spectrum(difference: torch.Tensor, bands: int = 16) -> torch.Tensor:
    """Mean power of the differences of two images at each spatial frequency.

    Args:
        difference: ``(N, 3, H, W)``, float.
        bands: Equal parts of 0 to 0.5 cycles per pixel, radially; what is beyond, in the corners, is in the last.

    Returns:
        ``(N, bands)``: the mean over channels and the frequencies of the band; NaN for a band that a small image has
        no frequency in.
    """
    height, width = difference.shape[-2:]
    power = torch.fft.fft2(difference.double(), norm='ortho').abs().square().mean(1)
    rows, columns = (torch.fft.fftfreq(side, device=difference.device, dtype=torch.float64) for side in (height, width))
    radius = torch.hypot(rows[:, None], columns[None])
    band = (radius * 2 * bands).long().clamp(max=bands - 1).flatten()
    members = F.one_hot(band, bands).double()
    return power.flatten(1) @ members / members.sum(0).where(members.sum(0) > 0, torch.nan)


def band_centers(bands: int = 16) -> list[float]:
    """Cycles per pixel in the middle of each band of `spectrum`."""
    return [(i + 0.5) / (2 * bands) for i in range(bands)]
