"""What several parts do with batches of images."""
import numpy as np
import torch
import torch.nn.functional as F


def extended(images: torch.Tensor, multiple_of: int) -> torch.Tensor:
    """``(N, C, h, w)`` with sides that the number divides, by the mirror image below and on the right."""
    height, width = images.shape[-2:]
    padding = (0, -width % multiple_of, 0, -height % multiple_of)
    return F.pad(images, padding, mode='reflect') if any(padding) else images


def pixels(images: torch.Tensor) -> np.ndarray:
    """The first of ``(N, 3, H, W)`` as ``(H, W, 3)``, in memory of the CPU."""
    return images[0].permute(1, 2, 0).cpu().numpy()


def computes_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for it; without them bfloat16 is many times slower than float32."""
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    supported = (getattr(torch.cpu, name, None) for name in ('_is_avx512_bf16_supported', '_is_amx_tile_supported'))
    return device.type != 'cpu' or any(ask() for ask in supported if ask)
