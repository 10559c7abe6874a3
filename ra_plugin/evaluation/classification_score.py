"""Top-1 and top-5 accuracy."""
from collections.abc import Iterable, Mapping

import numpy as np
import torch

from ra_plugin.evaluation.score_base import Metrics, TaskScore

_ANSWERS = {'top1': 1, 'top5': 5}


class ClassificationScore(TaskScore):
    """Share of images whose class is the first, or among the first five, of the recognizer's answers.

    Args:
        metrics: One or more of ``'top1'``, ``'top5'``. Default: both.
    """

    known = default = tuple(_ANSWERS)

    def __init__(self, metrics: Metrics = None):
        super().__init__(metrics)
        self._right: list[np.ndarray] = []  # of each image, one bool a metric

    def __len__(self) -> int:
        return len(self._right)

    def update(self, predictions: Mapping[str, torch.Tensor], labels: torch.Tensor) -> None:
        """Add a batch: ``predictions['labels']`` is ``(N, k)``, best first; ``labels`` is ``(N,)``."""
        right = predictions['labels'] == labels[:, None]
        columns = [right[:, :_ANSWERS[name]].any(1) for name in self.metrics]
        self._right.extend(torch.stack(columns, 1).cpu().numpy())

    def records(self) -> list[np.ndarray]:
        return self._right

    def add_records(self, records: Iterable[np.ndarray]) -> None:
        self._right.extend(records)

    def resampled(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        right = np.reshape(self._right, (len(self), len(self.metrics)))
        with np.errstate(invalid='ignore'):
            return dict(zip(self.metrics, (counts @ right / counts.sum(1, keepdims=True)).T))
