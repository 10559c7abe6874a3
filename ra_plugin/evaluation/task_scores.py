"""The score of each recognition task; all are shares in [0, 1]."""
from collections.abc import Callable

from ra_plugin.evaluation.classification_score import ClassificationScore
from ra_plugin.evaluation.detection_score import DetectionScore
from ra_plugin.evaluation.score_base import Metrics, TaskScore
from ra_plugin.evaluation.segmentation_score import SegmentationScore
from ra_plugin.options import OptionError
from ra_plugin.recognizers.base import RecognizerInfo
from ra_plugin.recognizers.classification import NO_HEAD

__all__ = ['TASKS', 'ClassificationScore', 'DetectionScore', 'SegmentationScore', 'TaskScore', 'build_score']

_SCORES: dict[str, Callable[[RecognizerInfo, Metrics], TaskScore]] = {
    'classification': lambda info, metrics: ClassificationScore(metrics),
    'detection': lambda info, metrics: DetectionScore(info.num_classes, metrics, info.classes),
    'segmentation': lambda info, metrics: SegmentationScore(info.num_classes, metrics, info.classes),
}

TASKS = tuple(_SCORES)


def build_score(info: RecognizerInfo, metrics: Metrics = None) -> TaskScore:
    """The score of a recognizer's task, with nothing counted yet.

    Args:
        metrics: What to compute: one or more of the task's own. Default: as the class of the score has it.

    Raises:
        OptionError: No score for the task, or an unknown metric.
        ImportError: The package that computes it is not installed.
    """
    if info.task == 'embedding':
        raise OptionError(f'{info.name}: {NO_HEAD}')
    if info.task not in _SCORES:
        raise OptionError(f"{info.name}: no score for the task '{info.task}'. Known: {', '.join(_SCORES)}")
    return _SCORES[info.task](info, metrics)
