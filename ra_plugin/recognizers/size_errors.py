"""Errors of networks that are given images of a size that they cannot take."""
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from ra_plugin.utils.text import first_line, how_many

# in torch's messages
_NOT_ABOUT_SIZE = ('CUDA', 'cuDNN', 'CUBLAS', 'NCCL', 'memory', 'same device', 'scalar type', 'dtype')
_SIDES = (64, 128, 256, 512)  # of images that are tried


@contextlib.contextmanager
def about_size(images: torch.Tensor, where: str, remedy: str = 'another resize',
               ask: Callable[[torch.Tensor], Any] | None = None, size: tuple[int, int] | None = None) -> Iterator[None]:
    """Say of an error of the network within the context that images of this size cannot be taken.

    Args:
        images: Those that the network is given, ``(N, 3, H, W)``.
        where: Place in the options, or the recognizer's name.
        remedy: The option to change.
        ask: Asks the network about images. If it is given, the error is about the size if it raises one for images of
            this size, too, and none for others. Else any error counts.
        size: (height, width) that the network takes, if it is known for one.

    Raises:
        ValueError: In place of torch's errors that name neither the device nor ``where``.
    """
    try:
        yield
    except (RuntimeError, IndexError, AssertionError, ValueError, ZeroDivisionError) as error:
        of_operator = isinstance(error, NotImplementedError)  # a RuntimeError about one that is missing
        if of_operator or str(error).startswith(where) or any(word in str(error) for word in _NOT_ABOUT_SIZE):
            raise
        given = (images.shape[-2], images.shape[-1])
        other = _other_size(images, ask, given, size) if ask else None
        if ask and not other:
            raise
        advice = 'larger images or crops'
        if other:
            advice = f'images or crops of a size that it takes, as {_words(other)}'
        count = how_many(len(images), 'image')
        raise ValueError(f'{where}: cannot take {count} of {_words(given)} ({first_line(error)}). Give {advice}, or '
                         f'{remedy}.') from error


def _other_size(images: torch.Tensor, ask: Callable[[torch.Tensor], Any], given: tuple[int, int],
                size: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return a size that the network takes; None if the given one does as well, or none is found."""

    @torch.no_grad()
    def takes(shape: tuple[int, int]) -> bool:
        try:
            ask(images.new_zeros(1, images.shape[1], *shape))
        except Exception:  # of whatever kind: it cannot
            return False
        return True

    if takes(given):
        return None
    larger = [(max(given[0], side), max(given[1], side)) for side in _SIDES if side > min(given)]
    return next((shape for shape in [*filter(None, [size]), *larger] if takes(shape)), None)


def _words(size: tuple[int, int]) -> str:
    return 'x'.join(map(str, size))
