"""Image files to 8-bit RGB, as torchvision's loader does it; what has no one answer is refused by name."""
import contextlib
import io
from pathlib import Path
from typing import cast

from PIL import Image, UnidentifiedImageError

from ra_plugin.compat.pillow import without_pixel_limit
from ra_plugin.data.exif import ExifOrientation, oriented
from ra_plugin.data.files import UnsettledFileError

# Modes that convert('RGB') turns into 8-bit RGB without loss of range; the 16- and 32-bit ones it would clamp.
_MODES = ('RGB', '1', 'L', 'P', 'CMYK', 'YCbCr', 'RGBX', 'RGBA', 'LA', 'PA')

MAX_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 2 ** 26)  # that are read by default: Pillow's limit


def read_image(path: str, max_pixels: int | None = None, exif_orientation: ExifOrientation | None = 'ignore',
               drawn_on: tuple[int, int] | None = None) -> Image.Image:
    """Read and decode an image file to 8-bit RGB; arguments and errors as of :func:`decode_image`."""
    return decode_image(Path(path).read_bytes(), path, max_pixels, exif_orientation, drawn_on)


def decode_image(data: bytes, path: str, max_pixels: int | None = None,
                 exif_orientation: ExifOrientation | None = 'ignore',
                 drawn_on: tuple[int, int] | None = None) -> Image.Image:
    """Decode an image file to 8-bit RGB.

    Args:
        data: Content of the file.
        path: Its name, for messages.
        max_pixels: Read images of so many pixels. Default: Pillow's limit, about 179 million.
        exif_orientation: ``'ignore'``: pixels as they are stored; ``'apply'``: turned as the EXIF tag says; None:
            whichever has the size ``drawn_on``.
        drawn_on: Width and height of the image that boxes or a mask were drawn on; None: not known.

    Raises:
        UnsettledFileError: It has more pixels, or ``drawn_on`` does not tell whether to turn it.
        ValueError: The file is damaged, has transparent pixels, or has more than 8 bits a value.
    """
    image = open_image(data, path, max_pixels)
    image = oriented(image, path, exif_orientation, drawn_on)
    if image.mode not in _MODES:
        if image.mode[0] not in 'IF':  # of 8 bits, but of other colors, as LAB
            raise ValueError(f'{path}: expected an image in RGB, CMYK or gray, got mode {image.mode}. Save it as RGB.')
        raise ValueError(f'{path}: expected an image of 8 bits a channel, got mode {image.mode}. '
                         'Scale its values to 0..255 and save it as 8-bit RGB.')
    if image.has_transparency_data:
        mode, image = image.mode, image.convert('RGBA')
        lowest, _ = cast(tuple[int, int], image.getchannel('A').getextrema())
        if lowest < 255:
            raise ValueError(f'{path}: expected an opaque image, got mode {mode} with transparent pixels. '
                             'Lay it on a background and save it as RGB.')
    return image if image.mode == 'RGB' else image.convert('RGB')


def open_image(data: bytes, path: str, max_pixels: int | None = None, decode: bool = True) -> Image.Image:
    """Decode an image file in the mode and orientation that it is stored in; without ``decode``, its header alone.

    Raises:
        UnsettledFileError: It has more than ``max_pixels`` pixels. Default: Pillow's limit.
        ValueError: The file is damaged.
    """
    try:
        with without_pixel_limit() as limit:
            image = Image.open(io.BytesIO(data))
    except Exception as error:  # what PIL raises depends on the format: OSError, SyntaxError, struct.error, ...
        raise _damaged(path, error) from error
    limit = limit if max_pixels is None else max_pixels
    pixels = image.width * image.height
    if limit is not None and pixels > limit:
        raise UnsettledFileError(f'{path}: expected at most {limit} pixels, got {pixels} ({image.width}x'
                                 f'{image.height}). If the file is to be trusted, set max_pixels: {pixels} or more.')
    try:
        if decode:
            exceeds = Image.MAX_IMAGE_PIXELS is not None and pixels > Image.MAX_IMAGE_PIXELS
            with without_pixel_limit() if exceeds else contextlib.nullcontext():  # some formats ask once more
                image.load()
    except Exception as error:
        raise _damaged(path, error) from error
    return image


def _damaged(path: str, error: Exception) -> ValueError:
    reason = 'no image format that PIL knows' if isinstance(error, UnidentifiedImageError) else error
    return ValueError(f'{path}: expected an image, got a file that cannot be decoded ({reason}). It may be truncated'
                      f'{", or of more than 8 bits a value" if path.lower().endswith((".tif", ".tiff")) else ""}: '
                      'replace it, or leave it out.')
