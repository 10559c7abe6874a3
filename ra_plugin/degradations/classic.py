"""The paper's three degradations: bicubic downsampling, Gaussian noise and JPEG compression, and chains of them.

The type that a step returns depends on the step:

===================  ===============  =================================================
step                 returns          given the other type
===================  ===============  =================================================
`BicubicDownsample`  the type it got  float: the same filter, in float, without rounding
`GaussianNoise`      float32          uint8: divided by 255 first
`JPEGCompression`    uint8            float: rounded to 8 bit first, halves to even
===================  ===============  =================================================
"""
import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from ra_plugin.degradations.base import Degradation, check_divisible, check_image, to_bytes
from ra_plugin.options import OptionError
from ra_plugin.registry import DEGRADATION_REGISTRY, DegradationBlock


@DEGRADATION_REGISTRY.register
class BicubicDownsample(Degradation):
    """Bicubic downsampling by a whole factor with PIL's filter, which is antialiased.

    For uint8 the result equals ``Image.resize((W // scale, H // scale), Image.BICUBIC)``; the bicubic filters of other
    libraries (OpenCV, MATLAB, torch) give other pixels. For float32 the filter is the same and its overshoot is
    clamped.

    Args:
        scale: Downsampling factor, >= 1; it has to divide height and width.
    """

    def __init__(self, scale: int):
        if scale < 1:
            raise OptionError(f'BicubicDownsample: expected scale >= 1, got {scale}. '
                              'Give the factor to shrink by, e.g. 4.')
        self.scale = scale

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the image ``(H, W, 3)`` downsampled to ``(H / scale, W / scale, 3)``, of the same type."""
        check_image(image, 'BicubicDownsample')
        check_divisible(image, self.scale, 'BicubicDownsample')
        height, width = image.shape[:2]
        size = (width // self.scale, height // self.scale)
        if image.dtype == np.uint8:
            return np.array(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
        # PIL has no RGB images of floats: one channel at a time
        channels = [Image.fromarray(np.ascontiguousarray(image[..., c])).resize(size, Image.Resampling.BICUBIC)
                    for c in range(3)]
        return np.clip(np.stack([np.asarray(channel) for channel in channels], axis=2), 0, 1)


@DEGRADATION_REGISTRY.register
class GaussianNoise(Degradation):
    """Independent Gaussian noise on each value, clamped to ``[0, 1]`` and not rounded to 8 bit.

    Args:
        sigma: Standard deviation on the ``[0, 1]`` scale, at most 1. The paper uses 0.1.
    """

    def __init__(self, sigma: float):
        if not 0 <= sigma <= 1:
            remedy = f': {sigma:g} / 255 = {sigma / 255:.3f}' if 1 < sigma <= 255 else ', e.g. 0.1'
            raise OptionError(f'GaussianNoise: sigma: expected a number in [0, 1], got {sigma}. '
                              f'It is the standard deviation on the [0, 1] scale{remedy}.')
        self.sigma = sigma

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the noisy image as float32 ``(H, W, 3)`` in ``[0, 1]``."""
        check_image(image, 'GaussianNoise')
        noisy = rng.standard_normal(image.shape, np.float32)
        noisy *= np.float32(self.sigma)
        noisy += image / np.float32(255) if image.dtype == np.uint8 else image
        return np.clip(noisy, 0, 1, out=noisy)


@DEGRADATION_REGISTRY.register
class JPEGCompression(Degradation):
    """JPEG compression and decompression in memory, with PIL's defaults (4:2:0 chroma subsampling).

    A float image is first rounded to 8 bit, as for saving: to nearest, halves to even.

    Args:
        quality: PIL's quality, from 1 (worst) to 100. The paper uses 10.
    """

    def __init__(self, quality: int):
        if not 1 <= quality <= 100:
            raise OptionError(f'JPEGCompression: expected quality from 1 to 100, got {quality}. '
                              'Lower is worse, e.g. 10.')
        self.quality = quality

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the compressed image as uint8 ``(H, W, 3)``."""
        check_image(image, 'JPEGCompression')
        buffer = io.BytesIO()
        Image.fromarray(to_bytes(image)).save(buffer, 'JPEG', quality=self.quality)
        buffer.seek(0)
        with JpegImageFile(buffer) as decoded:  # not Image.open, which rejects large images: this file is our own
            return np.array(decoded)


@DEGRADATION_REGISTRY.register
class Compose(Degradation):
    """Chain of degradations that share one generator.

    Args:
        steps: Option blocks in order, e.g. ``[{type: BicubicDownsample, scale: 4}, {type: GaussianNoise, sigma:
            0.1}]``; an empty list returns the input.
    """

    def __init__(self, steps: Sequence[DegradationBlock]):
        self.steps = [DEGRADATION_REGISTRY.build(step, f'Compose.steps[{i}]') for i, step in enumerate(steps)]
        self.scale = math.prod(step.scale for step in self.steps)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the degraded image ``(H / scale, W / scale, 3)``, of the last step's type."""
        check_image(image, 'Compose')
        for step in self.steps:
            image = step(image, rng)
        return image
