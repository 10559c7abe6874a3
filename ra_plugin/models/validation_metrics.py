"""Helpers for BasicSR's metrics in validation: their need for clean images, and their mean."""
import functools
import inspect
import math
import operator
from collections.abc import Mapping, Sequence

from basicsr.utils.registry import METRIC_REGISTRY

from ra_plugin.metrics.calculate_pyiqa import calculate_pyiqa


def needs_clean(block: Mapping) -> bool:
    """Return True if the metric of an option block compares with clean images."""
    metric = METRIC_REGISTRY.get(block['type'])
    if metric is calculate_pyiqa:
        from pyiqa.default_model_configs import DEFAULT_CONFIGS
        return DEFAULT_CONFIGS.get(block['metric'], {}).get('metric_mode') == 'FR'
    reference = inspect.signature(metric).parameters.get('img2')
    return reference is not None and reference.default is reference.empty


def mean_of_known(values: Sequence[float]) -> float:
    """Return the mean of the finite values; infinity or NaN if there are none.

    The PSNR of an exactly restored image is infinite, and so would be any mean that includes it.
    """
    known = [value for value in values if math.isfinite(value)]
    return added(known or values) / len(known or values)


def added(values: Sequence[float]) -> float:
    """Return the sum, added one by one as in BasicSR; ``sum`` of Python 3.12 rounds differently."""
    return functools.reduce(operator.add, values)
