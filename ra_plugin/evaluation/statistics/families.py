"""Correction for several comparisons at once."""
from collections.abc import Mapping

from ra_plugin.evaluation.statistics.sampled import Sampled
from ra_plugin.results import Family


def family(differences: Mapping[str, Sampled]) -> Family:
    """Find the differences that are surely above or below zero: one or more wrongly so in 5 % at most (Holm, 1979).

    Args:
        differences: Name -> difference.
    """
    sides: dict[str, str] = {}
    while True:
        left = {name: sampled for name, sampled in differences.items() if name not in sides}
        found = {name: side for name, sampled in left.items() if (side := _side(sampled, len(left)))}
        if not found:
            break
        sides.update(found)
    return Family(len(differences), *([name for name in differences if sides.get(name) == side]
                                      for side in ('up', 'down')))


def _side(sampled: Sampled, comparisons: int) -> str | None:
    estimate = sampled.estimate(comparisons)
    return 'up' if estimate.low > 0 else 'down' if estimate.high < 0 else None
