"""Digital corruptions: colors, pixelation, elastic deformation, JPEG compression."""
import cv2
import numpy as np
from PIL import Image
from scipy.ndimage import map_coordinates

from ra_plugin.degradations.classic import JPEGCompression
from ra_plugin.degradations.corruptions.filters import as_unit, smooth


def brightness(image: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Add ``amount`` to the value in HSV; hue and saturation are kept."""
    hsv = cv2.cvtColor(as_unit(image), cv2.COLOR_RGB2HSV)
    hsv[..., 2] = np.minimum(hsv[..., 2] + np.float32(amount), 1)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def contrast(image: np.ndarray, rng: np.random.Generator, factor: float) -> np.ndarray:
    """Multiply the deviation of each value from its channel's mean by ``factor``."""
    mean = np.divide(cv2.mean(image)[:3], 255, dtype=np.float32)
    return (as_unit(image) - mean) * np.float32(factor) + mean


def saturate(image: np.ndarray, rng: np.random.Generator, factor: float, offset: float) -> np.ndarray:
    """Change the saturation in HSV to ``factor * s + offset``, clamped; hue and value are kept, gray counts as red."""
    hsv = cv2.cvtColor(as_unit(image), cv2.COLOR_RGB2HSV)
    hsv[..., 1] = np.clip(hsv[..., 1] * np.float32(factor) + np.float32(offset), 0, 1)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def jpeg_compression(image: np.ndarray, rng: np.random.Generator, quality: int) -> np.ndarray:
    """Compress as JPEG with PIL's ``quality``."""
    return JPEGCompression(quality)(image, rng)


def pixelate(image: np.ndarray, rng: np.random.Generator, factor: float) -> np.ndarray:
    """Shrink by ``factor`` and enlarge again, both with PIL's box filter."""
    height, width = image.shape[:2]
    small = Image.fromarray(image).resize((int(width * factor), int(height * factor)), Image.Resampling.BOX)
    return np.array(small.resize((width, height), Image.Resampling.BOX))


def elastic_transform(image: np.ndarray, rng: np.random.Generator, strength: float, sigma: float,
                      shear: float) -> np.ndarray:
    """Apply a random affine map, then a random smooth displacement field.

    Args:
        image: RGB image, uint8 ``(H, W, 3)``.
        rng: Random generator.
        strength: Factor on the displacements, in pixels; before smoothing they are uniform in ``[-1, 1]``.
        sigma: Standard deviation of the smoothing, in pixels.
        shear: Maximum displacement, in pixels and per axis, of the three points that define the affine map.
    """
    height, width = image.shape[:2]
    center, third = np.array([height // 2, width // 2]), min(height, width) // 3  # (y, x), as published
    points = np.array([center + third, center + [third, -third], center - third], np.float32)
    moved = points + rng.uniform(-shear, shear, points.shape).astype(np.float32)
    image = cv2.warpAffine(as_unit(image), cv2.getAffineTransform(points, moved), (width, height),
                           borderMode=cv2.BORDER_REFLECT_101)
    right, down = (np.float32(strength) * smooth(rng.uniform(-1, 1, (height, width)), sigma).astype(np.float32)
                   for _ in range(2))
    positions = (np.arange(height, dtype=np.float32)[:, None] + down, np.arange(width, dtype=np.float32) + right)
    # not OpenCV's remap, which before version 5 rounds positions to 1/32 of a pixel
    return cv2.merge([map_coordinates(plane, positions, order=1, mode='reflect') for plane in cv2.split(image)])
