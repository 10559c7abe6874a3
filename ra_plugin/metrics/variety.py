"""Variety of a recognizer's answers on clean images; where they hardly differ, agreement with them says little."""
from collections.abc import Mapping
from typing import Any

import numpy as np

from ra_plugin.metrics.agreement import ClassificationAgreement, DetectionAgreement, SegmentationAgreement
from ra_plugin.metrics.base import LEAST_GAP, TaskScore

NO_CLASS = 'none of the classes'  # of a black box
REMEDY = 'Unless these images are like that, check its weights and classes.'


def of_clean_answers(score: TaskScore, classes: tuple[str, ...] | None = None) -> dict[str, Any] | None:
    """Return the commonest answer on the clean images, and what a recognizer that gave no other would agree.

    Args:
        score: Of one way of processing.
        classes: Their names. Default: their numbers.

    Returns:
        ``answer`` (None: no box), ``of`` (``'images'`` or ``'pixels'``), ``share`` of these that have it, ``metric``,
        ``score`` and ``constant``, that of an answer which is the same on all images (None for boxes). None where
        ``score`` is no agreement, or of fewer than two images.
    """
    part = next((part for part in score.parts
                 if isinstance(part, (ClassificationAgreement, DetectionAgreement, SegmentationAgreement))), None)
    if part is None or len(part) < 2:
        return None
    if isinstance(part, DetectionAgreement):
        return {'answer': None, 'of': 'images', 'share': float(np.mean(part.clean_boxes() == 0)),
                'metric': 'box_agreement', 'score': part.compute()['box_agreement'], 'constant': None}
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
    return {'answer': answer, 'of': of, 'share': float(counts.max() / max(counts.sum(), 1)), 'metric': metric,
            'score': value, 'constant': constant}


def said(name: str, entry: Mapping[str, Any]) -> str:
    """Return how common the commonest answer of a recognizer is, as the beginning of a sentence."""
    where = 'the clean images' if entry['of'] == 'images' else 'the pixels of the clean images'
    answer = 'finds nothing' if entry['answer'] is None else f'answers {entry["answer"]}'
    return f'{name} {answer} on {100 * entry["share"]:.1f} % of {where}'


def is_little(share: float) -> bool:
    """Return whether full agreement is fewer points above that of the commonest answer than the least gap has."""
    return 1 - share < LEAST_GAP
