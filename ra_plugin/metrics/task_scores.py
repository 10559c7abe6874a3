"""The scores of each recognition task: against labels, and against the recognizer's own answers on clean images."""
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ra_plugin.metrics.agreement import ClassificationAgreement, DetectionAgreement, SegmentationAgreement
from ra_plugin.metrics.base import Metrics, TaskScore
from ra_plugin.metrics.classification import ClassificationScore
from ra_plugin.metrics.detection import DetectionScore
from ra_plugin.metrics.embedding import EmbeddingAgreement, EmbeddingScore
from ra_plugin.metrics.segmentation import SegmentationScore
from ra_plugin.metrics.text import TextAgreement, TextScore
from ra_plugin.options import OptionError, suggestion
from ra_plugin.recognizers.facts import RecognizerInfo

__all__ = ['TASKS', 'ClassificationScore', 'DetectionScore', 'EmbeddingScore', 'SegmentationScore', 'TaskScore',
           'TextScore', 'build_score']


@dataclass(frozen=True)
class ScoredTask:
    """The scores of a recognition task.

    Attributes:
        accuracy: Score against labels.
        agreement: Score against the answers on clean images.
        with_labels: Keys of data sets that give labels, for messages.
    """

    accuracy: type[TaskScore]
    agreement: type[TaskScore]
    with_labels: str


SCORED_TASKS = {
    'classification': ScoredTask(
        ClassificationScore, ClassificationAgreement,
        "LabeledImageDataset (class folders or meta_info), or labels in the block of BasicSR's"),
    'detection': ScoredTask(DetectionScore, DetectionAgreement, 'DetectionDataset with annotation_file'),
    'segmentation': ScoredTask(SegmentationScore, SegmentationAgreement, 'SegmentationDataset with dataroot_mask'),
    'text': ScoredTask(TextScore, TextAgreement, 'TextDataset with label_file'),
    'embedding': ScoredTask(EmbeddingScore, EmbeddingAgreement,
                            'LabeledImageDataset with a folder for each identity (or meta_info)'),
}
TASKS = tuple(SCORED_TASKS)


class JointScore(TaskScore):
    """Several scores of one recognizer on the same images, as one.

    Args:
        parts: With metrics of different names.
    """

    def __init__(self, parts: Sequence[TaskScore]):
        self._parts = list(parts)

    @property
    def parts(self) -> Sequence[TaskScore]:
        return self._parts

    @property
    def names(self) -> list[str]:
        return [name for part in self._parts for name in part.names]

    def __len__(self) -> int:
        return len(self._parts[0])

    def records(self) -> list[tuple]:
        return list(zip(*(part.records() for part in self._parts), strict=True))

    def add_records(self, records: Iterable[tuple]) -> None:
        for part, rows in zip(self._parts, zip(*records, strict=True), strict=True):
            part.add_records(rows)

    def without_answer(self, of_clean: bool = False) -> int:
        return max(part.without_answer(of_clean) for part in self._parts)

    def is_determined(self, name: str) -> bool:
        return all(part.is_determined(name) for part in self._parts if name in part.names)

    def compute(self) -> dict[str, float]:
        return {name: value for part in self._parts for name, value in part.compute().items()}

    def per_image(self) -> dict[str, np.ndarray]:
        return {name: values for part in self._parts for name, values in part.per_image().items()}

    def resampled(self, counts: np.ndarray) -> dict[str, Any]:
        return {name: values for part in self._parts for name, values in part.resampled(counts).items()}


def left_out(score: TaskScore, metrics: Metrics) -> list[str]:
    """Return the requested metrics that cannot be computed from these images, without labels or clean versions."""
    asked = [metrics] if isinstance(metrics, str) else metrics or ()
    computed = {name for part in score.parts for name in part.metrics}
    return [name for name in asked if name not in computed]


def _missing_labels(info: RecognizerInfo, asked: Sequence[str] | None, labels: bool) -> str:
    """Say which metrics need labels, and which keys of a data set give them; empty where there are labels."""
    if labels or asked == []:
        return ''
    return (f' {", ".join(asked) if asked else "It"} needs labels: {SCORED_TASKS[info.task].with_labels}.')


def _missing_clean(asked: Sequence[str] | None, known: Sequence[str], clean: bool) -> str:
    """Say which metrics need clean images, and which keys give them; empty where there are clean images."""
    names = [name for name in asked or () if name in known]
    if clean or not names:
        return ''
    return (f' {", ".join(names)} compares with the answers on clean images: dataroot_gt with a degradation, or '
            'PairedImageDataset with dataroot_gt and dataroot_lq.')


def build_score(info: RecognizerInfo, metrics: Metrics = None, labels: bool = True, clean: bool = False) -> TaskScore:
    """Build an empty score for a recognizer's task.

    Args:
        info: Facts of the recognizer: its task, and the number and names of its classes.
        metrics: One or more metrics of the task; those that the images do not allow are left out. Default:
            the task's default against labels. Without labels, where none of them can be computed or none is named: all
            against the answers on clean images.
        labels: True if the images have labels.
        clean: True if there are clean images.

    Raises:
        OptionError: No score for the task, an unknown metric, or none that can be computed.
        ImportError: The package that computes it is not installed.
    """
    if info.task not in SCORED_TASKS:
        raise OptionError(f"{info.name}: no score for the task '{info.task}'. Known: {', '.join(SCORED_TASKS)}")
    accuracy, agreement = SCORED_TASKS[info.task].accuracy, SCORED_TASKS[info.task].agreement
    asked = [metrics] if isinstance(metrics, str) else metrics
    known = *accuracy.known, *agreement.known
    if asked is not None and not asked:
        raise OptionError(f'{accuracy.__name__}: expected a metric, got none. Known: {", ".join(known)}')
    for name in asked or ():
        if name not in known:
            raise OptionError(f"{accuracy.__name__}: unknown metric '{name}'.{suggestion(name, known)} "
                              f"Known: {', '.join(known)}")
    right = None if asked is None else [name for name in asked if name in accuracy.known]
    same = [name for name in asked or () if name in agreement.known]
    if clean and not labels and not same:
        same = list(agreement.default)
    if not info.gives_probabilities:
        same = [name for name in same if name != 'kl']
    parts = [accuracy.from_info(info, right)] if labels and right != [] else []
    parts += [agreement.from_info(info, same)] if clean and same else []
    if not parts:
        given = ' and '.join(word for word, there in (('labels', labels), ('clean images', clean)) if there)
        raise OptionError(f'{info.name}: {", ".join(asked or ()) or "a score"} cannot be computed from '
                          f'{given or "images without labels and without clean ones"}'
                          f'{"" if info.gives_probabilities else ", and kl needs probabilities of all classes"}.'
                          f'{_missing_labels(info, right, labels)}{_missing_clean(asked, agreement.known, clean)}')
    return parts[0] if len(parts) == 1 else JointScore(parts)
