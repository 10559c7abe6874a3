"""BasicSR's metrics of a validation: which of them need clean images, and their mean."""
import functools
import inspect
import math
import operator
from collections.abc import Mapping, Sequence

from basicsr.utils.registry import METRIC_REGISTRY

from ra_plugin.metrics.calculate_pyiqa import calculate_pyiqa


def needs_clean(block: Mapping) -> bool:
    """Return whether the metric of an option block compares with clean images."""
    metric = METRIC_REGISTRY.get(block['type'])
    if metric is calculate_pyiqa:
        from pyiqa.default_model_configs import DEFAULT_CONFIGS
        return DEFAULT_CONFIGS.get(block['metric'], {}).get('metric_mode') == 'FR'
    reference = inspect.signature(metric).parameters.get('img2')
    return reference is not None and reference.default is reference.empty


def mean_of_known(values: Sequence[float]) -> float:
    """Return the mean of the finite values; infinity or NaN where there is no other.

    The PSNR of an image that is restored exactly is infinite: it says nothing of the others, and no mean would be left.
    """
    known = [value for value in values if math.isfinite(value)]
    return added(known or values) / len(known or values)


def added(values: Sequence[float]) -> float:
    """Return the sum, one value after the other as BasicSR adds them; Python 3.12's ``sum`` rounds otherwise."""
    return functools.reduce(operator.add, values)
