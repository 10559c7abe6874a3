"""Pixels of files as a network takes them, and back."""
from collections.abc import Sequence

import cv2
import numpy as np
import torch

_LUMA = (0.299, 0.587, 0.114)  # of ITU-R BT.601, which image files use


def to_images(pixels: Sequence[np.ndarray], device: torch.device) -> torch.Tensor:
    """Return images ``(N, 3, H, W)``, ``[0, 1]``, of pixels ``(H, W, 3)`` or ``(H, W, 1)``, uint8 or uint16."""
    images = [torch.from_numpy(one.astype(np.float32) / np.float32(np.iinfo(one.dtype).max)).permute(2, 0, 1)
              .expand(3, -1, -1) for one in pixels]
    return torch.stack(images).to(device, memory_format=torch.channels_last)


def in_colors(restored: torch.Tensor, channels: int) -> torch.Tensor:
    """Return restored images ``(..., 3, H, W)`` with as many channels as the photograph: for one, the luma."""
    if channels == 3:
        return restored
    return (restored * restored.new_tensor(_LUMA).view(3, 1, 1)).sum(-3, keepdim=True)


def rounded(values: torch.Tensor, dtype: type) -> np.ndarray:
    """Return pixels ``(H, W, C)`` of values ``(C, H, W)``, clamped to ``[0, 1]``, halves rounded to even.

    Raises:
        ValueError: Values are not finite.
    """
    if not values.isfinite().all():
        raise ValueError('the network gives values that are not finite (NaN): its training may have diverged.')
    levels = values.clamp(0, 1).mul_(np.iinfo(dtype).max).round_()
    return levels.permute(1, 2, 0).numpy().astype(dtype)


def enlarged(alpha: np.ndarray, scale: int) -> np.ndarray:
    """Return an alpha channel ``(s * H, s * W)``, enlarged by cubic interpolation; the network never sees it."""
    height, width = alpha.shape
    return alpha if scale == 1 else cv2.resize(alpha, (scale * width, scale * height), interpolation=cv2.INTER_CUBIC)


def of_depth(values: np.ndarray, dtype: type) -> np.ndarray:
    """Return uint8 or uint16 values as the other type: 255 becomes 65535, and back."""
    if values.dtype == dtype:
        return values
    return values.astype(np.uint16) * 257 if dtype == np.uint16 else ((values.astype(np.uint32) + 128) // 257).astype(
        np.uint8)
