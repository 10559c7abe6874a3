"""Resizing to the input size of recognizers, once for all recognizers that need the same size of the same images."""
import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import torch
import torch.nn.functional as F

FITS = ('crop', 'stretch', 'border')  # see `Recognizer`

_known: ContextVar[dict[tuple, tuple[torch.Tensor, torch.Tensor]] | None] = ContextVar('known', default=None)
_clamps: ContextVar[bool] = ContextVar('clamps', default=False)


@contextlib.contextmanager
def judging() -> Iterator[None]:
    """Clamp resized images to ``[0, 1]`` within the context, as pipelines do that read 8-bit images.

    Pillow clamps after each axis, the horizontal one first (recent versions: in most shapes). Bicubic weights leave the
    range by up to 28 % at hard edges. A loss sees that: clamped pixels would have no gradient, and both images that it
    compares are treated alike.
    """
    token = _clamps.set(True)
    try:
        yield
    finally:
        _clamps.reset(token)


def clamped_if_judging(images: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Return images that another library has resized, clamped within `judging` to what black and white are there."""
    return torch.minimum(torch.maximum(images, low), high) if _clamps.get() else images


@contextlib.contextmanager
def shared_resizes() -> Iterator[None]:
    """Resize images to each size once within the context; all uses of a result share its gradient.

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


def resize(images: torch.Tensor, size: tuple[int, int], fit: str, interpolation: str,
           fill: tuple[float, ...] = (0.0, 0.0, 0.0)) -> torch.Tensor:
    """Resize images, differentiable.

    Args:
        images: ``(N, C, H, W)``.
        size: Height and width of the result.
        fit: ``'crop'``, ``'stretch'`` or ``'border'``, see `Recognizer`.
        interpolation: ``'bilinear'`` or ``'bicubic'``, as Pillow has them; ``'opencv'``: bilinear as OpenCV has it,
            without antialiasing.
        fill: Color of the border that ``'border'`` adds.
    """
    known = _known.get()
    if known is None:
        return _resized(images, size, fit, interpolation, fill)
    key = id(images), size, fit, interpolation, fit == 'border' and fill, torch.is_grad_enabled(), _clamps.get()
    if key not in known:
        known[key] = images, _resized(images, size, fit, interpolation, fill)  # images: their id stays theirs
    return known[key][1]


def _resized(images: torch.Tensor, size: tuple[int, int], fit: str, interpolation: str,
             fill: tuple[float, ...]) -> torch.Tensor:
    scaled = _scaled((images.shape[-2], images.shape[-1]), size, fit)
    if scaled != tuple(images.shape[-2:]):
        between = (images.shape[-2], scaled[1])
        mode = 'bilinear' if interpolation == 'opencv' else interpolation
        for step in (between, scaled) if _clamps.get() else (scaled,):
            images = F.interpolate(images, step, mode=mode, antialias=interpolation != 'opencv')
            images = images.clamp(0, 1) if _clamps.get() else images
    top, left = round((scaled[0] - size[0]) / 2), round((scaled[1] - size[1]) / 2)  # as torchvision's CenterCrop
    if fit != 'border':
        return images[..., top:top + size[0], left:left + size[1]]
    above, before, *_ = place_of((images.shape[-2], images.shape[-1]), size, fit)
    pads = before, size[1] - scaled[1] - before, above, size[0] - scaled[0] - above
    color = images.new_tensor(fill).view(1, -1, 1, 1)
    return F.pad(images - color, pads) + color if any(pads) else images


def place_of(original: tuple[int, int], size: tuple[int, int], fit: str) -> tuple[int, int, int, int]:
    """Return top, left, height and width of an image within what ``'border'`` or ``'stretch'`` makes of it."""
    height, width = _scaled(original, size, fit)
    return (size[0] - height) // 2, (size[1] - width) // 2, height, width


def _scaled(original: tuple[int, int], size: tuple[int, int], fit: str) -> tuple[int, int]:
    """Return height and width before cropping or padding."""
    if fit == 'stretch':
        return size
    (height, width), (rows, columns) = original, size
    if fit == 'crop' and rows == columns:  # rounded as torchvision's Resize does it
        return (rows, rows * width // height) if width >= height else (rows * height // width, rows)
    ratios = height / rows, width / columns  # rounded as timm's ResizeKeepRatio does it
    ratio = max(ratios) if fit == 'border' else min(ratios)
    return max(round(height / ratio), 1), max(round(width / ratio), 1)
