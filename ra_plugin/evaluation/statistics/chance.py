"""Check against chance: the score on clean images beside that of the same answers in random order."""
import math

import numpy as np

from ra_plugin.evaluation.statistics.transfer import Matrix
from ra_plugin.metrics.base import LABELS, TaskScore
from ra_plugin.metrics.classification import ClassificationScore
from ra_plugin.metrics.embedding import EmbeddingScore
from ra_plugin.metrics.segmentation import SegmentationScore
from ra_plugin.metrics.verification import FAR
from ra_plugin.results import CLEAN, Chance

_LEAST = 0.05  # of the way from chance to all right: a recognizer of these classes gets further
_Z = 1.959964  # 97.5 % quantile of the normal distribution


def against_chance(matrix: Matrix) -> dict[str, Chance]:
    """Compare what recognizers make of clean images with chance; without clean images, of those they read best.

    Chance is what the same answers would score if they had nothing to do with the labels: a recognizer of other
    classes, of classes in another order, or with wrong weights is there, whatever the classes' shares are.

    Returns:
        Recognizer -> comparison, where there are labels.
    """
    names = [CLEAN] if CLEAN in matrix.names else matrix.names
    found: dict[str, Chance] = {}
    for name in names:
        for recognizer, score in matrix.processings[name, 0].scores.items():
            part = next((part for part in score.parts if part.against == LABELS), None)
            entry = None if part is None else _compared(part, name)
            known = found.get(recognizer)
            if entry and math.isfinite(entry.score) and (known is None or entry.score > known.score):
                found[recognizer] = entry
    return found


def _compared(score: TaskScore, processing: str) -> Chance:
    metric = score.names[0]
    if isinstance(score, ClassificationScore):
        answers = score.records()
        value, chance, surely = agreement_by_chance(answers[:, 0], answers[:, 1])
        return Chance(processing, 'top1', value, chance, not surely or value - chance < _LEAST * (1 - chance))
    if isinstance(score, EmbeddingScore):
        metric = 'recall_at_1' if 'recall_at_1' in score.names else metric
    value, chance = score.compute()[metric], 0.0
    if isinstance(score, EmbeddingScore):
        chance = score.recall_by_chance() if metric == 'recall_at_1' else 1 / FAR
    if isinstance(score, SegmentationScore) and metric == 'mIoU':
        chance = _iou_by_chance(np.sum(score.records(), 0))
    return Chance(processing, metric, value, chance,
                  value - chance < _LEAST * (1 - chance) or metric == 'recall_at_1' and not _is_told(score))


def _is_told(score: TaskScore) -> bool:
    """Return False where a recall might be that of embeddings that know no identities; True where any might."""
    if not isinstance(score, EmbeddingScore):
        return True
    found = score.recall_by_permutation()
    return found.is_told or found.least > 1


def agreement_by_chance(labels: np.ndarray, answers: np.ndarray) -> tuple[float, float, bool]:
    """Compare the share of right answers with that of the same answers in random order.

    Args:
        labels: ``(N,)`` class numbers that are right.
        answers: ``(N,)`` class numbers that a recognizer gives.

    Returns:
        The share of right answers; its mean over all orders; and whether the first is surely above the second (97.5 %,
        by the variance over all orders). Where all images are of one class no order tells: then any right answer does.
    """
    n = len(labels)
    classes = np.unique(labels)
    right, given = (np.array([np.sum(values == label) for label in classes]) for values in (labels, answers))
    share, chance = float(np.mean(labels == answers)), float(right @ given) / n ** 2
    if len(classes) == 1:
        return share, 0.0, share > 0
    both = right * given
    # of fixed margins: the variances of the cells of the diagonal, and the covariances of two of them
    variance = float((both * (n - right) * (n - given)).sum() + both.sum() ** 2 - (both ** 2).sum()) / (
        n ** 2 * max(n - 1, 1))
    return share, chance, (share - chance) * n > _Z * math.sqrt(variance) and share > chance


def _iou_by_chance(areas: np.ndarray) -> float:
    """Return the mIoU of predictions independent of the labels; ``areas`` ``(4, C)`` as in `SegmentationScore`."""
    predicted, labeled = areas[2], areas[3]
    total = max(labeled.sum(), 1)
    common = predicted * labeled / total
    union = predicted + labeled - common
    return float(np.mean(common[union > 0] / union[union > 0])) if (union > 0).any() else 0.0
