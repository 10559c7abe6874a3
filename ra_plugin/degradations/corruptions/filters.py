"""Filters shared by several corruptions, for floats ``(H, W)`` or ``(H, W, 3)``; results are not clipped."""
import math
from functools import lru_cache

import cv2
import numpy as np
from scipy import fft, sparse


def as_unit(image: np.ndarray) -> np.ndarray:
    """Convert uint8 to float32 in ``[0, 1]``."""
    return image / np.float32(255)


def cut_to_bytes(image: np.ndarray) -> np.ndarray:
    """Convert floats on the ``[0, 1]`` scale to uint8, clamped and truncated as in the published programs."""
    # plus 0.001 of a level, because single precision may be slightly below a whole number
    return np.clip(image * np.float32(255) + np.float32(1e-3), 0, 255).astype(np.uint8, order='C')


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur with a Gaussian of ``sigma`` pixels, truncated at 4 sigma, with replicated borders."""
    side = 2 * int(4 * sigma + 0.5) + 1
    return cv2.GaussianBlur(image, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)


def smear(image: np.ndarray, radius: int, sigma: float, angle: float) -> np.ndarray:
    """Blur along a line like ImageMagick's motion blur: half a Gaussian over ``2 * radius + 1`` pixels.

    Args:
        image: float32 image.
        radius: Reach of the kernel in pixels.
        sigma: Standard deviation of the Gaussian in pixels.
        angle: Angle in degrees, clockwise from the right.
    """
    step = np.arange(2 * radius + 1)
    weights = np.exp(-step ** 2 / (2 * sigma ** 2))
    rows = np.ceil(step * math.sin(math.radians(angle)) - 0.5).astype(int)
    columns = np.ceil(step * math.cos(math.radians(angle)) - 0.5).astype(int)
    top, left = rows.min(), columns.min()
    kernel = np.zeros((np.ptp(rows) + 1, np.ptp(columns) + 1))
    np.add.at(kernel, (rows - top, columns - left), weights / weights.sum())  # two steps may share one pixel
    return cv2.filter2D(image, -1, kernel, anchor=(int(-left), int(-top)), borderType=cv2.BORDER_REPLICATE)


@lru_cache(maxsize=256)
def zoom_matrix(size: int, factor: float) -> sparse.csr_array:
    """Return a sparse ``(size, size)`` matrix that zooms the center of a line of pixels linearly by ``factor``.

    As in ``scipy.ndimage.zoom``, the first and last pixel of the center become the first and last of the result, which
    is cropped to its middle if it is too long.
    """
    middle = math.ceil(size / factor)
    stretched = round(middle * factor)
    position = (np.arange(size) + (stretched - size) // 2) * (middle - 1) / (stretched - 1)
    left = np.minimum(position.astype(int), middle - 2)
    weights = np.stack([1 - (position - left), position - left], axis=1)
    columns = np.stack([left, left + 1], axis=1) + (size - middle) // 2
    entries = (weights.ravel().astype(np.float32), (np.repeat(np.arange(size), 2), columns.ravel()))
    return sparse.csr_array(entries, shape=(size, size))


def smooth(field: np.ndarray, sigma: float) -> np.ndarray:
    """Smooth a field ``(H, W)`` with a Gaussian truncated at 3 sigma, mirrored at the borders as often as needed.

    With mirrored borders the filter is exactly a product in the space of cosine transforms, equally fast for a sigma of
    171.
    """
    spectrum = np.asarray(fft.dctn(field))
    spectrum *= _response(field.shape[0], sigma)[:, None]
    spectrum *= _response(field.shape[1], sigma)
    return np.asarray(fft.idctn(spectrum))


@lru_cache(maxsize=64)
def _response(size: int, sigma: float) -> np.ndarray:
    """Return the Gaussian's factor at each of the ``size`` frequencies of a cosine transform."""
    radius = int(3 * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-offsets ** 2 / (2 * sigma ** 2)) if radius else np.ones(1)
    return np.cos(np.pi / size * np.outer(np.arange(size), offsets)) @ (weights / weights.sum())
