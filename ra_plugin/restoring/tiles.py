"""Restoring of a large image in tiles, which a ramp blends into each other."""
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ra_plugin.restoring.pixels import rounded


@dataclass(frozen=True)
class Tiling:
    """Rule that cuts a side of an image, in pixels of the input.

    Attributes:
        core: Distance of neighboring tiles.
        margin: Pixels that a tile sees beyond its core on either side.
        ramp: Half the width of the zone around the border of two cores in which the result goes over from one tile to
            the next; outside it each pixel comes from one tile.
        align: Number that divides the places where tiles begin and end.

    Raises:
        ValueError: ``align`` does not divide core and margin, or there is no room for the ramps.
    """

    core: int
    margin: int
    ramp: int
    align: int = 1

    def __post_init__(self):
        if self.core % self.align or self.margin % self.align or not 0 <= self.ramp <= min(self.margin, self.core // 2):
            raise ValueError(f'expected core and margin that {self.align} divides, and a ramp of at most the margin '
                             f'and half of the core, got {self}.')

    @property
    def side(self) -> int:
        """Largest side of a tile with its margins."""
        return self.core + 2 * self.margin


@dataclass(frozen=True)
class Span:
    """Part of a side that a tile is for: it sees ``start`` to ``stop``, and gives ``first`` to ``last``.

    Neighbors both give the pixels within ``ramp`` of the border of their cores.
    """

    start: int
    stop: int
    first: int
    last: int


def spans(length: int, tiling: Tiling | None) -> list[Span]:
    """Return the parts of a side of some length; without tiling the whole side.

    A rest that the tile before it sees in its margin gets no tile.
    """
    if tiling is None:
        return [Span(0, length, 0, length)]
    borders = [border for border in range(tiling.core, length, tiling.core) if length - border > tiling.margin]
    starts, stops = [0, *borders], [*borders, length]
    return [Span(max(start - tiling.margin, 0), min(stop + tiling.margin, length),
                 start - tiling.ramp if start else 0, stop + tiling.ramp if stop < length else length)
            for start, stop in zip(starts, stops, strict=True)]


def weights(span: Span, length: int, ramp: int, scale: int) -> torch.Tensor:
    """Return the weights of the restored pixels that a tile gives on one side; those of neighbors add up to 1."""
    size = scale * (span.last - span.first)
    found, width = torch.ones(size), 2 * ramp * scale
    rising = (torch.arange(width) + 0.5) / max(width, 1)
    if span.first > 0:
        found[:width] = rising
    if span.last < length:
        found[size - width:] = 1 - rising
    return found


def restored_in_tiles(restore: Callable[[np.ndarray], torch.Tensor], pixels: np.ndarray, scale: int,
                      tiling: Tiling | None, dtype: type, seen: Callable[[float], object] = lambda share: None
                      ) -> np.ndarray:
    """Restore one image tile by tile.

    Beside the result, no more than a row of tiles is in memory.

    Args:
        restore: From pixels ``(h, w, C)`` to restored values ``(C, s * h, s * w)``, ``[0, 1]``, on the CPU.
        pixels: Image ``(H, W, C)``.
        scale: s.
        tiling: How it is cut; None: in one piece.
        dtype: Type of the result, ``np.uint8`` or ``np.uint16``.
        seen: Called after each tile with the share of the image that it is.

    Returns:
        ``(s * H, s * W, C)``.
    """
    height, width, channels = pixels.shape
    result = np.empty((scale * height, scale * width, channels), dtype)
    ramp, carried, done = tiling.ramp if tiling else 0, None, 0
    rows, columns = spans(height, tiling), spans(width, tiling)
    for row in rows:
        band = torch.zeros(channels, scale * (row.last - row.first), scale * width)
        for column in columns:
            blend = weights(row, height, ramp, scale)[:, None] * weights(column, width, ramp, scale)
            band[..., scale * column.first:scale * column.last] += blend * _part(restore, pixels, row, column, scale)
            seen(1 / (len(rows) * len(columns)))
        if carried is not None:
            band[:, :carried.shape[1]] += carried
        ready = band.shape[1] - (2 * ramp * scale if row.last < height else 0)
        carried = band[:, ready:].clone()
        result[done:done + ready] = rounded(band[:, :ready], dtype)
        done += ready
    return result


def _part(restore: Callable[[np.ndarray], torch.Tensor], pixels: np.ndarray, row: Span, column: Span,
          scale: int) -> torch.Tensor:
    """Return the restored values that a tile gives."""
    restored = restore(pixels[row.start:row.stop, column.start:column.stop])
    return restored[:, scale * (row.first - row.start):scale * (row.last - row.start),
                    scale * (column.first - column.start):scale * (column.last - column.start)]
