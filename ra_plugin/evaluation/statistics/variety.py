"""Do a recognizer's answers on clean images differ at all, for each recognizer of an evaluation?"""
import math
from collections.abc import Mapping
from typing import Any

from ra_plugin.evaluation.judging import CLEAN
from ra_plugin.evaluation.statistics.transfer import Matrix
from ra_plugin.metrics.variety import is_little, of_clean_answers
from ra_plugin.recognizers.base import RecognizerInfo

_LEAST = 0.05  # of the way from the agreement of a constant answer to full agreement


def variety(matrix: Matrix, infos: Mapping[str, RecognizerInfo]) -> dict[str, dict[str, Any]]:
    """Compare agreement with that of a constant answer, for the images on which each recognizer agrees most.

    Answers that hold no more than one class make any two images agree, whatever restoration does to them.

    Returns:
        Recognizer -> what `of_clean_answers` has, ``processing``, and ``little``: one answer is that of nearly all
        clean images, or no processing agrees more than a constant answer would. Empty without agreement scores.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in matrix.names:
        for recognizer, score in matrix.cells[name, 0].scores.items() if name != CLEAN else ():
            entry = of_clean_answers(score, infos[recognizer].classes)
            known = found.get(recognizer)
            if entry and (known is None or not math.isfinite(known['score']) or entry['score'] > known['score']):
                found[recognizer] = {**entry, 'processing': name}
    for entry in found.values():
        constant = entry['constant']
        entry['little'] = is_little(entry['share']) or (
            constant is not None and entry['score'] - constant <= _LEAST * (1 - constant))
    return found
