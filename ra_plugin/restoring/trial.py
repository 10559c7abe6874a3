"""First run of a network, on a part of a photograph: which sizes it takes, its scale, and the memory that it takes."""
from dataclasses import dataclass

import numpy as np
import torch

from ra_plugin.builders.fitted_network import FittedNetwork
from ra_plugin.builders.size_rules import multiple_that_works
from ra_plugin.restoring.memory import peak_of
from ra_plugin.restoring.pixels import to_images

_ODD = (61, 67)  # height and width that no number divides
_SIDE = 256


@dataclass(frozen=True)
class Trial:
    """Facts on a network.

    Attributes:
        scale: Factor from the sides of an image to those of the restored one.
        bytes_per_pixel: Memory that it takes for a pixel of its input, on its device.
    """

    scale: int
    bytes_per_pixel: float


def patch(pixels: np.ndarray, side: int, share: float = 0.5) -> np.ndarray:
    """Return a square part of pixels ``(H, W, C)`` with three channels, mirrored at the borders if they are smaller.

    Args:
        pixels: Pixels of a photograph.
        side: Height and width of the part.
        share: Its place, from 0, top left, to 1, bottom right.
    """
    for axis in (0, 1):
        begin = round(share * max(pixels.shape[axis] - side, 0))
        pixels = pixels.take(range(begin, min(begin + side, pixels.shape[axis])), axis)
    missing = [(0, side - length) for length in pixels.shape[:2]]
    return np.repeat(np.pad(pixels, [*missing, (0, 0)], 'symmetric'), 3 // pixels.shape[2], 2)


def try_out(network: FittedNetwork, pixels: np.ndarray, device: torch.device) -> Trial:
    """Run a network on a part of a photograph, ``(H, W, C)``; its ``multiple_of`` is set where it needs one.

    Raises:
        ValueError: It does not take color images, or no number that is tried makes it take images of any size.
    """
    images = to_images([patch(pixels, max(_ODD))[:_ODD[0], :_ODD[1]]], device)
    try:
        restored = network(images)
    except ValueError:
        number = multiple_that_works(network.run, images, network.multiple_of)
        if number is None:
            raise
        network.multiple_of = number
        restored = network(images)
    side = _SIDE + -_SIDE % network.multiple_of
    peak = peak_of(lambda: network(to_images([patch(pixels, side)], device)), device)
    return Trial(restored.shape[-1] // images.shape[-1], peak / side ** 2)
