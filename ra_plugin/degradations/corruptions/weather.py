"""Weather corruptions: falling snow, and drops of water or mud on the lens."""
import cv2
import numpy as np

from ra_plugin.degradations.corruptions.filters import as_unit, blur, cut_to_bytes, smear, zoom_matrix

_WATER = np.array([175, 238, 238], np.float32) / 255  # pale turquoise
_MUD = np.array([63, 42, 20], np.float32) / 255
_EMBOSS = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], np.float32)


def snow(image: np.ndarray, rng: np.random.Generator, mean: float, std: float, zoom: float, threshold: float,
         radius: int, sigma: float, kept: float) -> np.ndarray:
    """Whiten the image and add flakes that fall in one direction, and the same flakes rotated by 180 degrees.

    Args:
        image: RGB image, uint8 ``(H, W, 3)``.
        rng: Random generator.
        mean: Mean of the Gaussian field from which the flakes are made.
        std: Standard deviation of that field.
        zoom: Zoom factor of the field.
        threshold: Values of the field above it are flakes.
        radius: Reach of the motion blur in pixels; its direction is within 45 degrees of straight up.
        sigma: Standard deviation of the motion blur in pixels.
        kept: Weight of the image; the whitened image has the rest.
    """
    height, width = image.shape[:2]
    flakes = zoom_matrix(height, zoom) @ rng.normal(mean, std, (height, width))
    flakes = (zoom_matrix(width, zoom) @ flakes.T).T
    flakes = as_unit(cut_to_bytes(np.where(flakes < threshold, 0, flakes)))
    flakes = as_unit(cut_to_bytes(smear(flakes, radius, sigma, rng.uniform(-135, -45))))[..., None]
    image = as_unit(image)
    white = np.maximum(image, cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None] * 1.5 + 0.5)
    return kept * image + (1 - kept) * white + flakes + flakes[::-1, ::-1]


def spatter(image: np.ndarray, rng: np.random.Generator, mean: float, std: float, sigma: float, threshold: float,
            strength: float, is_mud: bool) -> np.ndarray:
    """Add drops on the lens, where a smoothed Gaussian field is above a threshold.

    Args:
        image: RGB image, uint8 ``(H, W, 3)``.
        rng: Random generator.
        mean: Mean of the Gaussian field before smoothing.
        std: Standard deviation of that field.
        sigma: Standard deviation of the smoothing, in pixels.
        threshold: Values of the field above it are drops.
        strength: For water, its maximum weight; for mud, the standard deviation in pixels of the blur of its rim.
        is_mud: Use mud, brown and opaque; otherwise water, bright and lit from one side.
    """
    liquid = blur(rng.normal(mean, std, image.shape[:2]), sigma)
    liquid[liquid < threshold] = 0
    image = as_unit(image)
    if is_mud:
        mud = blur((liquid > threshold).astype(np.float64), strength).astype(np.float32)[..., None]
        mud[mud < 0.8] = 0
        return image * (1 - mud) + mud * _MUD
    return image + _water((liquid * 255).astype(np.uint8), strength)[..., None] * _WATER


def _water(liquid: np.ndarray, strength: float) -> np.ndarray:
    """Return the brightness of the drops, ``(H, W)`` up to ``strength``: a relief of the distance to their rim."""
    distance = cv2.distanceTransform(255 - cv2.Canny(liquid, 50, 150), cv2.DIST_L2, 5)
    distance = cv2.blur(np.minimum(distance, 20), (3, 3)).astype(np.uint8)
    relief = cv2.filter2D(cv2.equalizeHist(distance), -1, _EMBOSS)
    water = liquid * cv2.blur(relief, (3, 3)).astype(np.float32)
    return water * np.float32(strength / max(water.max(), 1))  # a small image may have no drops
