"""The paired bootstrap: all scores on the same resamples of the images, so that they can be compared.

Scores of images that depend on each other, as those of one person, are on resamples of whole groups: the same ones for
all such scores, but not those of the others.
"""
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ra_plugin.evaluation.statistics.intervals import Classes
from ra_plugin.evaluation.statistics.sampled import Sampled, mean, mean_over_trainings, share
from ra_plugin.metrics.base import GroupedScore, TaskScore, mean_over_classes

__all__ = ['RESAMPLES', 'Sampled', 'mean', 'mean_over_trainings', 'sample', 'share']

RESAMPLES = 2000
_OF_CLASSES = 500  # resamples of each class: its variance is all that is asked of them
_CELLS = 4_000_000  # of one block of counts: 32 MB


def sample(columns: Mapping[Any, np.ndarray], scores: Mapping[Any, TaskScore], images: int, seed: int = 0,
           resamples: int = RESAMPLES) -> dict[Any, Sampled]:
    """Draw the resamples and take every score on each.

    Args:
        columns: Key -> ``(N,)``, a number for each image; the score is their mean, over the images that have a finite
            one: a share of the images for bool.
        scores: Key -> a score of which not all metrics are such means. They get the keys ``(*key, metric)``; those that
            are among the columns are taken from there.
        images: N.
        seed: Seed of the resamples.
        resamples: R, their number.

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

    units = {key: float(np.asarray(values).dtype == bool) for key, values in columns.items()}
    all_parts = [(key, part) for key, score in scores.items() for part in score.parts]
    parts = [(key, part) for key, part in all_parts if not isinstance(part, GroupedScore)]
    draws: dict[Any, list[np.ndarray]] = {}
    by_class: dict[Any, list[np.ndarray]] = {}
    for counts in _counts(images, resamples, np.random.default_rng(seed)):
        for key, values in zip(keys, means(counts).T, strict=True):
            draws.setdefault(key, []).append(values)
        times = counts.astype(int) if parts else counts
        for key, score in parts:
            for metric, values in score.by_class_resampled(times).items():
                if (*key, metric) in columns:
                    continue
                if values.ndim == 2:
                    by_class.setdefault((*key, metric), []).append(values[:_OF_CLASSES])
                    values = mean_over_classes(values)
                draws.setdefault((*key, metric), []).append(values)
    values = dict(zip(keys, matrix.mean(0) if full else means(np.ones((1, images)))[0], strict=True))
    classes = {}
    for key, score in parts:
        values.update({(*key, metric): value for metric, value in score.compute().items()
                       if (*key, metric) not in columns})
        classes.update({(*key, metric): Classes(np.concatenate(by_class[(*key, metric)])[:_OF_CLASSES],
                                                score.images_of_classes())
                        for metric in score.names if (*key, metric) in by_class})
    found = {key: Sampled(float(values[key]), np.concatenate(drawn), images, units.get(key, 0.0), classes.get(key))
             for key, drawn in draws.items()}
    for key, part in all_parts:
        if isinstance(part, GroupedScore):
            found.update({(*key, metric): sampled for metric, sampled in _of_groups(part, seed, resamples).items()})
    return found


def _of_groups(score: GroupedScore, seed: int, resamples: int) -> dict[str, Sampled]:
    """Draw resamples of whole groups; with fewer than two that count there is no interval."""
    groups, values = score.groups(), score.compute()
    drawn = [score.groups_resampled(times.astype(int))
             for times in _counts(groups.number, resamples, np.random.default_rng(seed))]
    found = {}
    for metric, value in values.items():
        counted, draws = groups.counted[metric], np.concatenate([block[metric] for block in drawn])
        found[metric] = Sampled(value, draws if counted > 1 else np.full(resamples, np.nan), counted,
                                counted * groups.change[metric], grouped=True)
    return found


def _counts(images: int, resamples: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield blocks of ``(r, images)``, the number of times that each image is drawn, with replacement."""
    while resamples:
        rows = min(resamples, max(1, _CELLS // images))
        drawn = rng.integers(images, size=(rows, images)) + np.arange(rows)[:, None] * images
        yield np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images).astype(float)
        resamples -= rows
