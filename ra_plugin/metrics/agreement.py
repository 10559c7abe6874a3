"""Agreement with the recognizer's own answer on the clean image: scores that need no labels, and are no accuracy.

A recognizer that reads an image wrong in the same way before and after agrees with itself: agreement tells how much of
what it sees in clean images is still there, and nothing about whether that is right.
"""
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch

from ra_plugin.metrics.base import CLEAN_ANSWERS, Metrics, TaskScore
from ra_plugin.metrics.segmentation import SegmentationScore
from ra_plugin.recognizers.facts import RecognizerInfo

LEAST_SCORE = 0.3  # boxes that the recognizer is less sure of are no answer
LEAST_OVERLAP = 0.5  # IoU of two boxes that are the same answer

Boxes = Mapping[str, torch.Tensor]  # boxes (K, 4) xyxy, labels (K,), scores (K,)


class ClassificationAgreement(TaskScore):
    """Agreement of a classifier's answers on restored and on clean images.

    ``top1_agreement``: share of images whose likeliest class is that of the clean image. ``kl``: mean over the images
    of KL(clean || restored) of the probabilities, in nats, >= 0; lower is better.

    An answer that is none of the classes, as a black box may give, agrees with nothing.

    Args:
        metrics: One or both. Default: both.
    """

    known = default = ('top1_agreement', 'kl')
    against = CLEAN_ANSWERS
    lower_is_better = ('kl',)
    units = {'kl': 'nats'}

    def __init__(self, metrics: Metrics = None):
        super().__init__(metrics)
        self._images: list[np.ndarray] = []  # (n, 3): same answer, divergence, clean answer

    def __len__(self) -> int:
        return sum(map(len, self._images))

    def update(self, predictions: Mapping[str, torch.Tensor], clean: Mapping[str, torch.Tensor]) -> None:
        """Add a batch: ``predict`` of the restored images, and of the clean ones.

        Both have ``labels`` ``(N, k)``, best first, and for ``kl`` ``log_probabilities`` ``(N, C)``.

        Raises:
            ValueError: There are no probabilities to take the divergence of.
        """
        ours, theirs = predictions['labels'][:, 0], clean['labels'][:, 0]
        same = ((ours == theirs) & (ours >= 0)).double().cpu()
        divergence = torch.full_like(same, torch.nan)
        if 'kl' in self.metrics:
            if 'log_probabilities' not in predictions:
                raise ValueError('ClassificationAgreement: kl needs probabilities of all classes, and the recognizer '
                                 'gives none. Use top1_agreement.')
            p, q = (answers['log_probabilities'].double().cpu() for answers in (clean, predictions))
            divergence = (p.exp() * (p - q)).sum(1).clamp_min(0)  # rounding may leave -1e-17
        self._images.append(torch.stack([same, divergence, theirs.double().cpu()], 1).numpy())

    def records(self) -> np.ndarray:
        """Return ``(N, 3)``: same answer, divergence, clean answer."""
        return np.concatenate(self._images) if self._images else np.empty((0, 3))

    def add_records(self, records: Iterable[np.ndarray]) -> None:
        rows = list(records)
        if rows:
            self._images.append(np.stack(rows))

    def clean_answers(self) -> np.ndarray:
        """Return the likeliest class of each clean image, ``(N,)``; negative where it is none of the classes."""
        return self.records()[:, 2].astype(int)

    def per_image(self) -> dict[str, np.ndarray]:
        """Map each metric to ``(N,)``: bool for ``top1_agreement``, float for ``kl``."""
        same, divergence, _ = self.records().T
        values = {'top1_agreement': same > 0, 'kl': divergence}
        return {name: values[name] for name in self.metrics}

    def resampled(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        with np.errstate(invalid='ignore'):
            return {name: counts @ values / counts.sum(1) for name, values in self.per_image().items()}


class DetectionAgreement(TaskScore):
    """Agreement of the boxes that a detector finds in restored and in clean images.

    ``box_agreement`` is the F1 score of the two sets, ``2 m / (a + b)`` over all images: a and b boxes with a score of
    0.3 or more in the restored and in the clean images, and m pairs of one class with an IoU of 0.5 or more. A box is
    in one pair at most; pairs of the largest overlap come first. NaN where there is no box at all.

    Args:
        metrics: ``'box_agreement'``.
    """

    known = default = ('box_agreement',)
    against = CLEAN_ANSWERS

    def __init__(self, metrics: Metrics = None):
        super().__init__(metrics)
        self._counts: list[np.ndarray] = []  # of each image: pairs, boxes in the restored, boxes in the clean image

    def __len__(self) -> int:
        return len(self._counts)

    def update(self, predictions: Sequence[Boxes], clean: Sequence[Boxes]) -> None:
        """Add a batch: ``predict`` of the restored images, and of the clean ones."""
        for ours, theirs in zip(predictions, clean, strict=True):
            ours, theirs = sure(ours), sure(theirs)
            self._counts.append(np.array([matched(ours, theirs), len(ours['labels']), len(theirs['labels'])]))

    def records(self) -> list[np.ndarray]:
        return self._counts

    def add_records(self, records: Iterable[np.ndarray]) -> None:
        self._counts.extend(records)

    def clean_boxes(self) -> np.ndarray:
        """Return the number of boxes in each clean image, ``(N,)``."""
        return np.reshape(self._counts, (len(self), 3))[:, 2]

    def resampled(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        pairs, ours, theirs = (counts @ np.reshape(self._counts, (len(self), 3))).T
        with np.errstate(invalid='ignore'):
            return {'box_agreement': 2 * pairs / (ours + theirs)}


def sure(found: Boxes) -> dict[str, np.ndarray]:
    """Return the boxes and labels of one image whose score is high enough."""
    kept = found['scores'] >= LEAST_SCORE
    return {key: found[key][kept].float().cpu().numpy() for key in ('boxes', 'labels')}


def matched(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> int:
    """Return the number of pairs of boxes of one class that overlap enough, largest overlap first."""
    overlaps = overlap(ours['boxes'], theirs['boxes'])
    overlaps[ours['labels'][:, None] != theirs['labels'][None]] = 0
    rows, columns = np.nonzero(overlaps >= LEAST_OVERLAP)
    taken: tuple[set, set] = (set(), set())
    for place in np.argsort(-overlaps[rows, columns], kind='stable'):
        pair = rows[place], columns[place]
        if not any(number in used for number, used in zip(pair, taken, strict=True)):
            for number, used in zip(pair, taken, strict=True):
                used.add(number)
    return len(taken[0])


def overlap(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return the IoU ``(A, B)`` of boxes ``(A, 4)`` and ``(B, 4)``, xyxy; 0 for two boxes without area."""
    low = np.maximum(ours[:, None, :2], theirs[None, :, :2])
    high = np.minimum(ours[:, None, 2:], theirs[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(-1)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(-1) for boxes in (ours, theirs)]
    union = areas[0][:, None] + areas[1][None] - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


class SegmentationAgreement(TaskScore):
    """``miou_agreement``: mIoU of the label maps of restored and of clean images, as in `SegmentationScore`.

    Args:
        num_classes: C.
        metrics: ``'miou_agreement'``.
        classes: Names of the classes.
    """

    known = default = ('miou_agreement',)
    against = CLEAN_ANSWERS

    def __init__(self, num_classes: int, metrics: Metrics = None, classes: Sequence[str] | None = None):
        super().__init__(metrics, num_classes, classes)
        self._score = SegmentationScore(num_classes, 'mIoU')

    @classmethod
    def from_info(cls, info: RecognizerInfo, metrics: Metrics = None) -> 'SegmentationAgreement':
        return cls(info.num_classes, metrics, info.classes)

    def __len__(self) -> int:
        return len(self._score)

    def update(self, predictions: Mapping[str, torch.Tensor], clean: Mapping[str, torch.Tensor]) -> None:
        """Add a batch: ``predict`` of the restored images, and of the clean ones."""
        self._score.update(predictions, clean['masks'])

    def records(self) -> list[np.ndarray]:
        return self._score.records()

    def add_records(self, records: Iterable[np.ndarray]) -> None:
        self._score.add_records(records)

    def clean_pixels(self) -> np.ndarray:
        """Return the pixels of each class in all clean images, ``(C,)``."""
        return np.reshape(self.records(), (len(self), 4, self.num_classes))[:, 3].sum(0)

    def resampled(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        return {'miou_agreement': self._score.resampled(counts)['mIoU']}

    def by_class_resampled(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        return {'miou_agreement': self._score.by_class_resampled(counts)['mIoU']}

    def images_of_classes(self) -> np.ndarray:
        return self._score.images_of_classes()
