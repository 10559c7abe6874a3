"""The results in plain sentences: who gains, at what cost, how sure, and as clearly when there is nothing to tell."""
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ra_plugin.report.formats import decibels, interval, listed, metric_name, no_share, percent, points

Tone = Literal['good', 'mixed', 'bad', 'none']
_UNCLEAR = 'cannot be told apart from zero'


@dataclass(frozen=True)
class Verdict:
    """What is to be said of one restorer under one condition."""

    restorer: str
    headline: str
    tone: Tone
    sentences: tuple[tuple[str, str], ...]  # (topic, sentence)


def main_metrics(results: Mapping[str, Any], scores: Mapping[str, Mapping]) -> dict[str, str]:
    """Recognizer -> the metric that it is judged by, for those in ``scores``, in the order of the results."""
    known = results.get('recognizers', {})
    names = [name for name in known if name in scores] + [name for name in scores if name not in known]
    return {name: next((metric for metric in known.get(name, {}).get('metrics', ()) if metric in scores[name]),
                       next(iter(scores[name]))) for name in names if scores[name]}


def used_by(results: Mapping[str, Any], restorer: str) -> list[str]:
    """Recognizers that a restorer was trained with."""
    return list(results.get('restorers', {}).get(restorer, {}).get('used', ()))


def direction(estimate: Mapping) -> Literal['up', 'down', 'unclear']:
    """On which side of zero the whole interval lies."""
    if estimate.get('low') is not None and estimate['low'] > 0:
        return 'up'
    return 'down' if estimate.get('high') is not None and estimate['high'] < 0 else 'unclear'


def sure_direction(difference: Mapping, recognizer: str, estimate: Mapping) -> Literal['up', 'down', 'unclear']:
    """`direction`, corrected for the number of recognizers where the results have that; for counts of recognizers."""
    family = difference.get('family')
    if family is None:  # results of before there were families
        return direction(estimate)
    return next((side for side in ('up', 'down') if recognizer in family[side]), 'unclear')


def verdicts(results: Mapping[str, Any], condition: str) -> list[Verdict]:
    """One for each restorer that is compared with the baseline under ``condition``."""
    data = results['conditions'][condition]
    return [_verdict(results, data, restorer) for restorer in data.get('differences', {})]


def _verdict(results: Mapping[str, Any], data: Mapping[str, Any], restorer: str) -> Verdict:
    difference = data['differences'][restorer]
    scores = difference.get('scores', {})
    estimates = {name: scores[name][metric] for name, metric in main_metrics(results, scores).items()}
    used = {name: estimates[name] for name in used_by(results, restorer) if name in estimates}
    held_out = {name: estimate for name, estimate in estimates.items() if name not in used}
    audit = data.get('audit', {}).get('restorers', {}).get(restorer, {})
    sides = {name: sure_direction(difference, name, estimate) for name, estimate in estimates.items()}
    headline, tone = _headline(*([sides[name] for name in group] for group in (used, held_out)), audit.get('verdict'))
    sentences = [('Used in training', _used(name, metric_name(main_metrics(results, scores)[name]), estimate,
                                            results['baseline'])) for name, estimate in used.items()]
    if held_out:
        known = bool(used_by(results, restorer))  # also where those that were used judge other conditions alone
        sentences.append(('Held out' if known else 'Recognizers', _held_out(held_out, known, sides)))
    if difference.get('family', {}).get('comparisons', 0) > 1:
        many = difference['family']['comparisons']
        sentences.append(('Counted', f'{many} recognizers are compared at once: who gains or loses is corrected for '
                          'that (Holm, 5 %); each interval stands for itself.'))
    if difference.get('psnr'):
        sentences.append(('Image quality', _quality(difference['psnr'])))
    if data.get('harm', {}).get(restorer):
        sentences.append(('Harm', _harm(data['harm'], restorer, results['baseline'])))
    if audit:
        sentences.append(('Audit', f'{audit["verdict"].capitalize()}: {audit.get("reason", "")}'))
    return Verdict(restorer, headline, tone, tuple(sentences))


def _headline(seen: list[str], unseen: list[str], audit: str | None) -> tuple[str, Tone]:
    """Of the directions on recognizers used in training, and on the others."""
    both = seen + unseen
    if not both:
        return 'Not judged by any recognizer', 'none'
    if 'up' not in both:
        return ('Recognition gets worse', 'bad') if 'down' in both else (f'Open: the change {_UNCLEAR}', 'none')
    if audit == 'adversarial':
        return 'The gain is an adversarial pattern: it does not survive the audit', 'bad'
    if 'down' in both:
        return f'Mixed: {both.count("up")} of {len(both)} recognizers gain, {both.count("down")} lose', 'mixed'
    if not unseen:
        return 'The recognizer used in training gains; none was held out', 'mixed'
    if 'up' not in unseen:
        return 'Only the recognizer used in training surely gains', 'mixed'
    if 'unclear' in seen:
        sure = both.count('up')
        return f'{sure} of {len(both)} recognizers surely gain{"s" * (sure < 2)}; open on one used in training', 'mixed'
    never = 'never seen in training ' if seen else ''
    if unseen.count('up') < len(unseen):
        return f'{unseen.count("up")} of {len(unseen)} recognizers {never}gain', 'mixed'
    partly = audit == 'partly real'
    who = 'Every recognizer gains' + (', those never seen in training too' if seen else '')
    return who + ('; the gain is partly real' if partly else ''), 'mixed' if partly else 'good'


def _used(name: str, metric: str, estimate: Mapping, baseline: str) -> str:
    text = f'{name}: {points(estimate)} of {metric} over {baseline}'
    if direction(estimate) == 'unclear':
        return f'{text}, which {_UNCLEAR}.'
    recovered = estimate.get('gap_recovered')
    if recovered:
        return f'{text}: {100 * recovered["value"]:.0f} % of the way from {baseline} to clean images.'
    if estimate.get('gap') is None:
        return f'{text}.'
    return (f'{text}. Clean images are {percent(estimate["gap"], sign=True)} points above {baseline}: '
            f'too {no_share(estimate["gap"])} a gap to speak of recovery.')


def _held_out(estimates: Mapping[str, Mapping], some_used: bool, sides: Mapping[str, str]) -> str:
    groups = {side: [name for name in estimates if sides[name] == side] for side in ('up', 'down', 'unclear')}
    never = ' never seen in training' if some_used else ''
    parts = [f'{len(groups["up"]) or "None"} of {len(estimates)}{never} gain{"s" * (len(groups["up"]) < 2)}']
    if groups['down']:
        parts.append(f'{listed(groups["down"])} lose{"s" * (len(groups["down"]) == 1)}')
    if groups['unclear']:
        parts.append(f'the change on {listed(groups["unclear"])} {_UNCLEAR}')
    known = sorted((name for name in estimates if estimates[name]['value'] is not None),
                   key=lambda name: estimates[name]['value'])
    text = '; '.join(parts)
    if len(known) > 1:
        text += ': from ' + ' to '.join(f'{points(estimates[name])} ({name})' for name in (known[0], known[-1]))
    elif known:
        text += f': {points(estimates[known[0]])} ({known[0]})'
    return text + '.'


def _quality(psnr: Mapping) -> str:
    word = {'up': 'PSNR rises', 'down': 'PSNR falls', 'unclear': f'The change in PSNR {_UNCLEAR}'}[direction(psnr)]
    return f'{word}: {decibels(psnr)}.'


def _harm(harm: Mapping[str, Mapping], restorer: str, baseline: str) -> str:
    """Of the recognizer that is hurt most, beside what the baseline does to it."""
    name, worst = max(harm[restorer].items(), key=lambda item: item[1]['hurt']['value'] or 0)
    before = harm.get(baseline, {}).get(name) if restorer != baseline else None
    beside = {key: f' ({baseline}: {percent(before[key]["value"])} %)' if before else '' for key in ('hurt', 'helped')}
    return (f'Most on {name}: {percent(worst["hurt"]["value"])} % {interval(worst["hurt"])} of all images were right '
            f'without processing and are wrong after it{beside["hurt"]}; '
            f'{percent(worst["helped"]["value"])} % the other way round{beside["helped"]}.').replace('  ', ' ')
