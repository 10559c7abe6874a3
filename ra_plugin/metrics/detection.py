"""Mean average precision of detectors: VOC's, and COCO's of boxes and of masks."""
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch

from ra_plugin.metrics.average_precision import Arrays, COCOAveragePrecision, VOCAveragePrecision
from ra_plugin.metrics.base import Metrics, TaskScore, mean_over_classes
from ra_plugin.recognizers.facts import RecognizerInfo

_VOC = {'voc07': '11points', 'voc12': 'area'}
_COCO = {'coco': 'bbox', 'coco_segm': 'segm'}


class DetectionScore(TaskScore):
    """Mean over the classes of the average precision.

    ``'voc07'`` (11 points) and ``'voc12'`` (area under the curve) are at an IoU of 0.5, as mmdetection computes them;
    ``'coco'`` (boxes) and ``'coco_segm'`` (masks) are computed by pycocotools. As there, a class with no box to find is
    left out of the mean.

    Args:
        num_classes: C.
        metrics: One or more of these. Default: ``'voc12'``.
        classes: Names of the classes, for `per_class`.

    Example:
        >>> score = DetectionScore(20, ('voc12', 'coco'))
        >>> score.update(recognizer.predict(images), labels)
        >>> score.compute()  # {'voc12_mAP': ..., 'coco_mAP': ..., 'coco_mAP_50': ..., 'coco_mAP_75': ...}
    """

    known = (*_VOC, *_COCO)
    default = ('voc12',)

    def __init__(self, num_classes: int, metrics: Metrics = None, classes: Sequence[str] | None = None):
        super().__init__(metrics, num_classes, classes)
        modes = {f'{name}_mAP': _VOC[name] for name in self.metrics if name in _VOC}
        kinds = {f'{name}_mAP': _COCO[name] for name in self.metrics if name in _COCO}
        self._parts = [VOCAveragePrecision(num_classes, modes)] if modes else []
        self._parts += [COCOAveragePrecision(num_classes, kind, name) for name, kind in kinds.items()]

    @classmethod
    def from_info(cls, info: RecognizerInfo, metrics: Metrics = None) -> 'DetectionScore':
        return cls(info.num_classes, metrics, info.classes)

    @property
    def names(self) -> list[str]:
        return [name for part in self._parts for name in part.names]

    def __len__(self) -> int:
        return len(self._parts[0].matches)

    def update(self, predictions: Sequence[Mapping[str, torch.Tensor]],
               labels: Sequence[Mapping[str, torch.Tensor]]) -> None:
        """Add a batch.

        Args:
            predictions: For each image ``boxes (K, 4)`` xyxy in pixels, ``labels (K,)``, ``scores (K,)``, and for
                ``'coco_segm'`` ``masks (K, H, W)`` bool.
            labels: The same but for scores; ``ignore (K,)`` bool marks boxes that are neither to be found nor wrong.

        Raises:
            ValueError: The two differ in length, a label is no class, or masks are missing or differ in size.
        """
        if len(predictions) != len(labels):
            raise ValueError(f'DetectionScore: expected a prediction for each label, got {len(predictions)} '
                             f'predictions and {len(labels)} labels.')
        for prediction, label in zip(predictions, labels, strict=True):
            detection, truth = _arrays(prediction), _arrays(label)
            truth.setdefault('ignore', np.zeros(len(truth['labels']), bool))
            for objects in (detection, truth):
                self.check_labels(objects['labels'])
            if 'coco_segm' in self.metrics:
                _check_masks(detection, truth)
            for part in self._parts:
                part.add(detection, truth)

    def records(self) -> list[tuple]:
        return list(zip(*(part.matches.records() for part in self._parts), strict=True))

    def add_records(self, records: Iterable[tuple]) -> None:
        for record in records:
            for part, matches in zip(self._parts, record, strict=True):
                part.matches.add(*matches)

    def compute(self) -> dict[str, float]:
        return {name: float(mean_over_classes(values)) for part in self._parts
                for name, values in part.per_class().items()}

    def per_class(self) -> dict[str, dict[str, float]]:
        """Map each name to class -> average precision; NaN for a class with no box to find."""
        return {name: self.by_class(values) for part in self._parts for name, values in part.per_class().items()}

    def resampled(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        return {name: mean_over_classes(values) for name, values in self.by_class_resampled(counts).items()}

    def by_class_resampled(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        return {name: values for part in self._parts for name, values in part.resampled(counts).items()}

    def images_of_classes(self) -> np.ndarray:
        return self._parts[0].matches.images_of_classes()


def _arrays(objects: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Return the objects of one image as `average_precision` takes them."""
    tensors = {key: value.cpu() for key, value in objects.items() if isinstance(value, torch.Tensor)}
    return {key: (value.float() if value.is_floating_point() else value).numpy() for key, value in tensors.items()}


def _check_masks(detection: Arrays, truth: Arrays) -> None:
    for who, objects in (('recognizer', detection), ('data set', truth)):
        if 'masks' not in objects:
            raise ValueError(f'DetectionScore: coco_segm needs masks, and the {who} gives none. Use coco, for boxes.')
    predicted, true = (objects['masks'].shape[1:] for objects in (detection, truth))
    if predicted != true:
        raise ValueError(f'DetectionScore: expected predicted masks of the size of the true ones, {true}, '
                         f'got {predicted}.')
