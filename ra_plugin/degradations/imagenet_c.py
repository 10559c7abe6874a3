"""The corruptions of ImageNet-C as a degradation; docs/IMAGENET_C.md lists differences from the published images."""
from collections.abc import Sequence
from typing import Literal

import numpy as np

from ra_plugin.degradations.base import Degradation, check_image, to_bytes
from ra_plugin.degradations.corruptions import CONSTANTS, CORRUPTIONS
from ra_plugin.degradations.corruptions.filters import cut_to_bytes
from ra_plugin.options import OptionError, suggestion
from ra_plugin.registry import DEGRADATION_REGISTRY

MIN_SIDE = 32  # pixels; there are no constants for smaller images


@DEGRADATION_REGISTRY.register
class ImageNetC(Degradation):
    """Corruption of ImageNet-C and CIFAR-10-C (Hendrycks & Dietterich, ICLR 2019), with an 8-bit result.

    A float image is rounded to 8 bit first. With several corruptions or severities, one is drawn uniformly per image.

    Args:
        corruption: Name of a corruption, e.g. ``snow``, or a list of names.
        severity: Severity from 1 to 5, or a list of severities.
        constants: Set of strengths: ``imagenet``, made for images of 224 pixels, or ``cifar10``, for 32. Their lengths
            are in pixels and do not scale with the image.
    """

    def __init__(self, corruption: str | Sequence[str], severity: int | Sequence[int],
                 constants: Literal['imagenet', 'cifar10'] = 'imagenet'):
        self.corruptions = [corruption] if isinstance(corruption, str) else list(corruption)
        self.severities = [severity] if isinstance(severity, int) else list(severity)
        if not self.corruptions or not self.severities:
            raise OptionError('ImageNetC: expected a corruption and a severity, got an empty list. Give at least one.')
        for name in self.corruptions:
            if name not in CORRUPTIONS:
                raise OptionError(f"ImageNetC: no corruption '{name}'.{suggestion(name, CORRUPTIONS)} "
                                  f"Known: {', '.join(CORRUPTIONS)}")
        for level in self.severities:
            if not 1 <= level <= 5:
                raise OptionError(f'ImageNetC: expected a severity from 1 to 5, got {level}. Higher is worse.')
        self.constants = CONSTANTS[constants]

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the corrupted image as uint8 ``(H, W, 3)``; it has to be at least 32x32."""
        check_image(image, 'ImageNetC')
        height, width = image.shape[:2]
        if min(height, width) < MIN_SIDE:
            raise ValueError(f'ImageNetC: expected an image of at least {MIN_SIDE}x{MIN_SIDE}, got {width}x{height}. '
                             'Corrupt before downsampling, or use larger crops.')
        name = self.corruptions[rng.integers(len(self.corruptions))]
        severity = self.severities[rng.integers(len(self.severities))]
        corrupted = CORRUPTIONS[name](to_bytes(image), rng, *self.constants[name][severity - 1])
        return corrupted if corrupted.dtype == np.uint8 else cut_to_bytes(corrupted)
