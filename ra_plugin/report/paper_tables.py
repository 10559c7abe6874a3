"""Tables laid out as the paper's, with intervals, and the paper's own beside them."""
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ra_plugin.report.markdown import CLEAN, percent, table

PLAIN = 'plain'  # the method that the others are compared with
_MEASURES = {'PSNR': ('psnr', '.2f'), 'SSIM': ('ssim', '.4f')}


@dataclass(frozen=True)
class Judged:
    """A restorer with the results of the condition that it was judged under.

    Attributes:
        coordinates: ``task``, ``method``, ``recognizer``, ``network``, ``loss_weight``: what rows and columns are of.
        label: Its name there.
        baseline: Name of the plain restorer beside it.
        condition: Of ``results.json``.
    """

    coordinates: Mapping[str, Any]
    label: str
    baseline: str
    condition: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.coordinates[key]

    @property
    def judges(self) -> dict[str, str]:
        """Recognizer -> its main metric."""
        scores = self.condition['processings'][CLEAN]['scores']
        return {name: next(iter(metrics)) for name, metrics in scores.items()}

    @property
    def judge(self) -> str:
        """The one used in training, or the first."""
        return self['recognizer'] if self['recognizer'] in self.judges else next(iter(self.judges))


def paper_table(spec: Mapping[str, Any], judged: Sequence[Judged]) -> str:
    """A table of ``experiments.yml``, one for each group of tasks, with what holds and the paper's numbers.

    Args:
        spec: ``title``, ``rows`` (a coordinate), ``columns`` (one, ``judge`` or ``measure``), ``of`` (coordinates
            that are given), ``judge: the one used``, ``baselines``, ``groups`` (name -> tasks; default: each task),
            ``paper``.
        judged: All restorers of the table's study.
    """
    parts = [f'## {spec["title"]}']
    for name, tasks in _groups(spec, judged).items():
        chosen = [one for one in judged if one['task'] in tasks and (
            one['method'] == PLAIN or all(one[key] == value for key, value in spec.get('of', {}).items()))]
        parts += [f'### {name}', _measured(spec, chosen, tasks), *_holds(spec, chosen)]
        printed = spec.get('paper', {}).get(name)
        if printed:
            parts += ["The paper's:", table([['', *spec['paper']['columns']], *(
                [str(row), *map(str, values)] for row, values in printed.items())])]
    if spec.get('note'):
        parts.append(f'{spec["note"]}.')
    return '\n\n'.join(parts) + '\n'


def _groups(spec: Mapping[str, Any], judged: Sequence[Judged]) -> dict[str, list[str]]:
    there = list(dict.fromkeys(one['task'] for one in judged))
    groups = spec.get('groups') or {task: [task] for task in there}
    found = {name: [task for task in tasks if task in there] for name, tasks in groups.items()}
    return {name: tasks for name, tasks in found.items() if tasks}


def _measured(spec: Mapping[str, Any], chosen: Sequence[Judged], tasks: Sequence[str]) -> str:
    columns = _columns(spec, chosen, tasks)
    rows = [[spec['rows'].replace('_', ' '), *map(str, columns)]]
    for name in (CLEAN, *spec['baselines']):
        rows.append([name, *(_baseline(spec, chosen, name, column) for column in columns)])
    for value in _rows(spec, chosen):
        found = [_found(spec, chosen, value, column) for column in columns]
        rows.append([_row_name(value), *(_cell(spec, one, one.label, column) if one else ''
                                         for one, column in zip(found, columns))])
    return table(rows)


def _columns(spec: Mapping[str, Any], chosen: Sequence[Judged], tasks: Sequence[str]) -> list[str]:
    kind = spec['columns']
    if kind == 'judge':
        return list(chosen[0].judges)
    if kind == 'measure':
        return [*_MEASURES, next((one.judge for one in chosen if one['recognizer']), chosen[0].judge)]
    return list(tasks) if kind == 'task' else list(dict.fromkeys(one[kind] for one in chosen))


def _rows(spec: Mapping[str, Any], chosen: Sequence[Judged]) -> list[Any]:
    return list(dict.fromkeys(one[spec['rows']] for one in chosen if one['method'] != PLAIN))


def _row_name(value: Any) -> str:
    return f'{value:g}' if isinstance(value, float) else str(value)


def _fits(spec: Mapping[str, Any], one: Judged, column: str) -> bool:
    kind = spec['columns']
    return kind in ('judge', 'measure') or one[kind] == column


def _found(spec: Mapping[str, Any], chosen: Sequence[Judged], row: Any, column: str) -> Judged | None:
    """The restorer of a cell."""
    return next((one for one in chosen if one['method'] != PLAIN and one[spec['rows']] == row
                 and _fits(spec, one, column)
                 and (spec.get('judge') != 'the one used' or one['recognizer'] == column)), None)


def _baseline(spec: Mapping[str, Any], chosen: Sequence[Judged], name: str, column: str) -> str:
    one = next(one for one in chosen if _fits(spec, one, column))
    return _cell(spec, one, one.baseline if name == PLAIN else name, column)


def _cell(spec: Mapping[str, Any], one: Judged, name: str, column: str) -> str:
    entry = one.condition['processings'][name]
    if spec['columns'] == 'measure' and column in _MEASURES:
        key, form = _MEASURES[column]
        return '' if entry[key] is None else f'{entry[key]:{form}}'
    judge = column if column in one.judges else one.judge
    score = entry['scores'][judge][one.judges[judge]]
    return percent(score) + (f', std {100 * score["seeds"]["std"]:.2f}' if score['seeds'] else '')


def _holds(spec: Mapping[str, Any], chosen: Sequence[Judged]) -> Iterator[str]:
    """For each row, on how many judges it is surely above plain, surely below, or neither."""
    lines = []
    for value in _rows(spec, chosen):
        found = {(one['task'], one['network'], judge): one.condition['differences'][one.label]['scores'][judge][metric]
                 for one in chosen if one['method'] != PLAIN and one[spec['rows']] == value
                 for judge, metric in one.judges.items()
                 if spec.get('judge') != 'the one used' or judge == one['recognizer']}
        sides = [1 if estimate['low'] > 0 else -1 if estimate['high'] < 0 else 0 for estimate in found.values()]
        mean = sum(estimate['value'] for estimate in found.values()) / len(found)
        lines.append(f'- {_row_name(value)}: above plain on {sides.count(1)} of {len(sides)}, below on '
                     f'{sides.count(-1)}, open on {sides.count(0)}; {100 * mean:+.1f} points on average.')
    if lines:
        yield 'With 95 % intervals of the paired differences:\n\n' + '\n'.join(lines)
