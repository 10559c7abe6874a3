"""Errors of networks that are given images of a size that they cannot take."""
import contextlib
from collections.abc import Iterator

import torch

from ra_plugin.utils.text import first_line

_NOT_ABOUT_SIZE = ('CUDA', 'cuDNN', 'CUBLAS', 'NCCL', 'memory', 'same device')  # in torch's messages


@contextlib.contextmanager
def about_size(images: torch.Tensor, where: str) -> Iterator[None]:
    """Say of an error of the network within the context that the images may be too small for it.

    Raises:
        ValueError: In place of torch's errors that name neither the device nor ``where``.
    """
    try:
        yield
    except (RuntimeError, IndexError, AssertionError, ValueError) as error:
        of_operator = isinstance(error, NotImplementedError)  # a RuntimeError about one that is missing
        if of_operator or str(error).startswith(where) or any(word in str(error) for word in _NOT_ABOUT_SIZE):
            raise
        size = 'x'.join(str(side) for side in images.shape[-2:])
        raise ValueError(f'{where}: cannot take {len(images)} images of {size} ({first_line(error)}). Give larger '
                         'images or crops, or another resize.') from error
