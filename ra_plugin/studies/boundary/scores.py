"""Boundary and inter-boundary distances of two recognizers over many images: the paper's table 6, with intervals."""
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import binom

from ra_plugin.evaluation.statistics.bootstrap import sample
from ra_plugin.evaluation.statistics.significance import proportion
from ra_plugin.results import Estimate
from ra_plugin.studies.boundary.results import RA, RANDOM, DirectionScores, PairedDifference, PairScores, Record


def pair_scores(records: Sequence[Record], source: str, target: str, seed: int = 0) -> PairScores | None:
    """Return the distances over the images that both recognizers read as the same wrong label; None without any."""
    records = [record for record in records if target in record.distance[RA]]
    if not records:
        return None
    distances = {direction: {role: np.array([record.distance[direction][name] for record in records])
                             for role, name in (('source', source), ('target', target))}
                 for direction in (RANDOM, RA)}
    right = {direction: {role: np.array([record.after[direction][name] == record.truth for record in records])
                         for role, name in (('source', source), ('target', target))}
             for direction in (RANDOM, RA)}
    return PairScores(
        len(records),
        {direction: _direction(distances[direction], right[direction], seed) for direction in (RANDOM, RA)},
        {role: _paired(distances[RA][role], distances[RANDOM][role], seed) for role in ('source', 'target')})


def inter_boundary(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return IBD, the distance between two boundaries, ``(N,)``; infinite where either boundary is infinitely far."""
    with np.errstate(invalid='ignore'):
        return np.where(np.isfinite(source) & np.isfinite(target), np.abs(source - target), np.inf)


def _direction(distance: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray], seed: int) -> DirectionScores:
    columns = {**distance, 'ibd': inter_boundary(*distance.values())}
    both = np.isfinite(columns['ibd'])
    return DirectionScores(
        {role: proportion(np.isfinite(values)) for role, values in distance.items()},
        {role: proportion(values) for role, values in right.items()},
        {name: median(values) for name, values in columns.items()}, int(both.sum()),
        *_means({name: values[both] for name, values in columns.items()}, seed))


def _means(columns: Mapping[str, np.ndarray], seed: int) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
    """Return the means, and IBD minus the others; empty where there are too few images to tell one from another."""
    images = len(columns['ibd'])
    if images < 2:
        return {}, {}
    drawn = sample({**columns, 'chance': chance(columns['source'], columns['target'])}, {}, images, seed)
    return ({name: values.estimate() for name, values in drawn.items()},
            {name: (drawn['ibd'] - drawn[name]).estimate() for name in ('source', 'target', 'chance')})


def _paired(ours: np.ndarray, theirs: np.ndarray, seed: int) -> PairedDifference | None:
    both = np.isfinite(ours) & np.isfinite(theirs)
    if not both.any():
        return None
    images = int(both.sum())
    drawn = sample({'difference': ours[both] - theirs[both]}, {}, images, seed)['difference']
    return PairedDifference(images, **vars(drawn.estimate()))


def chance(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return IBD by chance, as if the two boundaries had nothing to do with each other.

    The mean of ``|source[i] - target[j]|`` over different images i and j, as each image's share in it: the mean of the
    shares is that mean, and resampling them gives its interval, to first order (Hajek's projection).

    Args:
        source: ``(N,)`` finite distances to one recognizer's boundary, of two images or more.
        target: ``(N,)`` finite distances to another one's, along the same rays.
    """
    images = len(source)
    own = np.abs(source - target)
    rows = (_mean_distance(source, target) * images - own) / (images - 1)
    columns = (_mean_distance(target, source) * images - own) / (images - 1)
    return rows + columns - rows.mean()


def _mean_distance(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the mean distance of each point to the others."""
    others = np.sort(others)
    below = np.searchsorted(others, points)
    sums = np.concatenate([[0.0], np.cumsum(others)])
    return (points * (2 * below - len(others)) + sums[-1] - 2 * sums[below]) / len(others)


def median(values: np.ndarray) -> Estimate:
    """Return the median of ``(N,)`` numbers >= 0, maybe infinite, with its exact interval by ranks."""
    rank = int(binom.ppf(0.025, len(values), 0.5))
    bounded = np.concatenate([[0.0], np.sort(values), [math.inf]])  # too few values bound nothing
    return Estimate(float(np.median(values)), float(bounded[rank]), float(bounded[len(values) + 1 - rank]))
