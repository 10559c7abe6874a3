"""Detections matched image by image, and average precision over all images and over resamples of them.

The formulas, VOC's and COCO's, and the matching by each are in `average_precision`.

Whether a detection finds a box does not depend on other images; so the evaluators match each image once, and a resample
of the images only weighs what was matched.
"""
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

# true and false positives up to each point of the curve (R, m), and boxes to find (R,) -> average precision (R,)
Formula = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
_CELLS = 2_000_000  # of one (resamples, detections) array: 16 MB


@dataclass(frozen=True)
class ClassMatches:
    """Detections of one class over all images, in descending order of score; equal scores in the order of the images.
    """

    scores: np.ndarray  # (n,)
    tp: np.ndarray  # (T, n) bool
    fp: np.ndarray  # (T, n) bool
    image: np.ndarray  # (n,) where each detection was made
    positives: np.ndarray  # (N,) boxes to find in each image

    def average_precision(self, counts: np.ndarray, formula: Formula) -> np.ndarray:
        """Return AP ``(R, T)``; NaN for a resample with no box to find."""
        positives = counts @ self.positives
        times = counts[:, self.image]
        values = []
        for tp, fp in zip(self.tp, self.fp, strict=True):
            right = np.flatnonzero(tp)  # recall rises and precision peaks only here; the curve needs no other point
            values.append(formula(times[:, right].cumsum(1), (times * fp).cumsum(1)[:, right], positives))
        return np.where(positives[:, None] > 0, np.stack(values, 1), np.nan)


class Matches:
    """Detections with their matches at each of T overlap thresholds, image by image.

    Args:
        num_classes: C.
        num_thresholds: T.
    """

    def __init__(self, num_classes: int, num_thresholds: int):
        self.num_classes, self.num_thresholds = num_classes, num_thresholds
        self._images: list[tuple[np.ndarray, ...]] = []
        self._positives: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self._images)

    def add(self, labels: np.ndarray, scores: np.ndarray, tp: np.ndarray, fp: np.ndarray,
            positives: np.ndarray) -> None:
        """Add one image.

        Args:
            labels: ``(K,)`` class numbers of its detections.
            scores: ``(K,)`` confidences of these.
            tp: ``(T, K)`` bool, True for a detection that finds a box at an IoU threshold.
            fp: ``(T, K)`` bool, True for one that finds none; neither for a detection of a box to ignore.
            positives: ``(C,)`` boxes to find.
        """
        self._images.append((labels, scores, tp, fp))
        self._positives.append(positives)

    def records(self) -> list[tuple[np.ndarray, ...]]:
        """Return the arguments that `add` was given for each image."""
        return [(*image, positives) for image, positives in zip(self._images, self._positives, strict=True)]

    def images_of_classes(self) -> np.ndarray:
        """Return the number of images that have a box to find of each class, ``(C,)``."""
        return (np.array(self._positives, int).reshape(len(self), self.num_classes) > 0).sum(0)

    def classes(self) -> Iterator[ClassMatches]:
        """Yield the matches of every class in order."""
        nothing = np.empty((self.num_thresholds, 0), bool)
        parts = zip((np.empty(0, int), np.empty(0), nothing, nothing), *self._images, strict=True)
        labels, scores, tp, fp = (np.concatenate(part, axis=-1) for part in parts)
        image = np.repeat(np.arange(len(self)), [len(image[0]) for image in self._images])
        positives = np.array(self._positives, int).reshape(len(self), self.num_classes)
        for label in range(self.num_classes):
            chosen = np.flatnonzero(labels == label)
            chosen = chosen[np.argsort(-scores[chosen], kind='stable')]
            yield ClassMatches(scores[chosen], tp[:, chosen], fp[:, chosen], image[chosen], positives[:, label])

    def average_precision(self, counts: np.ndarray, formula: Formula) -> np.ndarray:
        """Return the AP of every resample, class and threshold.

        Args:
            counts: ``(R, N)`` whole numbers: how often each resample has each image.
            formula: Area under a precision-recall curve, as the benchmark defines it.

        Returns:
            ``(R, C, T)``; NaN where a class has no box to find.
        """
        values = np.empty((len(counts), self.num_classes, self.num_thresholds))
        for label, matches in enumerate(self.classes()):
            step = max(1, _CELLS // max(1, len(matches.scores)))
            for start in range(0, len(counts), step):
                some = slice(start, start + step)
                values[some, label] = matches.average_precision(counts[some], formula)
        return values
