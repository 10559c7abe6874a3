"""Checks of a loss's inputs: shapes and types in every step, values only on the first batch.

Values are read only once because reading them makes the CPU wait for the GPU.
"""
from typing import Any

import torch

_SLACK = 1e-3  # tolerance for clean images: rounding of a resize
_REMEDY = 'Pass RGB that is not normalized; the recognizer normalizes.'


def check_images(output: Any, gt: Any, where: str) -> None:
    """Check type, shape and device of restored and clean images, without reading values.

    Args:
        output: Restored images; has to be float ``(N, 3, H, W)``.
        gt: Clean images; of the same shape and device. None for a loss without clean images.
        where: Name of the loss, for messages.

    Raises:
        ValueError: The type, shape or device differs.
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
                         'Pass one clean image per restored one, of its size.')
    if gt is not None and gt.device != output.device:
        raise ValueError(f'{where}: expected gt on the device of output, {output.device}, got {gt.device}.')


def check_clean(gt: torch.Tensor, where: str) -> None:
    """Raise ValueError for clean images outside ``[0, 1]``, e.g. normalized or 0..255."""
    low, high = gt.min().item(), gt.max().item()
    if low < -_SLACK or high > 1 + _SLACK:
        raise ValueError(f'{where}: expected gt in [0, 1], got [{low:.2f}, {high:.2f}]. {_REMEDY}')


def check_restored(output: torch.Tensor, where: str) -> None:
    """Raise ValueError for restored images on another scale than ``[0, 1]``: 0..255, -1..1, or normalized.

    The output of a network may leave ``[0, 1]``, above all before training: new networks with a linear last layer give
    about ``[-0.9, 1]``, centered at 0. Rejected are therefore values that no such network gives: values outside
    ``[-1.5, 2.5]``; or values within ``[-1, 1]`` of which at least a tenth is below -0.5, as for images on the scale
    ``[-1, 1]`` (darker than a quarter). If values centered at 0 are below -0.5 that often, some are also above 1.
    """
    low, high = output.min().item(), output.max().item()
    signed = -1 - _SLACK <= low and high <= 1 + _SLACK and (output < -0.5).double().mean().item() >= 0.1
    if low < -1.5 or high > 2.5 or signed:
        raise ValueError(f'{where}: expected output in about [0, 1], got [{low:.2f}, {high:.2f}]. {_REMEDY} For an '
                         'untrained network, set check_range = False on the loss.')
