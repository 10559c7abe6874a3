"""EXIF orientation: whether pixels are taken as they are stored, or turned as viewers show them.

Boxes and masks belong to one of the two. Their annotation says how large the image was that they were drawn on, which
tells the two apart where turning swaps width and height.
"""
from typing import Literal

from PIL import Image, ImageOps

from ra_plugin.data.files import UnsettledFileError

ExifOrientation = Literal['ignore', 'apply']
Size = tuple[int, int]

_TAG = 274
_SWAPS_SIDES = (5, 6, 7, 8)


def exif_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1, as stored, where there is none or an illegible one.

    Pillow turns TIFF files itself as it decodes them; they have none then.
    """
    try:
        value = image.getexif().get(_TAG, 1)
    except Exception:  # EXIF is a format of its own, and damaged ones raise anything: struct.error, SyntaxError, ...
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def oriented(image: Image.Image, path: str, rule: ExifOrientation | None, drawn_on: Size | None) -> Image.Image:
    """Return the image as it is stored, or turned upright.

    Args:
        image: A decoded image.
        path: Its name, for messages.
        rule: ``'ignore'``: as it is stored; ``'apply'``: upright; None: see :func:`is_to_be_turned`.
        drawn_on: Width and height of the image that the annotation was drawn on, where they are known.

    Raises:
        UnsettledFileError: ``rule`` is None and ``drawn_on`` does not tell.
    """
    if rule == 'ignore':
        return image
    if rule == 'apply' or is_to_be_turned(image.size, exif_orientation(image), drawn_on, path):
        return ImageOps.exif_transpose(image)
    return image


def turned_size(stored: Size, orientation: int) -> Size:
    """Return width and height of the upright image."""
    return (stored[1], stored[0]) if orientation in _SWAPS_SIDES else stored


def is_to_be_turned(stored: Size, orientation: int, drawn_on: Size | None, path: str) -> bool:
    """Tell by the size that the annotation is for whether it was drawn on the upright image.

    Raises:
        UnsettledFileError: It is of either size, of neither, or not known.
    """
    if orientation == 1:
        return False
    turned = turned_size(stored, orientation)
    if turned != stored and drawn_on in (stored, turned):
        return drawn_on == turned
    got = 'unknown size' if drawn_on is None else f'{drawn_on[0]}x{drawn_on[1]}'
    raise UnsettledFileError(
        f'{path}: expected an upright image, or an annotation whose size tells whether it was drawn on the upright '
        f'image, got EXIF orientation {orientation} for {stored[0]}x{stored[1]} stored pixels and an annotation of '
        f'{got}. Turn the file for good (exiftran -ai, or ImageOps.exif_transpose), or set exif_orientation: apply, '
        'or ignore.')
