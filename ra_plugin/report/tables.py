"""The tables that both the page and Markdown show: scores, differences, harm, clean input, audit."""
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ra_plugin.report import formats
from ra_plugin.report.metrics import Metric, main_metrics, metric_of, unit_words
from ra_plugin.report.table_types import UNITS, Cell, Column, Row, Table
from ra_plugin.results import (
    NONE,
    Audit,
    Change,
    CleanInput,
    CleanInputEntry,
    Condition,
    Difference,
    Estimate,
    Harm,
    Processing,
    Results,
    Score,
)

LEVELS = 6  # strengths of color on each side of zero
_LIMITS = (0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1)
UNCLEAR = '\u2248 0'
SHARE = Metric('share')  # of images, or of a score that the audit looks at
_SHORT_NAMES = {'kl': 'KL in nats \u2193', 'mean_cosine': 'mean cosine \u2191'}  # in heads of Markdown tables
_NO_SHARE = {'small': 'none to speak of', 'uncertain': 'gap too uncertain'}


@dataclass(frozen=True)
class Scale:
    """Color scale of a page.

    Attributes:
        limit: Difference that has the strongest color.
    """

    limit: float

    def level(self, value: float) -> int:
        """Return the strength of a color, ``-LEVELS`` to ``LEVELS``."""
        return max(-LEVELS, min(LEVELS, round(LEVELS * value / self.limit)))


def color_scale(results: Results) -> Scale:
    """Return the scale that reaches the largest difference to the baseline, rounded up; one point or more."""
    values = [abs(change.value) for data in results.conditions.values() for entry in data.differences.values()
              for metrics in entry.scores.values() for name, change in metrics.items()
              if change.is_known and metric_of(results, name).is_share]
    return Scale(next((limit for limit in _LIMITS if limit >= max(values, default=0)), 1))


def score_table(results: Results, condition: str) -> Table:
    """Return the scores and the image quality of every processing."""
    data = results.conditions[condition]
    columns = _columns(results, [entry.scores for entry in data.processings.values()],
                       [entry.quality for entry in data.processings.values()])
    digits = formats.quality_digits(results, [entry.quality for entry in data.processings.values()])

    def cell(name: str, entry: Processing, column: Column) -> Cell:
        if column.group == 'quality':
            return _quality(entry.quality.get(column.metric, math.nan), entry, column.metric, digits, data.n)
        metric = metric_of(results, column.metric)
        score = entry.scores.get(column.name, {}).get(column.metric)
        return _score(score, metric, column.name in results.restorer(name).used)

    return Table(f'Scores of each processing, {UNITS}', Column('processing'), columns,
                 [Row(_row_name(results, name), [cell(name, entry, column) for column in columns])
                 for name, entry in data.processings.items()])


def difference_table(results: Results, condition: str, scale: Scale) -> Table:
    """Return the transfer matrix: restorers by recognizers, minus the baseline."""
    data = results.conditions[condition]
    return _differences(results, data, {(name, name, '', name): entry for name, entry in data.differences.items()},
                        scale, Column('minus ' + results.baseline),
                        f'Gain over the baseline on the same images, {UNITS}; the 95 % interval below', True)


def no_processing_table(results: Results, condition: str, scale: Scale) -> Table:
    """Return restorers minus no processing, where the baseline is another."""
    data = results.conditions[condition]
    entries = {(name, name, f'minus {NONE}', name): entry
               for name, entry in data.differences_from_no_processing.items()}
    return _differences(results, data, entries, scale, Column('difference', plain=f'minus {NONE}'),
                        _against(NONE))


def pair_table(results: Results, condition: str, scale: Scale, restorer: str | None = None) -> Table:
    """Return restorers minus each other; with ``restorer``, that one minus the others."""
    data = results.conditions[condition]
    entries = {(second, second, f'minus {first}', f'{second} - {first}'): entry
               for second, firsts in data.pairs.items() if restorer in (None, second)
               for first, entry in firsts.items()}
    return _differences(results, data, entries, scale, Column('difference', plain=''), _against('each other'))


def _against(other: str) -> str:
    return f'Restorers against {other} on the same images, {UNITS}; the 95 % interval below'


def _differences(results: Results, data: Condition, entries: Mapping[tuple[str, str, str, str], Difference],
                 scale: Scale, head: Column, caption: str, with_gap: bool = False) -> Table:
    """Return a row for each entry; keys are the restorer, the row's name, the line below, and the name in Markdown."""
    measured = [entry.quality for entry in entries.values()]
    columns = _columns(results, [entry.scores for entry in (entries or data.processings).values()], measured)
    digits = formats.quality_digits(results, measured)

    def change(entry: Difference, column: Column) -> Change | None:
        return entry.scores.get(column.name, {}).get(column.metric)

    def cell(restorer: str, entry: Difference, column: Column) -> Cell:
        if column.group == 'quality':
            return Cell(estimate=entry.quality.get(column.metric), factor=1, digits=digits[column.metric], sign=True)
        return _difference(change(entry, column), scale, metric_of(results, column.metric),
                           column.name in results.restorer(restorer).used)

    def recovered(name: str, entry: Difference) -> Row | None:
        changes = [(change(entry, column), metric_of(results, column.metric)) if column.group != 'quality' else
                   (None, SHARE) for column in columns]
        if all(one is None or math.isnan(one.gap) for one, _ in changes):
            return None
        return Row(Cell(f'{name}: gap recovered'),
                   [recovered_cell(one, metric) if one else Cell() for one, metric in changes])

    rows = [Row(Cell(name, note=note, plain=plain), [cell(restorer, entry, column) for column in columns],
                recovered(name, entry) if with_gap else None)
            for (restorer, name, note, plain), entry in entries.items()]
    return Table(caption, head, columns, rows, marks_used=True, is_difference=True)


def harm_table(results: Results, condition: str) -> Table:
    """Return the shares of images hurt and helped, by restorer and recognizer: two rows for each restorer."""
    harm = results.conditions[condition].harm or {}
    recognizers = list(dict.fromkeys(name for entry in harm.values() for name in entry))

    def cell(entry: Harm | None, kind: str, used: bool) -> Cell:
        return _score(getattr(entry, kind) if entry else None, SHARE, used)

    rows = [Row(Cell(restorer, note=note, tags=(kind,)),
                [cell(entry.get(name), kind, name in results.restorer(restorer).used) for name in recognizers])
            for restorer, entry in harm.items()
            for kind, note in (('hurt', 'right before, wrong after'), ('helped', 'wrong before, right after'))]
    return Table('Images whose answer changed against no processing, in % of all images',
                 Column('processing', plain='restorer'), [Column(name) for name in recognizers], rows)


def clean_input_table(results: Results, condition: str, scale: Scale) -> Table:
    """Return the effect of restorers on clean images."""
    data = results.conditions[condition].clean_input or CleanInput()
    columns = [*_columns(results, [entry.scores for entry in data.restorers.values()], []),
               Column('PSNR', 'dB', group='quality', metric='psnr')]

    def cell(name: str, entry: CleanInputEntry, column: Column) -> Cell:
        if column.group == 'quality':
            return _quality(entry.psnr, entry, 'psnr', {'psnr': 2}, data.n, or_dash=True)
        return _difference(entry.scores.get(column.name, {}).get(column.metric), scale,
                           metric_of(results, column.metric), column.name in results.restorer(name).used)

    return Table(f'Clean images given to the restorer: change of the score against the clean image itself, {UNITS}'
                 + _image_count(data.n), Column('processing', plain='restorer'), columns,
                 [Row(Cell(name), [cell(name, entry, column) for column in columns])
                  for name, entry in data.restorers.items()], is_difference=True)


def audit_table(results: Results, audit: Audit, restorer: str, scale: Scale) -> Table:
    """Return the gain of one restorer by recognizer and view of the image, by the audit of a condition."""
    gains = audit.restorers[restorer].gains
    views = audit.views or list(dict.fromkeys(view for values in gains.values() for view in values))
    used = results.restorer(restorer).used
    metrics = audit_metrics(results, audit)

    def row(name: str, values: Mapping[str, Estimate]) -> Row:
        metric = metrics.get(name, SHARE)
        names = (metric.title, plain_head(name, metric.name)) if name in metrics else ('', None)
        return Row(Cell(name, note=names[0], plain=names[1], used=name in used),
                   [_difference(values.get(view), scale, metric) for view in views])

    return Table(f'Gain of {restorer} over {results.baseline} when both images are changed in the same way, '
                 + unit_words(metrics.values(), True) + _image_count(audit.n), Column('recognizer'),
                 [Column(view) for view in views], [row(name, values) for name, values in gains.items()],
                 marks_used=True)


def audit_metrics(results: Results, audit: Audit) -> dict[str, Metric]:
    """Return recognizer -> the metric that its gains in an audit are of, where the file says so."""
    return {name: metric_of(results, metric) for name, metric in (audit.metrics or {}).items()}


def recovered_cell(change: Change, metric: Metric) -> Cell:
    """Return the share of the gap that is recovered, or why there is none."""
    if change.gap_recovered:
        return Cell(estimate=change.gap_recovered, digits=0)
    if math.isnan(change.gap):
        return Cell()
    return Cell(note=f'gap too {formats.no_share(change.gap)}',
                plain=_NO_SHARE[formats.no_share(change.gap * (-1 if metric.better == 'lower' else 1))])


def _columns(results: Results, scores: Iterable[Mapping[str, Mapping[str, Estimate]]],
             measured: Iterable[Mapping[str, object]]) -> list[Column]:
    """Return the columns of image quality, and those of all recognizers by all metrics."""
    merged: dict[str, dict[str, Estimate]] = {}
    for entry in scores:
        for name, values in entry.items():
            merged.setdefault(name, {}).update(values)
    main = main_metrics(results, merged)
    columns = [_quality_head(results, key) for key in formats.quality_digits(results, measured)]
    for name in (*main, *(name for name in merged if name not in main)):
        columns += [Column(name, metric_of(results, metric).title, plain_head(name, metric),
                           'main' if metric == main[name].name else 'other', metric, metric_of(results, metric))
                    for metric in merged[name]]
    return columns


def plain_head(recognizer: str, metric: str) -> str:
    """Return the head of a column of scores in Markdown."""
    return recognizer if metric == 'top1' else f'{recognizer} {_SHORT_NAMES.get(metric, metric)}'


def _quality_head(results: Results, key: str) -> Column:
    if key in results.quality_metrics:
        better = results.quality_metrics[key].better
        return Column(key, f'{formats.arrow(better)} {better} is better', f'{key} {formats.arrow(better)}', 'quality',
                      key)
    return Column(key.upper(), 'dB' if key == 'psnr' else '', group='quality', metric=key)


def _row_name(results: Results, name: str) -> Cell:
    seeds = results.restorer(name).seeds
    return Cell(name, plain=name if seeds == 1 else f'{name} ({seeds} seeds)',
                tags=('baseline',) if name == results.baseline else ())


def _quality(value: float, entry: Processing | CleanInputEntry, key: str, digits: Mapping[str, int], n: int,
             or_dash: bool = False) -> Cell:
    """Return a mean of image quality, and how many images it is without; ``exact`` where all are restored exactly."""
    exact = entry.exact or 0 if key == 'psnr' else 0
    undefined = (entry.undefined or {}).get(key)
    note = f'{exact} exact left out' if exact and exact != n else f'{undefined} left out' if undefined else ''
    if not math.isnan(value):
        return Cell(formats.number(value, digits[key]), note=note)
    text = 'exact' if exact and exact == n else formats.DASH if entry.exact or or_dash else ''
    return Cell(text, note=note)


def _score(estimate: Estimate | None, metric: Metric, used: bool) -> Cell:
    if estimate is None:
        return Cell()
    seeds = estimate.seeds if isinstance(estimate, Score) else None
    return Cell(estimate=estimate, factor=metric.factor, digits=metric.digits, used=used,
                std=seeds.std if seeds else None)


def _difference(estimate: Estimate | None, scale: Scale, metric: Metric, used: bool = False) -> Cell:
    """Return a difference, colored where it is surely one; the scale of colors is for shares."""
    if estimate is None or not estimate.is_known:
        return Cell()
    unclear = estimate.side == 'unclear'
    return Cell(estimate=estimate, factor=metric.factor, digits=metric.digits, sign=True, used=used,
                level=(0 if unclear else scale.level(estimate.value)) if metric.is_share else None,
                tags=(UNCLEAR,) if unclear else ())


def _image_count(n: int) -> str:
    return f' ({formats.images(n)})' if n else ''
