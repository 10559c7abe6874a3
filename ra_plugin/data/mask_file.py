"""Reading of mask files whose pixels are class numbers."""
from pathlib import Path

import numpy as np

from ra_plugin.data.exif import exif_orientation
from ra_plugin.data.image_file import open_image

# Lossless formats; JPEG, WebP, AVIF and JPEG 2000 may change a class number into a neighboring one.
_LOSSLESS = ('BMP', 'DIB', 'GIF', 'PCX', 'PNG', 'PPM', 'TGA', 'TIFF')


def read_mask(path: str, max_pixels: int | None = None) -> np.ndarray:
    """Return the stored values of an 8-bit gray or palette image: uint8 ``(H, W)``.

    Raises:
        UnsettledFileError: The image has more than ``max_pixels`` pixels. Default: Pillow's limit.
        ValueError: The file is damaged, has a lossy format, or has more than one 8-bit number per pixel.
    """
    mask = open_image(Path(path).read_bytes(), path, max_pixels)
    compression = mask.info.get('compression')
    if mask.format not in _LOSSLESS or mask.format == 'TIFF' and compression in ('jpeg', 'tiff_jpeg', 'webp'):
        kind = mask.format if mask.format != 'TIFF' else f'TIFF with {compression} compression'
        raise ValueError(f'{path}: expected a mask in a lossless format, got {kind}, which changes class numbers. '
                         'Create the mask again as 8-bit gray PNG; converting this file does not restore them.')
    if mask.mode not in ('L', 'P'):
        raise ValueError(f'{path}: expected a mask with one 8-bit class number per pixel (mode L or P), got mode '
                         f'{mask.mode}. Replace colors by class numbers, and save it as 8-bit gray PNG.')
    if exif_orientation(mask) != 1:
        raise ValueError(f'{path}: expected a mask without rotation, got EXIF orientation {exif_orientation(mask)}. '
                         'Rotate the file itself (ImageOps.exif_transpose), or remove the tag.')
    return np.array(mask)
