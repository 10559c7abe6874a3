"""PSNR and SSIM of one image or of each of a batch, on 8-bit values: BasicSR's numbers for the saved files."""
import torch
import torch.nn.functional as F


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """Convert float images in ``[0, 1]`` to 8 bit as for saving: clamped, and rounded with halves to even."""
    return images.clamp(0, 1).mul(255).round().to(torch.uint8)


def psnr(images: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return the peak signal-to-noise ratio in dB over all channels.

    Args:
        images: ``(N, C, H, W)`` or ``(C, H, W)`` uint8.
        reference: Clean images of the same shape and type.

    Returns:
        ``(N,)`` or ``()`` float64; infinite for equal images.
    """
    error = (images.double() - reference.double()).square().mean((-3, -2, -1))
    return 10 * torch.log10(255 ** 2 / error)


def ssim(images: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return the structural similarity (Wang et al., 2004): Gaussian window 11x11, sigma 1.5, no padding, mean over
    channels.

    Args:
        images: ``(N, C, H, W)`` or ``(C, H, W)`` uint8, at least 11x11.
        reference: Clean images of the same shape and type.

    Returns:
        ``(N,)`` or ``()`` float64 in ``[-1, 1]``.
    """
    x, y = (v.double().flatten(0, -3).unsqueeze(1) for v in (images, reference))
    offset = torch.arange(-5, 6, dtype=torch.float64, device=x.device)
    window = torch.exp(-offset.square() / (2 * 1.5 ** 2))
    window = window / window.sum()

    def blur(v):
        return F.conv2d(F.conv2d(v, window.view(1, 1, 11, 1)), window.view(1, 1, 1, 11))

    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x ** 2, blur(y * y) - mean_y ** 2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)
                  / ((mean_x ** 2 + mean_y ** 2 + c1) * (var_x + var_y + c2)))
    return similarity.flatten(1).mean(1).view(images.shape[:-2]).mean(-1)
