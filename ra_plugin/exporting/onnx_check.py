"""Comparison of an exported file with the network in PyTorch, on images of other sizes than the traced one."""
from collections.abc import Callable, Sequence

import torch

from ra_plugin.archs import SpandrelNetwork
from ra_plugin.builders.fitted_network import FittedNetwork
from ra_plugin.builders.run_networks import stages

# Of the range [0, 1]. Rounding in float32 makes 1e-7 to 1e-5, depending on depth and values; a level of 8 bits is 4e-3.
TOLERANCE = 1e-4
_AS_TRACED = 10  # how much more than at the traced size, where the operations are the same ones, is taken for rounding
_ROUNDING = 2e-6  # of the largest value: at least this is taken for rounding
_BASE = 32  # sides are about this, or about what the network extends images to
Shape = tuple[int, int, int]  # images, height, width
Reference = tuple[torch.Tensor, torch.Tensor]  # images, and what the network makes of them


def traced_shape(fitted: FittedNetwork, size: tuple[int, int] | None) -> Shape:
    """Return the images that a network is traced with; their odd sides lead through its branches for an extension."""
    base = _base(fitted)
    return (1, *size) if size else (1, base + 5, base + 19)


def checked_shapes(fitted: FittedNetwork, size: tuple[int, int] | None, batch: int) -> list[Shape]:
    """Return the shapes of images that are compared: the traced one, and three others that the network extends to
    other sizes; with a fixed size that one."""
    if size:
        return [(1, *size), (batch, *size), (1, *size)]
    base = _base(fitted)
    return [traced_shape(fitted, None), (1, base, 3 * base // 2), (batch, 2 * base, base + 1),
            (1, base + 1, 2 * base + 7)]


def _base(fitted: FittedNetwork) -> int:
    own = [number for stage in stages(fitted.network) if isinstance(stage, SpandrelNetwork)
           for number in (stage.sizes.minimum, stage.sizes.multiple_of)]
    return max(_BASE, fitted.multiple_of, *own)


def references(network: Callable[[torch.Tensor], torch.Tensor], shapes: Sequence[Shape]) -> list[Reference]:
    """Return images of noise of these shapes, each with what the network makes of it."""
    generator, found = torch.Generator().manual_seed(0), []
    for count, height, width in shapes:
        images = torch.rand(count, 3, height, width, generator=generator)
        with torch.no_grad():
            found.append((images, network(images)))
    return found


def scale_of(expected: Sequence[Reference]) -> int:
    """Return how many times as large as the images the results are."""
    images, values = expected[0]
    return values.shape[-1] // images.shape[-1]


def largest_difference(network: Callable[[torch.Tensor], torch.Tensor], expected: Sequence[Reference]) -> float:
    """Return the largest difference of what a network makes of images from what it should make of them.

    Args:
        network: The exported one.
        expected: `references`; the first is of the shape that it was traced with.

    Raises:
        ValueError: The results have other sizes, or differ by more than rounding in float32 explains; the message says
            where and how much.
    """
    found = []
    for images, values in expected:
        result, place = network(images), f'of {"x".join(map(str, images.shape))}'
        if result.shape != values.shape:
            raise ValueError(f'{place} it makes {"x".join(map(str, result.shape))}, not '
                             f'{"x".join(map(str, values.shape))}')
        found.append(float((result - values).abs().max()))
        allowed = min(TOLERANCE, max(_AS_TRACED * found[0], _ROUNDING * max(1., float(values.abs().max()))))
        if not found[-1] <= allowed:  # NaN, too
            raise ValueError(f'{place} it makes values that differ by {found[-1]:.1e}, where {allowed:.1e} may be '
                             'rounding')
    return max(found)
