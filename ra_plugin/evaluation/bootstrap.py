"""The paired bootstrap: every score on the same resamples of the images, so that any two of them can be compared."""
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ra_plugin.evaluation.score_base import TaskScore
from ra_plugin.evaluation.significance import Estimate

RESAMPLES = 2000
_CELLS = 4_000_000  # of one block of counts: 32 MB


@dataclass(frozen=True)
class Sampled:
    """A score of the images, and ``(R,)`` of R resamples of them; those of different scores are paired."""

    value: float
    draws: np.ndarray

    def __sub__(self, other: 'Sampled') -> 'Sampled':
        return Sampled(self.value - other.value, self.draws - other.draws)

    def over(self, other: 'Sampled') -> 'Sampled':
        """The ratio of the two."""
        with np.errstate(divide='ignore', invalid='ignore'):
            return Sampled(self.value / other.value if other.value else math.nan, self.draws / other.draws)

    def at_most(self, limit: float) -> 'Sampled':
        """No more than ``limit``."""
        return Sampled(min(self.value, limit), np.minimum(self.draws, limit))

    def estimate(self) -> Estimate:
        """With the percentile interval: for differences, and for means over the images."""
        return Estimate(self.value, *self._percentiles())

    def reflected(self) -> Estimate:
        """With the basic interval, within ``[0, 1]``: for a single score that few images bias, as mAP."""
        low, high = self._percentiles()
        return Estimate(self.value, *(min(max(2 * self.value - bound, 0.0), 1.0) for bound in (high, low)))

    def _percentiles(self) -> tuple[float, float]:
        known = self.draws[~np.isnan(self.draws)]  # a resample may miss every class
        if not len(known):
            return math.nan, math.nan
        low, high = np.quantile(known, [0.025, 0.975])
        return float(low), float(high)


def mean(parts: Iterable[Sampled]) -> Sampled:
    """The mean of several scores, e.g. of the seeds of one way of training."""
    parts = list(parts)
    return Sampled(float(np.mean([part.value for part in parts])), np.mean([part.draws for part in parts], axis=0))


def sample(columns: Mapping[Any, np.ndarray], scores: Mapping[Any, TaskScore], images: int, seed: int = 0,
           resamples: int = RESAMPLES) -> dict[Any, Sampled]:
    """Draw the resamples and take every score on each.

    Args:
        columns: Key -> ``(N,)``, a number for each image; the score is their mean, over the images that have a finite
            one.
        scores: Key -> a score that is no such mean. Its metrics get the keys ``(*key, metric)``.
        images: N.
        seed: Of the resamples.
        resamples: R.

    Raises:
        ValueError: No image.
    """
    if not images:
        raise ValueError('bootstrap: expected at least one image, got none.')
    keys = list(columns)
    matrix = np.stack([columns[key] for key in keys], 1).astype(float) if keys else np.empty((images, 0))
    finite = np.isfinite(matrix)
    full, matrix = finite.all(), np.where(finite, matrix, 0)

    def means(counts: np.ndarray) -> np.ndarray:
        with np.errstate(invalid='ignore'):
            return counts @ matrix / (images if full else counts @ finite)

    draws: dict[Any, list[np.ndarray]] = {}
    for counts in _counts(images, resamples, np.random.default_rng(seed)):
        for key, values in zip(keys, means(counts).T):
            draws.setdefault(key, []).append(values)
        times = counts.astype(int) if scores else counts
        for key, score in scores.items():
            for metric, values in score.resampled(times).items():
                draws.setdefault((*key, metric), []).append(values)
    values = dict(zip(keys, matrix.mean(0) if full else means(np.ones((1, images)))[0]))
    for key, score in scores.items():
        values.update({(*key, metric): value for metric, value in score.compute().items()})
    return {key: Sampled(float(values[key]), np.concatenate(parts)) for key, parts in draws.items()}


def _counts(images: int, resamples: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Blocks of ``(r, images)``: how often each image is drawn, with replacement."""
    while resamples:
        rows = min(resamples, max(1, _CELLS // images))
        drawn = rng.integers(images, size=(rows, images)) + np.arange(rows)[:, None] * images
        yield np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images).astype(float)
        resamples -= rows
