"""SRResNet with batch norm (Ledig et al., CVPR 2017), with the size and the output of arXiv:1910.09185."""
import torch
from torch import nn

from ra_plugin.archs.arch_util import num_doublings


class _ResidualBlock(nn.Module):

    def __init__(self, num_feat: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(num_feat, num_feat, 3, padding=1), nn.BatchNorm2d(num_feat), nn.PReLU(),
            nn.Conv2d(num_feat, num_feat, 3, padding=1), nn.BatchNorm2d(num_feat))

    def forward(self, x):
        return x + self.body(x)


class Tail(nn.Conv2d):
    """Convolution with few output channels; on a CPU channels-last, which is three times as fast in torch."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.device.type != 'cpu':
            return super().forward(x)
        return super().forward(x.contiguous(memory_format=torch.channels_last)).contiguous()


class SRResNet(nn.Module):
    """SRResNet: residual blocks with BN and PReLU, 9x9 head and tail, x2 pixel shuffles, output (tanh + 1) / 2.

    BasicSR's MSRResNet is another network: no batch norm, 16 blocks, bilinear skip. As in the paper's code, the
    convolution after the blocks is followed by PReLU, where Ledig et al. have batch norm.

    Args:
        num_in_ch, num_out_ch: Channels of the images. Default: 3.
        num_feat: Channels of the hidden layers. Default: 64.
        num_block: Number of residual blocks. Default: 5; Ledig et al. use 16.
        upscale: Upscaling factor, a power of two: 1 (denoising, JPEG), 2 or 4. Default: 4.

    Shape:
        ``(N, num_in_ch, H, W)`` in ``[0, 1]`` to ``(N, num_out_ch, upscale * H, upscale * W)`` in ``(0, 1)``.

    Raises:
        ValueError: ``upscale`` is not a power of two.
    """

    def __init__(self, num_in_ch: int = 3, num_out_ch: int = 3, num_feat: int = 64, num_block: int = 5,
                 upscale: int = 4):
        super().__init__()
        doublings = num_doublings(upscale, 'SRResNet')
        self.head = nn.Sequential(nn.Conv2d(num_in_ch, num_feat, 9, padding=4), nn.PReLU())
        self.body = nn.Sequential(
            *(_ResidualBlock(num_feat) for _ in range(num_block)),
            nn.Conv2d(num_feat, num_feat, 3, padding=1), nn.PReLU())
        self.upsample = nn.Sequential()
        for _ in range(doublings):
            self.upsample.extend([nn.Conv2d(num_feat, 4 * num_feat, 3, padding=1), nn.PixelShuffle(2), nn.PReLU()])
        self.tail = Tail(num_feat, num_out_ch, 9, padding=4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.head(x)
        return (torch.tanh(self.tail(self.upsample(x + self.body(x)))) + 1) / 2
