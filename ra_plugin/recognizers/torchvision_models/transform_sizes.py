"""The sizes to which the transform within a detector of torchvision resizes images."""
import functools
from typing import Any

import torch

from ra_plugin.recognizers.resize_option import Resize, scaled


def set_resize(transform: Any, resize: Resize) -> None:
    """Let a detector's transform resize by a factor, or by none, in place of its own sizes; in place."""
    vars(transform).pop('resize', None)
    if resize != 'model':
        transform.resize = functools.partial(_resized_by, transform, resize)


def _resized_by(transform: Any, factor: float | None, image: torch.Tensor, target: dict | None = None) -> tuple:
    own = transform.fixed_size
    transform.fixed_size = scaled(image.shape[-2], image.shape[-1], factor)[::-1]  # (width, height)
    try:
        return type(transform).resize(transform, image, target)
    finally:
        transform.fixed_size = own
