"""Margin that a tile needs: how far from its border its result differs from that of the whole image, measured."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

BOUND = 0.1  # of 255 levels, a tenth of what is allowed: what is measured is a part of one photograph
PATCH = 512  # side of the parts that are measured
_AROUND = 48  # pixels of it that the tile does not see, on each side at least
_CENTER = 16  # half the side of the middle, which has to agree for all of the distances to count
_ALIGNED_AT_MOST = 64
_SLACK = 1.25  # where no distance is enough: how much more than in the middle is taken for the same


@dataclass(frozen=True)
class Reach:
    """Needed margin of tiles.

    Attributes:
        margin: Pixels of the input.
        align: Number that has to divide the places where tiles begin and end: strides, windows of attention.
        error: Largest difference beyond the margin, in levels of 255.
    """

    margin: int
    align: int
    error: float

    @property
    def is_local(self) -> bool:
        """True if tiles give what the whole image gives; False for a network with global parts."""
        return self.error <= BOUND


def measured_reach(restore: Callable[[np.ndarray], torch.Tensor], patches: Sequence[np.ndarray],
                   multiple_of: int = 1) -> Reach:
    """Compare what the network makes of patches and of their inner part alone.

    The inner part begins and ends at odd multiples of a number, so that a network with strides or windows of twice
    that number gives another result; then the number is doubled.

    Args:
        restore: From pixels ``(h, w, 3)`` to values ``(3, s * h, s * w)``, on the CPU.
        patches: Square parts of photographs, of one size.
        multiple_of: Number that divides the sides of what the network takes.

    Returns:
        The smallest margin with a difference of at most `BOUND`. If there is none, the one from which the difference
        hardly falls any more.
    """
    wholes = [restore(patch).clamp(0, 1) for patch in patches]
    side, found = patches[0].shape[0], []
    align = multiple_of
    while True:
        begin = _odd_multiple(_AROUND, align, up=True)
        end = begin + _odd_multiple(side - _AROUND - begin, align, up=False)
        if end - begin < 4 * _CENTER:
            break
        errors = torch.stack([_errors(whole, restore(patch[begin:end, begin:end]).clamp(0, 1), begin, end)
                              for whole, patch in zip(wholes, patches, strict=True)]).amax(0)
        limit = max(BOUND, _SLACK * float(errors[-_CENTER]))
        margin = int((errors > limit).sum())  # they fall with the distance
        found.append(Reach(margin, align, float(errors[min(margin, len(errors) - 1)])))
        if found[-1].is_local or align >= _ALIGNED_AT_MOST:
            break
        align *= 2
    if not found:
        raise ValueError(f'expected patches of at least {2 * _AROUND + 4 * _CENTER + 2 * align} pixels, got {side}.')
    return min(found, key=lambda reach: (not reach.is_local, reach.error))


def _odd_multiple(number: int, of: int, up: bool) -> int:
    """Return the odd multiple of ``of`` that is next to a number, from above or from below."""
    times = -(-number // of) if up else number // of
    return of * (times + (times % 2 == 0) * (1 if up else -1))


def _errors(whole: torch.Tensor, part: torch.Tensor, begin: int, end: int) -> torch.Tensor:
    """Return, for each distance from the border of the part, the largest difference there or farther inside."""
    scale = part.shape[-1] // (end - begin)
    inner = whole[:, scale * begin:scale * end, scale * begin:scale * end]
    differences = 255 * (inner - part).abs().amax(0)
    places = torch.arange(len(differences)) // scale
    places = torch.minimum(places, places.flip(0))
    distances = torch.minimum(places[:, None], places)
    largest = torch.zeros(int(distances.max()) + 1)
    largest = largest.scatter_reduce(0, distances.flatten(), differences.flatten(), 'amax')
    return largest.flip(0).cummax(0).values.flip(0)
