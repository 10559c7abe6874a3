"""The paper's tables from its experiments: plan, train what is missing, judge side by side, lay out."""
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ra_plugin.engine.evaluation import Evaluation
from ra_plugin.engine.evaluation_report import evaluate
from ra_plugin.engine.experiments import Experiments
from ra_plugin.engine.trained_runs import is_trained, train_all
from ra_plugin.options import OptionError, suggestion
from ra_plugin.report.markdown import table
from ra_plugin.report.paper_tables import Judged, paper_table
from ra_plugin.utils.atomic import atomic_write


@dataclass(frozen=True)
class Plan:
    """What is to be done for some tables.

    Attributes:
        tables: Their names.
        studies: Those that the tables are made of -> seeds.
        runs: Name -> options of each training, finished or not.
        minutes: Of each training.
        missing: Files and folders that are needed and not there.
    """

    tables: Sequence[str]
    studies: Mapping[str, Sequence[int]]
    runs: Mapping[str, Mapping[str, Any]]
    minutes: Mapping[str, float]
    missing: Sequence[str]


class Reproduction:
    """The experiments at one scale, with what has been done of them in ``results/reproduce/SCALE``.

    Args:
        root: The repository.
        scale: ``'small'`` or ``'paper'``.
        data: Folder that takes the place of ``datasets``.
        seed, seeds: First seed and number of seeds of each training.
        out: Folder. Default: ``results/reproduce/SCALE``.
    """

    def __init__(self, root: Path, scale: str, data: str | None = None, seed: int = 0, seeds: int = 1,
                 out: Path | None = None):
        self.root, self.seed, self.seeds = root, seed, seeds
        self.experiments = Experiments(root, scale, data)
        self.out = out or root / 'results' / 'reproduce' / scale

    def plan(self, names: Sequence[str]) -> Plan:
        """What the tables need.

        Raises:
            OptionError: No such table.
        """
        known = self.experiments.tables
        for name in names:
            if name not in known:
                raise OptionError(f"reproduce: no table '{name}'.{suggestion(name, known)} "
                                  f"There are {', '.join(known)}")
        studies = {study: self._seeds(study) for study in dict.fromkeys(known[name]['study'] for name in names)}
        runs, minutes = {}, {}
        for study, seeds in studies.items():
            for restorer in self.experiments.restorers(self.experiments.studies[study]):
                for seed in seeds:
                    run = self.experiments.training_options(restorer, seed)
                    runs[run['name']] = run
                    minutes[run['name']] = self.experiments.domains[restorer.domain].minutes
        return Plan(names, studies, runs, minutes, self._missing(studies, runs))

    def _seeds(self, study: str) -> Sequence[int]:
        return self.experiments.seeds(self.experiments.studies[study], self.seed, self.seeds)

    def _missing(self, studies: Mapping[str, Sequence[int]], runs: Mapping[str, Mapping]) -> list[str]:
        paths = {path for run in runs.values() for path in _paths(run)}
        for study in studies:
            options = self.experiments.studies[study]
            paths |= set(_paths(self.experiments.domains[options.judged_on or options.trained_on].recognizers))
        return sorted(path for path in paths if not (self.root / path).exists())

    def describe(self, plan: Plan) -> str:
        """The plan as a table, and what is missing for it."""
        done = {name for name, run in plan.runs.items() if is_trained(self.root, run)}
        rows = [['table', 'what it shows', 'trainings', 'done', 'evaluations']]
        for name in plan.tables:
            spec = self.experiments.tables[name]
            study = self.experiments.studies[spec['study']]
            mine = [self.experiments.run_name(restorer, seed) for restorer in self.experiments.restorers(study)
                    for seed in plan.studies[spec['study']]]
            tasks = len(self.experiments.tasks(study)), len(study.tasks)
            title = spec['title'] + (f' ({tasks[0]} of {tasks[1]} tasks at this scale)' if tasks[0] < tasks[1] else '')
            rows.append([name, title, str(len(mine)), str(len(done.intersection(mine))),
                         str(len(self.experiments.evaluations(study)))])
        left = plan.runs.keys() - done
        hours = sum(plan.minutes[name] for name in left) / 60
        lines = [table(rows), f'{len(plan.runs)} different trainings, {len(left)} to be done: some {hours:.1f} hours '
                 'one after another.']
        if plan.missing:
            lines.append('Missing: ' + ', '.join(plan.missing))
        return '\n\n'.join(lines)

    def run(self, plan: Plan, jobs: int = 1, device: str | None = None, batch_size: int = 100) -> str:
        """Do what is left of the plan; the tables are returned, and written to ``NAME.md``.

        Raises:
            FileNotFoundError: Something is missing.
            RuntimeError: A training failed.
        """
        if plan.missing:
            raise FileNotFoundError(f'reproduce: {plan.missing[0]} does not exist, nor {len(plan.missing) - 1} others; '
                                    '--dry-run lists them.')
        train_all(self.root, self.out / 'options', list(plan.runs.values()), jobs)
        judged = {study: self._judge(study, seeds, device, batch_size) for study, seeds in plan.studies.items()}
        tables = []
        for name in plan.tables:
            spec = self.experiments.tables[name]
            tables.append(f'# {name}\n\n' + paper_table(spec, judged[spec['study']]))
            atomic_write(tables[-1], self.out / f'{name}.md')
        return '\n'.join(tables)

    def _judge(self, name: str, seeds: Sequence[int], device: str | None, batch_size: int) -> list[Judged]:
        """The restorers of a study with their results."""
        found = []
        for restorers in self.experiments.evaluations(self.experiments.studies[name]).values():
            options = self.experiments.evaluation_options(name, restorers, seeds, self.out / 'options')
            out = self.out / 'evaluations' / options['name']
            print(f'== Judging: {options["name"]}', flush=True)
            results = evaluate(Evaluation(self.root, options, device), out, batch_size,
                               command=f'python tools/reproduce.py --scale {self.experiments.scale}')
            condition, = results['conditions'].values()
            found += [Judged(asdict(restorer), restorer.label, restorers[0].label, condition) for restorer in restorers]
        return found


def _paths(node: Any) -> list[str]:
    """What options name of data and weights."""
    if isinstance(node, Mapping):
        return [path for key, value in node.items() for path in (
            [value] if str(key).startswith(('dataroot_', 'checkpoint')) and isinstance(value, str) else _paths(value))]
    return []
