"""A score with its resamples over images and trainings; differences, means and ratios of such scores."""
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ra_plugin.evaluation.statistics import intervals
from ra_plugin.evaluation.statistics.intervals import Classes, quantile
from ra_plugin.results import Estimate

# The best precision at each recall is a maximum, and mAP is biased upwards by 2 to 6 times of what resampling adds
# (simulated: 3 to 20 classes, 30 to 200 images): once is taken off, and as often as this an interval allows for more
_UNSEEN = 3


@dataclass(frozen=True)
class Sampled:
    """Score of the images, and of R resamples of them; the resamples of different scores are paired.

    Attributes:
        value: Score of all images.
        draws: ``(R,)``.
        images: N, or the number of groups where the images are drawn in groups; 0 where it is unknown, and the
            percentiles of the draws are all that there is.
        unit: N times the least change that one image makes, where the score is a share of images; else 0.
        classes: Classes of a score that is a mean over classes.
        trainings: Way of training -> ``(k, 1 + R)``: its k trainings minus their mean; of the value and each resample.
        grouped: True where images are drawn in groups, as those of one identity.
    """

    value: float
    draws: np.ndarray
    images: int = 0
    unit: float = 0.0
    classes: Classes | None = None
    trainings: Mapping[Any, np.ndarray] = field(default_factory=dict)
    grouped: bool = False

    def __sub__(self, other: 'Sampled') -> 'Sampled':
        return _combined([self, other], [1.0, -1.0])

    def scaled(self, factor: float) -> 'Sampled':
        """Return the score times a factor."""
        return _combined([self], [factor])

    def over(self, other: 'Sampled') -> 'Sampled':
        """Return the ratio of the two; see `share` for one with Fieller's interval.

        Where a resample takes the denominator to zero or beyond, the ratio is infinite: no end of the interval is lost.
        """
        if not other.value:
            return replace(self, value=math.nan, draws=np.full(len(self.draws), math.nan), unit=0.0, classes=None)
        ratio = self.value / other.value
        linear = _combined([self, other], [1 / other.value, -ratio / other.value])
        with np.errstate(divide='ignore', invalid='ignore'):
            draws = np.where(other.draws * np.sign(other.value) > 0, self.draws / other.draws,
                             self.draws * np.sign(other.value) * math.inf)
        either = np.where(np.arange(len(draws)) % 2, math.inf, -math.inf)  # 0 / 0 could be anything
        unknown = np.isnan(self.draws) | np.isnan(other.draws)
        draws = np.where(np.isnan(draws) & ~unknown, either, draws)
        return Sampled(ratio, draws, linear.images, 0.0, None, linear.trainings)

    def times(self, other: 'Sampled') -> 'Sampled':
        """Return the product of the two, with the variation over trainings to first order."""
        linear = _combined([self, other], [other.value, self.value])
        return Sampled(self.value * other.value, self.draws * other.draws, linear.images, 0.0, None, linear.trainings)

    def lesser(self, other: 'Sampled') -> 'Sampled':
        """Return the lesser of the two."""
        least = self if self.value <= other.value else other
        return replace(least, draws=np.minimum(self.draws, other.draws), classes=None)

    def estimate(self, comparisons: int = 1) -> Estimate:
        """Return the estimate with the interval of a difference or mean over the images; NaN where it is not defined.

        Args:
            comparisons: All intervals of so many hold at once in 95 % (Bonferroni).
        """
        center, below, above = self._over_images(comparisons)
        low, high = self._ends(center, below, above, comparisons)
        if self.unit or self.classes:  # shares, of which no two differ by more than one
            low, high = max(low, -1.0), min(high, 1.0)
        return Estimate(self.value, low, high)

    def share_estimate(self) -> Estimate:
        """Return the estimate of a share, its interval within ``[0, 1]`` and symmetric on the logit scale.

        What few images bias a mean over classes by, a resample adds, on average, once more: the center is as far on the
        other side. Of an mAP that is too little, see `_UNSEEN`, so that its lower end reaches further.
        """
        if not self.images or math.isnan(self.value):
            return self.estimate()
        freedom, inflation = self._spread()
        half = quantile(freedom) * self.deviation() * math.sqrt(inflation) if freedom else math.nan
        if math.isnan(half):
            return Estimate(self.value, math.nan, math.nan)
        low, high = self._ends(self.value, half, half)
        if not 0 < self.value < 1 or low == high:  # no image differs: as far as Wilson's interval reaches
            ends = intervals.wilson(min(max(self.value, 0.0), 1.0), self.images)
            return Estimate(self.value, max(min(low, ends[0]), 0.0), min(max(high, ends[1]), 1.0))
        drift = self._drift()
        return Estimate(self.value, *intervals.on_logit_scale(
            self.value - drift, self.value - low + _UNSEEN * max(drift, 0.0), high - self.value))

    def deviation(self) -> float:
        """Standard deviation over the resamples."""
        known = self.draws[np.isfinite(self.draws)]
        return float(known.std()) if len(known) else math.nan

    def _drift(self) -> float:
        """Return the mean of the resamples minus the value, for means over classes; other scores have no bias: 0."""
        known = self.draws[np.isfinite(self.draws)]
        return float(known.mean()) - self.value if self.classes and len(known) else 0.0

    def _spread(self) -> tuple[float, float]:
        """Return the degrees of freedom of the variance over images (0: too few), and that variance over the draws'."""
        freedom, inflation = max(self.images - 1, 1), self.images / max(self.images - 1, 1)
        if self.classes is None:
            return freedom, inflation
        if self.classes.too_few().any() and self.deviation():  # the same on all resamples: of the same answers
            return 0.0, 1.0
        of_classes, inflation = self.classes.spread()
        return min(freedom, of_classes), inflation

    def _over_images(self, comparisons: int) -> tuple[float, float, float]:
        """Return the center of the interval over the images, and its reach below and above; NaN for a mean of one."""
        if self.images == 1 and not self.unit:
            return self.value, math.nan, math.nan
        normal = quantile(comparisons=comparisons)
        if self.unit and self.images and not self.grouped:
            # two images more, of which one gains and one loses (Bonett and Price, 2012): none differed is not none will
            n, squares = self.images, self.images * self.deviation() ** 2 + self.value ** 2
            center = self.value * n / (n + 2)
            half = normal * math.sqrt(max((squares * n + 2 * self.unit ** 2) / (n + 2) - center ** 2, 0.0) / (n + 2))
            return center, half, half
        low, high = intervals.percentiles(self.draws)
        factor = normal / quantile()
        if self.images:
            freedom, inflation = self._spread()
            factor = quantile(freedom, comparisons) / quantile() * math.sqrt(inflation) if freedom else math.nan
        unseen = _UNSEEN * self._drift()
        below = factor * (self.value - low) + max(unseen, 0.0)
        above = factor * (high - self.value) + max(-unseen, 0.0)
        if self.unit and self.images:  # groups: an image more in two of them, of which one gains and one loses
            once = factor * quantile() * math.sqrt(2) * self.unit / self.images
            below, above = math.hypot(max(below, 0.0), once), math.hypot(max(above, 0.0), once)
        return self.value, below, above

    def _ends(self, center: float, below: float, above: float, comparisons: int = 1) -> tuple[float, float]:
        """Return the interval over the images and, where there are several, over trainings: squared halves add up.

        Their sum is that of independent parts (Zou and Donner, 2008); it is never narrower than over the images alone.
        """
        reach, twice = intervals.trainings_half_width(self.trainings.values(), comparisons)
        if not reach:
            return center - below, center + above
        once = math.sqrt(max(1 - twice / self.deviation() ** 2, 0.0)) if self.deviation() else 0.0
        return (center - max(below, math.hypot(once * below, reach)),
                center + max(above, math.hypot(once * above, reach)))


def mean(parts: Iterable[Sampled]) -> Sampled:
    """Return the mean of several scores, as of several recognizers."""
    parts = list(parts)
    found = _combined(parts, [1 / len(parts)] * len(parts))
    # images that one recognizer reads otherwise are not all those of another: as of independent ones
    return replace(found, unit=math.sqrt(sum(part.unit ** 2 for part in parts)) / len(parts))


def mean_over_trainings(way: Any, parts: Iterable[Sampled]) -> Sampled:
    """Return the mean over trainings that differ in their seed, with the variation over such trainings.

    Args:
        way: Name of this way of training.
        parts: The score of each training; of a single one nothing is known of others.
    """
    parts = list(parts)
    found = mean(parts)
    if len(parts) == 1:
        return found
    each = np.array([[part.value, *part.draws] for part in parts])
    return replace(found, trainings={**found.trainings, (way, len(parts)): each - each.mean(0)})


def share(part: Sampled, whole: Sampled, least: float) -> Estimate | None:
    """Return ``part / whole`` with Fieller's interval; None where the whole is too small or not surely positive.

    Args:
        part: Numerator.
        whole: Denominator, of the same images and resamples.
        least: The smallest value of the whole.
    """
    if not whole.value >= least or not whole.estimate().low > 0:
        return None
    ratio = part.value / whole.value
    linear = part - whole.scaled(ratio)
    freedom, inflation = linear._spread() if linear.images else (math.inf, 1.0)
    draws = np.stack([part.draws, whole.draws])
    draws = draws[:, np.isfinite(draws).all(0)]
    if not freedom or draws.shape[1] < 2:
        return None
    spread = quantile(freedom) ** 2 * inflation * np.cov(draws)
    reach, _ = intervals.trainings_half_width(linear.trainings.values())
    if reach:
        by_training, direction = _training_covariance(part, whole), np.array([1, -ratio])
        spread = spread + reach ** 2 / (direction @ by_training @ direction) * by_training
    ends = intervals.fieller(part.value, whole.value, spread)
    return None if ends is None else Estimate(ratio, *ends)


def _training_covariance(part: Sampled, whole: Sampled) -> np.ndarray:
    """``(2, 2)`` of the two values, by all trainings."""
    found = np.zeros((2, 2))
    for key, deviations in {**part.trainings, **whole.trainings}.items():
        k = len(deviations)
        both = np.stack([one.trainings[key][:, 0] if key in one.trainings else np.zeros(k) for one in (part, whole)])
        found += both @ both.T / (k * (k - 1))
    return found


def _combined(parts: list[Sampled], factors: list[float]) -> Sampled:
    """Return the sum of the parts, each times its factor."""
    def total(take: Callable[[Sampled], Any]) -> Any:
        return sum(factor * take(part) for part, factor in zip(parts, factors, strict=True))

    trainings: dict[Any, np.ndarray] = {}
    for part, factor in zip(parts, factors, strict=True):
        for key, deviations in part.trainings.items():
            trainings[key] = trainings.get(key, 0.0) + factor * deviations
    images = {part.images for part in parts}
    return Sampled(float(total(lambda part: part.value)), total(lambda part: part.draws),
                   images.pop() if len(images) == 1 else 0,
                   max(abs(factor) * part.unit for part, factor in zip(parts, factors, strict=True)),
                   _combined_classes(parts, factors), trainings, any(part.grouped for part in parts))


def _combined_classes(parts: list[Sampled], factors: list[float]) -> Classes | None:
    """Return the classes of a sum, where all parts are means over the same classes."""
    found = [part.classes for part in parts if part.classes is not None]
    if len(found) < len(parts) or any(not np.array_equal(classes.images, found[0].images)
                                      or classes.draws.shape != found[0].draws.shape for classes in found):
        return None
    draws = np.zeros_like(found[0].draws)
    for classes, factor in zip(found, factors, strict=True):
        draws = draws + factor * classes.draws
    return Classes(draws, found[0].images)
