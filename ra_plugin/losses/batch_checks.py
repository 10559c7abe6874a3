"""Checks of what a loss is given: shapes and types in every step, values on the first batch alone.

Reading values makes a GPU wait, so it is done once.
"""
from typing import Any

import torch

_SLACK = 1e-3  # of clean images: rounding of a resize
_REMEDY = 'Pass RGB that is not normalized; the recognizer normalizes.'


def check_images(output: Any, gt: Any, where: str) -> None:
    """Check restored images, and clean ones where the loss compares with them; reads no value.

    Args:
        output, gt: Expected: float ``(N, 3, H, W)`` of one shape and device. ``gt`` None: the loss takes none.

    Raises:
        ValueError: Another shape, type or device.
    """
    for name, images in (('output', output), ('gt', gt)):
        if name == 'gt' and images is None:
            continue
        if not isinstance(images, torch.Tensor):
            raise ValueError(f'{where}: expected {name} as a float tensor (N, 3, H, W), got {type(images).__name__}.')
        if images.dim() != 4 or images.shape[1] != 3 or not images.is_floating_point() or not len(images):
            kind = str(images.dtype).removeprefix('torch.')
            raise ValueError(f'{where}: expected {name} as float images (N, 3, H, W), got {kind} '
                             f'{tuple(images.shape)}. Pass RGB in [0, 1], and at least one image.')
    if gt is not None and gt.shape != output.shape:
        raise ValueError(f'{where}: expected gt of the shape of output, {tuple(output.shape)}, got {tuple(gt.shape)}. '
                         'Pass the clean image of each restored one, in its size.')
    if gt is not None and gt.device != output.device:
        raise ValueError(f'{where}: expected gt on the device of output, {output.device}, got {gt.device}.')


def check_clean(gt: torch.Tensor, where: str) -> None:
    """Raise ValueError where the clean images are not on the ``[0, 1]`` scale: they were normalized, or are 0..255."""
    low, high = gt.min().item(), gt.max().item()
    if low < -_SLACK or high > 1 + _SLACK:
        raise ValueError(f'{where}: expected gt in [0, 1], got [{low:.2f}, {high:.2f}]. {_REMEDY}')


def check_restored(output: torch.Tensor, where: str) -> None:
    """Raise ValueError where restored images are on another scale than ``[0, 1]``: 0..255, -1..1, or normalized.

    What a network restores may leave ``[0, 1]``, most of all before it has learned: fresh networks with a linear last
    layer give about ``[-0.9, 1]``, around 0. So values are refused that no such network gives: beyond ``[-1.5, 2.5]``;
    or within ``[-1, 1]`` with a tenth or more below -0.5, as of images on that scale (darker than a quarter), while of
    numbers around 0 that often are below -0.5 some are above 1, too.
    """
    low, high = output.min().item(), output.max().item()
    signed = -1 - _SLACK <= low and high <= 1 + _SLACK and (output < -0.5).double().mean().item() >= 0.1
    if low < -1.5 or high > 2.5 or signed:
        raise ValueError(f'{where}: expected output in about [0, 1], got [{low:.2f}, {high:.2f}]. {_REMEDY} If a '
                         'network gives it that has not learned yet, set check_range = False of the loss.')
