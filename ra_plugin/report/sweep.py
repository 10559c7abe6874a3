"""A sweep's answer: which weight, why, and what each of them gives."""
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ra_plugin.report.charts import Chart, steps_chart
from ra_plugin.report.formats import NONE, decibels, interval, listed, number, percent, points, side
from ra_plugin.report.page_tables import Cell, Table
from ra_plugin.report.verdict import Tone

_INTERVALS = ('Brackets hold simultaneous 95 % intervals: all {} weights lie in theirs with that probability, so that '
              'choosing one of them is allowed for.')
_BIASED = 'The best of {} estimates is rather too large: report its gain on images that no weight was chosen on.'


@dataclass(frozen=True)
class SweepAnswer:
    """Answer of a sweep under one condition."""

    headline: str
    tone: Tone
    sentences: tuple[tuple[str, str], ...]  # (topic, sentence)


def sweep_answer(results: Mapping[str, Any], condition: str) -> SweepAnswer | None:
    """Return the weight and its price in words, or that there is none and why; None where there was no sweep."""
    found = results.get('sweep', {}).get('conditions', {}).get(condition)
    if not found:
        return None
    chosen = next((one for one in found['weights'] if one['weight'] == found['weight']), None)
    count = len(found['weights'])
    names = listed(found['recognizers'])
    whose = f'The gain is the mean of {names}' if len(found['recognizers']) > 1 else f'The gain is that of {names}'
    whose += ', never used in training.' if found['never_used'] else '; none was held out of a training.'
    sentences = [('Why', found['reason']), ('Recognizers', whose)]
    if chosen:
        headline = f'Weight {chosen["weight"]:g}: {points(chosen["gain"])}'
        headline += f', {decibels(chosen["psnr"])}' if chosen['psnr'] else ', no PSNR'
        if chosen['used_gain']:
            sentences.append(('Used in training', f'Gain of those used in training: {points(chosen["used_gain"])}.'))
    else:
        headline = 'No weight above 0 can be named'
    if count > 1:
        sentences.append(('Certainty', _INTERVALS.format(count) + (f' {_BIASED.format(count)}' if chosen else '')))
    return SweepAnswer(headline, 'good' if chosen else 'none', tuple(sentences))


def sweep_lines(results: Mapping[str, Any]) -> Iterator[str]:
    """Yield the answer for each condition as a line of text."""
    for condition in results.get('sweep', {}).get('conditions', {}):
        answer = sweep_answer(results, condition)
        yield f'{condition}: {answer.headline}. {" ".join(sentence for _, sentence in answer.sentences)}'


def sweep_table(results: Mapping[str, Any], condition: str) -> Table | None:
    """Return what each weight gives over weight 0."""
    found = results.get('sweep', {}).get('conditions', {}).get(condition)
    if not found:
        return None
    used = any(one['used_gain'] for one in found['weights'])
    rows = []
    for one in found['weights']:
        tags = ('chosen',) * (one['weight'] == found['weight']) + ('over budget',) * (not one['within'])
        rows.append((Cell(f'{one["weight"]:g}', tags=tags), [
            _gain(one['gain']), *([_gain(one['used_gain'])] if used else []),
            Cell(number(one['psnr']['value'], 2, True), interval(one['psnr'], 1, 2, True)) if one['psnr']
            else Cell(NONE)]))
    heads = [Cell('weight'), Cell('mean gain', 'points, ' + ('never used' if found['never_used'] else 'all judges')),
             *([Cell('mean gain', 'points, used in training')] if used else []), Cell('PSNR', 'dB')]
    return Table(f'What each weight gives over {results["baseline"]}, with simultaneous 95 % intervals', heads, rows)


def sweep_charts(results: Mapping[str, Any], condition: str) -> list[Chart]:
    """Return gain and dB by weight."""
    found = results.get('sweep', {}).get('conditions', {}).get(condition)
    if not found:
        return []
    names = _short([one['weight'] for one in found['weights']])
    series = {'never used' if found['never_used'] else 'all recognizers': [one['gain'] for one in found['weights']]}
    if any(one['used_gain'] for one in found['weights']):
        series['used in training'] = [one['used_gain'] for one in found['weights']]
    budget = results['sweep'].get('max_psnr_drop')
    charts = (
        steps_chart('Gain by weight', f'points over {results["baseline"]}', names, series,
                    ('weight', 'mean gain (points)'), 100),
        steps_chart('PSNR by weight', f'dB over {results["baseline"]}', names,
                    {'PSNR': [one['psnr'] for one in found['weights']]}, ('weight', 'change of PSNR (dB)'),
                    limit=None if budget is None else ('budget', -budget)))
    return [chart for chart in charts if chart]


def sweep_series(results: Mapping[str, Any], condition: str) -> list[str]:
    """Return the names of the gains that the chart draws, where they are two."""
    found = results.get('sweep', {}).get('conditions', {}).get(condition) or {'weights': ()}
    return ['never used in training', 'used in training'] if any(one['used_gain'] for one in found['weights']) else []


def _gain(estimate: Mapping[str, Any] | None) -> Cell:
    if not estimate or estimate['value'] is None:
        return Cell(NONE)
    tags = ('\u2248 0',) if side(estimate) == 'unclear' else ()
    return Cell(percent(estimate['value'], sign=True), interval(estimate, sign=True), tags=tags)


def _short(weights: Sequence[float]) -> list[str]:
    """Return them all as 0.0001 or all as 1e-4, whichever is shorter."""
    powers = (f'{weight:e}'.split('e') for weight in weights)
    return min([f'{weight:g}' for weight in weights],
               [f'{float(mantissa):g}e{int(exponent)}' for mantissa, exponent in powers],
               key=lambda names: max(map(len, names)))
