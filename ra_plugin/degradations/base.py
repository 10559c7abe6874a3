"""Base class of degradations, and helpers that they share."""
from abc import ABC, abstractmethod

import numpy as np


class Degradation(ABC):
    """Base class of functions from a clean image to a degraded one.

    A degradation rounds only where a real pipeline rounds, so its output may have another type than its input.

    Attributes:
        scale: Factor by which height and width shrink.
    """

    scale: int = 1

    @abstractmethod
    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Degrade one image.

        Args:
            image: RGB, ``(H, W, 3)``, uint8 or float32 in ``[0, 1]``, see `check_image`; it is not modified.
            rng: The only source of randomness: the same generator state gives the same result.

        Returns:
            RGB, ``(H / scale, W / scale, 3)``, of either of the two types.
        """


def check_image(image: np.ndarray, where: str) -> None:
    """Check that ``image`` is a valid input of a degradation: ``(H, W, 3)``, uint8 or float32 in ``[0, 1]``.

    Raises:
        TypeError: ``image`` is not an array, or neither uint8 nor float32.
        ValueError: The shape is not ``(H, W, 3)``, or a float value is outside ``[0, 1]``.
    """
    kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
    if kind not in (np.uint8, np.float32):
        raise TypeError(f'{where}: expected an array of uint8, or of float32 in [0, 1], got {kind}. '
                        'Convert it with np.asarray(image, np.uint8).')
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f'{where}: expected an RGB image (H, W, 3), got {image.shape}. Pass one image, channels last.')
    if kind == np.float32 and not (image.min() >= 0 and image.max() <= 1):  # written so that NaN fails, too
        raise ValueError(f'{where}: expected float32 in [0, 1], got [{image.min():.4g}, {image.max():.4g}]. '
                         'Divide 8-bit values by 255, and do not normalize.')


def check_divisible(image: np.ndarray, scale: int, where: str) -> None:
    """Check that ``scale`` divides height and width.

    Raises:
        ValueError: It does not.
    """
    height, width = image.shape[:2]
    if height % scale or width % scale:
        raise ValueError(f'{where}: expected height and width divisible by scale {scale}, got an image of '
                         f'{width}x{height}. Crop it to {width - width % scale}x{height - height % scale}, e.g. with '
                         'crop_size.')


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Return a uint8 image as it is, and float32 in ``[0, 1]`` rounded to 8 bit: to nearest, halves to even."""
    return image if image.dtype == np.uint8 else np.rint(image * np.float32(255)).astype(np.uint8)
