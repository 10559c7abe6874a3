"""Restoring of photographs: the network on their colors, in one piece or in tiles, and their alpha beside it."""
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from ra_plugin.builders.fitted_network import FittedNetwork
from ra_plugin.restoring.photograph import Photograph
from ra_plugin.restoring.pixels import enlarged, in_colors, of_depth, rounded, to_images
from ra_plugin.restoring.tile_choice import Choice
from ra_plugin.restoring.tiles import restored_in_tiles


class PhotographRestorer:
    """Callable that restores photographs of one size.

    Args:
        network: On its device.
        choice: Tiles, and the device.
        bits: 8 or 16 bits per channel of the results; None: as the photographs have.
    """

    def __init__(self, network: FittedNetwork, choice: Choice, bits: int | None = None):
        self.network, self.choice, self.bits = network, choice, bits

    def __call__(self, photographs: Sequence[Photograph],
                 seen: Callable[[float], object] = lambda share: None) -> list[Photograph]:
        """Restore photographs; ``seen`` is called with the share that is done, in steps that add up to 1.

        Raises:
            ValueError: The network does not take images of this size, or gives values that are not finite.
        """
        if self.choice.is_cut(photographs[0].size):
            found = [self._in_tiles(photograph, lambda share: seen(share / len(photographs)))
                     for photograph in photographs]
        else:
            found = self._whole(photographs)
            seen(1)
        return [replace(photograph, pixels=pixels, alpha=self._alpha(photograph))
                for photograph, pixels in zip(photographs, found, strict=True)]

    def _in_tiles(self, photograph: Photograph, seen: Callable[[float], object]) -> np.ndarray:
        return restored_in_tiles(lambda pixels: in_colors(self._run([pixels])[0], photograph.pixels.shape[2]),
                                 photograph.pixels, self.choice.scale, self.choice.tiling, self._type(photograph), seen)

    def _whole(self, photographs: Sequence[Photograph]) -> list[np.ndarray]:
        restored = self._run([photograph.pixels for photograph in photographs])
        return [rounded(in_colors(one, photograph.pixels.shape[2]), self._type(photograph))
                for one, photograph in zip(restored, photographs, strict=True)]

    def _run(self, pixels: Sequence[np.ndarray]) -> torch.Tensor:
        return self.network(to_images(pixels, self.choice.device)).float().cpu()

    def _type(self, photograph: Photograph) -> type:
        return {None: photograph.pixels.dtype.type, 8: np.uint8, 16: np.uint16}[self.bits]

    def _alpha(self, photograph: Photograph) -> np.ndarray | None:
        if photograph.alpha is None:
            return None
        return of_depth(enlarged(photograph.alpha, self.choice.scale), self._type(photograph))
