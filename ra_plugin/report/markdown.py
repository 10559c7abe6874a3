"""The results of an evaluation as Markdown tables, laid out as the paper's: rows are ways of processing."""
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ra_plugin.report.formats import (
    alone,
    arrow,
    comparisons,
    coverage,
    no_share,
    quality,
    quality_digits,
    too_few_images,
    trained_with,
)
from ra_plugin.report.metrics import Metric, metric_of
from ra_plugin.report.notes import notes, warnings
from ra_plugin.report.sweep import sweep_lines
from ra_plugin.utils.text import markdown_cell

CLEAN, NONE = 'clean', 'no processing'
_METRICS = {'kl': 'KL in nats \u2193'}
_NO_SHARE = {'small': 'none to speak of', 'uncertain': 'gap too uncertain'}
Estimate = Mapping[str, float | None]  # value, low, high


def to_markdown(results: Mapping[str, Any]) -> str:
    """All tables of ``results.json``."""
    parts = ['\n'.join(f'- {markdown_cell(line)}' for line in sweep_lines(results))] if results.get('sweep') else []
    parts += _overview(results)
    for name, condition in results['conditions'].items():
        parts += [f'## {markdown_cell(name)}', *(f'**{markdown_cell(text)}**' for text in warnings(results, name)),
                  *map(markdown_cell, notes(results, name)), *_condition(condition, results)]
    parts += [f'{markdown_cell(name)}: trained with {markdown_cell(trained_with(entry))}.'
              for name, entry in results.get('restorers', {}).items() if entry.get('also_trained_with')]
    return '\n\n'.join(parts) + '\n'


def _overview(results: Mapping[str, Any]) -> Iterator[str]:
    """Where recognizers do not judge every condition: the conditions side by side."""
    conditions = results['conditions']
    columns = {name: _columns(condition) for name, condition in conditions.items()}
    if all(shown == next(iter(columns.values())) for shown in columns.values()):
        return
    heads = [f'{name}: {head}' for name, shown in columns.items() for head in _heads(shown)]
    names = dict.fromkeys(name for condition in conditions.values() for name in condition['processings'])
    rows = [['processing', *heads]]
    for name in names:
        found = {key: condition['processings'].get(name, {'scores': {}})['scores']
                 for key, condition in conditions.items()}
        rows.append([name, *(_score(found[key][recognizer][metric], metric_of(results, metric))
                             if recognizer in found[key] else ''
                             for key, shown in columns.items() for recognizer, metric in shown)])
    yield 'Scores in %, with 95 % intervals: each recognizer judges its own conditions (laid out as table 3).'
    yield table(rows)


def _condition(condition: Mapping[str, Any], results: Mapping[str, Any]) -> Iterator[str]:
    baseline = results['baseline']
    yield f'Scores in %, with 95 % intervals, on {condition["n"]} images (saved as 8 bit).'
    yield _scores(condition, results)
    yield markdown_cell(' '.join([coverage(results), *too_few_images(condition)]))
    yield (f'Differences to {markdown_cell(baseline)} on the same images, in points'
           + ('; gap recovered: % of the way from there to clean, where that is surely there, and 5 points or more'
              if CLEAN in condition['processings'] else '') + '. Bold: the recognizer was used in training.')
    yield _differences(condition['differences'], condition, results, 'minus ' + baseline, recovered=True)
    if (many := comparisons(condition)) > 1:
        yield alone(many)
    if condition.get('differences_from_no_processing'):
        yield f'Differences to {NONE} on the same images, in points.'
        yield _differences(condition['differences_from_no_processing'], condition, results, f'minus {NONE}')
    for name, entries in condition.get('pairs', {}).items():
        yield f'{markdown_cell(name)} against the others on the same images, in points.'
        named = {f'{name} - {other}': entry for other, entry in entries.items()}
        yield _differences(named, condition, results, '', name)
    for title, table in _transfers(condition, results):
        yield title
        yield table
    if condition.get('harm'):
        yield ('Harm: share of images in % that are read right without restoration and wrong with it; helped: the '
               'other way round.')
        yield _harm(condition['harm'])
    if condition.get('clean_input'):
        yield (f'Clean input: the restorer is given the clean image ({condition["clean_input"]["n"]} images); score '
               'minus that of the clean image itself, in points.')
        yield _clean_input(condition['clean_input'], results)
    if condition.get('audit'):
        yield (f'Audit: gain over {markdown_cell(baseline)} in points when the image is changed a little '
               f'({condition["audit"]["n"]} images). Bold: the recognizer was used in training.')
        yield _audit(condition['audit'], results)
        yield '\n'.join(f'- {markdown_cell(name)}: **{entry["verdict"]}**. {markdown_cell(entry["reason"])}'
                        for name, entry in condition['audit']['restorers'].items())


def shown_columns(scores: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Recognizers with the metrics that tables show: all but top-5 accuracy."""
    return [(recognizer, metric) for recognizer, metrics in scores.items() for metric in metrics if metric != 'top5']


def _columns(condition: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Of a condition; all processings have the same."""
    return shown_columns(next(iter(condition['processings'].values()))['scores'])


def _heads(columns: Sequence[tuple[str, str]]) -> list[str]:
    return [recognizer if metric == 'top1' else f'{recognizer} {_METRICS.get(metric, metric)}'
            for recognizer, metric in columns]


def _quality_heads(results: Mapping[str, Any], shown: Mapping[str, int]) -> list[str]:
    further = results.get('quality_metrics', {})
    return [f'{name} {arrow(further[name]["better"])}' if name in further else name.upper() for name in shown]


def _scores(condition: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    columns, shown = _columns(condition), quality_digits(results, condition['processings'])
    rows = [['processing', *_quality_heads(results, shown), *_heads(columns)]]
    for name, entry in condition['processings'].items():
        measured = ['' if entry.get(key) is None and not entry.get('exact')
                    else quality(entry, key, digits, condition['n']) for key, digits in shown.items()]
        seeds = results['restorers'].get(name, {}).get('seeds', 1)
        label = name if seeds == 1 else f'{name} ({seeds} seeds)'
        rows.append([label, *measured, *(_score(entry['scores'][recognizer][metric], metric_of(results, metric))
                                         for recognizer, metric in columns)])
    return table(rows)


def _score(entry: Mapping[str, Any], metric: Metric) -> str:
    spread = f', std {metric.factor * entry["seeds"]["std"]:.{metric.digits}f}' if entry['seeds'] else ''
    return _value(entry, metric) + spread


def _value(estimate: Estimate, metric: Metric, sign: str = '') -> str:
    return percent(estimate, sign) if metric.is_share else interval(estimate, f'{sign}.{metric.digits}f')


def _differences(entries: Mapping[str, Any], condition: Mapping[str, Any], results: Mapping[str, Any], head: str,
                 restorer: str | None = None, recovered: bool = False) -> str:
    """A row for each entry, of the restorer that is its name, or of ``restorer``."""
    columns = _columns(condition)
    shown = {key: digits for key, digits in quality_digits(results, entries).items() if key != 'ssim'}
    rows = [[head, *_quality_heads(results, shown), *_heads(columns)]]
    for name, entry in entries.items():
        cells = [(entry['scores'][recognizer][metric], metric_of(results, metric)) for recognizer, metric in columns]
        bold = [recognizer in results['restorers'][restorer or name]['used'] for recognizer, _ in columns]
        measured = [interval(entry[key], f'+.{digits}f') for key, digits in shown.items()]
        rows.append([name, *measured, *(_marked(_value(*cell, '+'), used) for cell, used in zip(cells, bold))])
        if recovered and any(cell['gap'] is not None for cell, _ in cells):
            rows.append([f'{name}: gap recovered', *('' for _ in shown), *(_share(*cell) for cell in cells)])
    return table(rows)


def _share(cell: Mapping[str, Any], metric: Metric) -> str:
    if cell['gap_recovered']:
        return percent(cell['gap_recovered'], '', '.0f')
    if cell['gap'] is None:
        return ''
    return _NO_SHARE[no_share(cell['gap'] * (-1 if metric.better == 'lower' else 1))]


def _transfers(condition: Mapping[str, Any], results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Where one way of training was used with several recognizers: the paper's tables 1 and 2."""
    of_method: dict[str, dict[str, str]] = {}  # method -> recognizer used -> restorer
    for name, restorer in results['restorers'].items():
        if len(restorer['used']) == 1 and name in condition['processings']:
            of_method.setdefault(restorer['method'], {})[restorer['used'][0]] = name
    of_method = {method: restorers for method, restorers in of_method.items() if len(restorers) > 1}
    if not of_method:
        return
    processings = condition['processings']
    first = next(iter(processings.values()))['scores']
    columns = [(recognizer, next(iter(metrics))) for recognizer, metrics in first.items()]

    def score(name: str, column: tuple[str, str]) -> str:
        value = processings[name]['scores'][column[0]][column[1]]['value']
        return '' if value is None else f'{100 * value:.1f}'

    rows = [['processing', *_heads(columns)]]
    rows += [[name, *(score(name, column) for column in columns)] for name in (NONE, results['baseline'])]
    rows += [[method, *(score(restorers[column[0]], column) if column[0] in restorers else '' for column in columns)]
             for method, restorers in of_method.items()]
    yield 'Each recognizer on images restored with itself as the loss, in % (laid out as table 1).', table(rows)
    for method, restorers in of_method.items():
        rows = [['trained with', *_heads(columns)], *(
            [used, *(score(restorers[used], column) for column in columns)] for used in restorers)]
        yield (f'Transfer of {markdown_cell(method)}: rows are the recognizers used in training, columns those that '
               'read the images, in % (laid out as table 2).'), table(rows)


def _harm(harm: Mapping[str, Any]) -> str:
    recognizers = list(next(iter(harm.values())))
    rows = [['restorer', *(f'{name}: {kind}' for name in recognizers for kind in ('hurt', 'helped'))]]
    rows += [[restorer, *(percent(entry[name][kind]) for name in recognizers for kind in ('hurt', 'helped'))]
             for restorer, entry in harm.items()]
    return table(rows)


def _clean_input(entries: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    first = next(iter(entries['restorers'].values()))
    columns = shown_columns(first['scores'])
    rows = [['restorer', 'PSNR', *_heads(columns)]]
    rows += [[name, quality(entry, 'psnr', 2, entries['n']),
              *(_value(entry['scores'][recognizer][metric], metric_of(results, metric), '+')
                for recognizer, metric in columns)]
             for name, entry in entries['restorers'].items()]
    return table(rows)


def _audit(audit: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    rows = [['restorer', 'recognizer', *audit['views']]]
    for name, entry in audit['restorers'].items():
        used = results['restorers'][name]['used']
        rows += [[name, _marked(recognizer, recognizer in used),
                  *(percent(gains[view], '+') for view in audit['views'])]
                 for recognizer, gains in entry['gains'].items()]
    return table(rows)


def percent(estimate: Estimate, sign: str = '', form: str = '.1f') -> str:
    """A share in %, with its interval."""
    return interval({key: None if estimate[key] is None else 100 * estimate[key] for key in ('value', 'low', 'high')},
                    sign + form)


def interval(estimate: Estimate, form: str) -> str:
    """``value [low, high]``."""
    value, low, high = (_number(estimate[key], form) for key in ('value', 'low', 'high'))
    return f'{value} [{low}, {high}]' if low else value


def _number(value: float | None, form: str) -> str:
    return '' if value is None else f'{value:{form}}'


class _Bold(str):
    """A cell in bold type."""


def _marked(text: str, bold: bool) -> str:
    return _Bold(text) if bold else text


def table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row is its head."""
    cells = [[f'**{markdown_cell(cell)}**' if isinstance(cell, _Bold) else markdown_cell(cell) for cell in row]
             for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = ['| ' + ' | '.join(cell.ljust(width) for cell, width in zip(row, widths)) + ' |' for row in cells]
    lines.insert(1, '|' + '|'.join('-' * (width + 2) for width in widths) + '|')
    return '\n'.join(lines)
