"""Reading of a photograph with what belongs to it: alpha, 16 bits, EXIF tags, color profile."""
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from PIL import Image, ImageCms

from ra_plugin.data.exif import exif_orientation, turned
from ra_plugin.data.image_file import open_image
from ra_plugin.restoring.tags import kept_tags

_GRAY = ('1', 'L', 'LA', 'La')
_COLOR = ('RGB', 'RGBA', 'P', 'PA', 'CMYK', 'YCbCr', 'RGBX')
_BITS, _PHOTOMETRIC, _PLANES, _EXTRA = 258, 262, 284, 338  # tags of TIFF
_PNG_GRAY = (0, 4)  # types of color
_START = 1024  # bytes of a file with the header of PNG or PPM
_PNM_HEADER = re.compile(rb'P[56](?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+(\d+)\s')


@dataclass
class Photograph:
    """Upright photograph.

    Attributes:
        pixels: uint8 or uint16 ``(H, W, 3)``, RGB; ``(H, W, 1)`` for gray.
        alpha: Opacity, ``(H, W)`` of the same type; None for a file without it.
        tags: EXIF tags, without the orientation.
        profile: ICC profile of the pixels; None if the file has none.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    tags: Image.Exif
    profile: bytes | None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def is_gray(self) -> bool:
        return self.pixels.shape[2] == 1


@dataclass(frozen=True)
class Header:
    """Facts on a file that are read without decoding it.

    Attributes:
        size: Width and height, as stored.
        bits: 8 or 16 bits per channel.
    """

    size: tuple[int, int]
    bits: int

    @property
    def pixels(self) -> int:
        return self.size[0] * self.size[1]


def read_header(path: str, max_pixels: int | None = None) -> Header:
    """Read the header of an image file; raises as `open_image` does."""
    with open(path, 'rb') as file:
        start = file.read(_START)
        file.seek(0)
        image = open_image(file, path, max_pixels, decode=False)
        return Header(image.size, 16 if _has_16_bits(image, start) else 8)


def read_photograph(path: str, max_pixels: int | None = None) -> Photograph:
    """Read a photograph, rotated as its EXIF tag says.

    Palettes and CMYK become RGB, the latter by its profile if it has one, black and white becomes gray. The pixels
    below transparent ones are read as they are stored.

    Raises:
        UnsettledFileError: The image has more than ``max_pixels`` pixels. Default: Pillow's limit.
        ValueError: The file is damaged, has several frames, or values that neither 8 nor 16 bits hold.
    """
    data = Path(path).read_bytes()
    header = open_image(data, path, max_pixels, decode=False)
    frames = getattr(header, 'n_frames', 1)
    if frames > 1 and header.format != 'MPO':  # a camera's, with the photograph first and previews after it
        raise ValueError(f'{path}: expected one image, got {frames} frames or pages. Save each as a file.')
    if _has_16_bits(header, data):
        image, values, profile = header, _decoded_16_bits(data, header, path), header.info.get('icc_profile')
    else:
        image = open_image(data, path, max_pixels)
        values, profile = _decoded_8_bits(image, path)
    tags = kept_tags(image, path)
    if header.format != 'TIFF':  # which Pillow and OpenCV rotate themselves
        values = turned(values, exif_orientation(image))
    colors = values.shape[2] - (values.shape[2] in (2, 4))
    space = b'GRAY' if colors == 1 else b'RGB '
    return Photograph(np.ascontiguousarray(values[..., :colors]),
                      np.ascontiguousarray(values[..., colors]) if colors < values.shape[2] else None,
                      tags, profile if profile and profile[16:20] == space else None)


def _has_16_bits(header: Image.Image, data: bytes) -> bool:
    if header.format == 'PNG':
        return data[24] == 16
    if header.format == 'TIFF':
        return max(_tag(header, _BITS, (1,))) == 16
    if header.format == 'PPM':
        found = _PNM_HEADER.match(data)
        return found is not None and int(found[1]) > 255
    return header.mode.startswith('I;16')


def _decoded_16_bits(data: bytes, header: Image.Image, path: str) -> np.ndarray:
    """Return uint16 ``(H, W, C)``, RGB; Pillow would cut colors to 8 bits."""
    kind = header.format
    if kind == 'PPM' or kind == 'TIFF' and (  # OpenCV would scale, swap or divide their values
            _tag(header, _PLANES, (1,)) != (1,) or _tag(header, _EXTRA, (0,)) == (1,)
            or _tag(header, _PHOTOMETRIC, (2,))[0] not in (1, 2)):
        raise ValueError(f'{path}: expected 16 bits per channel as PNG or as TIFF with the channels of a pixel side by '
                         f'side, got another layout ({kind}). Save it as 16-bit PNG.')
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16:
        raise ValueError(f'{path}: expected an image, got a file that cannot be decoded. It may be truncated: replace '
                         'or remove it.')
    values = values.reshape(*values.shape[:2], -1)
    if values.shape[2] == 1:
        return values
    values = values[..., (2, 1, 0, 3)[:values.shape[2]]]  # from BGR
    return values[..., (0, 3)] if kind == 'PNG' and data[25] in _PNG_GRAY else values


def _decoded_8_bits(image: Image.Image, path: str) -> tuple[np.ndarray, bytes | None]:
    """Return uint8 ``(H, W, C)`` and the ICC profile."""
    profile = image.info.get('icc_profile')
    if image.mode not in (*_GRAY, *_COLOR):
        raise ValueError(f'{path}: expected an image in RGB, CMYK or gray with 8 or 16 bits per channel, got mode '
                         f'{image.mode}. Save it as RGB.')
    is_gray = image.mode in _GRAY
    if image.has_transparency_data:
        values = np.asarray(image.convert('RGBA'))
        return values[..., (0, 3)] if is_gray else values, profile
    if image.mode == 'CMYK' and profile:
        return np.asarray(_by_profile(image, profile, path)), None
    values = np.asarray(image.convert('L' if is_gray else 'RGB'))
    return values.reshape(*values.shape[:2], -1), profile


def _by_profile(image: Image.Image, profile: bytes, path: str) -> Image.Image:
    """Return a CMYK image in sRGB."""
    try:
        return cast(Image.Image, ImageCms.profileToProfile(
            image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile('sRGB'), outputMode='RGB'))
    except (ImageCms.PyCMSError, OSError) as error:
        raise ValueError(f'{path}: its CMYK profile cannot be used ({error}). Save it as RGB.') from None


def _tag(image: Image.Image, number: int, default: tuple) -> tuple:
    value = image.tag_v2.get(number, default)  # type: ignore[attr-defined]
    return value if isinstance(value, tuple) else (value,)
