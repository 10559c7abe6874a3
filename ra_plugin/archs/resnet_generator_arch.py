"""The generator of CycleGAN (Zhu et al., ICCV 2017; after Johnson et al., 2016): the network T of arXiv:1910.09185."""
import torch
import torch.nn.functional as F
from torch import nn


class _ResnetBlock(nn.Module):

    def __init__(self, num_feat: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(num_feat, num_feat, 3, bias=False), nn.BatchNorm2d(num_feat), nn.ReLU(),
            nn.ReflectionPad2d(1), nn.Conv2d(num_feat, num_feat, 3, bias=False), nn.BatchNorm2d(num_feat))

    def forward(self, x):
        return x + self.body(x)


class ResnetGenerator(nn.Module):
    """CycleGAN generator: 7x7 head, downsampling by 4, residual blocks, upsampling, 7x7 tail, output (tanh + 1) / 2.

    Args:
        num_in_ch, num_out_ch: Channels of the images. Default: 3.
        num_feat: Channels after the head (CycleGAN's ngf). Default: 64.
        num_block: Number of residual blocks. Default: 6.
        residual: Add the tail's tanh, initialized to 0, to the input, so that the network learns the change. The
            paper's network learns the whole image, which takes longer. Default: False.

    Shape:
        ``(N, num_in_ch, H, W)`` in ``[0, 1]`` to ``(N, num_out_ch, H, W)`` in ``(0, 1)``; with ``residual`` not limited
        to ``[0, 1]``. Sides not divisible by 4, which CycleGAN's code does not support, are padded by repeating the
        edge, and the output is cropped.
    """

    def __init__(self, num_in_ch: int = 3, num_out_ch: int = 3, num_feat: int = 64, num_block: int = 6,
                 residual: bool = False):
        super().__init__()
        if residual and num_in_ch != num_out_ch:
            raise ValueError('ResnetGenerator: residual: expected as many output as input channels, got '
                             f'{num_in_ch} and {num_out_ch}.')
        self.residual = residual
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(num_in_ch, num_feat, 7, bias=False), nn.BatchNorm2d(num_feat),
                  nn.ReLU()]
        for feat in (num_feat, 2 * num_feat):
            layers += [nn.Conv2d(feat, 2 * feat, 3, 2, 1, bias=False), nn.BatchNorm2d(2 * feat), nn.ReLU()]
        layers += [_ResnetBlock(4 * num_feat) for _ in range(num_block)]
        for feat in (4 * num_feat, 2 * num_feat):
            layers += [nn.ConvTranspose2d(feat, feat // 2, 3, 2, 1, output_padding=1, bias=False),
                       nn.BatchNorm2d(feat // 2), nn.ReLU()]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(num_feat, num_out_ch, 7), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        if residual:
            nn.init.zeros_(layers[-2].weight)
            nn.init.zeros_(layers[-2].bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        if height % 4 or width % 4:
            x = F.pad(x, (0, -width % 4, 0, -height % 4), mode='replicate')
        output = self.layers(x)
        return (x + output if self.residual else (output + 1) / 2)[..., :height, :width]
