"""mIoU and its kin, by mmsegmentation."""
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch

from ra_plugin.metrics.base import Metrics, TaskScore, mean_over_classes
from ra_plugin.recognizers.base import IGNORED
from ra_plugin.utils.optional import require

_NAMES = {'mIoU': 'IoU', 'aAcc': 'aAcc', 'mAcc': 'Acc'}  # ours -> those of IoUMetric.total_area_to_metrics


class SegmentationScore(TaskScore):
    """mIoU, aAcc (share of right pixels) and mAcc by mmsegmentation's ``IoUMetric``; pixels labeled 255 do not count.

    As there, mIoU leaves out a class that is neither in the labels nor in the predictions, mAcc one that is not in the
    labels. Unlike there, they are shares and not rounded.

    Args:
        num_classes: C.
        metrics: One or more of ``'mIoU'``, ``'aAcc'``, ``'mAcc'``. Default: mIoU and aAcc.
        classes: Their names, for `per_class`.
    """

    known = tuple(_NAMES)
    default = ('mIoU', 'aAcc')

    def __init__(self, num_classes: int, metrics: Metrics = None, classes: Sequence[str] | None = None):
        super().__init__(metrics, num_classes, classes)
        self._mmseg = require('mmseg.evaluation', 'SegmentationScore').IoUMetric
        self._areas: list[np.ndarray] = []  # of each image: intersection, union, predicted, labeled; (4, C) pixels

    def __len__(self) -> int:
        return len(self._areas)

    def update(self, predictions: Mapping[str, torch.Tensor], labels: torch.Tensor) -> None:
        """Add a batch: ``predictions['masks']`` and ``labels`` are ``(N, H, W)``, long.

        Raises:
            ValueError: The two differ in shape, or a label is neither 255 nor a class.
        """
        predicted, labels = predictions['masks'].cpu(), labels.cpu()
        if predicted.shape != labels.shape:
            raise ValueError('SegmentationScore: expected predictions and labels of one shape, '
                             f'got {tuple(predicted.shape)} and {tuple(labels.shape)}.')
        self.check_labels(labels[labels != IGNORED].numpy())
        for mask, label in zip(predicted, labels):
            areas = self._mmseg.intersect_and_union(mask, label, self.num_classes, IGNORED)
            self._areas.append(torch.stack(areas).double().numpy())  # float32 cannot add up the pixels of a data set

    def records(self) -> list[np.ndarray]:
        return self._areas

    def add_records(self, records: Iterable[np.ndarray]) -> None:
        self._areas.extend(records)

    def per_class(self) -> dict[str, dict[str, float]]:
        """mIoU, mAcc -> class -> its share; NaN for a class that has none."""
        values = next(self._values(np.ones((1, len(self)), int)))
        return {name: self.by_class(values[_NAMES[name]]) for name in self.metrics if name != 'aAcc'}

    def resampled(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        return {name: mean_over_classes(values) if values.ndim == 2 else values
                for name, values in self.by_class_resampled(counts).items()}

    def by_class_resampled(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        values = list(self._values(counts))
        return {name: np.array([np.asarray(v[_NAMES[name]]) for v in values]) for name in self.metrics}

    def images_of_classes(self) -> np.ndarray:
        return (np.reshape(self._areas, (len(self), 4, self.num_classes))[:, 3] > 0).sum(0)

    def _values(self, counts: np.ndarray) -> Iterator[Mapping[str, np.ndarray]]:
        """IoU ``(C,)``, Acc ``(C,)`` and aAcc of each resample."""
        areas = np.reshape(self._areas, (len(self), 4 * self.num_classes))
        for total in (counts @ areas).reshape(-1, 4, self.num_classes):
            yield self._mmseg.total_area_to_metrics(*torch.from_numpy(total))
