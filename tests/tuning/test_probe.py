"""The weight to start from: the ratio of the two gradients, by its definition in float64."""
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ra_plugin.losses import RecogConsistencyLoss
from ra_plugin.recognizers import ModuleRecognizer
from ra_plugin.tuning.probe import probe


class Shift(nn.Module):
    def __init__(self):
        super().__init__()
        self.by = nn.Parameter(torch.tensor(0.05))

    def forward(self, x):
        return x * 0.9 + self.by


class Colors(nn.Module):
    """Logits from the mean color of an image."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 4)

    def forward(self, x):
        return self.head(x.mean((2, 3)))


def test_the_weight_is_the_ratio_of_the_gradients(tmp_path):
    rng, clean = np.random.default_rng(0), []
    for i in range(24):
        clean.append(rng.integers(60, 200, (1, 1, 3), np.uint8).repeat(8, 0).repeat(8, 1))
        Image.fromarray(clean[-1]).save(tmp_path / f'{i}.png')
    torch.manual_seed(0)
    network = Colors()
    loss = RecogConsistencyLoss(ModuleRecognizer(network, mean=[0.0] * 3, std=[1.0] * 3))
    found = probe(Shift(), loss, {'type': 'UnlabeledImageDataset', 'dataroot_gt': str(tmp_path)}, 24, 1, 0,
                  torch.device('cpu'))
    weight, bias = network.head.weight.double(), network.head.bias.double()
    ratios = []
    for image in clean:
        gt = torch.from_numpy(image[0, 0].astype(np.float64) / 255)
        at = (gt * 0.9 + 0.05).requires_grad_()
        q, p = ((value @ weight.T + bias).div(2).softmax(-1) for value in (gt, at))
        kl, = torch.autograd.grad(4 * (q.detach() * (q.detach() / p).log()).sum() / 24, at)  # by the mean color
        squares = 2 * (at - gt) / (24 * 3 * 64)  # by each pixel
        ratios.append((kl / 64).norm() * 8 / (squares.norm() * 8))  # 64 pixels have the same gradient
    expected = 1.5 / torch.stack(ratios).median().item()
    assert found.loss_weight == pytest.approx(expected, rel=6e-3)  # three digits
    assert found.step > found.restoring > 0 and found.reading > 0
    restored = [(image / 255 * 0.9 + 0.05).clip(0, 1) * 255 for image in clean]
    expected = [10 * np.log10(255 ** 2 / ((image.round() - gt) ** 2).mean())
                for image, gt in zip(restored, clean, strict=True)]
    assert found.psnr == pytest.approx(np.mean(expected), abs=1e-4)
    assert found.psnr_without == math.inf  # nothing was degraded
