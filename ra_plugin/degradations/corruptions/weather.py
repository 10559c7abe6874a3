"""What is between the camera and the scene: falling snow, drops of water or mud on the lens."""
import cv2
import numpy as np

from ra_plugin.degradations.corruptions.filters import as_unit, blur, cut_to_bytes, smear, zoom_matrix

_WATER = np.array([175, 238, 238], np.float32) / 255  # pale turquoise
_MUD = np.array([63, 42, 20], np.float32) / 255
_EMBOSS = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], np.float32)


def snow(image: np.ndarray, rng: np.random.Generator, mean: float, std: float, zoom: float, threshold: float,
         radius: int, sigma: float, kept: float) -> np.ndarray:
    """A whitened image under flakes that fall in one direction, and under the same turned by 180 degrees.

    Args:
        image, rng: As for all corruptions.
        mean, std: Of the Gaussian field that the flakes come from.
        zoom: Factor by which the field is enlarged.
        threshold: Above it is a flake.
        radius, sigma: Of the motion, in pixels; its direction is within 45 degrees of straight up.
        kept: Weight of the image; the rest is the whitened one.
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
    """Drops on the lens: where a smoothed Gaussian field is above a threshold.

    Args:
        image, rng: As for all corruptions.
        mean, std: Of the field before it is smoothed.
        sigma: Of the smoothing, in pixels.
        threshold: Above it is a drop.
        strength: Of water: its largest weight. Of mud: how many pixels its rim is blurred by.
        is_mud: Brown and opaque; else water, bright and lit from one side.
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
    """How bright the drops are, ``(H, W)`` in ``[0, strength]``: by the distance to their rim, as a relief."""
    distance = cv2.distanceTransform(255 - cv2.Canny(liquid, 50, 150), cv2.DIST_L2, 5)
    distance = cv2.blur(np.minimum(distance, 20), (3, 3)).astype(np.uint8)
    relief = cv2.filter2D(cv2.equalizeHist(distance), -1, _EMBOSS)
    water = liquid * cv2.blur(relief, (3, 3)).astype(np.float32)
    return water * np.float32(strength / max(water.max(), 1))  # a small image may have no drop
