"""RDN, the residual dense network (Zhang et al., CVPR 2018)."""
import torch
from torch import nn

_FACTORS = {1: [], 2: [2], 3: [3], 4: [2, 2], 8: [2, 2, 2]}  # upscale -> factor of each pixel shuffle


class _ResidualDenseBlock(nn.Module):

    def __init__(self, num_feat: int, num_layer: int, num_grow_ch: int):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(num_feat + i * num_grow_ch, num_grow_ch, 3, padding=1), nn.ReLU())
            for i in range(num_layer))
        self.fusion = nn.Conv2d(num_feat + num_layer * num_grow_ch, num_feat, 1)

    def forward(self, x):
        features = x
        for layer in self.layers:
            features = torch.cat([features, layer(features)], 1)
        return x + self.fusion(features)


class RDN(nn.Module):
    """RDN: residual dense blocks, fusion of all their outputs, pixel shuffles, 3x3 tail, linear output.

    arXiv:1910.09185 gives no sizes: the defaults are those with which Zhang et al. compare RDN to other networks; their
    ablations use a smaller one (D=20, C=6, G=32).

    Args:
        num_in_ch, num_out_ch: Channels of the images. Default: 3.
        num_feat: Channels between the blocks, the paper's G0. Default: 64.
        num_block: Number of residual dense blocks, D. Default: 16.
        num_layer: Number of 3x3 convolutions per block, C. Default: 8.
        num_grow_ch: Channels that each convolution adds, the growth rate G. Default: 64.
        upscale: Upscaling factor: 1 (denoising, JPEG; no pixel shuffle), 2, 3, 4 or 8. Default: 4.

    Shape:
        ``(N, num_in_ch, H, W)`` in ``[0, 1]`` to ``(N, num_out_ch, upscale * H, upscale * W)``, not limited to
        ``[0, 1]``.

    Raises:
        ValueError: ``upscale`` has another value.
    """

    def __init__(self, num_in_ch: int = 3, num_out_ch: int = 3, num_feat: int = 64, num_block: int = 16,
                 num_layer: int = 8, num_grow_ch: int = 64, upscale: int = 4):
        super().__init__()
        if upscale not in _FACTORS:
            raise ValueError(f'RDN: upscale: expected 1, 2, 3, 4 or 8, got {upscale}.')
        self.head = nn.Conv2d(num_in_ch, num_feat, 3, padding=1)
        self.entry = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.blocks = nn.ModuleList(_ResidualDenseBlock(num_feat, num_layer, num_grow_ch) for _ in range(num_block))
        self.fusion = nn.Sequential(
            nn.Conv2d(num_block * num_feat, num_feat, 1), nn.Conv2d(num_feat, num_feat, 3, padding=1))
        self.upsample = nn.Sequential()
        for factor in _FACTORS[upscale]:
            self.upsample.extend([nn.Conv2d(num_feat, factor ** 2 * num_feat, 3, padding=1), nn.PixelShuffle(factor)])
        self.tail = nn.Conv2d(num_feat, num_out_ch, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        head = self.head(x)
        x, outputs = self.entry(head), []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return self.tail(self.upsample(head + self.fusion(torch.cat(outputs, 1))))
