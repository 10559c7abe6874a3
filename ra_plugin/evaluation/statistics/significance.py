"""Intervals and tests that need no resampling."""
import math

import numpy as np
from scipy.stats import binomtest

from ra_plugin.evaluation.statistics.intervals import wilson
from ra_plugin.results import Estimate

_Z = 1.959964  # 97.5 % quantile of the normal distribution
_Z_POWER = 0.841621  # 80 %


def proportion(right: np.ndarray) -> Estimate:
    """Return the share of True in ``(N,)``, with Wilson's interval (1927)."""
    share = float(np.mean(right))
    return Estimate(share, *wilson(share, len(right)))


def mcnemar(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the two-sided p-value of the exact test that two classifiers are right equally often (McNemar, 1947).

    Args:
        ours: ``(N,)`` bool, True where the first classifier is right.
        theirs: ``(N,)`` bool, the same of the second one on the same images.
    """
    only_ours, only_theirs = int(np.sum(ours & ~theirs)), int(np.sum(theirs & ~ours))
    return float(binomtest(only_ours, only_ours + only_theirs).pvalue) if only_ours + only_theirs else 1.0


def images_to_tell(difference: np.ndarray, gain: float = 0.01) -> int:
    """Return the number of images for a paired comparison to detect ``gain`` at 5 % with a power of 80 %.

    Args:
        difference: ``(N,)``, ours minus theirs on the same images; only its variance counts.
        gain: The true mean difference.
    """
    return math.ceil((_Z + _Z_POWER) ** 2 * float(np.var(difference)) / gain ** 2)
