"""Variety of the answers to clean images, for each recognizer of an evaluation."""
import math
from collections.abc import Mapping

from ra_plugin.evaluation.statistics.transfer import Matrix
from ra_plugin.metrics.variety import commonest_answer, is_little
from ra_plugin.recognizers.facts import RecognizerInfo
from ra_plugin.results import CLEAN, CommonestAnswer, Variety

_LEAST = 0.05  # of the way from the agreement of a constant answer to full agreement


def variety(matrix: Matrix, infos: Mapping[str, RecognizerInfo]) -> dict[str, Variety]:
    """Compare agreement with that of a constant answer, for the images on which each recognizer agrees most.

    Answers that hold no more than one class make any two images agree, whatever restoration does to them.

    Returns:
        Recognizer -> variety; ``little``: one answer is that of nearly all clean images, or no processing agrees more
        than a constant answer would. Empty without agreement scores.
    """
    found: dict[str, Variety] = {}
    for name in matrix.names:
        for recognizer, score in matrix.processings[name, 0].scores.items() if name != CLEAN else ():
            entry = commonest_answer(score, infos[recognizer].classes)
            known = found.get(recognizer)
            if entry and (known is None or not math.isfinite(known.score) or entry.score > known.score):
                found[recognizer] = Variety(**vars(entry), processing=name, little=_is_little(entry))
    return found


def _is_little(entry: CommonestAnswer) -> bool:
    return is_little(entry.share) or (entry.can_be_constant
                                      and entry.score - entry.constant <= _LEAST * (1 - entry.constant))
