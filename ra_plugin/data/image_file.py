"""Image files to 8-bit RGB, as torchvision's loader does it; what has no one answer is refused by name."""
import io
from pathlib import Path

from PIL import Image, UnidentifiedImageError

# Modes that convert('RGB') turns into 8-bit RGB without loss of range; the 16- and 32-bit ones it would clamp.
_MODES = ('RGB', '1', 'L', 'P', 'CMYK', 'YCbCr', 'RGBX', 'RGBA', 'LA', 'PA')


def read_image(path: str) -> Image.Image:
    """Read and decode an image file to 8-bit RGB; raises as :func:`decode_image` does."""
    return decode_image(Path(path).read_bytes(), path)


def decode_image(data: bytes, path: str) -> Image.Image:
    """Decode an image file to 8-bit RGB; ``path`` is its name for messages.

    Raises:
        ValueError: The file is damaged, has transparent pixels, or has more than 8 bits a value.
    """
    image = open_image(data, path)
    if image.mode not in _MODES:
        raise ValueError(f'{path}: expected an image of 8 bits a channel, got mode {image.mode}. '
                         'Scale its values to 0..255 and save it as 8-bit RGB.')
    if image.has_transparency_data:
        mode, image = image.mode, image.convert('RGBA')
        if image.getchannel('A').getextrema()[0] < 255:
            raise ValueError(f'{path}: expected an opaque image, got mode {mode} with transparent pixels. '
                             'Lay it on a background and save it as RGB.')
    return image if image.mode == 'RGB' else image.convert('RGB')


def open_image(data: bytes, path: str) -> Image.Image:
    """Decode an image file in the mode that it is stored in.

    Raises:
        ValueError: The file is damaged.
    """
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except Exception as error:  # what PIL raises depends on the format: OSError, SyntaxError, struct.error, ...
        reason = 'no image format that PIL knows' if isinstance(error, UnidentifiedImageError) else error
        raise ValueError(f'{path}: expected an image, got a file that cannot be decoded ({reason}). '
                         'It may be truncated: replace it, or leave it out.') from error
    return image
