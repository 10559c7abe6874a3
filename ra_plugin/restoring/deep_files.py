"""Writing of PNG files with 16 bits and of TIFF files: Pillow writes 16 bits for gray alone, OpenCV no tags."""
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image

_PNG_COLORS = {1: 0, 3: 2, 2: 4, 4: 6}  # number of channels -> the format's number for gray, RGB, with alpha
_ROWS = 64  # that are compressed at a time, which bounds the memory
_SUB, _UP = 1, 2  # filters of PNG: difference from the pixel before, or from the one above


def write_png(file: BinaryIO, values: np.ndarray, tags: Image.Exif, profile: bytes | None) -> None:
    """Write a PNG file with 16 bits per channel.

    Args:
        file: Where it is written.
        values: uint16 ``(H, W, C)``; 1 to 4 channels: gray or RGB, alpha after it.
        tags: EXIF tags.
        profile: ICC profile, or None.
    """
    height, width, channels = values.shape
    file.write(b'\x89PNG\r\n\x1a\n')
    _chunk(file, b'IHDR', struct.pack('>IIBBBBB', width, height, 16, _PNG_COLORS[channels], 0, 0, 0))
    if profile:
        _chunk(file, b'iCCP', b'ICC profile\0\0' + zlib.compress(profile))
    if len(tags):
        _chunk(file, b'eXIf', tags.tobytes().removeprefix(b'Exif\0\0'))
    packer = zlib.compressobj(6)
    for rows in _filtered(values):
        _chunk(file, b'IDAT', packer.compress(rows))
    _chunk(file, b'IDAT', packer.flush())
    _chunk(file, b'IEND', b'')


def _chunk(file: BinaryIO, name: bytes, content: bytes) -> None:
    if content or name == b'IEND':
        file.write(struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content)))


def _filtered(values: np.ndarray) -> Iterator[bytes]:
    """Yield the bytes of some rows: of two filters, the one with the smaller differences is taken for each row."""
    height, width, channels = values.shape
    above = np.zeros((1, width * channels * 2), np.uint8)
    for start in range(0, height, _ROWS):
        raw = values[start:start + _ROWS].astype('>u2').view(np.uint8).reshape(-1, width * channels * 2)
        sub, up = raw.copy(), raw - np.concatenate([above, raw[:-1]])
        sub[:, channels * 2:] -= raw[:, :-channels * 2]
        sizes = [np.abs(rows.view(np.int8).astype(np.int16)).sum(1) for rows in (sub, up)]
        is_up = (sizes[1] < sizes[0])[:, None]
        above = raw[-1:]
        yield np.concatenate([np.where(is_up, _UP, _SUB).astype(np.uint8), np.where(is_up, up, sub)], 1).tobytes()


def write_tiff(file: BinaryIO, values: np.ndarray, tags: Image.Exif, profile: bytes | None) -> None:
    """Write a TIFF file, compressed without loss (deflate, differences of neighbors).

    Args:
        file: Where it is written.
        values: uint8 or uint16 ``(H, W, C)``; 1 to 4 channels: gray or RGB, alpha after it.
        tags: EXIF tags, which are in the table of the file.
        profile: ICC profile, or None.
    """
    height, width, channels = values.shape
    table = Image.Exif()
    table.endian = '<'
    for tag, value in tags.items():
        table[tag] = value
    strips = [_packed(values[start:start + _ROWS]) for start in range(0, height, _ROWS)]
    sizes = [len(strip) for strip in strips]
    layout = {256: width, 257: height, 258: (values.itemsize * 8,) * channels, 259: 8, 262: 1 if channels < 3 else 2,
              273: tuple(int(place) for place in np.cumsum([0, *sizes[:-1]])), 277: channels, 278: _ROWS,
              279: tuple(sizes), 284: 1, 317: 2, 339: (1,) * channels}
    layout |= {338: 2} if channels in (2, 4) else {}  # alpha that the colors are not multiplied with
    layout |= {34675: profile} if profile else {}
    for tag, value in layout.items():
        table[tag] = value
    file.write(table.tobytes().removeprefix(b'Exif\0\0'))  # a TIFF file itself; it moves the places of strips behind it
    for strip in strips:
        file.write(strip)


def _packed(rows: np.ndarray) -> bytes:
    differences = rows.copy()
    differences[:, 1:] -= rows[:, :-1]
    return zlib.compress(differences.astype(differences.dtype.newbyteorder('<')).tobytes(), 6)
