"""Blur kernels of the high-order degradation: bells of several shapes, and the sinc filter.

All are float64 ``(size, size)`` with an odd size and a sum of 1, for `cv2.filter2D`.
"""
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import special

from ra_plugin.degradations.high_order.options import KERNELS, Stage, draw

# Lowest cutoff of a sinc filter, in radians per pixel: a small kernel holds too little of a longer wave.
LOWEST_CUTOFF, LOWEST_CUTOFF_OF_LARGE, LARGE = math.pi / 3, math.pi / 5, 13


def bell(size: int, sigma: Sequence[float], angle: float = 0, beta: float = 1,
         shape: Literal['gaussian', 'plateau'] = 'gaussian') -> np.ndarray:
    """Return a bell-shaped kernel, a function of the squared distance ``q`` from the center in units of sigma.

    Args:
        size: Side of the kernel in pixels, odd.
        sigma: Standard deviations in pixels along the bell's two axes.
        angle: Angle from the first axis of the image, to the right, to that of the bell, in radians, downwards.
        beta: Exponent of ``q``; 1 is the Gaussian.
        shape: ``gaussian``: ``exp(-q ** beta / 2)``; ``plateau``: ``1 / (1 + q ** beta)``.
    """
    offsets = np.arange(size) - size // 2
    across, down = offsets, offsets[:, None]
    first = (across * math.cos(angle) + down * math.sin(angle)) / sigma[0]
    second = (down * math.cos(angle) - across * math.sin(angle)) / sigma[1]
    power = (first ** 2 + second ** 2) ** beta
    kernel = np.exp(-power / 2) if shape == 'gaussian' else 1 / (1 + power)
    return kernel / kernel.sum()


def sinc(size: int, cutoff: float) -> np.ndarray:
    """Return the kernel of an ideal low-pass filter with a circular passband, cut off at the sides of the kernel.

    Args:
        size: Side of the kernel in pixels, odd.
        cutoff: Highest frequency that passes, in radians per pixel, up to pi.
    """
    offsets = np.arange(size) - size // 2
    radius = np.hypot(offsets, offsets[:, None])
    radius[size // 2, size // 2] = 1  # no division by 0; the limit is put there below
    kernel = cutoff * special.j1(cutoff * radius) / (2 * math.pi * radius)
    kernel[size // 2, size // 2] = cutoff ** 2 / (4 * math.pi)
    return kernel / kernel.sum()


def draw_kernel(stage: Stage, rng: np.random.Generator) -> np.ndarray:
    """Draw the kernel of a stage: its size, its kind, its parameters."""
    size = draw_size(stage.kernel_size, rng)
    if rng.random() < stage.sinc_prob:
        return sinc(size, rng.uniform(LOWEST_CUTOFF if size < LARGE else LOWEST_CUTOFF_OF_LARGE, math.pi))
    kind = KERNELS[rng.choice(len(KERNELS), p=stage.kernel_prob)]
    sigma, angle = [draw(stage.blur_sigma, rng)] * 2, 0.0
    if not kind.endswith('_iso') and kind != 'iso':
        sigma[1], angle = draw(stage.blur_sigma, rng), rng.uniform(-math.pi, math.pi)
    if kind.startswith('plateau'):
        return bell(size, sigma, angle, _draw_beta(stage.betap_range, rng), 'plateau')
    beta = _draw_beta(stage.betag_range, rng) if kind.startswith('generalized') else 1
    return bell(size, sigma, angle, beta)


def draw_final_sinc(sizes: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Draw the last sinc filter, whose cutoff is higher in large kernels than that of a stage's."""
    return sinc(draw_size(sizes, rng), rng.uniform(LOWEST_CUTOFF, math.pi))


def draw_size(sizes: Sequence[int], rng: np.random.Generator) -> int:
    """Draw an odd number from ``[smallest, largest]``."""
    return sizes[0] + 2 * int(rng.integers((sizes[1] - sizes[0]) // 2 + 1))


def _draw_beta(span: Sequence[float], rng: np.random.Generator) -> float:
    """Draw an exponent, below and above 1 equally often, however far the span reaches."""
    return rng.uniform(span[0], 1) if rng.random() < 0.5 else rng.uniform(1, span[1])
