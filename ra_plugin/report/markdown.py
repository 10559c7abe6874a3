"""Results of an evaluation in Markdown: tables laid out as the paper's, rows are ways of processing."""
import math
from collections.abc import Iterator

from ra_plugin.report import tables
from ra_plugin.report.formats import alone, comparisons, coverage, too_few_images, trained_with
from ra_plugin.report.markdown_table import cell_text, head_text, joined, printed, table
from ra_plugin.report.metrics import metric_of, unit_words
from ra_plugin.report.notes import notes, warnings
from ra_plugin.report.sweep import sweep_lines
from ra_plugin.report.table_types import Cell, Group, Table
from ra_plugin.results import CLEAN, NONE, Audit, Results
from ra_plugin.utils.text import how_many, markdown_cell

_QUALITY: tuple[Group, ...] = ('quality',)
_SCORES: tuple[Group, ...] = 'main', 'other'  # in the order of the columns
_HIDDEN = 'top5'  # the page alone shows it


def to_markdown(results: Results) -> str:
    """Return all tables of an evaluation."""
    parts = ['\n'.join(f'- {markdown_cell(line)}' for line in sweep_lines(results))] if results.sweep else []
    parts += _overview(results)
    for name in results.conditions:
        parts += [f'## {markdown_cell(name)}', *(f'**{markdown_cell(text)}**' for text in warnings(results, name)),
                  *map(markdown_cell, notes(results, name)), *_condition(results, name)]
    parts += [f'{markdown_cell(name)}: trained with {markdown_cell(trained_with(facts))}.'
              for name, facts in results.restorers.items() if facts.also_trained_with]
    return '\n\n'.join(parts) + '\n'


def _overview(results: Results) -> Iterator[str]:
    """Yield the conditions side by side, where recognizers do not judge every condition."""
    scores = {name: tables.score_table(results, name).select(_SCORES, but=[_HIDDEN])
              for name in results.conditions}
    heads = [[head_text(column) for column in shown.columns] for shown in scores.values()]
    if all(head == heads[0] for head in heads):
        return
    rows = [['processing', *(f'{name}: {head}' for name, of_condition in zip(scores, heads, strict=True)
                             for head in of_condition)]]
    for name in dict.fromkeys(row.name.text for shown in scores.values() for row in shown.rows):
        rows.append([name, *(text for shown in scores.values() for text in _row_texts(shown, name))])
    units = unit_words(column.measured for shown in scores.values() for column in shown.columns if column.measured)
    yield f'Scores {units}, with 95 % intervals: each recognizer judges its own conditions (laid out as table 3).'
    yield table(rows)


def _row_texts(shown: Table, name: str) -> list[str]:
    """Return the cells of the row of that name; empty ones where there is none."""
    cells = next((row.cells for row in shown.rows if row.name.text == name), [Cell()] * len(shown.columns))
    return list(map(cell_text, cells))


def _condition(results: Results, name: str) -> Iterator[str]:
    condition, baseline, scale = results.conditions[name], results.baseline, tables.color_scale(results)
    scores = tables.score_table(results, name).select(_QUALITY, _SCORES, but=[_HIDDEN])
    yield f'Scores {scores.units}, with 95 % intervals, on {how_many(condition.n, "image")} (saved as 8 bit).'
    yield printed(scores)
    yield markdown_cell(' '.join([coverage(results), *too_few_images(condition)]))
    units = unit_words((column.measured for column in scores.columns if column.measured), difference=True)
    yield (f'Differences to {markdown_cell(baseline)} on the same images, {units}'
           + ('; gap recovered: % of the way from there to clean, where that gap is certain and 5 points or more'
              if CLEAN in condition.processings else '') + '. Bold: the recognizer was used in training.')
    yield _changes(tables.difference_table(results, name, scale))
    if (many := comparisons(condition)) > 1:
        yield alone(many)
    if condition.differences_from_no_processing:
        yield f'Differences to {NONE} on the same images, {units}.'
        yield _changes(tables.no_processing_table(results, name, scale))
    for restorer in condition.pairs:
        yield f'{markdown_cell(restorer)} against the others on the same images, {units}.'
        yield _changes(tables.pair_table(results, name, scale, restorer))
    for title, rows in _transfers(results, name):
        yield title
        yield table(rows)
    if condition.harm:
        yield ('Harm: share of images in % that are read right without restoration and wrong with it; helped: the '
               'other way round.')
        yield _harm(tables.harm_table(results, name))
    if condition.clean_input and condition.clean_input.restorers:
        yield (f'Clean input: the restorer is given the clean image ({how_many(condition.clean_input.n, "image")}); '
               f'score minus that of the clean image itself, {units}.')
        yield printed(tables.clean_input_table(results, name, scale).select(_QUALITY, _SCORES, but=[_HIDDEN]))
    if condition.audit and condition.audit.restorers:
        units = unit_words(tables.audit_metrics(results, condition.audit).values(), difference=True)
        yield (f'Audit: gain over {markdown_cell(baseline)} {units} when the image is changed a little '
               f'({how_many(condition.audit.n, "image")}). Bold: the recognizer was used in training.')
        yield _audit(results, condition.audit, scale)
        yield '\n'.join(f'- {markdown_cell(restorer)}: **{entry.verdict}**. {markdown_cell(entry.reason)}'
                        for restorer, entry in condition.audit.restorers.items())


def _changes(shown: Table) -> str:
    return printed(shown.select(_QUALITY, _SCORES, but=[_HIDDEN, 'ssim']))


def _transfers(results: Results, condition: str) -> Iterator[tuple[str, list[list[str]]]]:
    """Yield the paper's tables 1 and 2, where one way of training was used with several recognizers."""
    processings = results.conditions[condition].processings
    by_method: dict[str, dict[str, str]] = {}  # method -> recognizer used -> restorer
    for name, restorer in results.restorers.items():
        if len(restorer.used) == 1 and name in processings:
            by_method.setdefault(restorer.method, {})[restorer.used[0]] = name
    by_method = {method: restorers for method, restorers in by_method.items() if len(restorers) > 1}
    if not by_method:
        return
    first = next(iter(processings.values())).scores
    columns = [(recognizer, next(iter(metrics))) for recognizer, metrics in first.items()]
    heads = [tables.plain_head(*column) for column in columns]

    def score(name: str, column: tuple[str, str]) -> str:
        value, metric = processings[name].scores[column[0]][column[1]].value, metric_of(results, column[1])
        return '' if math.isnan(value) else metric.value(value)

    rows = [['processing', *heads]]
    rows += [[name, *(score(name, column) for column in columns)] for name in (NONE, results.baseline)]
    rows += [[method, *(score(restorers[column[0]], column) if column[0] in restorers else '' for column in columns)]
             for method, restorers in by_method.items()]
    units = unit_words(metric_of(results, metric) for _, metric in columns)
    yield f'Each recognizer on images restored with itself as the loss, {units} (laid out as table 1).', rows
    for method, restorers in by_method.items():
        rows = [['trained with', *heads], *(
            [used, *(score(restorers[used], column) for column in columns)] for used in restorers)]
        yield (f'Transfer of {markdown_cell(method)}: rows are the recognizers used in training, columns those that '
               f'read the images, {units} (laid out as table 2).'), rows


def _harm(shown: Table) -> str:
    """Print the rows of a restorer, hurt and helped, side by side."""
    pairs = list(zip(shown.rows[::2], shown.rows[1::2], strict=True))
    rows = [[head_text(shown.head), *(f'{column.name}: {row.name.tags[0]}' for column in shown.columns
                                      for row in pairs[0])]]
    rows += [[pair[0].name.text, *(cell_text(row.cells[i]) for i in range(len(shown.columns)) for row in pair)]
             for pair in pairs]
    return table(rows)


def _audit(results: Results, audit: Audit, scale: tables.Scale) -> str:
    """Print the audits of all restorers as one table."""
    return joined('restorer', {restorer: tables.audit_table(results, audit, restorer, scale)
                               for restorer in audit.restorers})
