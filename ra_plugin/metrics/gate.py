"""Gate before a restorer: images that show little of what it removes are taken as they are given."""
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from ra_plugin.metrics.degradation_level import blockiness, noise_level
from ra_plugin.options import OptionError
from ra_plugin.utils.suggestions import suggestion

ESTIMATES: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {'noise': noise_level, 'jpeg': blockiness}
THRESHOLDS = {'noise': 0.04, 'jpeg': 1.3}  # docs/RESULTS.md has what they were chosen on
_FORM = 'noise, jpeg, noise:SIGMA (e.g. noise:0.04, on the [0, 1] scale) or jpeg:BLOCKINESS (e.g. jpeg:1.3)'


@dataclass(frozen=True)
class Gate:
    """Rule that takes an image as it is given.

    Attributes:
        kind: What is estimated, of `ESTIMATES`.
        threshold: Images with less are taken as they are given.
    """

    kind: str
    threshold: float

    @classmethod
    def named(cls, text: str, where: str) -> 'Gate':
        """Return the gate that a text names: ``noise``, ``jpeg``, or either with a threshold, ``noise:0.04``.

        Args:
            text: It.
            where: Key or flag, for messages.

        Raises:
            OptionError: There is no such estimate, or the threshold is no positive number.
        """
        kind, colon, value = text.partition(':')
        if kind not in ESTIMATES:
            raise OptionError(f"expected {_FORM}, got '{text}'.{suggestion(kind, ESTIMATES)}", where)
        try:
            threshold = float(value) if colon else THRESHOLDS[kind]
        except ValueError:
            threshold = 0.0
        if not 0 < threshold < float('inf'):
            raise OptionError(f"expected a positive number after '{kind}:', got '{value}'. Leave it out for "
                              f'{THRESHOLDS[kind]}.', where)
        return cls(kind, threshold)

    def __str__(self) -> str:
        return f'{self.kind}:{self.threshold:g}'

    def level(self, images: torch.Tensor) -> torch.Tensor:
        """Return the estimate ``(N,)`` for images ``(N, C, H, W)``, float in ``[0, 1]``, uint8 or uint16."""
        return ESTIMATES[self.kind](images)

    def keeps(self, level: torch.Tensor) -> torch.Tensor:
        """Return where an image with that estimate is taken as it is given; one without an estimate never is."""
        return level < self.threshold
