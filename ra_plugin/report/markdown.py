"""The results of an evaluation as Markdown tables, laid out as the paper's: rows are ways of processing."""
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ra_plugin.report.formats import alone, arrow, comparisons, coverage, no_share, quality_digits, too_few_images
from ra_plugin.utils.text import markdown_cell

CLEAN, NONE = 'clean', 'no processing'
_NO_SHARE = {'small': 'none to speak of', 'uncertain': 'gap too uncertain'}
Estimate = Mapping[str, float | None]  # value, low, high


def to_markdown(results: Mapping[str, Any]) -> str:
    """All tables of ``results.json``."""
    parts = [*_overview(results)]
    for name, condition in results['conditions'].items():
        parts += [f'## {markdown_cell(name)}', *_condition(condition, results)]
    return '\n\n'.join(parts) + '\n'


def _overview(results: Mapping[str, Any]) -> Iterator[str]:
    """Where recognizers do not judge every condition: the conditions side by side."""
    conditions = results['conditions']
    columns = {name: shown_columns(condition['processings'][CLEAN]['scores']) for name, condition in conditions.items()}
    if all(shown == next(iter(columns.values())) for shown in columns.values()):
        return
    heads = [f'{name}: {head}' for name, shown in columns.items() for head in _heads(shown)]
    names = dict.fromkeys(name for condition in conditions.values() for name in condition['processings'])
    rows = [['processing', *heads]]
    for name in names:
        found = {key: condition['processings'].get(name, {'scores': {}})['scores']
                 for key, condition in conditions.items()}
        rows.append([name, *(_score(found[key][recognizer][metric]) if recognizer in found[key] else ''
                             for key, shown in columns.items() for recognizer, metric in shown)])
    yield 'Scores in %, with 95 % intervals: each recognizer judges its own conditions (laid out as table 3).'
    yield table(rows)


def _condition(condition: Mapping[str, Any], results: Mapping[str, Any]) -> Iterator[str]:
    baseline = results['baseline']
    yield f'Scores in %, with 95 % intervals, on {condition["n"]} images (saved as 8 bit).'
    yield _scores(condition, results)
    yield markdown_cell(' '.join([coverage(results), *too_few_images(condition)]))
    yield (f'Differences to {markdown_cell(baseline)} on the same images, in points; gap recovered: % of the way from '
           'there to clean, where that is surely there, and 5 points or more. Bold: the recognizer was used in '
           'training.')
    yield _differences(condition, results)
    if (many := comparisons(condition)) > 1:
        yield alone(many)
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
        yield _clean_input(condition['clean_input'])
    if condition.get('audit'):
        yield (f'Audit: gain over {markdown_cell(baseline)} in points when the image is changed a little '
               f'({condition["audit"]["n"]} images). Bold: the recognizer was used in training.')
        yield _audit(condition['audit'], results)
        yield '\n'.join(f'- {markdown_cell(name)}: **{entry["verdict"]}**. {markdown_cell(entry["reason"])}'
                        for name, entry in condition['audit']['restorers'].items())


def shown_columns(scores: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Recognizers with the metrics that tables show: all but top-5 accuracy."""
    return [(recognizer, metric) for recognizer, metrics in scores.items() for metric in metrics if metric != 'top5']


def _heads(columns: Sequence[tuple[str, str]]) -> list[str]:
    return [recognizer if metric == 'top1' else f'{recognizer} {metric}' for recognizer, metric in columns]


def _quality_heads(results: Mapping[str, Any]) -> list[str]:
    return [f'{name} {arrow(entry["better"])}' for name, entry in results.get('quality_metrics', {}).items()]


def _scores(condition: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    columns = shown_columns(condition['processings'][CLEAN]['scores'])
    rows = [['processing', 'PSNR', 'SSIM', *_quality_heads(results), *_heads(columns)]]
    for name, entry in condition['processings'].items():
        quality = [_number(entry[key], f'.{digits}f') for key, digits in quality_digits(results).items()]
        seeds = results['restorers'].get(name, {}).get('seeds', 1)
        label = name if seeds == 1 else f'{name} ({seeds} seeds)'
        rows.append([label, *quality, *(_score(entry['scores'][recognizer][metric]) for recognizer, metric in columns)])
    return table(rows)


def _score(entry: Mapping[str, Any]) -> str:
    spread = f', std {100 * entry["seeds"]["std"]:.1f}' if entry['seeds'] else ''
    return percent(entry) + spread


def _differences(condition: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    columns = shown_columns(condition['processings'][CLEAN]['scores'])
    further = results.get('quality_metrics', {})
    rows = [['minus ' + results['baseline'], 'PSNR', *_quality_heads(results), *_heads(columns)]]
    for name, entry in condition['differences'].items():
        cells = [entry['scores'][recognizer][metric] for recognizer, metric in columns]
        bold = [recognizer in results['restorers'][name]['used'] for recognizer, _ in columns]
        rows.append([name, interval(entry['psnr'], '+.2f'), *(interval(entry[key], '+.4f') for key in further),
                     *(_marked(percent(cell, '+'), used) for cell, used in zip(cells, bold))])
        rows.append([f'{name}: gap recovered', '', *('' for _ in further), *(
            percent(cell['gap_recovered'], '', '.0f') if cell['gap_recovered'] else _NO_SHARE[no_share(cell['gap'])]
            for cell in cells)])
    return table(rows)


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
    columns = [(recognizer, next(iter(metrics))) for recognizer, metrics in processings[CLEAN]['scores'].items()]

    def score(name: str, column: tuple[str, str]) -> str:
        return f'{100 * processings[name]["scores"][column[0]][column[1]]["value"]:.1f}'

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


def _clean_input(entries: Mapping[str, Any]) -> str:
    first = next(iter(entries['restorers'].values()))
    columns = shown_columns(first['scores'])
    rows = [['restorer', 'PSNR', *_heads(columns)]]
    rows += [[name, _number(entry['psnr'], '.2f'),
              *(percent(entry['scores'][recognizer][metric], '+') for recognizer, metric in columns)]
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
