"""Blur: by a lens out of focus, by frosted glass, by motion, by zooming."""
import cv2
import numpy as np

from ra_plugin.degradations.corruptions.filters import as_unit, blur, cut_to_bytes, smear, zoom_matrix


def gaussian_blur(image: np.ndarray, rng: np.random.Generator, sigma: float) -> np.ndarray:
    """Blur with a Gaussian of ``sigma`` pixels."""
    return blur(as_unit(image), sigma)


def defocus_blur(image: np.ndarray, rng: np.random.Generator, radius: float, sigma: float) -> np.ndarray:
    """Average over a disk of ``radius`` pixels whose rim is softened by a Gaussian of ``sigma`` pixels."""
    return cv2.filter2D(as_unit(image), -1, _disk(radius, sigma))


def _disk(radius: float, sigma: float) -> np.ndarray:
    # as published: the kernel is at least 17 wide, and at radius 8 the softened rim is cut off at its border
    reach, softened = (8, 3) if radius <= 8 else (int(radius), 5)
    offsets = np.arange(-reach, reach + 1)
    disk = (offsets ** 2 + offsets[:, None] ** 2 <= radius ** 2).astype(np.float32)
    return cv2.GaussianBlur(disk / disk.sum(), (softened, softened), sigma)


def glass_blur(image: np.ndarray, rng: np.random.Generator, sigma: float, reach: int, repeats: int) -> np.ndarray:
    """Blur by ``sigma``, displace pixels by up to ``reach``, ``repeats`` times, and blur again."""
    image = cut_to_bytes(blur(as_unit(image), sigma))
    for _ in range(repeats):
        image = _displace(image, rng, reach)
    return blur(as_unit(image), sigma)


def _displace(image: np.ndarray, rng: np.random.Generator, reach: int) -> np.ndarray:
    """Give each inner pixel, from the last to the first, the current color of a random pixel nearby.

    The published program intends to swap the two, but swapping array rows by assignment copies one over the other.
    """
    height, width = image.shape[:2]
    rows, columns = np.arange(height - reach, reach, -1)[:, None], np.arange(width - reach, reach, -1)
    right, down = np.moveaxis(rng.integers(-reach, reach, (len(rows), len(columns), 2)), 2, 0)
    source = np.arange(height * width)
    source[rows * width + columns] = (rows + down) * width + columns + right
    # A later pixel received its color before: follow the chain of sources to its origin.
    origin, pending = source.copy(), np.flatnonzero(source > np.arange(height * width))
    while pending.size:
        later = origin[pending]
        origin[pending] = source[later]
        pending = pending[source[later] > later]
    return np.take(image.reshape(-1, 3), origin, axis=0).reshape(image.shape)


def motion_blur(image: np.ndarray, rng: np.random.Generator, radius: int, sigma: float) -> np.ndarray:
    """Blur by motion in a random direction within 45 degrees of the horizontal."""
    return smear(as_unit(image), radius, sigma, rng.uniform(-45, 45))


def zoom_blur(image: np.ndarray, rng: np.random.Generator, end: float, step: float) -> np.ndarray:
    """Average the image with itself zoomed by 1, 1 + ``step``, ... up to ``end``."""
    height, width = image.shape[:2]
    factors = [1.0, *np.arange(1, end, step)]
    planes = as_unit(image).transpose(0, 2, 1).reshape(height, 3 * width)
    total = np.zeros((width, height * 3), np.float32)
    for factor in factors:
        taller = zoom_matrix(height, factor) @ planes
        total += zoom_matrix(width, factor) @ cv2.transpose(taller.reshape(height * 3, width))
    return total.reshape(width, height, 3).transpose(1, 0, 2) / np.float32(len(factors))
