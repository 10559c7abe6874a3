"""The best weight of a sweep, by intervals that allow for the choice among several.

The largest of several estimates is too large on average, and the more weights are tried, the more often one of them
seems to gain by luck. So the intervals here are simultaneous: with 95 % probability all of a condition's weights lie in
theirs, and so does the one that is chosen, by whatever rule.
"""
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from ra_plugin.results import Change, Estimate, MetricFacts, Results, Sweep, SweepChoice, Weighed, main_metric

_WEIGHT = 'weight '
_SINGLE = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Chosen:
    """Best weight within a budget.

    Attributes:
        weight: Weight of the recognition loss.
        gain: Mean gain over weight 0, a share in ``[-1, 1]``; the largest of several, so rather too large.
        low, high: Its simultaneous interval.
        psnr_drop: dB below weight 0; None where there is no PSNR.
    """

    weight: float
    gain: float
    low: float
    high: float
    psnr_drop: float | None


def name_of(weight: float) -> str:
    """Return the name of a restorer of the sweep."""
    return f'{_WEIGHT}{weight:g}'


def choose(weighed: Collection[Weighed]) -> Chosen | None:
    """Return the best of them; None where none surely gains within the budget."""
    best = max((one for one in weighed if one.within and one.gain.low > 0), key=lambda one: one.gain.value,
               default=None)
    if best is None:
        return None
    return Chosen(best.weight, best.gain.value, best.gain.low, best.gain.high,
                  -best.psnr.value if best.psnr else None)


def counted(results: Results, condition: str) -> tuple[list[str], bool]:
    """Return the recognizers whose gain decides, and True where they are those never used in training.

    These decide where there are any; else all do.
    """
    differences = results.conditions[condition].differences
    names = list(dict.fromkeys(name for difference in differences.values() for name in difference.scores))
    used = {name for restorer in differences for name in results.restorer(restorer).used}
    held_out = [name for name in names if name not in used]
    return (held_out, bool(used)) if held_out else (names, False)


def weigh(results: Results, condition: str, max_psnr_drop: float | None = None) -> list[Weighed]:
    """Return the effect of each weight above 0 under a condition, from the least weight on.

    The half-width of an interval is the mean of the recognizers' half-widths, as if their errors were one (they never
    add up to more), widened from 95 % for one comparison to 95 % for all weights together (Bonferroni).
    """
    differences = results.conditions[condition].differences
    names, _ = counted(results, condition)
    factor = NormalDist().inv_cdf(1 - 0.025 / max(1, len(differences))) / _SINGLE
    found = []
    for restorer, difference in differences.items():
        scores = {name: _main_gain(results, metrics) for name, metrics in difference.scores.items()}
        used = [name for name in results.restorer(restorer).used if name in scores and name not in names]
        psnr = _widened([difference.quality.get('psnr')], factor)
        known = not math.isnan(psnr.value)
        found.append(Weighed(
            float(restorer.removeprefix(_WEIGHT)), _widened([scores.get(name) for name in names], factor),
            _widened([scores[name] for name in used], factor) if used else None, psnr if known else None,
            max_psnr_drop is None or known and -psnr.low <= max_psnr_drop))
    return sorted(found, key=lambda one: one.weight)


def answer(results: Results, max_psnr_drop: float | None = None) -> Sweep:
    """Return, for each condition, the chosen weight, the reason, and the effect of each weight."""
    found = {}
    for condition in results.conditions:
        weighed = weigh(results, condition, max_psnr_drop)
        best, (names, never_used) = choose(weighed), counted(results, condition)
        found[condition] = SweepChoice(best.weight if best else None, _reason(weighed, best, max_psnr_drop), names,
                                       never_used, weighed)
    return Sweep(max_psnr_drop, found)


def _reason(weighed: Sequence[Weighed], best: Chosen | None, max_psnr_drop: float | None) -> str:
    """Return the reason for this weight, or for none, in one sentence."""
    budget = '' if max_psnr_drop is None else f' and surely costs no more than {max_psnr_drop:g} dB'
    if best:
        return f'Of the {len(weighed)} weights tried it has the largest mean gain that is surely above zero{budget}.' \
            if len(weighed) > 1 else f'Its mean gain is surely above zero{budget}.'
    if max_psnr_drop is not None and all(one.psnr is None for one in weighed):
        return 'There is no PSNR here, so that no weight can be said to keep to the budget.'
    gaining = [one for one in weighed if one.gain.low > 0]
    if not gaining:
        return 'No weight has a mean gain that is surely above zero.'
    return f'No weight that surely gains surely costs no more than {max_psnr_drop:g} dB.'


def _main_gain(results: Results, metrics: Mapping[str, Change]) -> Estimate:
    """Return the gain by the main metric: of one of which less is better, how much less there is."""
    name = main_metric({name: change.is_known for name, change in metrics.items()}, results.recognition_metrics)
    change = metrics[name]
    if results.recognition_metrics.get(name, MetricFacts()).better != 'lower':
        return change
    return Estimate(-change.value, -change.high, -change.low)


def _widened(estimates: Sequence[Estimate | None], factor: float) -> Estimate:
    """Return the mean of estimates with its interval; NaN where one is not known, so that no comparison holds."""
    unknown = Estimate(math.nan, math.nan, math.nan)
    parts = [vars(estimate or unknown) for estimate in estimates] or [vars(unknown)]
    ends = ([part[key] for part in parts] for key in ('value', 'low', 'high'))
    value, low, high = (sum(some) / len(some) if all(map(math.isfinite, some)) else math.nan for some in ends)
    return Estimate(value, value - factor * (value - low), value + factor * (high - value))
