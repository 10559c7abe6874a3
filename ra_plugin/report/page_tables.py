"""What the page's tables hold: text, and how strongly a difference is colored."""
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ra_plugin.report import formats
from ra_plugin.report.formats import interval, number, percent, side, trained_with
from ra_plugin.report.metrics import Metric, metric_of
from ra_plugin.report.verdict import main_metrics, used_by

LEVELS = 6  # strengths of color on each side of zero
_CLASSES_SHOWN = 30  # of a data set with more, those that are hurt most
_LIMITS = (0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1)
_USED, _UNCLEAR = 'used', '\u2248 0'
_SHARE = metric_of({}, 'share')  # of images, or of a score that the audit looks at
_NO_METRIC = metric_of({}, '')


@dataclass(frozen=True)
class Cell:
    """One cell: a number or a name, a smaller line below, and tags."""

    text: str
    note: str = ''
    level: int | None = None  # of color, -LEVELS to LEVELS; None where the cell has no color
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A caption, the heads of the columns (the first is above the names of the rows), and rows of name and cells."""

    caption: str
    heads: Sequence[Cell]
    rows: Sequence[tuple[Cell, Sequence[Cell]]]


@dataclass(frozen=True)
class Scale:
    """The one color scale of a page."""

    limit: float  # the difference that has the strongest color

    def level(self, value: float | None) -> int:
        """``-LEVELS`` to ``LEVELS``."""
        return 0 if value is None else max(-LEVELS, min(LEVELS, round(LEVELS * value / self.limit)))


def color_scale(results: Mapping[str, Any]) -> Scale:
    """Reaches the largest difference to the baseline, rounded up; one point or more."""
    values = [abs(estimate['value']) for data in results['conditions'].values()
              for entry in data.get('differences', {}).values() for metrics in entry.get('scores', {}).values()
              for name, estimate in metrics.items()
              if estimate['value'] is not None and metric_of(results, name).is_share]
    return Scale(next((limit for limit in _LIMITS if limit >= max(values, default=0)), 1))


def difference_table(results: Mapping[str, Any], condition: str, scale: Scale) -> Table | None:
    """The transfer matrix: restorers by recognizers, main metrics, minus the baseline."""
    differences = results['conditions'][condition].get('differences', {})
    return _gains(results, {(name, name, ''): entry for name, entry in differences.items()}, scale,
                  'minus ' + results['baseline'],
                  'Gain over the baseline on the same images, in points; the 95 % interval below')


def others_table(results: Mapping[str, Any], condition: str, scale: Scale) -> Table | None:
    """Restorers minus no processing, where the baseline is another; restorers minus each other, where it is not."""
    data = results['conditions'][condition]
    entries = {(name, name, 'minus no processing'): entry
               for name, entry in data.get('differences_from_no_processing', {}).items()}
    entries.update({(second, second, f'minus {first}'): entry for second, firsts in data.get('pairs', {}).items()
                    for first, entry in firsts.items()})
    against = 'each other' if data.get('pairs') else 'no processing'
    return _gains(results, entries, scale, 'difference',
                  f'Restorers against {against} on the same images, in points; the 95 % interval below')


def _gains(results: Mapping[str, Any], entries: Mapping[tuple[str, str, str], Mapping], scale: Scale, head: str,
           caption: str) -> Table | None:
    """A row for each entry; keys are restorer, name of the row, and the line below it."""
    metrics = _metrics(results, entries.values())
    quality = formats.quality_digits(results, dict(enumerate(entries.values())))
    rows = []
    for (restorer, name, note), entry in entries.items():
        used = used_by(results, restorer)
        cells = [_difference(entry.get('scores', {}).get(recognizer, {}).get(metric.name), scale, metric,
                             recognizer in used) for recognizer, metric in metrics.items()]
        rows.append((Cell(name, note), [*cells, *_quality_difference(entry, quality)]))
    return _table(caption, [Cell(head), *_heads(metrics), *_quality_heads(results, quality)], rows)


def score_table(results: Mapping[str, Any], condition: str) -> Table | None:
    """Scores of every processing, main metrics."""
    processings = results['conditions'][condition].get('processings', {})
    metrics, quality = _metrics(results, processings.values()), formats.quality_digits(results, processings)
    n = results['conditions'][condition].get('n')
    rows = [(_row_name(results, name), [
        *(_share(entry.get('scores', {}).get(recognizer, {}).get(metric.name), recognizer in used_by(results, name),
                 metric) for recognizer, metric in metrics.items()),
        *(Cell(formats.quality(entry, key, digits, n), _without(entry, key, n)) for key, digits in quality.items())])
        for name, entry in processings.items()]
    return _table('Scores of each processing, in %',
                  [Cell('processing'), *_heads(metrics), *_quality_heads(results, quality)], rows)


def other_metrics_table(results: Mapping[str, Any], condition: str) -> Table | None:
    """Scores by what is not the main metric."""
    processings = results['conditions'][condition].get('processings', {})
    main = _metrics(results, processings.values())
    others = list(dict.fromkeys((recognizer, metric) for entry in processings.values()
                                for recognizer, values in entry.get('scores', {}).items()
                                for metric in values if metric != (main.get(recognizer) or _NO_METRIC).name))
    rows = [(_row_name(results, name), [
        _share(entry.get('scores', {}).get(recognizer, {}).get(metric), recognizer in used_by(results, name),
               metric_of(results, metric))
        for recognizer, metric in others]) for name, entry in processings.items()] if others else []
    return _table('Scores by the other metrics, in %',
                  [Cell('processing'), *(Cell(name, metric_of(results, metric).title) for name, metric in others)],
                  rows)


def harm_table(results: Mapping[str, Any], condition: str) -> Table | None:
    """Shares of images hurt and helped, by restorer and recognizer."""
    harm = results['conditions'][condition].get('harm', {})
    recognizers = list(dict.fromkeys(name for entry in harm.values() for name in entry))
    rows = [(Cell(restorer, {'hurt': 'right before, wrong after', 'helped': 'wrong before, right after'}[kind],
                  tags=(kind,)),
             [_share(entry.get(name, {}).get(kind), name in used_by(results, restorer), _SHARE)
              for name in recognizers])
            for restorer, entry in harm.items() for kind in ('hurt', 'helped')]
    return _table('Images whose answer changed against no processing, in % of all images',
                  [Cell('processing'), *map(Cell, recognizers)], rows)


def class_tables(results: Mapping[str, Any], condition: str) -> list[tuple[str, Table]]:
    """Restorer -> hurt and helped by class, the classes hurt most first."""
    tables = []
    for restorer, entry in results['conditions'][condition].get('harm', {}).items():
        by_class = {name: values['by_class'] for name, values in entry.items() if values.get('by_class')}
        classes = list(dict.fromkeys(label for values in by_class.values() for label in values))
        hurt = {label: sum(values.get(label, {}).get('hurt') or 0 for values in by_class.values())
                for label in classes}
        shown = sorted(classes, key=hurt.get, reverse=True)[:_CLASSES_SHOWN]
        rows = [(_class_name(label, by_class), [_hurt_and_helped(values.get(label)) for values in by_class.values()])
                for label in shown]
        some = f', the {len(shown)} of {len(classes)} classes that are hurt most' if len(shown) < len(classes) else ''
        table = _table(f'{restorer}: hurt / helped in % of the images of the class{some}',
                       [Cell('class'), *map(Cell, by_class)], rows)
        if table:
            tables.append((restorer, table))
    return tables


def clean_input_table(results: Mapping[str, Any], condition: str, scale: Scale) -> Table | None:
    """Return what a restorer does to images that need none."""
    data = results['conditions'][condition].get('clean_input', {})
    entries = data.get('restorers', {})
    metrics = _metrics(results, entries.values())
    rows = [(Cell(name), [*(
        _difference(entry.get('scores', {}).get(recognizer, {}).get(metric.name), scale, metric,
                    recognizer in used_by(results, name)) for recognizer, metric in metrics.items()),
        Cell(formats.quality(entry, 'psnr', 2, data.get('n')), _without(entry, 'psnr', data.get('n')))])
        for name, entry in entries.items()]
    of = f' ({formats.count(data["n"])} images)' if data.get('n') else ''
    return _table(f'Clean images given to the restorer: change of the score against the clean image itself, '
                  f'in points{of}', [Cell('processing'), *_heads(metrics), Cell('PSNR', 'dB')], rows)


def audit_table(results: Mapping[str, Any], condition: str, restorer: str, scale: Scale) -> Table | None:
    """Gain of one restorer by recognizer and view of the image."""
    audit = results['conditions'][condition]['audit']
    gains = audit['restorers'][restorer].get('gains', {})
    views = audit.get('views') or list(dict.fromkeys(view for values in gains.values() for view in values))
    used = used_by(results, restorer)
    rows = [(Cell(name, tags=(_USED,) if name in used else ()),
             [_difference(values.get(view), scale, _SHARE) for view in views]) for name, values in gains.items()]
    of = f' ({formats.count(audit["n"])} images)' if audit.get('n') else ''
    return _table(f'Gain of {restorer} over {results["baseline"]} when both images are changed in the same way, '
                  f'in points{of}', [Cell('recognizer'), *map(Cell, views)], rows)


def certainty_table(results: Mapping[str, Any], condition: str) -> Table | None:
    """Return how sure each difference is."""
    data = results['conditions'][condition]
    rows = []
    for restorer, entry in data.get('differences', {}).items():
        for recognizer, metric in _metrics(results, [entry]).items():
            estimate = entry['scores'][recognizer][metric.name]
            score = data['processings'].get(restorer, {}).get('scores', {}).get(recognizer, {}).get(metric.name, {})
            tags = (_USED,) if recognizer in used_by(results, restorer) else ()
            rows.append((Cell(restorer, f'{recognizer}, {metric.title}', tags=tags), [
                Cell(metric.value(estimate['value'], sign=True), metric.interval(estimate, sign=True)),
                Cell('; '.join(map(formats.p_value, estimate.get('mcnemar_p') or [None]))),
                Cell(metric.value(estimate.get('gap'), sign=True)), _recovered(estimate),
                Cell(formats.count(estimate.get('images_for_one_point'))), _seeds(score.get('seeds'), metric)]))
    heads = [Cell('processing', 'recognizer'), Cell('gain', 'points'), Cell('McNemar\u2019s p', 'by seed'),
             Cell('gap', f'clean minus {results["baseline"]}'), Cell('gap recovered', '%'),
             Cell('images needed', 'to tell one point'), Cell('over seeds', 'mean \u00b1 std, %')]
    return _table('How sure each gain is', heads, rows)


def recognizer_table(results: Mapping[str, Any]) -> Table | None:
    """Who judged."""
    rows = [(Cell(name), [Cell(entry.get('task') or formats.NONE), Cell(formats.count(entry.get('num_classes'))),
                          Cell(', '.join(metric_of(results, metric).title for metric in entry.get('metrics', ()))
                               or formats.NONE),
                          Cell(str(entry.get('source') or formats.NONE))])
            for name, entry in results.get('recognizers', {}).items()]
    return _table('Recognizers', [Cell(head) for head in ('recognizer', 'task', 'classes', 'metrics', 'source')], rows)


def restorer_table(results: Mapping[str, Any]) -> Table | None:
    """Who restored."""
    rows = [(_row_name(results, name), [Cell(formats.count(entry.get('seeds'))),
                                        Cell(trained_with(entry) or 'none')])
            for name, entry in results.get('restorers', {}).items()]
    return _table('Restorers', [Cell(head) for head in ('restorer', 'seeds', 'recognizers used in training')], rows)


def _table(caption: str, heads: Sequence[Cell], rows: Sequence) -> Table | None:
    return Table(caption, heads, rows) if rows else None


def _metrics(results: Mapping[str, Any], entries: Iterable[Mapping]) -> dict[str, Metric]:
    """Recognizer -> main metric, over all that any of the entries has."""
    scores: dict[str, dict] = {}
    for entry in entries:
        for name, values in entry.get('scores', {}).items():
            scores.setdefault(name, {}).update(values)
    return {name: metric_of(results, metric) for name, metric in main_metrics(results, scores).items()}


def _heads(metrics: Mapping[str, Metric]) -> list[Cell]:
    return [Cell(name, metric.title) for name, metric in metrics.items()]


def _row_name(results: Mapping[str, Any], name: str) -> Cell:
    return Cell(name, tags=('baseline',) if name == results['baseline'] else ())


def _share(estimate: Mapping | None, used: bool, metric: Metric) -> Cell:
    if not estimate:
        return Cell(formats.NONE)
    return Cell(metric.value(estimate['value']), metric.interval(estimate), tags=(_USED,) if used else ())


def _difference(estimate: Mapping | None, scale: Scale, metric: Metric, used: bool = False) -> Cell:
    """A difference, colored where it is surely one; the scale of colors is of shares."""
    if not estimate or estimate['value'] is None:
        return Cell(formats.NONE)
    unclear = side(estimate) == 'unclear'
    tags = ((_USED,) if used else ()) + ((_UNCLEAR,) if unclear else ())
    level = (0 if unclear else scale.level(estimate['value'])) if metric.is_share else None
    return Cell(metric.value(estimate['value'], sign=True), metric.interval(estimate, sign=True), level, tags)


def _quality_heads(results: Mapping[str, Any], shown: Iterable[str]) -> list[Cell]:
    further = results.get('quality_metrics', {})
    heads = {'psnr': Cell('PSNR', 'dB'), 'ssim': Cell('SSIM'), **{
        name: Cell(name, f'{formats.arrow(entry["better"])} {entry["better"]} is better')
        for name, entry in further.items()}}
    return [heads[key] for key in shown]


def _quality_difference(entry: Mapping, shown: Mapping[str, int]) -> list[Cell]:
    return [Cell(number(entry[key]['value'], digits, sign=True), interval(entry[key], 1, digits, sign=True))
            if entry.get(key) else Cell(formats.NONE) for key, digits in shown.items()]


def _without(entry: Mapping, key: str, n: int | None) -> str:
    """How many images a mean of quality is without."""
    exact = entry.get('exact') or 0 if key == 'psnr' else 0
    undefined = entry.get('undefined', {}).get(key)
    return f'{exact} exact left out' if exact and exact != n else f'{undefined} left out' if undefined else ''


def _class_name(label: str, by_class: Mapping[str, Mapping]) -> Cell:
    n = next((values[label].get('n') for values in by_class.values() if label in values), None)
    return Cell(label, f'{formats.count(n)} images' if n is not None else '')


def _hurt_and_helped(entry: Mapping | None) -> Cell:
    return Cell(f'{percent(entry.get("hurt"))} / {percent(entry.get("helped"))}' if entry else formats.NONE)


def _recovered(estimate: Mapping) -> Cell:
    recovered = estimate.get('gap_recovered')
    if recovered:
        return Cell(number(100 * recovered['value'], 0), interval(recovered, 100, 0))
    return Cell(formats.NONE, f'gap too {formats.no_share(estimate["gap"])}' if estimate.get('gap') is not None else '')


def _seeds(seeds: Mapping | None, metric: Metric) -> Cell:
    if not seeds:
        return Cell('one seed')
    return Cell(f'{metric.value(seeds["mean"])} \u00b1 {metric.value(seeds["std"])}',
                ', '.join(map(metric.value, seeds['values'])))
