"""Steps of the high-order degradation, for images ``(H, W, 3)``, RGB, float32; resizing and blur may leave [0, 1]."""
from collections.abc import Sequence

import cv2
import numpy as np

from ra_plugin.degradations.base import to_bytes
from ra_plugin.degradations.classic import JPEGCompression
from ra_plugin.degradations.high_order.options import RESIZES, Stage, draw

FILTERS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)  # the latter two without antialiasing


def blur(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return the image filtered with a kernel of sum 1, mirrored at its borders about the last pixel."""
    column, row = kernel.sum(axis=1), kernel.sum(axis=0)
    if np.allclose(kernel, np.outer(column, row), rtol=0, atol=1e-9):  # isotropic Gaussians: up to ten times as fast
        return cv2.sepFilter2D(image, -1, row, column, borderType=cv2.BORDER_REFLECT_101)
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101)


def draw_factor(stage: Stage, rng: np.random.Generator) -> float:
    """Draw the factor of a stage's resizing."""
    way = RESIZES[rng.choice(len(RESIZES), p=stage.resize_prob)]
    low, high = stage.resize_range
    return rng.uniform(1, high) if way == 'up' else rng.uniform(low, 1) if way == 'down' else 1.0


def resize(image: np.ndarray, height: float, width: float, rng: np.random.Generator) -> np.ndarray:
    """Return the image at a size, rounded down to whole pixels but at least 1, by a filter that is drawn.

    The borders of the image stay where they are, whatever the size, so the content does not move.
    """
    size = max(1, int(width)), max(1, int(height))
    method = FILTERS[rng.integers(len(FILTERS))]
    return image if size == image.shape[1::-1] else cv2.resize(image, size, interpolation=method)


def add_noise(image: np.ndarray, stage: Stage, rng: np.random.Generator) -> np.ndarray:
    """Return the image with a stage's noise, clamped to ``[0, 1]``."""
    is_gaussian = rng.random() < stage.gaussian_noise_prob
    is_gray = rng.random() < stage.gray_noise_prob
    if is_gaussian:
        noise = gaussian_noise(image, draw(stage.noise_range, rng), is_gray, rng)
    else:
        noise = poisson_noise(image, draw(stage.poisson_scale_range, rng), is_gray, rng)
    return np.clip(image + noise, 0, 1)


def gaussian_noise(image: np.ndarray, sigma: float, is_gray: bool, rng: np.random.Generator) -> np.ndarray:
    """Draw Gaussian noise for an image, ``(H, W, 3)``, or ``(H, W, 1)`` if it is gray; ``sigma`` in levels of 255."""
    noise = rng.standard_normal((*image.shape[:2], 1 if is_gray else 3), np.float32)
    noise *= np.float32(sigma / 255)
    return noise


def poisson_noise(image: np.ndarray, factor: float, is_gray: bool, rng: np.random.Generator) -> np.ndarray:
    """Draw Poisson noise for an image, ``(H, W, 3)``, or ``(H, W, 1)`` if it is gray.

    White is as many photons as the image has different levels, rounded up to a power of two.

    Args:
        image: The image; it is clamped to ``[0, 1]`` and rounded to 8 bit for this.
        factor: Factor on the noise.
        is_gray: The noise is that of the gray image.
        rng: Source of randomness.
    """
    image = np.clip(image, 0, 1)
    levels = to_bytes(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None] if is_gray else image)
    different = np.count_nonzero(np.bincount(levels.ravel(), minlength=256))
    photons = np.float32(2 ** np.ceil(np.log2(different)))
    unit = levels / np.float32(255)
    return (rng.poisson(unit * photons) / photons - unit).astype(np.float32) * np.float32(factor)


def compress(image: np.ndarray, qualities: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Return the image, clamped to ``[0, 1]``, as JPEG gives it at a quality drawn from ``[low, high]``."""
    quality = round(draw(qualities, rng))
    return JPEGCompression(quality)(np.clip(image, 0, 1), rng) / np.float32(255)
