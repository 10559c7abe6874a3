"""Boundary distance of an image along a direction, and labels in a plane around it.

The boundary distance BD(R, x, d) of Liu et al. (arXiv:1910.09185, section 5) is the least delta > 0 for which
R(x + delta d) differs from R(x), with d of length 1. The paper names no unit; here it is the L2 norm over all values of
an RGB image in ``[0, 1]``. Images are float and not clipped, as x + delta d is in the paper: of a clipped image delta
would not be the length of the change.
"""
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

NO_LABEL = -1
Predict = Callable[[torch.Tensor], torch.Tensor]  # images (N, 3, H, W) -> (N,) labels


@dataclass(frozen=True)
class Search:
    """Search for the first change of the label along a ray: growing steps, then bisection.

    A label that begins and ends between two steps is missed. The distances are the root mean square
    of the change over the image's values, so that they suit images of every size.

    Attributes:
        first: Shortest distance, one 8-bit level.
        factor: Factor between distances, > 1; it may be a little less, so that ``last`` is one of them.
        last: Longest distance, where nothing is left of the image. A boundary that is farther counts as infinitely far.
        tolerance: Tolerance of the result, as a share of the distance. Up to ``first`` it is that share of the distance
            from which on a factor makes steps of ``first``.
    """

    first: float = 1 / 255
    factor: float = 1.1
    last: float = 1.0
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        if not 1 < self.factor < math.inf:
            raise ValueError(f'boundary: factor: expected a number > 1, got {self.factor}.')

    def distances(self) -> np.ndarray:
        """Return ``(K,)`` growing distances."""
        return np.geomspace(self.first, self.last, 1 + math.ceil(math.log(self.last / self.first, self.factor)))

    def halvings(self) -> int:
        """Return the number of bisections."""
        return max(0, math.ceil(math.log2((self.factor - 1) / self.tolerance)))


@dataclass(frozen=True)
class Boundaries:
    """Boundaries that were found along N rays.

    Attributes:
        distance: ``(N,)`` L2; infinite where the label never changes.
        label: ``(N,)`` the first other label; `NO_LABEL` where there is none.
    """

    distance: np.ndarray
    label: np.ndarray


@torch.no_grad()
def find_boundaries(predict: Predict, images: torch.Tensor, directions: torch.Tensor, labels: torch.Tensor,
                    search: Search = Search(), batch_size: int = 256) -> Boundaries:
    """Find the boundary distance of one recognizer from each image along its direction.

    Args:
        predict: Gives the recognizer's labels ``(N,)`` of images.
        images: ``(N, 3, H, W)``, the rays' origins.
        directions: ``(N, 3, H, W)``, of length 1; along one of length 0, nothing changes.
        labels: ``(N,)``, what is predicted on ``images``.
        search: Distances that are tried, as root mean squares, and the tolerance.
        batch_size: Images at a time.
    """
    rays = _Rays(predict, images, directions, batch_size)
    steps = torch.from_numpy(search.distances()).to(images.device) * math.sqrt(images.shape[1:].numel())
    number, after = _march(rays, labels, steps)
    found = (number < len(steps)).nonzero()[:, 0]
    high = steps[number[found]]
    low = torch.where(number[found] > 0, steps[number[found] - 1], 0)
    for _ in range(search.halvings()):
        middle = (low + high) / 2
        seen = rays.labels(found, middle[:, None])[:, 0]
        changed = seen != labels[found]
        after[found] = torch.where(changed, seen, after[found])
        low, high = torch.where(changed, low, middle), torch.where(changed, middle, high)
    distance = torch.full_like(number, torch.inf, dtype=torch.float64)
    distance[found] = high
    return Boundaries(distance.cpu().numpy(), after.cpu().numpy())


class _Rays:

    def __init__(self, predict: Predict, images: torch.Tensor, directions: torch.Tensor, batch_size: int):
        self.predict, self.images, self.directions, self.batch_size = predict, images, directions, batch_size

    def labels(self, rays: torch.Tensor, distances: torch.Tensor) -> torch.Tensor:
        """Return ``(n, m)`` labels of ``rays`` ``(n,)`` at their distances ``(n, m)``."""
        if not distances.numel():
            return rays.new_empty(distances.shape)
        where = rays[:, None].expand(distances.shape).flatten()
        moves = distances.flatten().to(self.images.dtype).view(-1, 1, 1, 1)
        found = [self.predict(self.images[part] + move * self.directions[part])
                 for part, move in zip(where.split(self.batch_size), moves.split(self.batch_size), strict=True)]
        return torch.cat(found).view(distances.shape)


def _march(rays: _Rays, labels: torch.Tensor, steps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For each ray, return the index of the first step whose label differs (``len(steps)``: none), and that label."""
    number, after = torch.full_like(labels, len(steps)), torch.full_like(labels, NO_LABEL)
    waiting, start = torch.arange(len(labels), device=labels.device), 0
    while len(waiting) and start < len(steps):
        ahead = steps[start:start + max(1, rays.batch_size // len(waiting))]  # more steps at once where rays are few
        seen = rays.labels(waiting, ahead.expand(len(waiting), -1))
        changed = seen != labels[waiting, None]
        hit, place = changed.any(1), changed.int().argmax(1)
        number[waiting[hit]] = start + place[hit]
        after[waiting[hit]] = seen[hit, place[hit]]
        waiting, start = waiting[~hit], start + len(ahead)
    return number, after


def unit(directions: torch.Tensor) -> torch.Tensor:
    """Divide ``(N, 3, H, W)`` by their L2 norms; zeros stay."""
    norms = directions.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    return directions / torch.where(norms > 0, norms, 1)


def random_directions(index: Sequence[int], images: torch.Tensor, seed: int) -> torch.Tensor:
    """Draw directions of length 1, uniform on the sphere, one for each image, from its number alone."""
    drawn = [np.random.default_rng((seed, number)).standard_normal(images.shape[1:]) for number in index]
    return unit(torch.from_numpy(np.stack(drawn))).to(images)


def orthogonal(directions: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return the parts of ``directions`` orthogonal to ``others``, which have length 1; of length 1."""
    along = (directions * others).flatten(1).sum(1).view(-1, 1, 1, 1)
    return unit(directions - along * others)


@torch.no_grad()
def decision_map(predict: Predict, image: torch.Tensor, horizontal: torch.Tensor, vertical: torch.Tensor,
                 places: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Return the labels in the plane of two directions around an image.

    Args:
        predict: Gives the recognizer's labels ``(N,)`` of images.
        image: ``(1, 3, H, W)``, in the middle of the plane.
        horizontal: ``(1, 3, H, W)``, of length 1.
        vertical: ``(1, 3, H, W)``, of length 1 and orthogonal to it.
        places: ``(P,)`` growing L2 distances along either direction.
        batch_size: Images at a time.

    Returns:
        ``(P, P)`` labels as they are drawn: columns from left to right, the largest vertical distance in the first row.
    """
    across = torch.from_numpy(places).to(image)
    points = torch.cartesian_prod(across.flip(0), across).view(-1, 2, 1, 1, 1)  # (up, right), row by row
    labels = [predict(image + part[:, 1] * horizontal + part[:, 0] * vertical) for part in points.split(batch_size)]
    return torch.cat(labels).view(len(places), len(places)).cpu().numpy()
