"""How certain a score or a difference is: intervals at 95 %."""
import math
from dataclasses import dataclass

import numpy as np

_Z = 1.959964  # 97.5 % quantile of the normal distribution


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


def proportion(right: np.ndarray) -> Estimate:
    """Share of True in ``(N,)``, with Wilson's interval (1927)."""
    n, share = len(right), float(np.mean(right))
    center = (share + _Z ** 2 / (2 * n)) / (1 + _Z ** 2 / n)
    half = _Z * math.sqrt(share * (1 - share) / n + _Z ** 2 / (4 * n * n)) / (1 + _Z ** 2 / n)
    return Estimate(share, center - half, center + half)


def paired_difference(ours: np.ndarray, theirs: np.ndarray, resamples: int = 10000, seed: int = 0) -> Estimate:
    """Mean of ``ours - theirs`` over the same images ``(N,)``, with the percentile interval of the bootstrap."""
    difference = np.asarray(ours, float) - np.asarray(theirs, float)
    rng = np.random.default_rng(seed)
    values, counts = np.unique(difference, return_counts=True)
    if len(values) <= 3:  # right or wrong: resampling N images is drawing the counts of -1, 0 and 1
        means = rng.multinomial(len(difference), counts / len(difference), resamples) @ values / len(difference)
    else:
        means = np.array([difference[rng.integers(len(difference), size=len(difference))].mean()
                          for _ in range(min(resamples, 2000))])
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(float(difference.mean()), float(low), float(high))
