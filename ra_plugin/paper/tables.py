"""Tables laid out as the paper's, with intervals, beside the paper's own numbers."""
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ra_plugin.evaluation.statistics.bootstrap import Sampled, mean
from ra_plugin.evaluation.statistics.transfer import Matrix
from ra_plugin.report.markdown_table import interval, percent, table
from ra_plugin.results import CLEAN, LEAST_GAP, Change, Condition, Estimate

PLAIN = 'plain'  # the method that the others are compared with
_FORMS = {'psnr': '.2f'}
_HEADS = {'psnr': 'PSNR', 'ssim': 'SSIM'}


@dataclass(frozen=True)
class JudgedRestorer:
    """Restorer with the results of the condition that it was judged under.

    Attributes:
        coordinates: ``task``, ``method``, ``recognizer``, ``network``, ``loss_weight``, ``domain``, ``judged_on``: what
            rows and columns are of.
        label: Name there.
        baseline: Name of the plain restorer beside it.
        used: The recognizers that it was trained with.
        seeds: Number of trainings.
        condition: Results of the condition.
        matrix: Scores that they are made of; rows are compared with each other by it.
    """

    coordinates: Mapping[str, Any]
    label: str
    baseline: str
    used: Sequence[str]
    seeds: int
    condition: Condition
    matrix: Matrix | None = None

    def __getitem__(self, key: str) -> Any:
        return self.coordinates[key]

    def mean(self, *column: str) -> Sampled:
        """Return the mean over its trainings of a measure, or of a recognizer's metric, with the resamples.

        Raises:
            ValueError: The scores of the images are not there.
        """
        if self.matrix is None:
            raise ValueError(f'{self.label}: expected the scores of its images to compare rows by, got none. Give its '
                             'matrix.')
        return self.matrix.mean(self.label, *column)

    @property
    def judges(self) -> dict[str, str]:
        """Recognizer -> main metric."""
        scores = self.condition.processings[CLEAN].scores
        return {name: next(iter(metrics)) for name, metrics in scores.items()}

    @property
    def judge(self) -> str:
        """The recognizer used in training, or the first."""
        return next((name for name in self.used if name in self.judges), next(iter(self.judges)))

    @property
    def measures(self) -> list[str]:
        """PSNR, SSIM and further measures of image quality."""
        return list(self.condition.processings[self.baseline].quality)


def paper_table(spec: Mapping[str, Any], judged: Sequence[JudgedRestorer]) -> str:
    """Return a table of ``experiments.yml``, one for each group of tasks, with conclusions and the paper's numbers.

    Args:
        spec: ``title``, ``rows`` (a coordinate, or several), ``columns`` (a coordinate, ``judge``, ``measure``, or
            ``measure and judge``), ``of`` (coordinates that are given), ``judge`` (``the one used``, ``never used``),
            ``baselines`` (rows before the others; without ``plain`` the plain restorers are among those), ``groups``
            (name -> tasks; default: each task), ``compare`` (pairs of rows), ``paper``, ``note``.
        judged: All restorers of the table's study.
    """
    parts = [f'## {spec["title"]}']
    for name, tasks in _groups(spec, judged).items():
        chosen = [one for one in judged if one['task'] in tasks and is_shown(spec, one.coordinates)]
        parts += [f'### {name}', _facts(chosen), _measured(spec, chosen, tasks), *_changes(spec, chosen, tasks),
                  *_holds(spec, chosen), *_compared(spec, chosen), *paper_numbers(spec, name)]
    if spec.get('note'):
        parts.append(f'{spec["note"]}.')
    return '\n\n'.join(parts) + '\n'


def is_shown(spec: Mapping[str, Any], coordinates: Mapping[str, Any]) -> bool:
    """Return True if a table shows restorers with these coordinates; plain ones are shown to compare with."""
    groups = spec.get('groups')
    return (not groups or any(coordinates['task'] in tasks for tasks in groups.values())) and (
        coordinates['method'] == PLAIN
        or all(coordinates[key] in as_list(value) for key, value in spec.get('of', {}).items()))


def paper_numbers(spec: Mapping[str, Any], group: str | None = None) -> list[str]:
    """Return the paper's numbers of one group, or of all; where it has none of that group, the others by name."""
    paper = spec.get('paper', {})
    printed = {name: rows for name, rows in paper.items() if name not in ('columns', CLEAN)}
    of_all = {CLEAN: paper[CLEAN]} if CLEAN in paper else {}
    chosen = [group] if group in printed else list(printed)
    parts = []
    for name in chosen:
        parts += ["The paper's:" if group in (None, name) else f"The paper's, {name}:",
                  table([['', *map(str, paper['columns'])],
                         *([str(row), *map(str, values)] for row, values in {**of_all, **printed[name]}.items())])]
    return parts


def _facts(chosen: Sequence[JudgedRestorer]) -> str:
    images = ' or '.join(dict.fromkeys(f'{one.condition.n:,}' for one in chosen))
    runs = ' or '.join(str(seeds) for seeds in sorted({one.seeds for one in chosen}))
    over = ', and over trainings where there are several' if any(one.seeds > 1 for one in chosen) else ''
    return (f'Judged on {images} images; trainings of each: {runs}. Scores in %, with 95 % intervals over the images'
            f'{over}.')


def _groups(spec: Mapping[str, Any], judged: Sequence[JudgedRestorer]) -> dict[str, list[str]]:
    there = list(dict.fromkeys(one['task'] for one in judged))
    groups = spec.get('groups') or {task: [task] for task in there}
    found = {name: [task for task in tasks if task in there] for name, tasks in groups.items()}
    return {name: tasks for name, tasks in found.items() if tasks}


def _measured(spec: Mapping[str, Any], chosen: Sequence[JudgedRestorer], tasks: Sequence[str]) -> str:
    columns = _columns(spec, chosen, tasks)
    rows = [[', '.join(as_list(spec['rows'])).replace('_', ' '), *(_HEADS.get(column, column) for column in columns)]]
    for name in (CLEAN, *spec['baselines']):
        rows.append([name, *(_baseline(spec, chosen, name, column) for column in columns)])
    for row in _rows(spec, chosen):
        shown = {column: [(one, one.label) for one in _cell_restorers(spec, chosen, row, column)] for column in columns}
        rows.append([_row_name(row), *(_cell(spec, those, column) for column, those in shown.items())])
    return table(rows)


def _columns(spec: Mapping[str, Any], chosen: Sequence[JudgedRestorer], tasks: Sequence[str]) -> list[str]:
    kind = spec['columns']
    if kind == 'judge':
        return list(chosen[0].judges)
    if kind == 'measure':
        return [*chosen[0].measures, next((one.judge for one in chosen if one.used), chosen[0].judge)]
    if kind == 'measure and judge':
        return [*chosen[0].measures, *chosen[0].judges]
    return list(tasks) if kind == 'task' else list(dict.fromkeys(one[kind] for one in chosen))


def _row(spec: Mapping[str, Any], one: JudgedRestorer) -> tuple:
    return tuple(one[key] for key in as_list(spec['rows']))


def _rows(spec: Mapping[str, Any], chosen: Sequence[JudgedRestorer]) -> list[tuple]:
    return list(dict.fromkeys(_row(spec, one) for one in chosen
                              if one['method'] != PLAIN or PLAIN not in spec['baselines']))


def _row_name(row: tuple) -> str:
    return ' '.join(f'{value:g}' if isinstance(value, float) else str(value) for value in row if value is not None)


def _fits(spec: Mapping[str, Any], one: JudgedRestorer, column: str) -> bool:
    kind = spec['columns']
    return kind in ('judge', 'measure', 'measure and judge') or one[kind] == column


def _cell_restorers(spec: Mapping[str, Any], chosen: Sequence[JudgedRestorer], row: tuple, column: str
                    ) -> list[JudgedRestorer]:
    """Return the restorers of a cell: one, or all that never used the judge, whose mean it shows."""
    return [one for one in chosen if _row(spec, one) == row and _fits(spec, one, column)
            and (one['method'] != PLAIN or PLAIN not in spec['baselines'])
            and (one['method'] == PLAIN or column in one.measures or _judged_by(spec, one, column))]


def _judged_by(spec: Mapping[str, Any], one: JudgedRestorer, judge: str) -> bool:
    which = spec.get('judge')
    return judge in one.used if which == 'the one used' else judge not in one.used or which != 'never used'


def _baseline(spec: Mapping[str, Any], chosen: Sequence[JudgedRestorer], name: str, column: str) -> str:
    one = next(one for one in chosen if _fits(spec, one, column))
    return _cell(spec, [(one, one.baseline if name == PLAIN else name)], column)


def _cell(spec: Mapping[str, Any], those: Sequence[tuple[JudgedRestorer, str]], column: str) -> str:
    """Return the mean over some ways of processing."""
    entries = [one.condition.processings[name] for one, name in those]
    if not entries:
        return ''
    if spec['columns'].startswith('measure') and column in those[0][0].measures:
        value = _mean([entry.quality[column] for entry in entries])
        return '' if math.isnan(value) else f'{value:{_FORMS.get(column, ".4f")}}'
    judge = _judge(those[0][0], column)
    scores = [entry.scores[judge][one.judges[judge]] for entry, (one, _) in zip(entries, those, strict=True)]
    seeds = scores[0].seeds if len(scores) == 1 else None
    return percent(_mean_estimate(scores)) + (f', std {100 * seeds.std:.2f}' if seeds else '')


def _judge(one: JudgedRestorer, column: str) -> str:
    return column if column in one.judges else one.judge


def _mean_estimate(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean with the mean interval, as wide as if all were of one restorer: wider, if anything."""
    return Estimate(*(_mean(ends) for ends in zip(*((one.value, one.low, one.high) for one in estimates), strict=True)))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _changes(spec: Mapping[str, Any], chosen: Sequence[JudgedRestorer], tasks: Sequence[str]) -> Iterator[str]:
    """Yield the rows minus plain restoration, on the same images and resamples."""
    trained = [one for one in chosen if one['method'] != PLAIN]
    if not trained:
        return
    columns = _columns(spec, chosen, tasks)
    rows = [['minus plain', *(_HEADS.get(column, column) for column in columns)]]
    for row in _rows(spec, trained):
        rows.append([_row_name(row), *(_change(_cell_restorers(spec, trained, row, column), column)
                                       for column in columns)])
    yield 'Paired differences to plain on the same images:'
    yield table(rows)


def _change(those: Sequence[JudgedRestorer], column: str) -> str:
    if not those:
        return ''
    if column in those[0].measures:
        qualities = [one.condition.differences[one.label].quality for one in those]
        if any(column not in quality for quality in qualities):
            return ''
        return interval(_mean_estimate([quality[column] for quality in qualities]), f'+{_FORMS.get(column, ".4f")}')
    return percent(_mean_estimate([_difference(one, _judge(one, column)) for one in those]), '+')


def _holds(spec: Mapping[str, Any], chosen: Sequence[JudgedRestorer]) -> Iterator[str]:
    """Yield, for each row, the numbers of judges on which it is surely above or below plain, and the gap recovered."""
    trained = [one for one in chosen if one['method'] != PLAIN]
    lines = []
    for row in _rows(spec, chosen):
        of_row = [one for one in trained if _row(spec, one) == row]
        lines += _verdict(_row_name(row), [(one, judge) for one in of_row for judge in one.judges
                                           if _judged_by(spec, one, judge)])
    if spec['rows'] == 'recognizer' and len(lines) > 1:
        lines += _verdict('all, on recognizers never used', [(one, judge) for one in trained for judge in one.judges
                                                             if judge not in one.used], merged=False)
    if lines:
        yield ('By their intervals, which are not corrected for their number (by chance one in '
               'twenty would leave out a true zero):\n\n') + '\n'.join(lines)


def _verdict(name: str, pairs: Sequence[tuple[JudgedRestorer, str]], merged: bool = True) -> list[str]:
    """Return a line on restorers and their judges; ``merged``: those of one judge count as one, by their mean."""
    found: dict[tuple, list] = {}
    for one, judge in pairs:
        key = (one['task'], one['network'], one['judged_on'], judge)
        found.setdefault(key if merged else (*key, one.label), []).append((one, judge))
    if not found:
        return []
    estimates = [_mean_estimate([_difference(*pair) for pair in those]) for those in found.values()]
    sides = [estimate.side for estimate in estimates]
    gain = _mean([estimate.value for estimate in estimates])
    gap = _mean([_mean([_gap(*pair) for pair in those]) for those in found.values()])
    share = ''
    if gap >= LEAST_GAP:
        percents = round(100 * gain / gap)
        share = (f', {percents} % of what plain leaves to clean' if percents >= 0 else
                 f', further from clean than plain is, by {-percents} % of what that leaves')
    return [f'- {name}: above plain on {sides.count("up")} of {len(sides)}, below on {sides.count("down")}, '
            f'open on {sides.count("unclear")}; {100 * gain:+.1f} points on average{share}.']


def _compared(spec: Mapping[str, Any], chosen: Sequence[JudgedRestorer]) -> Iterator[str]:
    """Yield one row minus another, on the same images and resamples: the mean over the judges, and PSNR."""
    rows = {_row_name(row): row for row in _rows(spec, chosen)}
    lines = []
    for first, second in [pair for pair in spec.get('compare', ()) if rows.keys() >= set(pair)]:  # those of this scale
        points, psnr = ((_row_mean(spec, chosen, rows[first], columns) - _row_mean(spec, chosen, rows[second], columns))
                        .estimate() for columns in (list(chosen[0].judges), ['psnr']))
        lines.append(f'- {first} minus {second}: {100 * points.value:+.2f} points [{100 * points.low:+.2f}, '
                     f'{100 * points.high:+.2f}], {psnr.value:+.3f} dB [{psnr.low:+.3f}, {psnr.high:+.3f}].')
    if lines:
        yield 'Rows against each other, on average over the recognizers:\n\n' + '\n'.join(lines)


def _row_mean(spec: Mapping[str, Any], chosen: Sequence[JudgedRestorer], row: tuple, columns: Sequence[str]) -> Sampled:
    return mean(mean(one.mean(*([column, one.judges[column]] if column in one.judges else [column]))
                     for one in _cell_restorers(spec, chosen, row, column)) for column in columns)


def _difference(one: JudgedRestorer, judge: str) -> Change:
    return one.condition.differences[one.label].scores[judge][one.judges[judge]]


def _gap(one: JudgedRestorer, judge: str) -> float:
    """Return the gap from plain to clean."""
    clean, plain = (one.condition.processings[name].scores[judge][one.judges[judge]].value
                    for name in (CLEAN, one.baseline))
    return clean - plain


def as_list(value: Any) -> list:
    """Return a list; one value stands for a list of it."""
    return list(value) if isinstance(value, (list, tuple)) else [value]
