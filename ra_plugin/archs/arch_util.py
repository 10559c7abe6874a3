"""Helpers shared by several networks."""
from torch import nn


def start_as_he(network: nn.Module) -> None:
    """Initialize all convolutions in place with He initialization (He et al., 2015) for ReLU, and biases with 0."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def num_doublings(upscale: int, name: str) -> int:
    """Return the base-2 logarithm of ``upscale``: the number of x2 upsampling steps.

    Args:
        upscale: Upscaling factor.
        name: Name of the network, for messages.

    Raises:
        ValueError: ``upscale`` is not a power of two.
    """
    doublings = max(upscale, 1).bit_length() - 1
    if upscale != 2 ** doublings:
        raise ValueError(f'{name}: upscale: expected 1, 2, 4 or another power of two, got {upscale}.')
    return doublings
