"""Top-1 and top-5 accuracy."""
from collections.abc import Iterable, Mapping

import numpy as np
import torch

from ra_plugin.metrics.base import Metrics, TaskScore

_ANSWERS = {'top1': 1, 'top5': 5}


class ClassificationScore(TaskScore):
    """Share of images whose class is the first, or among the first five, of the recognizer's answers.

    Args:
        metrics: One or more of ``'top1'``, ``'top5'``. Default: both.
    """

    known = default = tuple(_ANSWERS)

    def __init__(self, metrics: Metrics = None):
        super().__init__(metrics)
        self._answers: list[np.ndarray] = []  # (n, 1 + k): labels, then the classes that were answered, best first

    def __len__(self) -> int:
        return sum(map(len, self._answers))

    def update(self, predictions: Mapping[str, torch.Tensor], labels: torch.Tensor) -> None:
        """Add a batch: ``predictions['labels']`` is ``(N, k)``, best first; ``labels`` is ``(N,)``."""
        self._answers.append(torch.cat([labels[:, None], predictions['labels']], 1).cpu().numpy())

    def records(self) -> np.ndarray:
        """Return ``(N, 1 + k)``: the label, then the answers."""
        return np.concatenate(self._answers) if self._answers else np.empty((0, 1), int)

    def add_records(self, records: Iterable[np.ndarray]) -> None:
        rows = list(records)
        if rows:
            self._answers.append(np.stack(rows))

    def labels(self) -> np.ndarray:
        """Return the labels ``(N,)``."""
        return self.records()[:, 0]

    def per_image(self) -> dict[str, np.ndarray]:
        """Map each metric to ``(N,)`` bool, true where the class is among the answers that count."""
        answers = self.records()
        return {name: (answers[:, 1:1 + _ANSWERS[name]] == answers[:, :1]).any(1) for name in self.metrics}

    def resampled(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        with np.errstate(invalid='ignore'):
            return {name: counts @ right / counts.sum(1) for name, right in self.per_image().items()}
