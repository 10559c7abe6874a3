"""Noise scale of gradients: against a known mean and covariance, and each image's gradient."""
import math

import pytest
import torch
from torch import nn

from dev.gradient_noise import gradients, noise_scale


def test_the_noise_scale_is_that_of_the_distribution():
    torch.manual_seed(0)
    mean = torch.tensor([3.0, -4.0, 0.0, 0.0])
    deviation = torch.tensor([10.0, 20.0, 30.0, 5.0])
    drawn = mean + deviation * torch.randn(200_000, 4)
    assert noise_scale(drawn) == pytest.approx(deviation.square().sum().item() / 25, rel=0.05)


def test_on_average_few_images_give_the_squared_mean():
    torch.manual_seed(0)
    drawn = 0.5 + torch.randn(20_000, 8, 10)  # trials of 8 images
    signal = [scatter / noise_scale(one) for one in drawn[:2000]
              for scatter in [one.double().var(0).sum().item()] if noise_scale(one) < math.inf]
    below = sum(noise_scale(one) == math.inf for one in drawn[:2000])
    assert sum(signal) / 2000 == pytest.approx(10 * 0.25, rel=0.05) and below < 20


def test_gradients_without_a_common_direction():
    assert noise_scale(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])) == math.inf
    assert noise_scale(torch.ones(3, 2)) == 0


def test_each_row_is_the_gradient_of_one_image():
    network = nn.Conv2d(3, 3, 1)
    batches = [{'lq': torch.rand(1, 3, 4, 4)} for _ in range(2)]
    found = gradients(network, lambda restored, batch: restored.square().mean(), batches)
    for row, batch in zip(found, batches, strict=True):
        network.zero_grad()
        network(batch['lq']).square().mean().backward()
        torch.testing.assert_close(row, torch.cat([network.weight.grad.flatten(), network.bias.grad]))
