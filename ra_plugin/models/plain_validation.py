"""BasicSR's own validation, in batches, for models without recognizers."""
import math
import os
from collections.abc import Sequence
from typing import Any

from basicsr.models.sr_model import SRModel

from ra_plugin.metrics.task_scores import TaskScore
from ra_plugin.models.recog_validation import Metrics, RecogValidationMixin
from ra_plugin.models.validation_metrics import added

_ENTRIES = 'validation', 'nondist_validation', 'dist_validation'


def has_plain_validation(model: Any) -> bool:
    """Return True for a class that inherits SRModel's validation unchanged; video models do not."""
    return isinstance(model, type) and issubclass(model, SRModel) and all(
        getattr(model, name) is getattr(SRModel, name) for name in _ENTRIES)


class PlainValidationMixin(RecogValidationMixin):
    """Mixin with the results and files of SRModel's validation, computed in batches.

    SRModel takes one image at a time and empties the GPU's cache after each. For a class with `has_plain_validation`;
    put it before that class in the bases.
    """

    dist_validation = SRModel.dist_validation  # on rank 0 only

    def _score(self, *args) -> tuple[list[Metrics], dict[str, TaskScore]]:
        return self._score_batches(*args)  # without changing is_train

    def _mean(self, values: Sequence[float], name: str, dataset_name: str) -> float:
        """Return the mean as SRModel does: infinite if one image is restored exactly."""
        if any(map(math.isnan, values)):
            return super()._mean(values, name, dataset_name)
        return added(values) / len(values)

    def _image_name(self, dataset, source: str) -> str:
        return os.path.splitext(os.path.basename(source))[0]
