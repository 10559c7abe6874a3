"""Choice among the weights of a sweep."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ra_plugin.results.estimate import Estimate


@dataclass(frozen=True)
class Weighed:
    """Gain of one weight over weight 0.

    Attributes:
        weight: Weight of the recognition loss.
        gain: Mean gain of the recognizers that count, a share in ``[-1, 1]``, with its simultaneous interval.
        used_gain: Mean gain of the recognizers used in training, where others count.
        psnr: Change in dB, with its simultaneous interval; None where there is none.
        within: True if the PSNR is surely no further below weight 0 than the budget allows.
    """

    weight: float
    gain: Estimate
    used_gain: Estimate | None
    psnr: Estimate | None
    within: bool


@dataclass(frozen=True)
class SweepChoice:
    """Choice under one condition.

    Attributes:
        weight: The chosen weight; None where none can be named.
        reason: One sentence.
        recognizers: Names of those whose mean gain decides.
        never_used: True where these were never used in training.
        weights: Effect of each weight above 0, from the least weight on.
    """

    weight: float | None
    reason: str
    recognizers: Sequence[str]
    never_used: bool
    weights: Sequence[Weighed]

    @property
    def chosen(self) -> Weighed | None:
        """The chosen weight with its gain."""
        return next((one for one in self.weights if one.weight == self.weight), None)

    @property
    def has_used_gain(self) -> bool:
        """True where the gain of the recognizers used in training is known for any weight."""
        return any(one.used_gain for one in self.weights)


@dataclass(frozen=True)
class Sweep:
    """Choice among the weights of a sweep.

    Attributes:
        max_psnr_drop: Budget in dB below weight 0; None: any.
        conditions: Condition -> choice.
    """

    max_psnr_drop: float | None = None
    conditions: Mapping[str, SweepChoice] = field(default_factory=dict)
