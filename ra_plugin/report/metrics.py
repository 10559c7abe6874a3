"""A recognition metric as tables and sentences have it: its name, its unit, which way is better, what it is against."""
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ra_plugin.report import formats

_NAMES = {'top1': 'top-1', 'top5': 'top-5', 'top1_agreement': 'top-1 agreement', 'kl': 'KL',
          'miou_agreement': 'mIoU agreement'}
_FACTS = {'better': 'higher', 'unit': 'share', 'against': 'labels'}


@dataclass(frozen=True)
class Metric:
    """Facts of one metric; fields as in ``results.json``."""

    name: str
    better: str
    unit: str
    against: str

    @property
    def is_share(self) -> bool:
        return self.unit == 'share'

    @property
    def is_agreement(self) -> bool:
        """True where answers are held against those on clean images, and not against labels."""
        return self.against != 'labels'

    @property
    def word(self) -> str:
        """As in prose."""
        return _NAMES.get(self.name, self.name.replace('_', ' '))

    @property
    def title(self) -> str:
        """As the head of a column."""
        return self.word if self.is_share else f'{self.word}, {self.unit}, {self.better} is better'

    @property
    def factor(self) -> float:
        """From the values of ``results.json`` to those shown: shares are shown in %."""
        return 100 if self.is_share else 1

    @property
    def digits(self) -> int:
        return 1 if self.is_share else 3

    def value(self, value: float | None, sign: bool = False) -> str:
        """A score, or with ``sign`` a difference, without its unit."""
        return formats.number(None if value is None else self.factor * value, self.digits, sign)

    def interval(self, estimate: Mapping, sign: bool = False) -> str:
        return formats.interval(estimate, self.factor, self.digits, sign)

    def difference(self, estimate: Mapping) -> str:
        """``+22.3 points [+20.7, +23.8]``."""
        unit = 'points' if self.is_share else self.unit
        return f'{self.value(estimate["value"], True)} {unit} {self.interval(estimate, True)}'.rstrip()

    def direction(self, estimate: Mapping) -> Literal['up', 'down', 'unclear']:
        """``'up'`` where the whole interval lies on the better side of zero, ``'down'`` on the worse."""
        side = formats.side(estimate)
        if side == 'unclear' or self.better == 'higher':
            return side
        return 'down' if side == 'up' else 'up'


def metric_of(results: Mapping[str, Any], name: str) -> Metric:
    """The metric of that name; shares of right answers where the results say nothing else."""
    return Metric(name, **{**_FACTS, **results.get('recognition_metrics', {}).get(name, {})})
