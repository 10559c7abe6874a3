"""Choice of tiles by the network's reach and by the memory that there is, and the bound on memory that follows."""
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ra_plugin.builders.fitted_network import FittedNetwork
from ra_plugin.options import OptionError
from ra_plugin.restoring.memory import available, in_use, of_files
from ra_plugin.restoring.photograph import Header
from ra_plugin.restoring.pixels import to_images
from ra_plugin.restoring.reach import BOUND, PATCH, Reach, measured_reach
from ra_plugin.restoring.tiles import Tiling
from ra_plugin.restoring.trial import patch, try_out

_CORE = 512  # of tiles that equal the whole image; larger ones are hardly faster
_RAMP = 16
_SHARE = 0.5  # of the free memory that the network may take
_MORE = 1.25  # on what the network took in its trial
_ALWAYS = 2 ** 25  # bytes besides
_BATCH_AT_MOST = 64


@dataclass(frozen=True)
class Choice:
    """Tiles, and the memory that restoring takes with them.

    Attributes:
        scale: Factor from the sides of an image to those of the restored one.
        tiling: None: whole images.
        at_once: Pixels that the network is given at a time; a larger image is cut.
        reach: Difference of tiles from the whole image; None without tiles.
        network_bytes: Memory that the network takes for ``at_once``.
        device: Where it takes that.
        multiple_of: Number to whose multiples the sides of images are extended.
        most: Bytes of main memory that the process takes with the largest image.
    """

    scale: int
    tiling: Tiling | None
    at_once: int
    reach: Reach | None
    network_bytes: int
    device: torch.device
    multiple_of: int
    most: int = 0

    def is_cut(self, size: tuple[int, int]) -> bool:
        """Return True if an image of this width and height is restored in tiles."""
        return self.tiling is not None and size[0] * size[1] > self.at_once

    def batch(self, size: tuple[int, int]) -> int:
        """Return how many images of this width and height are restored at a time."""
        return min(max(self.at_once // (size[0] * size[1]), 1), _BATCH_AT_MOST)

    def needed(self, header: Header) -> int:
        """Return the bytes of main memory that a photograph takes while it is restored and written."""
        band = self.tiling.side if self.is_cut(header.size) and self.tiling else header.size[1]
        return of_files(header.size, self.scale, header.bits, band) + (
            self.network_bytes if self.device.type == 'cpu' else _ALWAYS)

    def in_words(self, name: str) -> Iterator[str]:
        """Yield lines on the tiles and the memory.

        Args:
            name: Of the photograph that was measured with.
        """
        if self.multiple_of > 1:
            yield f'Sides are extended to multiples of {self.multiple_of}, and the result is cut.'
        if self.tiling is None or self.reach is None:
            yield 'Whole images, without tiles.'
        elif self.reach.is_local:
            yield (f'Images of more than {self.at_once / 1e6:.2f} million pixels in tiles of {self.tiling.core} pixels '
                   f'with {self.tiling.margin} around: the whole image within {max(self.reach.error, 0.01):.2f} of 255 '
                   f'levels, measured in {name}.')
        else:
            yield (f'This network looks farther than tiles can: images of more than {self.at_once / 1e6:.2f} million '
                   f'pixels, in tiles of {self.tiling.core} pixels with {self.tiling.margin} around, differ from the '
                   f'whole image by up to {self.reach.error:.1f} of 255 levels, measured in {name}. --tile 0 restores '
                   'whole images.')
        on_device = '' if self.device.type == 'cpu' else f', and {self.network_bytes / 1e9:.1f} GB on {self.device}'
        yield f'Memory: at most {self.most / 1e9:.1f} GB{on_device}.'


def chosen(network: FittedNetwork, device: torch.device, pixels: np.ndarray, headers: Sequence[Header],
           tile: int | None) -> Choice:
    """Try a network out and choose how images are cut.

    Args:
        network: It; its ``multiple_of`` is set where it needs one.
        device: Where it is.
        pixels: A photograph, ``(H, W, C)``.
        headers: Of all photographs, with the bits of the results.
        tile: Distance of tiles; 0: whole images; None: 512 pixels where tiles equal the whole image, else as large as
            the memory allows; smaller where it is scarce.

    Raises:
        OptionError: There is too little memory for the smallest tiles.
        ValueError: The network does not take the photograph.
    """
    trial = try_out(network, pixels, device)
    cost, largest = _MORE * trial.bytes_per_pixel, max(header.pixels for header in headers)
    affordable = int(_SHARE * available(device) / cost)
    tiling, reach = None, None
    if tile == 0 or tile is None and largest <= min(_CORE ** 2, affordable):
        at_once = max(largest, min(_CORE ** 2, affordable))
    else:
        reach = _reach(network, device, pixels, affordable)
        tiling = _tiling(reach, tile, affordable, cost)
        at_once = tiling.side ** 2
    network_bytes = int(cost * min(at_once, max(largest, _CORE ** 2))) + _ALWAYS
    choice = Choice(trial.scale, tiling, at_once, reach, network_bytes, device, network.multiple_of)
    side = math.isqrt(at_once)
    batch = Header((side, side), max(header.bits for header in headers))  # of small images
    return replace(choice, most=in_use() + max(map(choice.needed, (*headers, batch))))


def _reach(network: FittedNetwork, device: torch.device, pixels: np.ndarray, affordable: int) -> Reach:
    side = min(PATCH, math.isqrt(affordable))
    return measured_reach(lambda part: network(to_images([part], device))[0].float().cpu(),
                          [patch(pixels, side, share) for share in (0.25, 0.75)], network.multiple_of)


def _tiling(reach: Reach, tile: int | None, affordable: int, cost: float) -> Tiling:
    """Return the tiles that there is memory for."""
    align = reach.align
    margin = align * -(-(reach.margin + _RAMP) // align)
    least = align * -(-2 * _RAMP // align)
    most = align * ((math.isqrt(affordable) - 2 * margin) // align)
    if most < least:
        needed, free = (cost * pixels / _SHARE / 1e9 for pixels in ((least + 2 * margin) ** 2, affordable))
        raise OptionError(f'--tile: expected {needed:.1f} GB of free memory for tiles of {least} pixels with {margin} '
                          f'around, got {free:.1f}. Close other programs.')
    wanted = tile or (_CORE if reach.error <= BOUND else most)
    return Tiling(max(min(align * -(-wanted // align), most), least), margin, _RAMP, align)
