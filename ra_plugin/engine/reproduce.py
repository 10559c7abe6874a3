"""The paper's tables and figures from its experiments: plan, do what is missing, show."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ra_plugin.engine.exhibits import SHOW, Exhibit
from ra_plugin.engine.experiment_options import ExperimentOptions, Make
from ra_plugin.engine.experiments import Experiments, Study
from ra_plugin.engine.option_file import PATH_KEYS
from ra_plugin.engine.trained_runs import is_trained, make, run_all, train
from ra_plugin.options import OptionError, suggestion
from ra_plugin.report.markdown import table
from ra_plugin.utils.atomic import atomic_write


@dataclass(frozen=True)
class Plan:
    """What is to be done for some tables.

    Attributes:
        tables: Their names.
        runs: Name -> options of each training, finished or not; those that others begin with are before them.
        minutes: Of each training.
        makes: File -> what makes it.
        missing: Files and folders that are needed, not there, and not made.
    """

    tables: Sequence[str]
    runs: Mapping[str, Mapping[str, Any]]
    minutes: Mapping[str, float]
    makes: Mapping[str, Make]
    missing: Sequence[str]


class Reproduction:
    """The experiments at one scale, with what has been done of them in ``results/reproduce/SCALE``.

    Args:
        root: The repository.
        scale: ``'small'``, ``'paper'`` or another of `scales`.
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
        """Of all tables and figures -> the table that shows them."""
        return {name: key for key, spec in self.experiments.tables.items() for name in (key, *spec.get('also', ()))}

    def plan(self, names: Sequence[str]) -> Plan:
        """What tables and figures need.

        Raises:
            OptionError: There is no such one.
        """
        known = self.names
        for name in names:
            if name not in known:
                raise OptionError(f"reproduce: no table '{name}'.{suggestion(name, known)} "
                                  f"There are {', '.join(known)}")
        tables = list(dict.fromkeys(known[name] for name in names))
        runs, minutes, makes = {}, {}, {}
        for name in dict.fromkeys(self.experiments.tables[name]['study'] for name in tables):
            study = self.experiments.studies[name]
            made = self.options.makes(study, self.seed)
            makes.update(made)
            trained = [*(restorer for file in made.values() for restorer in file.after),
                       *self.experiments.trained(study)]
            for restorer in trained:
                for seed in self._seeds(study):
                    run = self.options.training_options(restorer, seed)
                    runs[run['name']] = run
                    minutes[run['name']] = self.experiments.domains[restorer.domain].minutes
        return Plan(tables, runs, minutes, makes, self._missing(tables, runs, makes))

    def _seeds(self, study: Study) -> Sequence[int]:
        return self.experiments.seeds(study, self.seed, self.seeds)

    def _missing(self, tables: Sequence[str], runs: Mapping[str, Mapping], makes: Mapping[str, Make]) -> list[str]:
        needed = {path for run in runs.values() for path in _paths(run)}
        needed |= {path for file, entry in makes.items() if not (self.root / file).exists() for path in entry.needs}
        for name in {self.experiments.tables[name]['study'] for name in tables}:
            study = self.experiments.studies[name]
            for group in self.options.groups(name, self._seeds(study)):
                needed |= set(_paths({key: group.options[key] for key in ('datasets', 'recognizers')}))
        made = tuple(f'experiments/{name}/' for name in runs)
        return sorted(path for path in needed if path not in makes and not path.startswith(made)
                      and not (self.root / path).exists())

    def describe(self, plan: Plan) -> str:
        """The plan as a table, and what is missing for it."""
        done = {name for name, run in plan.runs.items() if is_trained(self.root, run)}
        rows = [['table', 'what it shows', 'trainings', 'done', 'evaluations']]
        for name in plan.tables:
            spec = self.experiments.tables[name]
            study = self.experiments.studies[spec['study']]
            mine = {self.options.run_name(restorer, seed) for restorer in self.experiments.trained(study)
                    for seed in self._seeds(study)}
            tasks = len(self.experiments.tasks(study)), len(study.tasks)
            here = '' if tasks[0] == tasks[1] else f' ({tasks[0]} of {tasks[1]} tasks at this scale)'
            title = spec['title'] + (here if mine else ' (nothing at this scale)')
            rows.append([', '.join([name, *spec.get('also', ())]), title, str(len(mine)),
                         str(len(done.intersection(mine))),
                         str(len(self.options.groups(spec['study'], self._seeds(study))))])
        left = plan.runs.keys() - done
        hours = sum(plan.minutes[name] for name in left) / 60
        lines = [table(rows), f'{len(plan.runs)} different trainings, {len(left)} to be done: some {hours:.1f} hours '
                 'one after another, to which judging adds.']
        if plan.makes:
            lines.append('Made where it is not there: ' + ', '.join(plan.makes))
        if plan.missing:
            lines.append('Missing: ' + ', '.join(plan.missing))
        return '\n\n'.join(lines)

    def run(self, plan: Plan, jobs: int = 1, device: str | None = None, batch_size: int = 100) -> str:
        """Do what is left of the plan; what it shows is returned, and written to ``NAME.md``.

        Raises:
            FileNotFoundError: Something is missing.
            ChildProcessError: A training failed.
        """
        if plan.missing:
            raise FileNotFoundError(f'reproduce: {plan.missing[0]} does not exist, nor {len(plan.missing) - 1} others; '
                                    '--dry-run lists them.')
        self._train(plan, jobs)
        exhibit = Exhibit(self.root, self.out, device, batch_size,
                          f'python tools/reproduce.py --scale {self.experiments.scale}')
        shown = []
        for name in plan.tables:
            spec = self.experiments.tables[name]
            groups = self.options.groups(spec['study'], self._seeds(self.experiments.studies[spec['study']]))
            head = f'# {", ".join([name, *spec.get("also", ())])}\n\n'
            shown.append(head + (SHOW[spec.get('show', 'table')](exhibit, name, spec, groups) if groups
                                 else f'{spec["title"]}: nothing at this scale.\n'))
            atomic_write(shown[-1], self.out / f'{name}.md')
        return '\n'.join(shown)

    def _train(self, plan: Plan, jobs: int) -> None:
        """First what others need: recognizers, and networks that others begin with."""
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


def _paths(node: Any) -> list[str]:
    """What options name of data and weights; the name of a class, or of a zoo's config, has no slash."""
    if isinstance(node, Mapping):
        return [path for key, value in node.items() for path in (
            [value] if isinstance(value, str) and str(key).startswith(PATH_KEYS) and '/' in value else _paths(value))]
    if isinstance(node, list):
        return [path for value in node for path in _paths(value)]
    return []
