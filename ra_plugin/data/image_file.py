"""Decoding of image files to 8-bit RGB as in torchvision's loader; ambiguous files are rejected."""
import contextlib
import io
from pathlib import Path
from typing import BinaryIO, cast

from PIL import Image, UnidentifiedImageError

from ra_plugin.compat.pillow import without_pixel_limit
from ra_plugin.data.exif import ExifOrientation, oriented
from ra_plugin.data.files import UnsettledFileError

# Modes that convert('RGB') turns into 8-bit RGB without loss of range; it would clamp 16- and 32-bit modes.
_MODES = ('RGB', '1', 'L', 'P', 'CMYK', 'YCbCr', 'RGBX', 'RGBA', 'LA', 'PA')

MAX_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 2 ** 26)  # default limit, as in Pillow


def read_image(path: str, max_pixels: int | None = None, exif_orientation: ExifOrientation | None = 'ignore',
               drawn_on: tuple[int, int] | None = None) -> Image.Image:
    """Read and decode an image file to 8-bit RGB; see :func:`decode_image` for arguments and errors."""
    return decode_image(Path(path).read_bytes(), path, max_pixels, exif_orientation, drawn_on)


def decode_image(data: bytes, path: str, max_pixels: int | None = None,
                 exif_orientation: ExifOrientation | None = 'ignore',
                 drawn_on: tuple[int, int] | None = None) -> Image.Image:
    """Decode an image file to 8-bit RGB.

    Args:
        data: Content of the file.
        path: Its name, for messages.
        max_pixels: Maximum number of pixels. Default: Pillow's limit, about 179 million.
        exif_orientation: ``'ignore'``: pixels as stored; ``'apply'``: rotated by the EXIF tag; None: the one of the two
            with the size ``drawn_on``.
        drawn_on: Width and height of the image on which boxes or a mask were drawn; None if unknown.

    Raises:
        UnsettledFileError: The image has more pixels, or ``drawn_on`` does not decide about the rotation.
        ValueError: The file is damaged, has transparent pixels, or has more than 8 bits per value.
    """
    image = open_image(data, path, max_pixels)
    image = oriented(image, path, exif_orientation, drawn_on)
    if image.mode not in _MODES:
        if image.mode[0] not in 'IF':  # 8 bits, but another color space, e.g. LAB
            raise ValueError(f'{path}: expected an image in RGB, CMYK or gray, got mode {image.mode}. Save it as RGB.')
        raise ValueError(f'{path}: expected an image with 8 bits per channel, got mode {image.mode}. '
                         'Scale its values to 0..255 and save it as 8-bit RGB.')
    if image.has_transparency_data:
        mode, image = image.mode, image.convert('RGBA')
        lowest, _ = cast(tuple[int, int], image.getchannel('A').getextrema())
        if lowest < 255:
            raise ValueError(f'{path}: expected an opaque image, got mode {mode} with transparent pixels. '
                             'Put it on a background and save it as RGB.')
    return image if image.mode == 'RGB' else image.convert('RGB')


def open_image(data: bytes | BinaryIO, path: str, max_pixels: int | None = None, decode: bool = True) -> Image.Image:
    """Decode an image file, or its content, in its stored mode and orientation; without ``decode`` read its header.

    Raises:
        UnsettledFileError: The image has more than ``max_pixels`` pixels. Default: Pillow's limit.
        ValueError: The file is damaged.
    """
    try:
        with without_pixel_limit() as limit:
            image = Image.open(io.BytesIO(data) if isinstance(data, bytes) else data)
    except Exception as error:  # PIL's errors depend on the format: OSError, SyntaxError, struct.error, ...
        raise _damaged(path, error) from error
    limit = limit if max_pixels is None else max_pixels
    pixels = image.width * image.height
    if limit is not None and pixels > limit:
        raise UnsettledFileError(f'{path}: expected at most {limit} pixels, got {pixels} ({image.width}x'
                                 f'{image.height}). If you trust the file, set max_pixels: {pixels} or more.')
    try:
        if decode:
            exceeds = Image.MAX_IMAGE_PIXELS is not None and pixels > Image.MAX_IMAGE_PIXELS
            with without_pixel_limit() if exceeds else contextlib.nullcontext():  # some formats check it again
                image.load()
    except Exception as error:
        raise _damaged(path, error) from error
    return image


def _damaged(path: str, error: Exception) -> ValueError:
    reason = 'not an image format that PIL knows' if isinstance(error, UnidentifiedImageError) else error
    return ValueError(f'{path}: expected an image, got a file that cannot be decoded ({reason}). It may be truncated'
                      f'{", or have more than 8 bits per value" if path.lower().endswith((".tif", ".tiff")) else ""}: '
                      'replace or remove it.')
