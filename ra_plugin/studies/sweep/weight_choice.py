"""The weight of a sweep that is worth its decibels, by intervals that allow for having chosen it among several.

The largest of several estimates is too large on average, and the more weights are tried, the more often one of them
seems to gain by luck. So the intervals here are simultaneous: with 95 % probability all of a condition's weights lie in
theirs, and so does the one that is chosen, by whatever rule.
"""
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

from ra_plugin.evaluation.statistics.significance import Estimate

_WEIGHT = 'weight '
_SINGLE = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Weighed:
    """Gain of one weight over weight 0.

    Attributes:
        weight: Of the recognition loss.
        gain: Mean gain of the recognizers that count, a share in ``[-1, 1]``, with its simultaneous interval.
        used_gain: The same of the recognizers used in training, where others count.
        psnr: Change in dB, with its simultaneous interval; None where there is none.
        within: True if the PSNR is surely no further below weight 0 than the budget allows.
    """

    weight: float
    gain: Estimate
    used_gain: Estimate | None
    psnr: Estimate | None
    within: bool


@dataclass(frozen=True)
class Chosen:
    """The best weight within a budget.

    Attributes:
        weight: Of the recognition loss.
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


def counted(results: Mapping[str, Any], condition: str) -> tuple[list[str], bool]:
    """Return the recognizers whose gain decides, and True where they are those never used in training.

    These decide where there are any; else all do.
    """
    differences = results['conditions'][condition]['differences']
    names = list(dict.fromkeys(name for difference in differences.values() for name in difference['scores']))
    used = {name for restorer in differences for name in _restorer(results, restorer).get('used', ())}
    held_out = [name for name in names if name not in used]
    return (held_out, bool(used)) if held_out else (names, False)


def weigh(results: Mapping[str, Any], condition: str, max_psnr_drop: float | None = None) -> list[Weighed]:
    """Return what each weight above 0 gives under a condition, from the least weight on.

    The half-width of an interval is the mean of the recognizers' half-widths, as if their errors were one (they never
    add up to more), widened from 95 % for one comparison to 95 % for all weights together (Bonferroni).
    """
    differences = results['conditions'][condition]['differences']
    names, _ = counted(results, condition)
    factor = NormalDist().inv_cdf(1 - 0.025 / max(1, len(differences))) / _SINGLE
    found = []
    for restorer, difference in differences.items():
        scores = {name: _main_gain(results, metrics) for name, metrics in difference['scores'].items()}
        used = [name for name in _restorer(results, restorer).get('used', ()) if name in scores and name not in names]
        psnr = _widened([difference.get('psnr')], factor)
        known = not math.isnan(psnr.value)
        found.append(Weighed(
            float(restorer.removeprefix(_WEIGHT)), _widened([scores.get(name) for name in names], factor),
            _widened([scores[name] for name in used], factor) if used else None, psnr if known else None,
            max_psnr_drop is None or known and -psnr.low <= max_psnr_drop))
    return sorted(found, key=lambda one: one.weight)


def answer(results: Mapping[str, Any], max_psnr_drop: float | None = None) -> dict[str, Any]:
    """Return the sweep's part of ``results.json``: for each condition what was chosen, why, and what each weight gives.
    """
    found = {}
    for condition in results['conditions']:
        weighed = weigh(results, condition, max_psnr_drop)
        best, (names, never_used) = choose(weighed), counted(results, condition)
        found[condition] = {
            'weight': best.weight if best else None, 'reason': _reason(weighed, best, max_psnr_drop),
            'recognizers': names, 'never_used': never_used, 'weights': [asdict(one) for one in weighed]}
    return {'max_psnr_drop': max_psnr_drop, 'conditions': found}


def _reason(weighed: Sequence[Weighed], best: Chosen | None, max_psnr_drop: float | None) -> str:
    """Return why this weight, or why none, in one sentence."""
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


def _main_gain(results: Mapping[str, Any], metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the gain by the first metric of which more is better; where there is none, how much less of the first."""
    facts = results.get('recognition_metrics', {})
    for name, estimate in metrics.items():
        if facts.get(name, {}).get('better') != 'lower':
            return estimate
    less = next(iter(metrics.values()))
    return {'value': _negative(less['value']), 'low': _negative(less['high']), 'high': _negative(less['low'])}


def _negative(value: float | None) -> float | None:
    return None if value is None else -value


def _restorer(results: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return results.get('restorers', {}).get(name, {})


def _widened(estimates: Sequence[Mapping[str, float | None] | None], factor: float) -> Estimate:
    """Return the mean of estimates with its interval; of what is not known, NaN, which no comparison holds for."""
    ends = []
    for key in ('value', 'low', 'high'):
        parts = [(estimate or {}).get(key) for estimate in estimates]
        known = parts and all(part is not None and math.isfinite(part) for part in parts)
        ends.append(sum(parts) / len(parts) if known else math.nan)
    value, low, high = ends
    return Estimate(value, value - factor * (value - low), value + factor * (high - value))
