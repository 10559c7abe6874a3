"""Numbers with their intervals."""
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

LEAST_GAP = 0.05  # clean minus baseline; a smaller one is too uncertain to divide by


@dataclass(frozen=True)
class Estimate:
    """Value with its 95 % interval; NaN where it is not known.

    Attributes:
        value: The estimate itself.
        low, high: Ends of the interval.
    """

    value: float
    low: float
    high: float

    @property
    def is_known(self) -> bool:
        """True where there is a value."""
        return not math.isnan(self.value)

    @property
    def has_interval(self) -> bool:
        """True where both ends are known."""
        return not (math.isnan(self.low) or math.isnan(self.high))

    @property
    def side(self) -> Literal['up', 'down', 'unclear']:
        """Side of zero on which the whole interval lies, or ``'unclear'``."""
        return 'up' if self.low > 0 else 'down' if self.high < 0 else 'unclear'

    def finite(self) -> 'Estimate':
        """Return the estimate as JSON has it, without infinite numbers."""
        return Estimate(*(part if math.isfinite(part) else math.nan for part in (self.value, self.low, self.high)))


@dataclass(frozen=True)
class Seeds:
    """Scores of several trainings that differ in their seed.

    Attributes:
        values: One for each seed.
        mean, std: Mean, and standard deviation of a sample.
    """

    values: Sequence[float]
    mean: float
    std: float


@dataclass(frozen=True)
class Score(Estimate):
    """Score of a way of processing by one metric.

    Attributes:
        seeds: Scores of the single seeds; None for one seed.
    """

    seeds: Seeds | None = None


@dataclass(frozen=True)
class Change(Estimate):
    """Score minus that of the baseline on the same images.

    Attributes:
        gap: Clean minus baseline; NaN without clean images.
        gap_recovered: Share of the gap that the change is; None where the gap is too small or uncertain.
        mcnemar_p: p-value of McNemar's test for each pair of seeds; None for other scores than right and wrong.
        images_for_one_point: Images on which a paired comparison tells a gain of one point; None as above.
    """

    gap: float = math.nan
    gap_recovered: Estimate | None = None
    mcnemar_p: Sequence[float] | None = None
    images_for_one_point: int | None = None
