"""Images in the size of a recognizer: once for all recognizers that want the same of the same images."""
import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import torch
import torch.nn.functional as F

_known: ContextVar[dict[tuple, tuple[torch.Tensor, torch.Tensor]] | None] = ContextVar('known', default=None)


@contextlib.contextmanager
def shared_resizes() -> Iterator[None]:
    """What is resized within, to one size, is resized once, and what is made of it shares its gradient.

    One within another shares what that knows, until the outer one ends. The images must not be changed in place
    meanwhile.
    """
    if _known.get() is not None:
        yield
        return
    token = _known.set({})
    try:
        yield
    finally:
        _known.reset(token)


def resize(images: torch.Tensor, size: tuple[int, int], fit: str, interpolation: str) -> torch.Tensor:
    """Differentiable antialiased resize of ``(N, C, H, W)`` to ``size`` (height, width); ``fit`` as in `Recognizer`."""
    known = _known.get()
    if known is None:
        return _resized(images, size, fit, interpolation)
    key = id(images), size, fit, interpolation, torch.is_grad_enabled()
    if key not in known:
        known[key] = images, _resized(images, size, fit, interpolation)  # images: their id stays theirs
    return known[key][1]


def _resized(images: torch.Tensor, size: tuple[int, int], fit: str, interpolation: str) -> torch.Tensor:
    if fit == 'stretch':
        return F.interpolate(images, size, mode=interpolation, antialias=True)
    height, width = images.shape[-2:]
    if size[0] * width >= size[1] * height:  # rounding here and below as torchvision's Resize and CenterCrop have it
        scaled = size[0], size[0] * width // height
    else:
        scaled = size[1] * height // width, size[1]
    if scaled != (height, width):
        images = F.interpolate(images, scaled, mode=interpolation, antialias=True)
    top, left = round((scaled[0] - size[0]) / 2), round((scaled[1] - size[1]) / 2)
    return images[..., top:top + size[0], left:left + size[1]]
