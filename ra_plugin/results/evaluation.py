"""Results of a whole evaluation, the content of ``results.json``."""
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ra_plugin.results.codec import MalformedResults, flattened, from_plain, left_out_if_none, to_plain
from ra_plugin.results.condition import Condition
from ra_plugin.results.sweep import Sweep
from ra_plugin.utils.text import one_line

SCHEMA = 'ra_plugin.results/1'


@dataclass(frozen=True)
class RecognizerFacts:
    """Facts of a recognizer that judged.

    Attributes:
        name: Its own name, e.g. that of its network.
        task: ``'classification'``, ``'detection'``, ``'segmentation'``, ``'text'`` or ``'embedding'``.
        num_classes: Number of its classes.
        source: Source of its weights.
        cost: Cost of all requests so far, of a black box.
        metrics: Metrics, the main one first, in files of early versions.
    """

    name: str = ''
    task: str = ''
    num_classes: int | None = None
    source: str = ''
    cost: float | None = left_out_if_none()
    metrics: Sequence[str] | None = left_out_if_none()


@dataclass(frozen=True)
class MetricFacts:
    """Facts of a recognition metric.

    Attributes:
        better: ``'higher'`` or ``'lower'``.
        unit: ``'share'``, ``'nats'`` or ``'cosine'``.
        against: ``'labels'`` or ``'clean answers'``.
        over: What intervals are over, where that is not the images: ``'identities'``.
    """

    better: str = 'higher'
    unit: str = 'share'
    against: str = 'labels'
    over: str | None = left_out_if_none()


def main_metric(known: Mapping[str, bool], facts: Mapping[str, MetricFacts]) -> str:
    """Return the metric that headlines, the correction for many recognizers, audit and sweep go by.

    Args:
        known: Metric of a recognizer -> True where it has a value.
        facts: Metric -> facts.

    Returns:
        The first with a value of which more is better; else the first with a value; else the same of all.
    """
    names = [name for name, has_value in known.items() if has_value] or list(known)
    return next((name for name in names if facts.get(name, MetricFacts()).better == 'higher'), names[0])


@dataclass(frozen=True)
class QualityFacts:
    """Facts of a measure of image quality beside PSNR and SSIM.

    Attributes:
        better: ``'higher'`` or ``'lower'``.
        source: Package and version.
    """

    better: str
    source: str = ''


@dataclass(frozen=True)
class RestorerFacts:
    """Facts of a restorer.

    Attributes:
        seeds: Number of its trainings.
        used: Recognizers that judge here and were used in its training.
        method: Way of training, where it was used with several recognizers.
        also_trained_with: Recognizers of its training that do not judge here, in words.
    """

    seeds: int = 1
    used: Sequence[str] = ()
    method: str = ''
    also_trained_with: Sequence[str] | None = left_out_if_none()


@dataclass(frozen=True)
class Results:
    """Results of an evaluation.

    Attributes:
        schema: `SCHEMA`.
        name, command, seed, versions, options: Facts of the run.
        baseline: Way of processing that restorers are compared with.
        recognizers, quality_metrics, recognition_metrics, restorers: Name -> facts.
        conditions: Name -> results.
        more: Further keys of the program that ran the evaluation.
        sweep: Choice among the weights of a sweep.
    """

    schema: str
    baseline: str
    conditions: Mapping[str, Condition]
    name: str = ''
    command: str = ''
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    options: Any = None
    recognizers: Mapping[str, RecognizerFacts] = field(default_factory=dict)
    quality_metrics: Mapping[str, QualityFacts] = field(default_factory=dict)
    recognition_metrics: Mapping[str, MetricFacts] = field(default_factory=dict)
    restorers: Mapping[str, RestorerFacts] = field(default_factory=dict)
    more: Mapping[str, Any] = flattened()
    sweep: Sweep | None = left_out_if_none()

    def to_json(self) -> dict[str, Any]:
        """Return plain data, the keys in the order of the files."""
        plain = to_plain(self)
        return {key: plain.pop(key) for key in _ORDER} | plain

    @classmethod
    def from_json(cls, data: Any, where: str = 'results.json') -> 'Results':
        """Build the results from plain data.

        Args:
            data: As `to_json` returns it, also of an earlier version.
            where: File, for messages.

        Raises:
            MalformedResults: It is of another schema, a key is missing, or a value is of another type.
        """
        if isinstance(data, Mapping) and data.get('schema') != SCHEMA:
            raise MalformedResults(f"{where}: schema: expected '{SCHEMA}', got {data.get('schema')!r}.")
        return from_plain(cls, data, where)

    @classmethod
    def read(cls, path: str | Path) -> 'Results':
        """Read a file of results.

        Raises:
            MalformedResults: It is not JSON, or not as its schema says.
        """
        try:
            data = json.loads(Path(path).read_text(encoding='utf-8'))
        except (ValueError, RecursionError) as error:
            raise MalformedResults(f'{path}: expected JSON, got {one_line(error)}.') from None
        return cls.from_json(data, str(path))

    def restorer(self, name: str) -> RestorerFacts:
        """Return the facts of a restorer; none are known of other ways of processing."""
        return self.restorers.get(name, RestorerFacts())


_ORDER = ('schema', 'name', 'command', 'seed', 'baseline', 'versions', 'options', 'recognizers', 'quality_metrics',
          'recognition_metrics', 'restorers', 'conditions')
