"""The choice of a sweep: the weight, the reason, and the effect of each weight."""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ra_plugin.report.charts import Chart, steps_chart
from ra_plugin.report.formats import decibels, listed
from ra_plugin.report.metrics import Metric, main_metrics, unit_of_mean, unit_words
from ra_plugin.report.table_types import Cell, Column, Row, Table
from ra_plugin.report.verdict import Tone
from ra_plugin.results import Estimate, Results, SweepChoice

_INTERVALS = ('Brackets hold simultaneous 95 % intervals: all {} weights lie in theirs with that probability, '
              'which allows for the choice.')
_BIASED = 'The best of {} estimates is biased upwards: report its gain on images that were not used for the choice.'


@dataclass(frozen=True)
class SweepAnswer:
    """Answer of a sweep under one condition."""

    headline: str
    tone: Tone
    sentences: tuple[tuple[str, str], ...]  # (topic, sentence)


def sweep_answer(results: Results, condition: str) -> SweepAnswer | None:
    """Return the weight and its cost in words, or why there is none; None where there was no sweep."""
    found = _choice(results, condition)
    return _answer(results, condition, found) if found else None


def _answer(results: Results, condition: str, found: SweepChoice) -> SweepAnswer:
    metric = _metric(results, condition)
    chosen, count, names = found.chosen, len(found.weights), listed(found.recognizers)
    whose = f'The gain is the mean of {names}' if len(found.recognizers) > 1 else f'The gain is that of {names}'
    whose += ', never used in training.' if found.never_used else '; none was held out of a training.'
    sentences = [('Why', found.reason), ('Recognizers', whose)]
    if chosen:
        headline = f'Weight {chosen.weight:g}: {metric.difference(chosen.gain)}'
        headline += f', {decibels(chosen.psnr)}' if chosen.psnr else ', no PSNR'
        if chosen.used_gain:
            gain = metric.difference(chosen.used_gain)
            sentences.append(('Used in training', f'Gain of those used in training: {gain}.'))
    else:
        headline = 'No weight above 0 can be named'
    if count > 1:
        sentences.append(('Certainty', _INTERVALS.format(count) + (f' {_BIASED.format(count)}' if chosen else '')))
    return SweepAnswer(headline, 'good' if chosen else 'none', tuple(sentences))


def sweep_lines(results: Results) -> Iterator[str]:
    """Yield the answer for each condition as a line of text."""
    for condition, found in results.sweep.conditions.items() if results.sweep else ():
        answer = _answer(results, condition, found)
        yield f'{condition}: {answer.headline}. {" ".join(sentence for _, sentence in answer.sentences)}'


def _metric(results: Results, condition: str) -> Metric:
    """Return the metric in whose unit the gains are said, which are means over the recognizers' main metrics."""
    return unit_of_mean(metric for entry in results.conditions[condition].differences.values()
                        for metric in main_metrics(results, entry.scores).values())


def _choice(results: Results, condition: str) -> SweepChoice | None:
    return results.sweep.conditions.get(condition) if results.sweep else None


def sweep_table(results: Results, condition: str) -> Table | None:
    """Return the table of the effect of each weight, over weight 0."""
    found = _choice(results, condition)
    if not found:
        return None
    used, metric = found.has_used_gain, _metric(results, condition)
    unit, rows = unit_words([metric], difference=True).removeprefix('in '), []
    for one in found.weights:
        tags = ('chosen',) * (one.weight == found.weight) + ('over budget',) * (not one.within)
        rows.append(Row(Cell(f'{one.weight:g}', tags=tags), [
            _gain(one.gain, metric), *([_gain(one.used_gain, metric)] if used else []),
            Cell(estimate=one.psnr, factor=1, digits=2, sign=True)]))
    columns = [Column('mean gain', f'{unit}, ' + ('never used' if found.never_used else 'all judges')),
               *([Column('mean gain', f'{unit}, used in training')] if used else []), Column('PSNR', 'dB')]
    return Table(f'What each weight gives over {results.baseline}, with simultaneous 95 % intervals', Column('weight'),
                 columns, rows)


def sweep_charts(results: Results, condition: str) -> list[Chart]:
    """Return gain and dB by weight."""
    found = _choice(results, condition)
    if not (results.sweep and found):
        return []
    names = _short([one.weight for one in found.weights])
    series: dict[str, Sequence[Estimate | None]] = {
        'never used' if found.never_used else 'all recognizers': [one.gain for one in found.weights]}
    if found.has_used_gain:
        series['used in training'] = [one.used_gain for one in found.weights]
    budget, metric = results.sweep.max_psnr_drop, _metric(results, condition)
    unit = unit_words([metric], difference=True).removeprefix('in ')
    charts = (
        steps_chart('Gain by weight', f'{unit} over {results.baseline}', names, series,
                    ('weight', f'mean gain ({unit})'), metric.factor),
        steps_chart('PSNR by weight', f'dB over {results.baseline}', names,
                    {'PSNR': [one.psnr for one in found.weights]}, ('weight', 'change of PSNR (dB)'),
                    limit=None if budget is None else ('budget', -budget)))
    return [chart for chart in charts if chart]


def sweep_series(results: Results, condition: str) -> list[str]:
    """Return the names of the gains that the chart draws, where they are two."""
    found = _choice(results, condition)
    return ['never used in training', 'used in training'] if found and found.has_used_gain else []


def _gain(estimate: Estimate | None, metric: Metric) -> Cell:
    if not estimate or not estimate.is_known:
        return Cell()
    return Cell(estimate=estimate, factor=metric.factor, digits=metric.digits, sign=True,
                tags=('\u2248 0',) if estimate.side == 'unclear' else ())


def _short(weights: Sequence[float]) -> list[str]:
    """Return them all as 0.0001 or all as 1e-4, whichever is shorter."""
    powers = (f'{weight:e}'.split('e') for weight in weights)
    return min([f'{weight:g}' for weight in weights],
               [f'{float(mantissa):g}e{int(exponent)}' for mantissa, exponent in powers],
               key=lambda names: max(map(len, names)))
