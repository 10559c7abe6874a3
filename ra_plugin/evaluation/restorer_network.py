"""A trained network as a restorer: tiles, sizes, normalized images, and errors in words."""
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ra_plugin.builders.networks import pads_to_window
from ra_plugin.builders.size_rules import SIZE_ERRORS, explained
from ra_plugin.evaluation.judging import Batch
from ra_plugin.models.channels import check_channels
from ra_plugin.utils.tensors import denormalized, extended, normalized


def network_input(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a restorer's block that say how a run's option file feeds its network.

    ``multiple_of`` is the window to which the run's model class pads in its validation. ``mean`` and ``std`` are those
    with which its data set normalizes.
    """
    found: dict[str, Any] = {}
    window = run['network_g'].get('window_size') if isinstance(run.get('network_g'), Mapping) else None
    if isinstance(window, int) and pads_to_window(run):
        found['multiple_of'] = window
    datasets = run.get('datasets') or {}
    blocks = [block for phase, block in datasets.items() if isinstance(block, Mapping)] if datasets else []
    train = [datasets['train']] if isinstance(datasets.get('train'), Mapping) else []
    for block in (*train, *blocks):
        if block.get('mean') is not None and block.get('std') is not None:
            return {**found, 'mean': block['mean'], 'std': block['std']}
    return found


class Network:
    """Restorer that runs a network on the degraded images.

    Args:
        network: ``(N, 3, h, w)`` to ``(N, 3, s * h, s * w)``.
        tile: Side in pixels of the parts that large images are restored in; None: whole images.
        tile_overlap: Pixels that a tile sees beyond its border.
        multiple_of: The network takes sides that this number divides; images are extended, and the result is cut.
        mean, std: The network takes and makes images normalized with them; None: in ``[0, 1]``.
        where: Place in the options, for messages.
    """

    def __init__(self, network: nn.Module, tile: int | None = None, tile_overlap: int = 32, multiple_of: int = 1,
                 mean: Sequence[float] | None = None, std: Sequence[float] | None = None, where: str = 'network'):
        self.network, self.tile, self.overlap, self.multiple_of = network, tile, tile_overlap, multiple_of
        self.mean, self.std, self.where = mean, std, where

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Restore the ``lq`` of a batch.

        Raises:
            ValueError: The network does not take images of this size; with a ``multiple_of`` that it does take.
        """
        height, width = batch.lq.shape[-2:]
        side = self.tile
        if side is None or max(height, width) <= side:
            return self._run(batch.lq)
        rows = []
        for top in range(0, height, side):
            rows.append(torch.cat([self._tile(batch.lq, top, left, side) for left in range(0, width, side)], -1))
        return torch.cat(rows, -2)

    def _tile(self, images: torch.Tensor, top: int, left: int, side: int) -> torch.Tensor:
        """Restore one tile of ``side`` pixels with its surroundings, and cut it out."""
        height, width = images.shape[-2:]
        above, before = max(top - self.overlap, 0), max(left - self.overlap, 0)
        bottom, right = min(top + side, height), min(left + side, width)
        part = images[..., above:bottom + self.overlap, before:right + self.overlap]
        restored = self._run(part)
        scale = restored.shape[-1] // part.shape[-1]
        return restored[..., scale * (top - above):scale * (bottom - above),
                        scale * (left - before):scale * (right - before)]

    def _run(self, images: torch.Tensor) -> torch.Tensor:
        images = normalized(images, self.mean, self.std)
        try:
            restored = self._extended(images, self.multiple_of)
        except SIZE_ERRORS as error:
            raise ValueError(explained(self.network, images, self.multiple_of, error, self.where)) from error
        check_channels(restored, images.shape, self.where)
        return denormalized(restored, self.mean, self.std)

    def _extended(self, images: torch.Tensor, multiple_of: int) -> torch.Tensor:
        height, width = images.shape[-2:]
        padded = extended(images, multiple_of)
        restored = self.network(padded)
        scale = restored.shape[-1] // padded.shape[-1]
        return restored[..., :scale * height, :scale * width]
