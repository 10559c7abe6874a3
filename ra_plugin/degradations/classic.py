"""The paper's three degradations: bicubic downsampling, Gaussian noise and JPEG compression, and chains of them.

What a step returns follows from what it does:

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

from ra_plugin.degradations.base import Degradation, check_image, to_bytes
from ra_plugin.options import OptionError
from ra_plugin.registry import DEGRADATION_REGISTRY, DegradationBlock


@DEGRADATION_REGISTRY.register
class BicubicDownsample(Degradation):
    """Shrink by a whole factor with PIL's bicubic filter, which smooths as it shrinks.

    For uint8 the bytes are those of ``Image.resize((W // scale, H // scale), Image.BICUBIC)``; other libraries' bicubic
    filters (OpenCV, MATLAB, torch) give other pixels. For float32 the filter is the same and its overshoot is clamped.

    Args:
        scale: Factor, >= 1; it has to divide height and width.
    """

    def __init__(self, scale: int):
        if scale < 1:
            raise OptionError(f'BicubicDownsample: expected scale >= 1, got {scale}. '
                              'Give the factor to shrink by, e.g. 4.')
        self.scale = scale

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """``(H, W, 3)`` to ``(H / scale, W / scale, 3)``; the type stays."""
        check_image(image, 'BicubicDownsample')
        height, width = image.shape[:2]
        if height % self.scale or width % self.scale:
            raise ValueError(f'BicubicDownsample: expected height and width that scale {self.scale} divides, got '
                             f'an image of {width}x{height}. Crop it to {width - width % self.scale}x'
                             f'{height - height % self.scale}, e.g. with crop_size.')
        size = (width // self.scale, height // self.scale)
        if image.dtype == np.uint8:
            return np.array(Image.fromarray(image).resize(size, Image.BICUBIC))
        # PIL has no RGB of floats: a channel at a time
        channels = [Image.fromarray(np.ascontiguousarray(image[..., c])).resize(size, Image.BICUBIC) for c in range(3)]
        return np.clip(np.stack([np.asarray(channel) for channel in channels], axis=2), 0, 1)


@DEGRADATION_REGISTRY.register
class GaussianNoise(Degradation):
    """Add independent Gaussian noise to each value, then clamp to ``[0, 1]``. The result is not rounded to 8 bit.

    Args:
        sigma: Standard deviation on the ``[0, 1]`` scale, at most 1. The paper's is 0.1.
    """

    def __init__(self, sigma: float):
        if not 0 <= sigma <= 1:
            remedy = f': {sigma:g} / 255 = {sigma / 255:.3f}' if 1 < sigma <= 255 else ', e.g. 0.1'
            raise OptionError(f'GaussianNoise: sigma: expected a number in [0, 1], got {sigma}. '
                              f'It is the standard deviation on the [0, 1] scale{remedy}.')
        self.sigma = sigma

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """``(H, W, 3)`` to float32 ``(H, W, 3)`` in ``[0, 1]``."""
        check_image(image, 'GaussianNoise')
        noisy = rng.standard_normal(image.shape, np.float32)
        noisy *= np.float32(self.sigma)
        noisy += image / np.float32(255) if image.dtype == np.uint8 else image
        return np.clip(noisy, 0, 1, out=noisy)


@DEGRADATION_REGISTRY.register
class JPEGCompression(Degradation):
    """Encode as JPEG and decode again, in memory, with PIL's defaults (4:2:0 chroma subsampling).

    A float image is rounded to 8 bit first, as one has to in order to save it: to nearest, halves to even.

    Args:
        quality: PIL's quality, from 1 (worst) to 100. The paper's is 10.
    """

    def __init__(self, quality: int):
        if not 1 <= quality <= 100:
            raise OptionError(f'JPEGCompression: expected quality from 1 to 100, got {quality}. '
                              'Smaller is worse, e.g. 10.')
        self.quality = quality

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """``(H, W, 3)`` to uint8 ``(H, W, 3)``."""
        check_image(image, 'JPEGCompression')
        buffer = io.BytesIO()
        Image.fromarray(to_bytes(image)).save(buffer, 'JPEG', quality=self.quality)
        buffer.seek(0)
        with JpegImageFile(buffer) as decoded:  # not Image.open, which refuses large images: this one is ours
            return np.array(decoded)


@DEGRADATION_REGISTRY.register
class Compose(Degradation):
    """Apply degradations one after the other, all with the same generator.

    Args:
        steps: Blocks in order, e.g. ``[{type: BicubicDownsample, scale: 4}, {type: GaussianNoise, sigma: 0.1}]``;
            an empty list gives the input back.
    """

    def __init__(self, steps: Sequence[DegradationBlock]):
        self.steps = [DEGRADATION_REGISTRY.build(step, f'Compose.steps[{i}]') for i, step in enumerate(steps)]
        self.scale = math.prod(step.scale for step in self.steps)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """``(H, W, 3)`` to ``(H / scale, W / scale, 3)``, of the last step's type."""
        check_image(image, 'Compose')
        for step in self.steps:
            image = step(image, rng)
        return image
