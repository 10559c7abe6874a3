"""The corruptions of ImageNet-C as a degradation; what differs from the published images is in docs/IMAGENET_C.md."""
from collections.abc import Sequence
from typing import Literal

import numpy as np

from ra_plugin.degradations.base import Degradation, check_image, to_bytes
from ra_plugin.degradations.corruptions import CONSTANTS, CORRUPTIONS
from ra_plugin.degradations.corruptions.filters import cut_to_bytes
from ra_plugin.options import OptionError, suggestion
from ra_plugin.registry import DEGRADATION_REGISTRY

MIN_SIDE = 32  # pixels; the constants are for no less


@DEGRADATION_REGISTRY.register
class ImageNetC(Degradation):
    """Corrupt as ImageNet-C and CIFAR-10-C do (Hendrycks & Dietterich, ICLR 2019). The result has 8 bits.

    A float image is rounded to 8 bit first. Of several corruptions or severities each image gets one, drawn evenly.

    Args:
        corruption: Name of one, e.g. ``snow``, or a list of names.
        severity: From 1 to 5, or a list of them.
        constants: Whose strengths: ``imagenet``, made for images of 224 pixels, or ``cifar10``, for 32. Lengths in them
            are pixels and do not follow the size of the image.
    """

    def __init__(self, corruption: str | Sequence[str], severity: int | Sequence[int],
                 constants: Literal['imagenet', 'cifar10'] = 'imagenet'):
        self.corruptions = [corruption] if isinstance(corruption, str) else list(corruption)
        self.severities = [severity] if isinstance(severity, int) else list(severity)
        if not self.corruptions or not self.severities:
            raise OptionError('ImageNetC: expected a corruption and a severity, got an empty list. Name at least one.')
        for name in self.corruptions:
            if name not in CORRUPTIONS:
                raise OptionError(f"ImageNetC: no corruption '{name}'.{suggestion(name, CORRUPTIONS)} "
                                  f"Known: {', '.join(CORRUPTIONS)}")
        for level in self.severities:
            if not 1 <= level <= 5:
                raise OptionError(f'ImageNetC: expected a severity from 1 to 5, got {level}. Larger is worse.')
        self.constants = CONSTANTS[constants]

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """``(H, W, 3)``, at least 32x32, to uint8 ``(H, W, 3)``."""
        check_image(image, 'ImageNetC')
        height, width = image.shape[:2]
        if min(height, width) < MIN_SIDE:
            raise ValueError(f'ImageNetC: expected an image of at least {MIN_SIDE}x{MIN_SIDE}, got {width}x{height}. '
                             'Corrupt before making it smaller, or use larger crops.')
        name = self.corruptions[rng.integers(len(self.corruptions))]
        severity = self.severities[rng.integers(len(self.severities))]
        corrupted = CORRUPTIONS[name](to_bytes(image), rng, *self.constants[name][severity - 1])
        return corrupted if corrupted.dtype == np.uint8 else cut_to_bytes(corrupted)
