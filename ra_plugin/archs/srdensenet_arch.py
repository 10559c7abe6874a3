"""SRDenseNet (Tong et al., ICCV 2017) in its largest form, SRDenseNet_All, which reconstructs from all levels."""
import torch
from torch import nn

from ra_plugin.archs.arch_util import num_doublings, start_as_he


class _DenseBlock(nn.Module):
    """Dense block with ``num_layer * num_grow_ch`` output channels; only its first layer takes the block's input."""

    def __init__(self, num_in_ch: int, num_layer: int, num_grow_ch: int):
        super().__init__()
        inputs = [num_in_ch] + [i * num_grow_ch for i in range(1, num_layer)]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, num_grow_ch, 3, padding=1), nn.ReLU()) for channels in inputs)

    def forward(self, x):
        features = [self.layers[0](x)]
        for layer in self.layers[1:]:
            features.append(layer(torch.cat(features, 1)))
        return torch.cat(features, 1)


class SRDenseNet(nn.Module):
    """SRDenseNet: densely connected dense blocks, 1x1 bottleneck, a 3x3 deconvolution per doubling, linear output.

    The first layer of a block takes the low-level features and all earlier blocks, the other layers the earlier layers
    of their own block. ReLU follows every layer but the 3x3 tail; weights are initialized after He et al. (2015). Tong
    et al. restore the luminance, arXiv:1910.09185 RGB. That paper gives no sizes: the defaults are those of Tong et al.
    The code released with it has another form: every layer takes all layers before it, with 16 low-level features, a
    bottleneck of 128, 4x4 deconvolutions and no ReLU after the blocks.

    Args:
        num_in_ch, num_out_ch: Channels of the images. Default: 3.
        num_feat: Channels of the low-level features. Default: 128, as many as a block adds.
        num_block: Number of dense blocks. Default: 8.
        num_layer: Number of convolutions per block. Default: 8.
        num_grow_ch: Channels that each convolution adds, the growth rate. Default: 16.
        num_bottleneck_ch: Channels after the bottleneck. Default: 256.
        upscale: Upscaling factor, a power of two: 1 (denoising, JPEG; no deconvolution), 2, or the paper's 4.
            Default: 4.

    Shape:
        ``(N, num_in_ch, H, W)`` in ``[0, 1]`` to ``(N, num_out_ch, upscale * H, upscale * W)``, not limited to
        ``[0, 1]``.

    Raises:
        ValueError: ``upscale`` is not a power of two.
    """

    def __init__(self, num_in_ch: int = 3, num_out_ch: int = 3, num_feat: int = 128, num_block: int = 8,
                 num_layer: int = 8, num_grow_ch: int = 16, num_bottleneck_ch: int = 256, upscale: int = 4):
        super().__init__()
        doublings = num_doublings(upscale, 'SRDenseNet')
        widths = [num_feat + i * num_layer * num_grow_ch for i in range(num_block + 1)]
        self.head = nn.Sequential(nn.Conv2d(num_in_ch, num_feat, 3, padding=1), nn.ReLU())
        self.blocks = nn.ModuleList(_DenseBlock(width, num_layer, num_grow_ch) for width in widths[:-1])
        self.bottleneck = nn.Sequential(nn.Conv2d(widths[-1], num_bottleneck_ch, 1), nn.ReLU())
        self.upsample = nn.Sequential()
        for _ in range(doublings):
            self.upsample.extend([
                nn.ConvTranspose2d(num_bottleneck_ch, num_bottleneck_ch, 3, 2, 1, output_padding=1), nn.ReLU()])
        self.tail = nn.Conv2d(num_bottleneck_ch, num_out_ch, 3, padding=1)
        start_as_he(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.head(x)
        for block in self.blocks:
            x = torch.cat([x, block(x)], 1)
        return self.tail(self.upsample(self.bottleneck(x)))
