"""The arithmetic of 95 % intervals from few images and few trainings; their coverage is simulated in the tests."""
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

_PRIOR = 4  # images that what is known of the other classes is worth, for the spread of a class
_Z = 1.959964  # 97.5 % quantile of the normal distribution


@lru_cache(4096)
def quantile(freedom: float = math.inf, comparisons: int = 1) -> float:
    """Two-sided 95 % quantile of Student's t; of so many comparisons all hold at once (Bonferroni)."""
    return float(stats.t.ppf(1 - 0.025 / comparisons, max(freedom, 1)))


def percentiles(draws: np.ndarray) -> tuple[float, float]:
    """2.5 and 97.5 % of the draws that are numbers; an infinite one is the outermost, and no end is between draws."""
    known = np.sort(draws[~np.isnan(draws)])  # a resample may miss every class
    if not len(known):
        return math.nan, math.nan
    with np.errstate(invalid='ignore'):
        low, high = np.quantile(known, [0.025, 0.975])
    if math.isnan(low) or math.isnan(high) or math.isinf(low) or math.isinf(high):
        low, high = np.quantile(known, [0.025, 0.975], method='closest_observation')
    return float(low), float(high)


@dataclass(frozen=True)
class Classes:
    """The classes that a score is the mean of.

    Attributes:
        draws: ``(R, C)`` resamples of each class's score; NaN where one has no image of the class.
        images: ``(C,)`` images that hold each class.
    """

    draws: np.ndarray
    images: np.ndarray

    def counted(self) -> np.ndarray:
        """Return ``(C,)`` bool, True for the classes that count: all, or those in any image where most are in none."""
        held = self.images > 0
        return held if held.mean() < 0.5 else np.ones(len(held), bool)

    def too_few(self) -> np.ndarray:
        """Return ``(C,)`` bool, True for classes in fewer than ``sqrt(5 C)`` images, where these dominate the variance.

        Each counts with 1 / its images. The error of a mean falls with the number of classes C, what few images bias
        each of them by does not. This goes by the numbers of images alone: by the spread that was seen, just those
        samples would be told that miss the hard images.
        """
        counted = self.counted()
        parts = counted / np.maximum(self.images, 0.5)
        few = counted & (self.images < math.sqrt(5 * counted.sum()))
        return few if parts[few].sum() > parts.sum() / 2 else np.zeros(len(few), bool)

    def spread(self) -> tuple[float, float]:
        """Degrees of freedom of the variance of the mean, and the variance that it has over that of the draws.

        By Satterthwaite's formula over the classes, each of which has one degree less than images. A resample of n
        images has (n - 1) / n of their variance; and that of a class in few images can be small by chance, so it is
        drawn up to that of an image of the other classes, as by `_PRIOR` images more.
        """
        counted = self.counted()
        images, draws = self.images[counted], self.draws[:, counted]
        known = ~np.isnan(draws)
        times = known.sum(0)
        center = np.where(known, draws, 0).sum(0) / np.maximum(times, 1)
        drawn = np.where(known, (draws - center) ** 2, 0).sum(0) / np.maximum(times, 1)
        if not drawn.sum():
            return math.inf, 1.0
        freedom = np.maximum(images - 1, 0)
        variance = drawn * images / np.maximum(freedom, 1)
        of_an_image = (variance * images * freedom).sum() / max(freedom.sum(), 1)
        drawn_in = (freedom * variance + _PRIOR * of_an_image / np.maximum(images, 0.5)) / (freedom + _PRIOR)
        variance = np.maximum(variance, drawn_in)
        total = variance.sum() ** 2 / (variance ** 2 / np.maximum(freedom, 1)).sum()
        return float(total), float(variance.sum() / drawn.sum())


def trainings_half_width(deviations: Iterable[np.ndarray], comparisons: int = 1) -> tuple[float, float]:
    """Return the half-width of the interval over the trainings alone, and the variance over images in it.

    Each way of training has a variance of its own, estimated from its few seeds; their sum has Welch's degrees of
    freedom. Seeds also differ because each misreads other images, which resamples of the images show, too.

    Args:
        deviations: For each way of training, ``(k, 1 + R)``: its k trainings minus their mean, of the value and each
            resample.
        comparisons: Number of intervals that hold at once in 95 % (Bonferroni).
    """
    parts = [(len(part), (part[:, 0] ** 2).sum(), np.nanvar(part[:, 1:], axis=1).sum()) for part in deviations]
    variances = np.array([squares / (k * (k - 1)) for k, squares, _ in parts])
    total = variances.sum()
    if not total:
        return 0.0, 0.0
    freedom = total ** 2 / (variances ** 2 / np.array([k - 1 for k, _, _ in parts])).sum()
    by_images = sum(drawn / (k * (k - 1)) for k, _, drawn in parts)
    return quantile(freedom, comparisons) * math.sqrt(total), float(by_images)


def wilson(share: float, n: int, z: float = _Z) -> tuple[float, float]:
    """Wilson's interval (1927) of a share of n images."""
    center = (share + z ** 2 / (2 * n)) / (1 + z ** 2 / n)
    half = z * math.sqrt(share * (1 - share) / n + z ** 2 / (4 * n * n)) / (1 + z ** 2 / n)
    return center - half, center + half


def on_logit_scale(value: float, below: float, above: float) -> tuple[float, float]:
    """Return the ends around a share, as far from it on the logit scale as they are here by its slope."""
    value = min(max(value, 1e-4), 1 - 1e-4)
    slope, place = value * (1 - value), math.log(value / (1 - value))
    low, high = (1 / (1 + math.exp(-max(min(place + side / slope, 700), -700))) for side in (-below, above))
    return low, high


def fieller(above: float, below: float, covariance: np.ndarray) -> tuple[float, float] | None:
    """Fieller's interval (1954) of the ratio ``above / below``; None where it is unbounded.

    Args:
        above: Numerator.
        below: Denominator.
        covariance: ``(2, 2)``, of both, times the square of the quantile.
    """
    a, b, c = (below ** 2 - covariance[1, 1], above * below - covariance[0, 1], above ** 2 - covariance[0, 0])
    if a <= 0 or below == 0:
        return None
    root = math.sqrt(max(b * b - a * c, 0.0))
    return (b - root) / a, (b + root) / a
