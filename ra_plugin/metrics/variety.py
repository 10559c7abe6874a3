"""Variety of a recognizer's answers on clean images; where they hardly differ, agreement with them says little."""
import math

import numpy as np

from ra_plugin.metrics.agreement import ClassificationAgreement, DetectionAgreement, SegmentationAgreement
from ra_plugin.metrics.base import TaskScore
from ra_plugin.metrics.embedding import EmbeddingAgreement
from ra_plugin.metrics.text import TextAgreement
from ra_plugin.results import LEAST_GAP, CommonestAnswer

NO_CLASS = 'none of the classes'  # of a black box


def commonest_answer(score: TaskScore, classes: tuple[str, ...] | None = None) -> CommonestAnswer | None:
    """Return the commonest answer on the clean images, and what a recognizer that gave no other would agree.

    Args:
        score: Of one way of processing.
        classes: Their names. Default: their numbers.

    Returns:
        None where ``score`` is no agreement, or of fewer than two images.
    """
    part = next((part for part in score.parts
                 if isinstance(part, (ClassificationAgreement, DetectionAgreement, SegmentationAgreement,
                                      TextAgreement, EmbeddingAgreement))), None)
    if part is None or len(part) < 2:
        return None
    if isinstance(part, TextAgreement):
        answer, share = part.commonest()
        return CommonestAnswer(answer, 'images', share, 'text_agreement',
                               float(part.records()[:, 0].mean()), share)
    if isinstance(part, EmbeddingAgreement):
        alike = part.alikeness()
        return CommonestAnswer(None, 'pairs', alike, 'mean_cosine', part.compute()['mean_cosine'], alike)
    if isinstance(part, DetectionAgreement):
        return CommonestAnswer(None, 'images', float(np.mean(part.clean_boxes() == 0)), 'box_agreement',
                               part.compute()['box_agreement'], math.nan)
    if isinstance(part, ClassificationAgreement):
        labels, counts = np.unique(part.clean_answers(), return_counts=True)
        of, metric, value = 'images', 'top1_agreement', float(part.records()[:, 0].mean())
        constant = float(counts[labels >= 0].max(initial=0)) / len(part)
    else:
        counts = part.clean_pixels()
        labels, of, metric, value = np.arange(len(counts)), 'pixels', 'miou_agreement', part.compute()['miou_agreement']
        constant = float(counts.max() / max(counts.sum(), 1) / max(np.count_nonzero(counts), 1))
    label = int(labels[counts.argmax()])
    answer = NO_CLASS if label < 0 else classes[label] if classes else str(label)
    return CommonestAnswer(answer, of, float(counts.max() / max(counts.sum(), 1)), metric, value, constant)


def is_little(share: float) -> bool:
    """Return whether full agreement is fewer points above that of the commonest answer than the least gap has."""
    return 1 - share < LEAST_GAP
