"""How certain a score or a difference is: intervals at 95 %, and tests. Those of the bootstrap are in `bootstrap`."""
import math

import numpy as np
from scipy.stats import binomtest

from ra_plugin.evaluation.statistics.intervals import wilson
from ra_plugin.results import Estimate

_Z = 1.959964  # 97.5 % quantile of the normal distribution
_Z_POWER = 0.841621  # 80 %


def proportion(right: np.ndarray) -> Estimate:
    """Share of True in ``(N,)``, with Wilson's interval (1927)."""
    share = float(np.mean(right))
    return Estimate(share, *wilson(share, len(right)))


def mcnemar(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Two-sided p-value that two classifiers are right equally often, by the exact test (McNemar, 1947).

    Args:
        ours, theirs: ``(N,)`` bool: right on each of the same images.
    """
    only_ours, only_theirs = int(np.sum(ours & ~theirs)), int(np.sum(theirs & ~ours))
    return float(binomtest(only_ours, only_ours + only_theirs).pvalue) if only_ours + only_theirs else 1.0


def images_to_tell(difference: np.ndarray, gain: float = 0.01) -> int:
    """Images that a paired comparison needs to tell ``gain`` from nothing at 5 %, four times in five.

    Args:
        difference: ``(N,)``, ours minus theirs on the same images; only its variance counts.
        gain: The true mean difference.
    """
    return math.ceil((_Z + _Z_POWER) ** 2 * float(np.var(difference)) / gain ** 2)
