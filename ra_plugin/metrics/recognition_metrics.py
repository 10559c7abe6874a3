"""The option ``recognition_metrics``: the metrics of each task."""
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from ra_plugin.metrics.task_scores import TASKS
from ra_plugin.options import unknown


class _ByTask:
    """Note in an annotation: the names of the block are those of tasks."""

    def check(self, block: Mapping[str, Any], where: str) -> None:
        """Raise OptionError where a name is that of no task."""
        for task in block:
            if task not in TASKS:
                raise unknown('task', task, TASKS, where)


RecognitionMetrics = Annotated[Mapping[str, str | Sequence[str] | None], _ByTask()]
