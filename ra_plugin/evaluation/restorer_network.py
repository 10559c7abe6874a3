"""A trained network as a restorer of an evaluation, in tiles for large images."""
from collections.abc import Sequence

import torch
from torch import nn

from ra_plugin.builders.fitted_network import FittedNetwork
from ra_plugin.evaluation.judging import Batch
from ra_plugin.metrics.gate import Gate


class Network:
    """Restorer that runs a network on the degraded images.

    Args:
        network: ``(N, 3, h, w)`` to ``(N, 3, s * h, s * w)``.
        tile: Side in pixels of the parts that large images are restored in; None: whole images.
        tile_overlap: Pixels that a tile sees beyond its border.
        multiple_of: The network takes sides that this number divides; images are extended, and the result is cut.
        mean, std: The network takes and makes images normalized with them; None: in ``[0, 1]``.
        where: Place in the options, for messages.
        gate: It tells which images are taken as they are given; None: none is.
    """

    def __init__(self, network: nn.Module, tile: int | None = None, tile_overlap: int = 32, multiple_of: int = 1,
                 mean: Sequence[float] | None = None, std: Sequence[float] | None = None, where: str = 'network',
                 gate: Gate | None = None):
        self.tile, self.overlap, self.gate = tile, tile_overlap, gate
        self.fitted = FittedNetwork(network, multiple_of, mean, std, where)

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Restore the ``lq`` of a batch.

        Raises:
            ValueError: The network does not take images of this size; with a ``multiple_of`` that it does take. Or
                there is a gate, and it makes images of another size.
        """
        restored = self._restored(batch.lq)
        if self.gate is None:
            return restored
        if restored.shape != batch.lq.shape:
            (height, width), (now_high, now_wide) = batch.lq.shape[-2:], restored.shape[-2:]
            raise ValueError(f'{self.fitted.where}: gate: expected a network of scale 1, since images are taken as '
                             f'they are given, got {now_wide}x{now_high} pixels for {width}x{height}. Leave it out.')
        kept = self.gate.keeps(self.gate.level(batch.lq))
        return torch.where(kept.view(-1, 1, 1, 1), batch.lq, restored)

    def _restored(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[-2:]
        side = self.tile
        if side is None or max(height, width) <= side:
            return self.fitted(images)
        rows = []
        for top in range(0, height, side):
            rows.append(torch.cat([self._tile(images, top, left, side) for left in range(0, width, side)], -1))
        return torch.cat(rows, -2)

    def _tile(self, images: torch.Tensor, top: int, left: int, side: int) -> torch.Tensor:
        """Restore one tile of ``side`` pixels with its surroundings, and cut it out."""
        height, width = images.shape[-2:]
        above, before = max(top - self.overlap, 0), max(left - self.overlap, 0)
        bottom, right = min(top + side, height), min(left + side, width)
        part = images[..., above:bottom + self.overlap, before:right + self.overlap]
        restored = self.fitted(part)
        scale = restored.shape[-1] // part.shape[-1]
        return restored[..., scale * (top - above):scale * (bottom - above),
                        scale * (left - before):scale * (right - before)]
