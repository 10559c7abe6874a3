"""Formats of the restored files: what each of them holds, and how it is written."""
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from ra_plugin.restoring.deep_files import write_png, write_tiff
from ra_plugin.restoring.photograph import Photograph
from ra_plugin.restoring.tags import of_size
from ra_plugin.utils.atomic import written_aside


@dataclass(frozen=True)
class Format:
    """File format.

    Attributes:
        name: Pillow's name.
        suffixes: Endings of its files; the first is used where the format is chosen.
        alpha, deep: It holds an alpha channel; 16 bits.
        tags: It holds EXIF tags and a color profile.
        settings: Of Pillow's writer.
        lossy: It takes a quality from 1 to 100.
    """

    name: str
    suffixes: tuple[str, ...]
    alpha: bool = False
    deep: bool = False
    tags: bool = True
    lossy: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


FORMATS = {
    'png': Format('PNG', ('.png',), alpha=True, deep=True),
    # colors as fine as brightness, which viewers show and recognizers read
    'jpg': Format('JPEG', ('.jpg', '.jpeg'), lossy=True, settings={'subsampling': 0}),
    # exact: colors below transparent pixels stay
    'webp': Format('WEBP', ('.webp',), alpha=True, lossy=True, settings={'exact': True}),
    'tiff': Format('TIFF', ('.tif', '.tiff'), alpha=True, deep=True),
    'bmp': Format('BMP', ('.bmp',), tags=False),
    'ppm': Format('PPM', ('.ppm', '.pgm'), tags=False),
}


def format_of(path: Path) -> Format:
    """Return the format of a file by its ending, one of `IMAGE_SUFFIXES`."""
    return next(kind for kind in FORMATS.values() if path.suffix.lower() in kind.suffixes)


def check_fits(photograph: Photograph, path: Path, bits: int | None) -> None:
    """Check that the format of a file to write holds all that a photograph has; an opaque alpha channel is nothing.

    Args:
        photograph: It.
        path: File to write.
        bits: Bits per channel that were asked for; None: as many as it has.

    Raises:
        ValueError: It does not.
    """
    kind, alpha = format_of(path), photograph.alpha
    if not kind.alpha and alpha is not None and alpha.min() < np.iinfo(alpha.dtype).max:
        raise ValueError(f'{path.name}: expected an opaque image, got transparent pixels, which {kind.name} does not '
                         'hold. Write another format: --format png.')
    if not kind.deep and (bits or photograph.pixels.itemsize * 8) == 16:
        raise ValueError(f'{path.name}: expected 8 bits per channel, got 16, which {kind.name} does not hold. Write '
                         'another format, --format png, or cut them, --bits 8.')


def write_photograph(photograph: Photograph, path: Path, quality: int) -> None:
    """Write a photograph in the format of the file's ending; the file appears when it is complete.

    Args:
        photograph: One that `check_fits`.
        path: The file; its folder exists.
        quality: 1 to 100, of JPEG and WebP; 100 is without loss for WebP.

    Raises:
        OSError: It cannot be written.
    """
    with written_aside(path) as file:
        _write(photograph, file, format_of(path), quality)


def _write(photograph: Photograph, file: BinaryIO, kind: Format, quality: int) -> None:
    values = photograph.pixels
    if photograph.alpha is not None and kind.alpha:
        values = np.concatenate([values, photograph.alpha[..., None]], 2)
    tags = of_size(photograph.tags, *photograph.size)
    if kind.name == 'TIFF':
        write_tiff(file, values, tags, photograph.profile)
    elif values.dtype == np.uint16:
        write_png(file, values, tags, photograph.profile)
    else:
        settings = dict(kind.settings)
        if kind.lossy:
            settings |= {'quality': quality} if kind.name != 'WEBP' or quality < 100 else {'lossless': True}
        if kind.tags:
            settings |= {'exif': tags} if len(tags) else {}
            settings |= {'icc_profile': photograph.profile} if photograph.profile else {}
        Image.fromarray(values.squeeze(2) if values.shape[2] == 1 else values).save(file, kind.name, **settings)
