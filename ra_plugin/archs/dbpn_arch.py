"""DBPN, the deep back-projection network (Haris et al., CVPR 2018), in its dense form D-DBPN."""
import torch
from torch import nn

from ra_plugin.archs.arch_util import start_as_he

_KERNELS = {2: 6, 4: 8, 8: 12}  # upscale, equal to the stride -> kernel size; padding 2


def _layer(conv: type[nn.Module], *args: int) -> nn.Sequential:
    return nn.Sequential(conv(*args), nn.PReLU())


class _Projection(nn.Module):
    """Projection to the other resolution, corrected by the projected error of projecting back."""

    def __init__(self, num_input: int, num_feat: int, upscale: int, there: type[nn.Module], back: type[nn.Module]):
        super().__init__()
        sizes = num_feat, num_feat, _KERNELS[upscale], upscale, 2
        self.reduce = _layer(nn.Conv2d, num_input * num_feat, num_feat, 1) if num_input > 1 else nn.Identity()
        self.there = _layer(there, *sizes)
        self.back = _layer(back, *sizes)
        self.correct = _layer(there, *sizes)

    def forward(self, inputs):
        x = self.reduce(torch.cat(inputs, 1))
        y = self.there(x)
        return y + self.correct(self.back(y) - x)


class DBPN(nn.Module):
    """DBPN: alternating up- and down-projections, each fed by all earlier ones of the other direction; linear output.

    The 3x3 tail takes the outputs of all up-projections. PReLU follows every layer but the tail; weights are
    initialized after He et al. (2015). arXiv:1910.09185 gives no sizes: the defaults are those of Haris et al. for
    their final D-DBPN.

    Args:
        num_in_ch, num_out_ch: Channels of the images. Default: 3.
        num_init_feat: Channels after the head, the paper's n0. Default: 256.
        num_feat: Channels of a projection, nR. Default: 64.
        num_block: Number of up-projections, T; there is one down-projection less. Default: 7.
        upscale: Upscaling factor: 2, 4 or 8. Default: 4.

    Shape:
        ``(N, num_in_ch, H, W)`` in ``[0, 1]`` to ``(N, num_out_ch, upscale * H, upscale * W)``, not limited to
        ``[0, 1]``.

    Raises:
        ValueError: ``upscale`` has another value; 1 has no second resolution to project to.
    """

    def __init__(self, num_in_ch: int = 3, num_out_ch: int = 3, num_init_feat: int = 256, num_feat: int = 64,
                 num_block: int = 7, upscale: int = 4):
        super().__init__()
        if upscale not in _KERNELS:
            raise ValueError(f'DBPN: upscale: expected 2, 4 or 8, got {upscale}. '
                             'For 1 use SRResNet, SRDenseNet or RDN.')
        up, down = nn.ConvTranspose2d, nn.Conv2d
        self.head = nn.Sequential(_layer(nn.Conv2d, num_in_ch, num_init_feat, 3, 1, 1),
                                  _layer(nn.Conv2d, num_init_feat, num_feat, 1))
        self.first = _Projection(1, num_feat, upscale, up, down)
        self.down = nn.ModuleList(_Projection(i, num_feat, upscale, down, up) for i in range(1, num_block))
        self.up = nn.ModuleList(_Projection(i, num_feat, upscale, up, down) for i in range(1, num_block))
        self.tail = nn.Conv2d(num_block * num_feat, num_out_ch, 3, padding=1)
        start_as_he(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        high, low = [self.first([self.head(x)])], []
        for down, up in zip(self.down, self.up, strict=True):
            low.append(down(high))
            high.append(up(low))
        return self.tail(torch.cat(high, 1))
