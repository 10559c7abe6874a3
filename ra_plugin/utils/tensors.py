"""Operations on batches of images: padding, normalization, moving to a device."""
import functools
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F


def extended(images: torch.Tensor, multiple_of: int) -> torch.Tensor:
    """Return images ``(N, C, H, W)`` padded by reflection at bottom and right to sides divisible by ``multiple_of``."""
    height, width = images.shape[-2:]
    padding = (0, -width % multiple_of, 0, -height % multiple_of)
    if not any(padding):
        return images
    if padding[1] >= width or padding[3] >= height:  # F.pad reflects less than one side
        rows, columns = (_mirrored(side, images.device, multiple_of) for side in (height, width))
        return images[..., rows, :][..., columns]
    return F.pad(images, padding, mode='reflect')


def _mirrored(side: int, device: torch.device, multiple_of: int) -> torch.Tensor:
    """Return the row indices of an image side that is mirrored at its border repeatedly."""
    places = torch.arange(side + -side % multiple_of, device=device) % max(2 * side - 2, 1)
    return torch.where(places < side, places, 2 * side - 2 - places)


def normalized(images: torch.Tensor, mean: Sequence[float] | None, std: Sequence[float] | None) -> torch.Tensor:
    """Return ``(images - mean) / std`` per channel of ``(N, C, H, W)``; the images as they are if either is None."""
    return images if mean is None or std is None else (images - _channels(mean, images)) / _channels(std, images)


def denormalized(images: torch.Tensor, mean: Sequence[float] | None, std: Sequence[float] | None) -> torch.Tensor:
    """Return ``images * std + mean`` per channel of ``(N, C, H, W)``; the images as they are if either is None."""
    return images if mean is None or std is None else images * _channels(std, images) + _channels(mean, images)


def _channels(values: Sequence[float], images: torch.Tensor) -> torch.Tensor:
    return images.new_tensor(values).view(-1, 1, 1)


def total(values: Iterable[torch.Tensor]) -> torch.Tensor:
    """Return the sum of one tensor or more."""
    return functools.reduce(operator.add, values)


def moved(label: Any, device: torch.device) -> Any:
    """Return the labels of any task moved to ``device``: a tensor, or nested lists and mappings of tensors."""
    if isinstance(label, torch.Tensor):
        return label.to(device)
    if isinstance(label, Mapping):
        return {key: moved(value, device) for key, value in label.items()}
    return [moved(item, device) for item in label] if isinstance(label, list) else label


def pixels(images: torch.Tensor) -> np.ndarray:
    """Return the first image of a batch ``(N, 3, H, W)`` as an array ``(H, W, 3)``."""
    return images[0].permute(1, 2, 0).cpu().numpy()


def computes_bfloat16(device: torch.device) -> bool:
    """Return True if a device has bfloat16 instructions; without them bfloat16 is many times slower than float32."""
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    supported = (getattr(torch.cpu, name, None) for name in ('_is_avx512_bf16_supported', '_is_amx_tile_supported'))
    return device.type != 'cpu' or any(ask() for ask in supported if ask)
