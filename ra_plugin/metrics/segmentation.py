"""mIoU, mAcc and aAcc from the pixels of each class that agree."""
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch

from ra_plugin.metrics.base import Metrics, TaskScore, mean_over_classes
from ra_plugin.recognizers.facts import IGNORED, RecognizerInfo

_BY_CLASS = ('mIoU', 'mAcc')  # means over the classes


class SegmentationScore(TaskScore):
    """mIoU, mAcc (means over the classes) and aAcc (share of right pixels); pixels labeled 255 do not count.

    The numbers are those of mmsegmentation's ``IoUMetric``, as shares and not rounded: mIoU leaves out a class that is
    neither in the labels nor in the predictions, mAcc one that is not in the labels.

    Args:
        num_classes: C.
        metrics: One or more of ``'mIoU'``, ``'aAcc'``, ``'mAcc'``. Default: mIoU and aAcc.
        classes: Names of the classes, for `per_class`.
    """

    known = ('mIoU', 'aAcc', 'mAcc')
    default = ('mIoU', 'aAcc')

    def __init__(self, num_classes: int, metrics: Metrics = None, classes: Sequence[str] | None = None):
        super().__init__(metrics, num_classes, classes)
        self._areas: list[np.ndarray] = []  # of each image: intersection, union, predicted, labeled; (4, C) pixels

    @classmethod
    def from_info(cls, info: RecognizerInfo, metrics: Metrics = None) -> 'SegmentationScore':
        return cls(info.num_classes, metrics, info.classes)

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
        for mask, label in zip(predicted, labels, strict=True):
            self._areas.append(self._count(mask[label != IGNORED], label[label != IGNORED]))

    def records(self) -> list[np.ndarray]:
        return self._areas

    def add_records(self, records: Iterable[np.ndarray]) -> None:
        self._areas.extend(records)

    def per_class(self) -> dict[str, dict[str, float]]:
        """Map mIoU and mAcc to class -> its share; NaN for a class that has none."""
        values = self.by_class_resampled(np.ones((1, len(self)), int))
        return {name: self.by_class(values[name][0]) for name in self.metrics if name in _BY_CLASS}

    def resampled(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        return {name: mean_over_classes(values) if name in _BY_CLASS else values
                for name, values in self.by_class_resampled(counts).items()}

    def by_class_resampled(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        areas = np.reshape(self._areas, (len(self), 4 * self.num_classes))
        common, union, _, labeled = np.moveaxis((counts @ areas).reshape(-1, 4, self.num_classes), 1, 0)
        with np.errstate(invalid='ignore'):
            values = {'mIoU': common / union, 'mAcc': common / labeled, 'aAcc': common.sum(1) / labeled.sum(1)}
        return {name: values[name] for name in self.metrics}

    def images_of_classes(self) -> np.ndarray:
        return (np.reshape(self._areas, (len(self), 4, self.num_classes))[:, 3] > 0).sum(0)

    def _count(self, predicted: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
        """Return the pixels ``(4, C)`` of one image: intersection, union, predicted, labeled."""
        common, found, labeled = (
            np.bincount(pixels[(pixels >= 0) & (pixels < self.num_classes)].numpy(), minlength=self.num_classes)
            for pixels in (labels[predicted == labels], predicted, labels))
        return np.stack([common, found + labeled - common, found, labeled]).astype(float)
