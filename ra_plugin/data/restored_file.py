"""Image files that something has restored, as the clean image is: its orientation, and cut to its size."""
import numpy as np

from ra_plugin.data.image_file import MAX_PIXELS, read_image


def read_restored(path: str, size: tuple[int, int] | None = None, scale: int = 1) -> np.ndarray:
    """Return a restored image, uint8 ``(H, W, 3)``.

    Args:
        path: Its file.
        size: Width and height of the clean image, which was cut at the right and at the bottom to sides that the scale
            divides: what the file has more, less than ``scale``, is cut off, too. None: there is no clean image.
        scale: How many times smaller the degraded image is.

    Raises:
        ValueError: The file is damaged, or its size does not tell what its EXIF orientation means.
    """
    if size is None:
        return np.asarray(read_image(path))
    width, height = size
    image = read_image(path, max(MAX_PIXELS, width * height), None, size)
    if 0 <= image.width - width < scale and 0 <= image.height - height < scale:
        image = image.crop((0, 0, width, height))
    return np.asarray(image)
