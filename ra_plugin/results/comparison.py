"""Results of the two checks on a part of the images: the audit of a gain, and clean images given to the restorers."""
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ra_plugin.results.codec import left_out_if_none
from ra_plugin.results.estimate import Estimate


@dataclass(frozen=True)
class Spectrum:
    """Mean power by spatial frequency.

    Attributes:
        frequency: Cycles per pixel.
        difference: Power of the restorer's image minus the baseline's.
        baseline_error: Power of the baseline's error; None without clean images.
    """

    frequency: Sequence[float]
    difference: Sequence[float]
    baseline_error: Sequence[float] | None


@dataclass(frozen=True)
class RestorerAudit:
    """Audit of the gain of one restorer.

    Attributes:
        seeds: Number of seeds that were audited.
        gains: Recognizer -> view of the image -> gain over the baseline.
        verdict: ``'real'``, ``'adversarial'`` or another, see ``docs/EVALUATION.md``.
        could_be: Verdicts that the intervals allow, where they are several.
        reason: One sentence.
        held_out_ratio: Share of their gaps that recognizers never used recover, over that of those used.
        kept: View -> share of the gain that is left, over what is left of the clean image's gain.
        left_out: Recognizers whose gap is too small or too uncertain.
        spectrum: Spectrum of the difference to the baseline.
    """

    seeds: int = 1
    gains: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    verdict: str = ''
    could_be: Sequence[str] = ()
    reason: str = ''
    held_out_ratio: Estimate | None = None
    kept: Mapping[str, Estimate] = field(default_factory=dict)
    left_out: Sequence[str] = ()
    spectrum: Spectrum | None = None


@dataclass(frozen=True)
class Audit:
    """Audit of the gains of all restorers.

    Attributes:
        n: Number of images.
        views: Small changes of the image, the image as saved first.
        restorers: Restorer -> its audit.
        metrics: Recognizer -> the metric that its gains are of; None in files of early versions.
    """

    n: int = 0
    views: Sequence[str] = ()
    restorers: Mapping[str, RestorerAudit] = field(default_factory=dict)
    metrics: Mapping[str, str] | None = left_out_if_none()


@dataclass(frozen=True)
class CleanInputEntry:
    """Clean images after one restorer, against the clean images themselves.

    Attributes:
        psnr: Mean PSNR in dB; NaN where all images are restored exactly.
        exact, undefined: As in `Processing`.
        scores: Recognizer -> metric -> score minus that of the clean image.
    """

    psnr: float = math.nan
    exact: int | None = left_out_if_none()
    undefined: Mapping[str, int] | None = left_out_if_none()
    scores: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)


@dataclass(frozen=True)
class CleanInput:
    """Effect of the restorers on images that need no restoration.

    Attributes:
        n: Number of images.
        restorers: Restorer -> its effect.
    """

    n: int = 0
    restorers: Mapping[str, CleanInputEntry] = field(default_factory=dict)
