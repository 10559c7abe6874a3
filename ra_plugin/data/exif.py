"""EXIF orientation: choice between pixels as stored and pixels rotated as viewers show them.

Boxes and masks fit only one of the two. Their annotation has the size of the annotated image, which distinguishes them
if rotation swaps width and height.
"""
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from ra_plugin.data.files import UnsettledFileError

ExifOrientation = Literal['ignore', 'apply']
Size = tuple[int, int]

_TAG = 274
_SWAPS_SIDES = (5, 6, 7, 8)


def exif_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 (as stored) if it is missing or unreadable.

    Pillow itself rotates TIFF files when decoding them; they have no orientation afterwards.
    """
    try:
        value = image.getexif().get(_TAG, 1)
    except Exception:  # damaged EXIF data raises many kinds of errors: struct.error, SyntaxError, ...
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def oriented(image: Image.Image, path: str, rule: ExifOrientation | None, drawn_on: Size | None) -> Image.Image:
    """Return the image as stored, or rotated upright.

    Args:
        image: Decoded image.
        path: Its name, for messages.
        rule: ``'ignore'``: as stored; ``'apply'``: upright; None: see :func:`is_to_be_turned`.
        drawn_on: Width and height of the annotated image; None if unknown.

    Raises:
        UnsettledFileError: ``rule`` is None and ``drawn_on`` does not decide.
    """
    if rule == 'ignore':
        return image
    if rule == 'apply' or is_to_be_turned(image.size, exif_orientation(image), drawn_on, path):
        return ImageOps.exif_transpose(image)
    return image


def turned(stored: np.ndarray, orientation: int) -> np.ndarray:
    """Return the upright pixels ``(H, W, ...)`` of pixels as stored, of any type, as `oriented` does for 8 bits."""
    if orientation in _SWAPS_SIDES:
        stored = stored.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        stored = stored[::-1]
    if orientation in (2, 3, 6, 7):
        stored = stored[:, ::-1]
    return stored


def turned_size(stored: Size, orientation: int) -> Size:
    """Return width and height of the upright image."""
    return (stored[1], stored[0]) if orientation in _SWAPS_SIDES else stored


def is_to_be_turned(stored: Size, orientation: int, drawn_on: Size | None, path: str) -> bool:
    """Return True if the annotation has the size of the upright image, False for that of the stored image.

    Raises:
        UnsettledFileError: The size of the annotation fits both, neither, or is unknown.
    """
    if orientation == 1:
        return False
    turned = turned_size(stored, orientation)
    if turned != stored and drawn_on in (stored, turned):
        return drawn_on == turned
    got = 'unknown size' if drawn_on is None else f'{drawn_on[0]}x{drawn_on[1]}'
    raise UnsettledFileError(
        f'{path}: expected an upright image, or an annotation with the size of either the stored or the upright '
        f'image, got EXIF orientation {orientation} for {stored[0]}x{stored[1]} stored pixels and an annotation of '
        f'{got}. Rotate the file itself (exiftran -ai, or ImageOps.exif_transpose), or set exif_orientation: apply, '
        'or ignore.')
