"""Bicubic interpolation in the place of a network: what restoration is compared with."""
import torch
import torch.nn.functional as F
from torch import nn


class Interpolation(nn.Module):
    """Enlarges images with a bicubic filter; nothing in it learns.

    Args:
        upscale: Factor on height and width. Default: 4.

    Shape:
        ``(N, C, H, W)`` to ``(N, C, upscale * H, upscale * W)``, which can leave the range of the input.
    """

    def __init__(self, upscale: int = 4):
        super().__init__()
        self.upscale = upscale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, scale_factor=self.upscale, mode='bicubic', antialias=True)
