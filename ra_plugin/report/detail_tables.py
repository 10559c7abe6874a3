"""The tables that the page alone shows: harm by class, certainty, recognizers, restorers."""
import math
from collections.abc import Mapping

from ra_plugin.report import formats
from ra_plugin.report.formats import percent, trained_with
from ra_plugin.report.metrics import Metric, main_metrics, metric_of, unit_words
from ra_plugin.report.table_types import Cell, Column, Row, Table
from ra_plugin.report.tables import recovered_cell
from ra_plugin.results import Change, ClassHarm, Results, Score

_CLASSES_SHOWN = 30  # of a data set with more, those that are hurt most


def class_tables(results: Results, condition: str) -> list[Table]:
    """Return, for each restorer, the shares hurt and helped by class, the classes hurt most first."""
    tables = []
    for restorer, entry in (results.conditions[condition].harm or {}).items():
        by_class = {name: harm.by_class for name, harm in entry.items() if harm.by_class}
        classes = list(dict.fromkeys(label for values in by_class.values() for label in values))
        hurt = {label: sum(_known(values[label].hurt) for values in by_class.values() if label in values)
                for label in classes}
        shown = sorted(classes, key=hurt.__getitem__, reverse=True)[:_CLASSES_SHOWN]
        some = f', the {len(shown)} of {len(classes)} classes that are hurt most' if len(shown) < len(classes) else ''
        if shown:
            tables.append(Table(
                f'{restorer}: hurt / helped in % of the images of the class{some}', Column('class'),
                [Column(name) for name in by_class],
                [Row(_class_name(label, by_class), [_hurt_and_helped(values.get(label)) for values in
                                                    by_class.values()]) for label in shown]))
    return tables


def certainty_table(results: Results, condition: str) -> Table | None:
    """Return how sure each difference is."""
    data = results.conditions[condition]
    shown = [(restorer, recognizer, metric) for restorer, entry in data.differences.items()
             for recognizer, metric in main_metrics(results, entry.scores).items()]
    rows = [_certainty(results, restorer, recognizer, metric,
                       data.differences[restorer].scores[recognizer][metric.name],
                       data.processings[restorer].scores.get(recognizer, {}).get(metric.name)
                       if restorer in data.processings else None) for restorer, recognizer, metric in shown]
    unit, of_difference = (unit_words((metric for *_, metric in shown), difference).removeprefix('in ')
                           for difference in (False, True))
    columns = [Column('gain', of_difference), Column('McNemar\u2019s p', 'by seed'),
               Column('gap', f'clean minus {results.baseline}'), Column('gap recovered', '%'),
               Column('images needed', 'to tell one point'), Column('over seeds', f'mean \u00b1 std, {unit}')]
    return Table('How sure each gain is', Column('processing', 'recognizer'), columns, rows) if rows else None


def _certainty(results: Results, restorer: str, recognizer: str, metric: Metric, change: Change,
               score: Score | None) -> Row:
    name = Cell(restorer, note=f'{recognizer}, {metric.title}', used=recognizer in results.restorer(restorer).used)
    return Row(name, [
        Cell(estimate=change, factor=metric.factor, digits=metric.digits, sign=True),
        Cell('; '.join(map(formats.p_value, change.mcnemar_p or [None]))),
        Cell(metric.value(change.gap, sign=True)), recovered_cell(change, metric),
        Cell(formats.count(change.images_for_one_point)), _seeds(score, metric)])


def recognizer_table(results: Results) -> Table | None:
    """Return the facts of the recognizers that judged."""
    rows = [Row(Cell(name), [Cell(facts.task), Cell(formats.count(facts.num_classes)),
                             Cell(', '.join(metric_of(results, metric).title for metric in facts.metrics or ())),
                             Cell(facts.source)]) for name, facts in results.recognizers.items()]
    columns = [Column(head) for head in ('task', 'classes', 'metrics', 'source')]
    return Table('Recognizers', Column('recognizer'), columns, rows) if rows else None


def restorer_table(results: Results) -> Table | None:
    """Return the facts of the restorers."""
    rows = [Row(Cell(name, tags=('baseline',) if name == results.baseline else ()),
                [Cell(formats.count(facts.seeds)), Cell(trained_with(facts) or 'none')])
            for name, facts in results.restorers.items()]
    columns = [Column('seeds'), Column('recognizers used in training')]
    return Table('Restorers', Column('restorer'), columns, rows) if rows else None


def _known(value: float) -> float:
    return 0 if math.isnan(value) else value


def _class_name(label: str, by_class: Mapping[str, Mapping[str, ClassHarm]]) -> Cell:
    n = next((values[label].n for values in by_class.values() if label in values), None)
    return Cell(label, note=formats.images(n) if n is not None else '')


def _hurt_and_helped(entry: ClassHarm | None) -> Cell:
    return Cell(f'{percent(entry.hurt)} / {percent(entry.helped)}' if entry else '')


def _seeds(score: Score | None, metric: Metric) -> Cell:
    if score is None or score.seeds is None:
        return Cell('one seed')
    return Cell(f'{metric.value(score.seeds.mean)} \u00b1 {metric.value(score.seeds.std)}',
                note=', '.join(map(metric.value, score.seeds.values)))
