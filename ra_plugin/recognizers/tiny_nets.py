"""Five classifiers for 32x32 images, one of each family, small enough to train on a laptop's CPU.

They exist so that the demo can show transfer between unlike recognizers: residual (He et al., 2016), plain (Simonyan
and Zisserman, 2015), densely connected (Huang et al., 2017), inverted residual (Sandler et al., 2018), and attention
over a convolutional stem (Hassani et al., 2021). All downsample early, so that a training epoch takes two minutes.

Each takes normalized images ``(N, 3, H, W)`` and returns logits ``(N, num_classes)``; ``head`` is the last layer.
"""
import torch
import torch.nn.functional as F
from torch import nn


def _conv_bn(in_ch: int, out_ch: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_ch, out_ch, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(out_ch))


class _BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, in_ch: int, out_ch: int, stride: int):
        super().__init__()
        self.conv1 = _conv_bn(in_ch, out_ch, stride=stride)
        self.conv2 = _conv_bn(out_ch, out_ch)
        same = in_ch == out_ch and stride == 1
        self.shortcut = nn.Identity() if same else _conv_bn(in_ch, out_ch, 1, stride)

    def forward(self, x):
        return F.relu(self.conv2(F.relu(self.conv1(x))) + self.shortcut(x))


class TinyResNet(nn.Module):
    """A stem on the 32 px grid and three residual blocks of 48, 96 and 192 channels, on 16, 8 and 4 px."""

    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.stem = nn.Sequential(_conv_bn(3, 24), nn.ReLU())
        self.blocks = nn.Sequential(
            _BasicBlock(24, 48, 2), _BasicBlock(48, 96, 2), _BasicBlock(96, 192, 2))
        self.head = nn.Linear(192, num_classes)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class TinyVGG(nn.Module):
    """Seven 3x3 convolutions with batch norm, max pooling between them; the head sees a 2x2 map, as VGG's sees 7x7."""

    def __init__(self, num_classes: int = 10):
        super().__init__()
        layers, in_ch = [], 3
        for out_ch, pool in ((32, True), (64, False), (64, True), (128, False), (128, True), (192, True)):
            layers += [_conv_bn(in_ch, out_ch), nn.ReLU()]
            if pool:
                layers.append(nn.MaxPool2d(2))
            in_ch = out_ch
        self.blocks = nn.Sequential(*layers)
        self.head = nn.Linear(192 * 4, num_classes)

    def forward(self, x):
        return self.head(F.adaptive_avg_pool2d(self.blocks(x), 2).flatten(1))


class _DenseLayer(nn.Module):
    """Bottleneck layer (BN-ReLU-conv 1x1, BN-ReLU-conv 3x3) whose output is appended to its input."""

    def __init__(self, in_ch: int, growth: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(in_ch), nn.ReLU(), nn.Conv2d(in_ch, 2 * growth, 1, bias=False),
            nn.BatchNorm2d(2 * growth), nn.ReLU(), nn.Conv2d(2 * growth, growth, 3, padding=1, bias=False))

    def forward(self, x):
        return torch.cat((x, self.body(x)), 1)


class TinyDenseNet(nn.Module):
    """Three dense blocks of four layers on a 16, 8 and 4 px grid, halved by transitions."""

    def __init__(self, num_classes: int = 10, growth: int = 24):
        super().__init__()
        layers, ch = [nn.Conv2d(3, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU(),
                      nn.Conv2d(24, 48, 3, stride=2, padding=1, bias=False)], 48
        for block in range(3):
            for _ in range(4):
                layers.append(_DenseLayer(ch, growth))
                ch += growth
            if block < 2:
                layers += [nn.BatchNorm2d(ch), nn.ReLU(), nn.Conv2d(ch, ch // 2, 1, bias=False), nn.AvgPool2d(2)]
                ch //= 2
        self.blocks = nn.Sequential(*layers, nn.BatchNorm2d(ch), nn.ReLU())
        self.head = nn.Linear(ch, num_classes)

    def forward(self, x):
        return self.head(self.blocks(x).mean((2, 3)))


class _InvertedResidual(nn.Module):
    """Expand by 1x1, filter by depthwise 3x3, project by a linear 1x1; a shortcut where the shape stays."""

    def __init__(self, in_ch: int, out_ch: int, stride: int, expand: int = 4):
        super().__init__()
        mid = in_ch * expand
        self.body = nn.Sequential(
            _conv_bn(in_ch, mid, 1), nn.ReLU6(), _conv_bn(mid, mid, 3, stride, groups=mid), nn.ReLU6(),
            _conv_bn(mid, out_ch, 1))
        self.residual = in_ch == out_ch and stride == 1

    def forward(self, x):
        return x + self.body(x) if self.residual else self.body(x)


class TinyMobileNetV2(nn.Module):
    """MobileNetV2's blocks for a 32 px input: a stem, then 1, 3 and 3 inverted residuals on a 16, 8 and 4 px grid."""

    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.stem = nn.Sequential(_conv_bn(3, 24), nn.ReLU6(), _conv_bn(24, 32, 3, 2), nn.ReLU6())
        blocks, in_ch = [], 32
        for out_ch, count, stride in ((32, 1, 1), (64, 3, 2), (128, 3, 2)):
            for i in range(count):
                blocks.append(_InvertedResidual(in_ch, out_ch, stride if i == 0 else 1))
                in_ch = out_ch
        self.blocks = nn.Sequential(*blocks, _conv_bn(in_ch, 256, 1), nn.ReLU6())
        self.head = nn.Linear(256, num_classes)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class TinyTransformer(nn.Module):
    """Two pre-norm attention blocks over the 8x8 tokens of a convolutional stem; the tokens are averaged."""

    def __init__(self, num_classes: int = 10, dim: int = 96, depth: int = 2, heads: int = 3):
        super().__init__()
        self.stem = nn.Sequential(
            _conv_bn(3, 24), nn.ReLU(), _conv_bn(24, 64, stride=2), nn.ReLU(), _conv_bn(64, dim, stride=2))
        self.position = nn.Parameter(torch.zeros(1, 64, dim))
        layer = nn.TransformerEncoderLayer(
            dim, heads, 2 * dim, dropout=0.0, activation='gelu', batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, depth, norm=nn.LayerNorm(dim), enable_nested_tensor=False)
        self.head = nn.Linear(dim, num_classes)
        nn.init.trunc_normal_(self.position, std=0.02)

    def forward(self, x):
        x = self.stem(x)
        if x.shape[-2:] != (8, 8):
            raise ValueError(f'TinyTransformer: expected images of 32x32, got a {tuple(x.shape[-2:])} token grid. '
                             'Set input_size: 32 in the recognizer options.')
        return self.head(self.blocks(x.flatten(2).transpose(1, 2) + self.position).mean(1))
