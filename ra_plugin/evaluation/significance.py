"""How certain a score or a difference is: intervals at 95 %."""
import math
from dataclasses import dataclass

import numpy as np

from ra_plugin.evaluation.score_base import TaskScore

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


def score_intervals(score: TaskScore, resamples: int = 1000, seed: int = 0) -> dict[str, Estimate]:
    """Each value of ``score``, with the basic interval of the bootstrap over the images, within ``[0, 1]``.

    mAP is higher on few images than on many, and higher again on resamples of the few: the percentiles would lie on the
    wrong side of the value. The basic interval reflects them at it. Where classes have only a few boxes each, even this
    covers the mAP of many images less often than 95 %; prefer differences, in which most of it cancels.
    """
    values = score.resampled(_draw(len(score), resamples, seed))
    estimates = {}
    for name, value in score.compute().items():
        low, high = np.clip(2 * value - np.array(_percentiles(values[name])), 0, 1)[::-1]
        estimates[name] = Estimate(value, float(low), float(high))
    return estimates


def score_differences(ours: TaskScore, theirs: TaskScore, resamples: int = 1000, seed: int = 0) -> dict[str, Estimate]:
    """``ours - theirs`` with the percentile interval of the bootstrap; both have the same images in the same order.

    Raises:
        ValueError: They differ in the number of images or in their metrics.
    """
    if (len(ours), ours.names) != (len(theirs), theirs.names):
        raise ValueError(f'score_differences: expected the same metrics of the same images, got {ours.names} of '
                         f'{len(ours)} images and {theirs.names} of {len(theirs)}.')
    counts = _draw(len(ours), resamples, seed)
    our_values, their_values, others = ours.resampled(counts), theirs.resampled(counts), theirs.compute()
    return {name: Estimate(value - others[name], *_percentiles(our_values[name] - their_values[name]))
            for name, value in ours.compute().items()}


def _draw(images: int, resamples: int, seed: int) -> np.ndarray:
    """``(resamples, images)``: how often each image is drawn, with replacement."""
    if not images:
        raise ValueError('significance: expected at least one image, got none.')
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), resamples)


def _percentiles(resampled: np.ndarray) -> tuple[float, float]:
    """2.5 % and 97.5 %."""
    known = resampled[~np.isnan(resampled)]  # a resample may miss every class
    if not len(known):
        return math.nan, math.nan
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)
