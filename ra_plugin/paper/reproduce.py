"""The paper's tables and figures from its experiments: plan, train and judge, show."""
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ra_plugin.builders.block_classes import texts
from ra_plugin.builders.option_paths import training_file
from ra_plugin.evaluation.options import by_name
from ra_plugin.metrics.pyiqa_metrics import QualityMetric
from ra_plugin.options import OptionError, suggestion
from ra_plugin.paper.exhibits import SHOW, Exhibit
from ra_plugin.paper.experiments import Experiments, Restorer, Study
from ra_plugin.paper.option_files import ExperimentOptions, Group, Make
from ra_plugin.paper.tables import as_list, is_shown
from ra_plugin.report.markdown_table import table
from ra_plugin.shipped.find import find
from ra_plugin.training.train_if_needed import is_trained, make, run_all, train
from ra_plugin.utils.atomic import atomic_write


@dataclass(frozen=True)
class Plan:
    """Work that is to be done for some tables.

    Attributes:
        tables: Their names.
        judged: Study -> the restorers of it that the tables show, and those that are trained already.
        runs: Name -> options of each training, finished or not; those that others begin with are before them.
        minutes: Estimated minutes of each training.
        makes: File -> way to make it.
        missing: Files and folders that are needed, not there, and not made.
    """

    tables: Sequence[str]
    judged: Mapping[str, Sequence[Restorer]]
    runs: Mapping[str, Mapping[str, Any]]
    minutes: Mapping[str, float]
    makes: Mapping[str, Make]
    missing: Sequence[str]


class Reproduction:
    """Experiments at one scale, with their results in ``results/reproduce/SCALE``.

    Args:
        root: Folder of ``experiments`` and ``results``; relative paths are looked up below it.
        scale: ``'small'``, ``'paper'`` or another, see `Experiments`.
        data: Folder that takes the place of ``datasets``.
        seed, seeds: First seed and number of seeds of each training.
        out: Folder. Default: ``results/reproduce/SCALE``.
    """

    def __init__(self, root: Path, scale: str, data: str | None = None, seed: int = 0, seeds: int = 1,
                 out: Path | None = None):
        self.root, self.seed, self.seeds = root, seed, seeds
        self.experiments = Experiments(root, scale)
        self.out = out or root / 'results' / 'reproduce' / scale
        self.options = ExperimentOptions(self.experiments, root, self.out / 'options', data)

    @property
    def names(self) -> dict[str, str]:
        """Return the names of all tables and figures -> the table that shows them."""
        return {name: key for key, spec in self.experiments.tables.items() for name in (key, *spec.get('also', ()))}

    def plan(self, names: Sequence[str]) -> Plan:
        """Return the plan for tables and figures.

        Raises:
            OptionError: There is no such one.
        """
        known = self.names
        for name in names:
            if name not in known:
                raise OptionError(f"reproduce: no table '{name}'.{suggestion(name, known)} "
                                  f"There are {', '.join(known)}")
        tables = list(dict.fromkeys(known[name] for name in names))
        studies = dict.fromkeys(self.experiments.tables[name]['study'] for name in tables)
        judged = {name: self._judged(name, tables) for name in studies}
        runs, minutes, makes = {}, {}, {}
        for name, restorers in judged.items():
            study = self.experiments.studies[name]
            made = self.options.makes(study, self.seed)
            makes.update(made)
            trained = [*(restorer for file in made.values() for restorer in file.after),
                       *self.experiments.trained(study, restorers)]
            for restorer in trained:
                for seed in self._seeds(study):
                    run = self.options.training_options(restorer, seed)
                    runs[run['name']] = run
                    minutes[run['name']] = self.options.minutes(restorer)
        return Plan(tables, judged, runs, minutes, makes, self._missing(judged, runs, makes))

    def _seeds(self, study: Study) -> Sequence[int]:
        return self.experiments.seeds(study, self.seed, self.seeds)

    def _judged(self, name: str, tables: Sequence[str]) -> list[Restorer]:
        """Return the restorers of a study that these tables show, and those that are trained already."""
        study = self.experiments.studies[name]
        shown = {restorer for table in tables if self.experiments.tables[table]['study'] == name
                 for restorer in self.experiments.shown(table)}
        return [restorer for restorer in self.experiments.restorers(study) if restorer in shown or all(
            is_trained(self.root, self.options.training_options(restorer, seed)) for seed in self._seeds(study))]

    def _groups(self, name: str, restorers: Sequence[Restorer]) -> list[Group]:
        return self.options.groups(name, self._seeds(self.experiments.studies[name]), restorers)

    def _missing(self, judged: Mapping[str, Sequence[Restorer]], runs: Mapping[str, Mapping],
                 makes: Mapping[str, Make]) -> list[str]:
        needed = {path for run in runs.values() for path in _paths(run)}
        needed |= {path for file, entry in makes.items() if not find(file, self.root) for path in entry.needs}
        for name, restorers in judged.items():
            for group in self._groups(name, restorers):
                needed |= set(_paths({key: group.options[key] for key in ('datasets', 'recognizers')}))
        made = tuple(f'experiments/{name}/' for name in runs)
        return sorted(path for path in needed if path not in makes and not path.startswith(made)
                      and not find(path, self.root))

    def describe(self, plan: Plan) -> str:
        """Return the plan as a table, and the files that are missing for it."""
        done = {name for name, run in plan.runs.items() if is_trained(self.root, run)}
        rows = [['table', 'what it shows', 'trainings', 'done', 'evaluations']]
        for name in plan.tables:
            spec = self.experiments.tables[name]
            study, shown = self.experiments.studies[spec['study']], self.experiments.shown(name)
            mine = {self.options.run_name(restorer, seed) for restorer in self.experiments.trained(study, shown)
                    for seed in self._seeds(study)}
            rows.append([', '.join([name, *spec.get('also', ())]), spec['title'] + self._part(name), str(len(mine)),
                         str(len(done.intersection(mine))), str(len(self._groups(spec['study'], shown)))])
        left = plan.runs.keys() - done
        hours = sum(plan.minutes[name] for name in left) / 60
        lines = [table(rows), f'{len(plan.runs)} different trainings, {len(left)} to be done: some {hours:.1f} hours '
                 f'one after another, as {self.experiments.scale}.yml has it. Judging adds to that, and what is made.']
        if plan.makes:
            lines.append('Made where it is not there: ' + ', '.join(plan.makes))
        if plan.missing:
            lines.append('Missing: ' + ', '.join(plan.missing))
            whole = [name for name in plan.tables if not self.plan([name]).missing]
            lines.append('Tables that need nothing of that: ' + (', '.join(whole) or 'none'))
        return '\n\n'.join(lines)

    def _part(self, table: str) -> str:
        """Return the part of a table that this scale has, where it is not all of it."""
        spec, shown = self.experiments.tables[table], self.experiments.shown(table)
        if not shown:
            return ' (nothing at this scale)'
        study = self.experiments.studies[spec['study']]
        methods = {name for block in study.restorers for name in as_list(block['method'])}
        meant = {'task': {task for task in study.tasks if is_shown(spec, {**asdict(shown[0]), 'task': task})},
                 'method': {name for name in methods if is_shown(spec, {**asdict(shown[0]), 'method': name})}}
        there = {key: len({getattr(restorer, key) for restorer in shown}) for key in meant}
        parts = [f'{there[key]} of {len(names)} {key}s' for key, names in meant.items() if there[key] < len(names)]
        return f' ({", ".join(parts)} at this scale)' if parts else ''

    def run(self, plan: Plan, jobs: int = 1, device: str | None = None, batch_size: int = 100) -> str:
        """Run the rest of the plan; return the tables and write them to ``NAME.md``.

        Raises:
            FileNotFoundError: Something is missing, be it the weights of a metric of image quality.
        ImportError: Such a metric needs a package that is not installed.
            ChildProcessError: A training failed.
        """
        if plan.missing:
            others = f', nor do {len(plan.missing) - 1} others' if len(plan.missing) > 1 else ''
            raise FileNotFoundError(f'reproduce: {plan.missing[0]} does not exist{others}. --dry-run lists what is '
                                    'missing, and the tables that need nothing of it.')
        self._build_quality_metrics(plan)
        self._train(plan, jobs)
        exhibit = Exhibit(self.root, self.out, device, batch_size,
                          f'ra-plugin reproduce --scale {self.experiments.scale}')
        shown = []
        for name in plan.tables:
            spec = self.experiments.tables[name]
            groups = self._groups(spec['study'], plan.judged[spec['study']])
            head = f'# {", ".join([name, *spec.get("also", ())])}\n\n'
            shown.append(head + (SHOW[spec.get('show', 'table')](exhibit, name, spec, groups) if groups
                                 else f'{spec["title"]}: nothing at this scale.\n'))
            atomic_write(shown[-1], self.out / f'{name}.md')
        return '\n'.join(shown)

    def _build_quality_metrics(self, plan: Plan) -> None:
        """Build the measures of image quality before hours of training: they may lack a package or weights."""
        groups = [group for study, restorers in plan.judged.items() for group in self._groups(study, restorers)]
        metrics = {name: block for group in groups for name, block in by_name(group.options['quality_metrics']).items()}
        for name, block in metrics.items():
            QualityMetric(name, block, where=f'quality_metrics.{name}')

    def _train(self, plan: Plan, jobs: int) -> None:
        """Train recognizers and starting networks first, then the rest."""
        folder = self.options.folder
        files = {after: [partial(make, self.root, file, entry.command) for file, entry in plan.makes.items()
                         if bool(entry.after) == after] for after in (False, True)}
        runs: dict[bool, list] = {False: [], True: []}
        for name, run in plan.runs.items():
            start = (run.get('path') or {}).get('pretrain_network_g') or ''
            runs[start.startswith('experiments/')].append(
                partial(train, self.root, folder / f'{name}.yml', run))
        for tasks in (files[False], runs[False], [*runs[True], *files[True]]):
            run_all(tasks, jobs)


def _paths(run: Mapping[str, Any]) -> list[str]:
    """Return what options name of data and weights: not characters with a slash, nor configs of a zoo, without one."""
    return [found.text for found in texts(run, training_file(run)) if found.names is not None
            and found.names.what != 'module' and '/' in found.text
            and found.text.endswith(found.names.else_name_unless or '')]
