"""What several networks need."""
from torch import nn


def start_as_he(network: nn.Module) -> None:
    """Draw the weights of all convolutions anew, after He et al. (2015) for ReLU; biases become 0."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def num_doublings(upscale: int, name: str) -> int:
    """Return how often an image is doubled to be ``upscale`` times as large; ``name`` is the network's.

    Raises:
        ValueError: ``upscale`` is no power of two.
    """
    doublings = max(upscale, 1).bit_length() - 1
    if upscale != 2 ** doublings:
        raise ValueError(f'{name}: upscale: expected 1, 2, 4 or another power of two, got {upscale}.')
    return doublings
