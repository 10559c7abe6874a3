"""A recognition metric in tables and sentences: its name, unit and direction."""
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ra_plugin.report import formats
from ra_plugin.results import Estimate, MetricFacts, Results, main_metric


@dataclass(frozen=True)
class Metric:
    """Metric with its facts.

    Attributes:
        name: Name as in ``results.json``.
        facts: Its facts.
    """

    name: str
    facts: MetricFacts = MetricFacts()

    @property
    def better(self) -> str:
        """``'higher'`` or ``'lower'``."""
        return self.facts.better

    @property
    def unit(self) -> str:
        """``'share'``, ``'nats'`` or ``'cosine'``."""
        return self.facts.unit

    @property
    def is_share(self) -> bool:
        """True where values are shares in ``[0, 1]``."""
        return self.unit == 'share'

    @property
    def is_agreement(self) -> bool:
        """True where answers are compared with those on clean images, and not with labels."""
        return self.facts.against != 'labels'

    @property
    def word(self) -> str:
        """Name in prose."""
        return formats.metric_word(self.name)

    @property
    def title(self) -> str:
        """Head of a column."""
        return self.word if self.is_share else ', '.join(filter(None, (
            self.word, self._unit_word, f'{self.better} is better')))

    @property
    def axis(self) -> str:
        """Name of an axis."""
        return f'{self.word} (%)' if self.is_share else self.title

    @property
    def _unit_word(self) -> str:
        """The unit, where the name does not have it."""
        return '' if self.unit in self.word else self.unit

    @property
    def factor(self) -> float:
        """Factor from the values of the results to those shown: shares are shown in %."""
        return 100 if self.is_share else 1

    @property
    def digits(self) -> int:
        """Digits after the point."""
        return 1 if self.is_share else 3

    def value(self, value: float, sign: bool = False) -> str:
        """Return a score, or with ``sign`` a difference, without its unit."""
        return formats.number(self.factor * value, self.digits, sign)

    def interval(self, estimate: Estimate, sign: bool = False) -> str:
        """Return the interval of a score or difference."""
        return formats.interval(estimate, self.factor, self.digits, sign)

    def difference(self, estimate: Estimate) -> str:
        """Return ``+22.3 points [+20.7, +23.8]``."""
        unit = 'points' if self.is_share else self._unit_word
        return ' '.join(filter(None, (self.value(estimate.value, True), unit, self.interval(estimate, True))))

    def direction(self, estimate: Estimate) -> Literal['up', 'down', 'unclear']:
        """Return ``'up'`` where the whole interval lies on the better side of zero, ``'down'`` on the worse."""
        if estimate.side == 'unclear' or self.better == 'higher':
            return estimate.side
        return 'down' if estimate.side == 'up' else 'up'


def metric_of(results: Results, name: str) -> Metric:
    """Return the metric of that name; shares of right answers where the results say nothing else."""
    return Metric(name, results.recognition_metrics.get(name, MetricFacts()))


def main_metrics(results: Results, scores: Mapping[str, Mapping[str, Any]]) -> dict[str, Metric]:
    """Return recognizer -> its main metric, for those in ``scores``, in the order of the results."""
    known = results.recognizers
    names = [name for name in known if name in scores] + [name for name in scores if name not in known]
    return {name: metric_of(results, _main_metric(results, name, scores[name])) for name in names if scores[name]}


def _main_metric(results: Results, recognizer: str, metrics: Mapping[str, Any]) -> str:
    told = results.recognizers[recognizer].metrics or () if recognizer in results.recognizers else ()
    known = {name: estimate.is_known for name, estimate in metrics.items()}
    return next((metric for metric in told if metric in metrics), main_metric(known, results.recognition_metrics))


def unit_words(metrics: Iterable[Metric], difference: bool = False) -> str:
    """Return the units of metrics, or of differences of them, as they stand above a table.

    Returns:
        ``in %``, ``in points``, ``as cosines``; of several units ``in %; mean cosine as cosines``.
    """
    words = {'share': 'in points' if difference else 'in %', 'nats': 'in nats', 'cosine': 'as cosines'}
    names: dict[str, list[str]] = {}
    for metric in sorted(dict.fromkeys(metrics), key=lambda metric: not metric.is_share):
        names.setdefault(metric.unit, []).append(metric.word)
    if len(names) < 2:
        return words[next(iter(names), 'share')]
    return '; '.join(words[unit] if unit == 'share' else f'{formats.listed(list(dict.fromkeys(of_unit)))} {words[unit]}'
                     for unit, of_unit in names.items())


def unit_of_mean(metrics: Iterable[Metric]) -> Metric:
    """Return a metric in whose unit a mean over several is said: theirs where it is one, else that of shares."""
    units = {metric.unit: metric for metric in metrics}
    return next(iter(units.values())) if len(units) == 1 else Metric('share')
