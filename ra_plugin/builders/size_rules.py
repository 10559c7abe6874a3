"""Explain why a network fails on images of some size, and find a multiple of the sides that it takes."""
from collections.abc import Callable

import torch

from ra_plugin.utils.tensors import extended

_TRIED = (2, 4, 8, 16, 32, 64)  # numbers that are proposed as multiple_of
SIZE_ERRORS = (RuntimeError, AssertionError, ValueError, TypeError, IndexError)  # what networks raise for a size


def explained(network: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, multiple_of: int, error: Exception,
              where: str) -> str:
    """Return in one line why a network has not taken images, with a ``multiple_of`` with which it does.

    Args:
        network: ``(N, 3, h, w)`` to ``(N, 3, s * h, s * w)``.
        images: What it was given.
        multiple_of: To which the images were extended.
        error: One of `SIZE_ERRORS` that it raised.
        where: Its place in the options.
    """
    size = f'{images.shape[-1]}x{images.shape[-2]}'
    if isinstance(error, torch.OutOfMemoryError):
        return f'{where}: an image of {size} pixels needs more memory than there is. Set tile, e.g. 512.'
    text = f'{where}: {not_taken(images, error)}'
    number = multiple_that_works(network, images, multiple_of)
    if number is not None:
        return f'{text} It takes certain sizes; with multiple_of: {number} in its block it works.'
    return f'{text} Set multiple_of, if it takes certain sizes, or tile, if it takes one.'


def not_taken(images: torch.Tensor, error: Exception) -> str:
    """Return that a network has not taken images of this size, with what it raised."""
    reason = (str(error).strip().splitlines() or [''])[0][:150]
    reason = f'{type(error).__name__}: {reason}' if reason else type(error).__name__
    return f'the network does not take an image of {images.shape[-1]}x{images.shape[-2]} pixels ({reason}).'


def multiple_that_works(network: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor,
                        more_than: int = 1) -> int | None:
    """Return the smallest number to whose multiples images can be extended for the network to take them."""
    for number in _TRIED:
        if number > more_than:
            try:
                network(extended(images[:1], number))
            except SIZE_ERRORS:
                continue
            return number
    return None
