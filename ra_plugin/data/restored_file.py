"""Reading of restored image files, with the orientation and cropped to the size of the clean image."""
import numpy as np

from ra_plugin.data.image_file import MAX_PIXELS, read_image


def read_restored(path: str, size: tuple[int, int] | None = None, scale: int = 1) -> np.ndarray:
    """Return a restored image, uint8 ``(H, W, 3)``.

    Args:
        path: Image file.
        size: Width and height of the clean image, which was cropped at the right and bottom to multiples of the scale;
            up to ``scale - 1`` further pixels of the file are cropped, too. None without a clean image.
        scale: Factor between the restored and the degraded image.

    Raises:
        ValueError: The file is damaged, or its size does not decide about its EXIF orientation.
    """
    if size is None:
        return np.asarray(read_image(path))
    width, height = size
    image = read_image(path, max(MAX_PIXELS, width * height), None, size)
    if 0 <= image.width - width < scale and 0 <= image.height - height < scale:
        image = image.crop((0, 0, width, height))
    return np.asarray(image)
