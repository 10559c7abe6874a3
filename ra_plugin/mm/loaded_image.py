"""Conversion of the image in mmengine's ``results`` between BGR and the RGB of this project."""
import numpy as np


def get_rgb(results: dict, where: str) -> np.ndarray:
    """Return the loaded image as RGB ``(H, W, 3)``, with the same type and range.

    Raises:
        ValueError: It is not a color image; ``where`` is the name of the transform, for the message.
    """
    image = results['img']
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f'{where}: expected a color image (H, W, 3), got {image.shape}. '
                         "Load it with LoadImageFromFile, color_type='color'.")
    return np.ascontiguousarray(image[..., ::-1])


def put_rgb(results: dict, image: np.ndarray) -> dict:
    """Replace the loaded image and ``img_shape``; ``ori_shape`` is kept."""
    results['img'] = np.ascontiguousarray(image[..., ::-1])
    results['img_shape'] = image.shape[:2]
    return results
