"""Audit of a gain: small changes of the image and recognizers never used tell a real one from an adversarial pattern.

No change is harmless to every image: on small ones a blur costs accuracy by itself. So what one leaves of a gain is
compared with what it leaves of the clean image's, which is real. Recognizers differ in what they have to gain: one that
reads degraded images well gains few points of the best restoration. So gains are compared as shares of that.
"""
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ra_plugin.evaluation.statistics.bootstrap import Sampled, mean
from ra_plugin.evaluation.statistics.perturbations import FLOAT, SAVED, SPECTRUM, VIEWS, band_centers
from ra_plugin.evaluation.statistics.transfer import JudgedProcessing, Matrix
from ra_plugin.report.metrics import Metric, unit_of_mean
from ra_plugin.results import CLEAN, NONE, Audit, Estimate, RestorerAudit, Spectrum
from ra_plugin.utils.text import how_many

WORDS = ('adversarial', 'partly real', 'real')  # from worst to best
NO_GAIN, UNDECIDED = 'no gain', 'undecided'
# Conventions: of a real improvement most is left, and recognizers never used recover a good part of their own gap.
_KEPT = 0.25, 0.5  # share of the gain that a change leaves, against the clean image's: from here partly real, real
_TRANSFER = 0.1, 0.25  # share of the gap that recognizers never used recover, against that of those used
_LEAST_ROOM = 0.01  # clean minus baseline
_NO_CHANGE = 0.1  # a change that leaves less of the clean image's gain tells nothing
_LEAST_IMAGES = 30  # with fewer, the bootstrap takes luck for certainty
_FAR = 3.3  # standard errors (one-sided 99.95 %) between adversarial and the least that is real, and the reverse
_HALF_WIDTH = 1.96  # standard errors from the value to an end of its interval

_SHARE = Metric('share')

Gains = Mapping[str, Mapping[str, Sampled]]  # recognizer -> view -> gain


def audit(views: Mapping[str, Mapping[tuple[str, int], JudgedProcessing]], baseline: str,
          used: Mapping[str, Collection[str]], metrics: Mapping[str, str], seed: int = 0) -> Audit:
    """Return the gains over the baseline under every view, the spectrum of the difference, and a verdict with a reason.

    Args:
        views: View -> (processing, number of the seed) -> its scores; all have the same images. Without clean images
            there is no `CLEAN` among them, and no verdict but ``'no gain'`` and ``'undecided'``.
        baseline: The restorer that others are compared with under the same view.
        used: Restorer -> recognizers that it was trained with.
        metrics: Recognizer that audits -> the metric by which it does, its main one.
        seed: Seed of the bootstrap; the same resamples serve all views.

    Returns:
        The audit; of several seeds all numbers are means.
    """
    matrices = {view: Matrix(processings, seed) for view, processings in views.items()}
    saved = matrices[SAVED]
    facts = {name: Metric(metric, saved.facts()[metric]) for name, metric in metrics.items()}

    def gains(name: str, reference: Gains) -> dict[str, dict[str, Sampled]]:
        return {recognizer: {view: matrix.mean(name, recognizer, metric) - reference[recognizer][view]
                             for view, matrix in matrices.items()} for recognizer, metric in metrics.items()}

    same_view = {recognizer: {view: matrix.mean(baseline, recognizer, metric) for view, matrix in matrices.items()}
                 for recognizer, metric in metrics.items()}
    # a change that helps the baseline, as a blur may, is no sign against the restorer
    not_helped = {recognizer: {view: min(score, by_view[SAVED], key=lambda sampled: sampled.value)
                               for view, score in by_view.items()} for recognizer, by_view in same_view.items()}
    of_clean = gains(CLEAN, not_helped) if CLEAN in saved.names else None
    error = _mean_spectrum(views[FLOAT], CLEAN) if CLEAN in saved.names else None
    return Audit(saved.n, list(views), {name: replace(
        verdict(gains(name, not_helped), of_clean, used.get(name, ()), saved.n, facts),
        seeds=len(saved.seeds(name)),
        gains={recognizer: {view: gain.estimate().finite() for view, gain in by_view.items()}
               for recognizer, by_view in gains(name, same_view).items()},
        spectrum=Spectrum(band_centers(), _mean_spectrum(views[FLOAT], name), error))
        for name in saved.names if name not in (CLEAN, NONE, baseline)}, metrics)


def _mean_spectrum(processings: Mapping[tuple[str, int], JudgedProcessing], name: str) -> list[float]:
    """Return the mean over the images and seeds."""
    return np.mean([np.mean(judged.values[SPECTRUM], 0) for (other, _), judged in processings.items()
                    if other == name], 0).tolist()


def verdict(gains: Gains, of_clean: Gains | None, used: Collection[str], images: int | None = None,
            metrics: Mapping[str, Metric] | None = None) -> RestorerAudit:
    """Judge if the gain is a better image.

    * ``'no gain'``: that of the recognizers used (of all, where none of them is) cannot be distinguished from zero, or
      is a loss.
    * ``'adversarial'``: a change leaves less than a quarter of the gain, or recognizers never used recover less than a
      tenth of the share of their gap that the used ones recover.
    * ``'partly real'``: a change leaves less than half, or they recover less than a quarter of that share.
    * ``'real'``: neither.
    * ``'real or partly real'``, ``'partly real or adversarial'``: the intervals allow both.
    * ``'undecided'``: they allow all three; or no recognizer that can tell was left out of the training, there are no
      clean images to compare with, or too few images at all.

    Shares of several recognizers are the sum of their gains over the sum of their gaps, clean minus baseline: the mean
    of their shares, each with its gap as weight, so that a small, uncertain gap has little say. A recognizer whose gap
    is below one point, or not known to within half of itself, is left out and named. Where gains in points and in
    cosines are averaged, a cosine of 0.01 is a point.

    A 95 % interval rules a verdict out. Adversarial in place of real, or real in place of adversarial, is the mistake
    that matters: for that the limit at the other end has to be 3.3 standard errors away, too.

    Args:
        gains: Recognizer -> view -> gain over the baseline, which no view improves.
        of_clean: The same for the clean image: what there was to gain, and what a change leaves of a real gain. None:
            there are no clean images.
        used: The recognizers that served as the loss.
        images: Number of images; None: enough.
        metrics: Recognizer -> the metric that its gains are of. Default: shares of images.

    Returns:
        The verdict with its reason and the shares that it rests on.
    """
    room = {recognizer: by_view[SAVED] for recognizer, by_view in (of_clean or {}).items()}
    known = [recognizer for recognizer in gains if recognizer in room and _is_known(room[recognizer])]
    left_out = [recognizer for recognizer in gains if recognizer not in known] if of_clean else []
    # where the recognizers used judge other conditions, all count as used
    all_ours = [recognizer for recognizer in gains if recognizer in used] or list(gains)
    ours = [recognizer for recognizer in all_ours if recognizer in known]
    others = [recognizer for recognizer in gains if recognizer not in used] if used else []
    held_out = [recognizer for recognizer in others if recognizer in known]
    nobody_used = all_ours == others
    metrics = {recognizer: (metrics or {}).get(recognizer, _SHARE) for recognizer in gains}
    by = judged_by(metrics) if _SHARE not in metrics.values() else ''
    result = _Result(left_out, by)

    def amount(estimate: Estimate, *recognizers: str) -> str:
        return _amount(estimate, unit_of_mean(metrics[recognizer] for recognizer in recognizers))

    total = _mean(gains, ours or all_ours)
    estimate = total.estimate()
    if np.isnan(estimate.value):
        return result(UNDECIDED, 'the audit\'s images have no gain that can be computed')
    too_few = result(UNDECIDED, f'{how_many(images or 0, "image")}, and at least {_LEAST_IMAGES} are needed to tell')
    if not estimate.has_interval:
        return too_few if images is not None and images < _LEAST_IMAGES else result(
            UNDECIDED, 'the audit\'s images have no gain with an interval')
    if not estimate.low > 0:
        text = amount(estimate, *(ours or all_ours))
        return result(NO_GAIN, f'recognition changes by {text}' if estimate.high < 0 else
                      f'the gain of {text} cannot be distinguished from zero')
    if images is not None and images < _LEAST_IMAGES:
        return too_few
    if not of_clean:
        return result(UNDECIDED, 'without clean images the possible gain is not known')
    gaps = _listed([f'{name} ({amount(room[name].estimate(), name)})' for name in left_out]) if left_out else ''
    left_out_words = f'left out, with a gap to clean images that is too small or too uncertain: {gaps}' if gaps else ''
    if not ours:
        return result(UNDECIDED, left_out_words)

    kept, ranges = _kept(gains, of_clean, ours)
    ratio = None
    if nobody_used:
        transfers = f'no recognizer here was used: they gain {amount(estimate, *ours)}'
    elif held_out:
        part, whole = ((_mean(gains, group), _mean(of_clean, group)) for group in (held_out, ours))
        ratio = part[0].over(part[1]).over(whole[0].over(whole[1])).estimate()
        ranges.append(_range(part[0].times(whole[1]), whole[0].times(part[1]), _TRANSFER))
        shares = [_percent(gain.over(gap).estimate()) for gain, gap in (part, whole)]
        transfers = (f'recognizers never used recover {shares[0]} of their gap to clean images, those used {shares[1]} '
                     f'of theirs: a ratio of {_percent(ratio)}')
    else:
        ranges.append((0, len(WORDS) - 1))
        transfers = 'no recognizer was held out of the training' if not others else \
            'no recognizer that was left out of the training can tell'
    could_be = [WORDS[i] for i in range(min(low for low, _ in ranges), min(high for _, high in ranges) + 1)][::-1]
    worst = min(kept, key=lambda view: kept[view].value, default=None)
    left = f'{worst} leaves {_percent(kept[worst])} of the gain, against what it leaves of that of the clean image' \
        if worst else 'no change leaves enough of the clean image\'s gain to compare with'
    answer = UNDECIDED if len(could_be) == len(WORDS) else ' or '.join(could_be)
    doubt = f'it could be {_listed(could_be, "or")}: more images would tell' \
        if len(could_be) > 1 and (ratio or nobody_used) else ''
    return result(answer, '; '.join(filter(None, (left, transfers, left_out_words, doubt))),
                  could_be if len(could_be) > 1 else (), ratio, kept)


def _is_known(room: Sampled) -> bool:
    """Return True where a gap is large and certain enough to take shares of."""
    estimate = room.estimate()
    return estimate.value >= _LEAST_ROOM and estimate.low >= estimate.value / 2


def _kept(gains: Gains, of_clean: Gains, ours: Collection[str]) -> tuple[dict[str, Estimate], list[tuple[int, int]]]:
    """Return view -> what it leaves of the gain, and the verdicts that each of them allows."""
    total, whole = _mean(gains, ours), _mean(of_clean, ours)
    kept, ranges = {}, []
    for view in VIEWS:
        part, of_real = _mean(gains, ours, view), _mean(of_clean, ours, view)
        if (of_real - whole.scaled(_NO_CHANGE)).estimate().high < 0:
            continue
        # no change leaves more than all of a gain
        of_real = of_real.lesser(whole)
        ranges.append(_range(part.times(whole), total.times(of_real), _KEPT))
        if of_real.value > 0:
            kept[view] = part.over(total).over(of_real.over(whole)).estimate()
    return kept, ranges or [(0, len(WORDS) - 1)]


def _range(part: Sampled, whole: Sampled, limits: tuple[float, float]) -> tuple[int, int]:
    """Return the worst and the best verdict that the share of ``part`` in ``whole``, which is above 0, allows.

    The differences to the limits are looked at in place of the share: no division by what may be near zero.
    """
    ends = to_least, to_most = [(part - whole.scaled(limit)).estimate() for limit in limits]
    low, high = sum(end.low >= 0 for end in ends), sum(not end.high < 0 for end in ends)
    if low == 2 and not to_least.value > _FAR * _error(to_least):
        low = 0
    if low == 0 and high < 2 and not -to_most.value > _FAR * _error(to_most):
        high = 2
    return low, high


def _mean(gains: Gains, recognizers: Collection[str], view: str = SAVED) -> Sampled:
    return mean(gains[recognizer][view] for recognizer in recognizers)


def _error(estimate: Estimate) -> float:
    """Return the standard error that a 95 % interval stands for, over images and trainings."""
    return (estimate.high - estimate.low) / (2 * _HALF_WIDTH)


@dataclass(frozen=True)
class _Result:
    """Maker of what `verdict` returns."""

    left_out: Collection[str]
    judged_by: str

    def __call__(self, answer: str, reason: str, could_be: Collection[str] = (), ratio: Estimate | None = None,
                 kept: Mapping[str, Estimate] | None = None) -> RestorerAudit:
        reason = '; '.join(filter(None, (reason, self.judged_by)))
        return RestorerAudit(
            verdict=answer, could_be=list(could_be), reason=f'{reason[0].upper()}{reason[1:]}.',
            held_out_ratio=ratio.finite() if ratio else None,
            kept={view: estimate.finite() for view, estimate in (kept or {}).items()}, left_out=list(self.left_out))


def _listed(items: Collection[str], word: str = 'and') -> str:
    *first, last = items
    return f'{", ".join(first)} {word} {last}' if first else last


def _percent(estimate: Estimate) -> str:
    return f'{estimate.value:.0%} [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]'


def _amount(estimate: Estimate, metric: Metric) -> str:
    """Return ``+12.3 [+11.0, +13.6] points``, or ``+0.123 [+0.110, +0.136]`` of cosines."""
    if np.isnan(estimate.value):
        return 'not known'
    low, high = (f'{metric.factor * end:+.{metric.digits}f}' for end in (estimate.low, estimate.high))
    interval = f' [{low}, {high}]' if estimate.has_interval else ''
    return f'{metric.factor * estimate.value:+.{metric.digits}f}{interval}{" points" * metric.is_share}'


def judged_by(metrics: Mapping[str, Metric]) -> str:
    """Return the metrics that gains are of, and how those of several recognizers are averaged."""
    recognizers: dict[str, list[str]] = {}
    for recognizer, metric in metrics.items():
        recognizers.setdefault(metric.word, []).append(recognizer)
    if len(recognizers) == 1:
        return f'judged by {next(iter(recognizers))}'
    parts = [f'{word} of {_listed(names)}' for word, names in recognizers.items()]
    units = {metric.is_share for metric in metrics.values()}
    return (f'judged by the mean of {_listed(parts)}, each recognizer with its gap to clean images as weight'
            + ', a cosine of 0.01 as a point' * (len(units) > 1))
