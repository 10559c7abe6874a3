"""The paper's experiments as data: what is trained and judged for which table. `options/experiments` has them."""
import copy
import functools
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ra_plugin.engine.evaluation_options import read_options
from ra_plugin.engine.trained_runs import shown_path
from ra_plugin.options import OptionError, check_arguments, suggestion
from ra_plugin.report.paper_tables import PLAIN

ALL, FIRST = 'all', 'first'  # of the recognizers of a domain
_CORRUPTION = re.compile(r'(?P<corruption>\w+) (?P<severity>[1-5])')  # a task: 'snow 5'


@dataclass(frozen=True, kw_only=True)
class Domain:
    """A data set at one scale: its recognizers, and how the tasks are trained and judged on it.

    Attributes:
        recognizers: Name -> block; in the order of the paper's.
        tasks: Name -> ``option_file`` of the plain training, and ``set``: dotted key -> another value. ``corruption``
            is that of all corruptions, ``$corruption`` and ``$severity`` in it.
        methods: Name -> ``set``: what it changes in the plain training. ``$recognizer`` stands for the block,
            ``$optim_g`` and ``$scheduler`` for those of the plain training.
        networks: Name -> ``option_file``, in place of the task's, or ``set``.
        test: Keys of the validation set's block that are others where results are reported.
        recognition_metrics: As in an evaluation.
        images: Evenly spaced images that are judged. Default: all.
        minutes: That a training takes, for the estimate of a plan.
    """

    recognizers: Mapping
    tasks: Mapping
    methods: Mapping
    networks: Mapping = field(default_factory=dict)
    test: Mapping = field(default_factory=dict)
    recognition_metrics: Mapping = field(default_factory=dict)
    images: int | None = None
    minutes: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Restorer:
    """What one or more seeds train: the coordinates of a row or column of a table."""

    domain: str
    task: str
    method: str
    recognizer: str | None = None
    network: str | None = None
    loss_weight: float | None = None

    @property
    def label(self) -> str:
        """Its name among those of one task."""
        weight = '' if self.loss_weight is None else f'weight {self.loss_weight:g}'
        return ', '.join(filter(None, [self.network, ' '.join(filter(None, [self.method, self.recognizer])), weight]))


@dataclass(frozen=True, kw_only=True)
class Study:
    """Restorers that are judged side by side.

    Attributes:
        tasks: Each is a condition of its own.
        restorers: Blocks of `Restorer`'s keys; a list stands for each of its items, ``recognizer`` may be ``all`` or
            ``first``.
        trained_on, judged_on: Domains.
        seeds: At least so many.
        audit: Images of the audit.
    """

    tasks: Sequence[str]
    restorers: Sequence[Mapping]
    trained_on: str = 'classification'
    judged_on: str | None = None
    seeds: int = 1
    audit: int = 0


class Experiments:
    """The experiments at one scale.

    Args:
        root: The repository.
        scale: Name of a file in ``options/experiments``: ``'small'`` or ``'paper'``.
        data: Folder that takes the place of ``datasets`` in the paths of data.

    Raises:
        OptionError: The files cannot be meant.
    """

    def __init__(self, root: Path, scale: str, data: str | None = None):
        folder = root / 'options' / 'experiments'
        self.root, self.scale, self.data = root, scale, data
        self._read = functools.cache(read_options)  # a plan asks for the same few files hundreds of times
        self.domains = {name: _checked(Domain, block, f'{scale}.yml: {name}')
                        for name, block in read_options(folder / f'{scale}.yml').items()}
        found = read_options(folder / 'experiments.yml')
        self.studies = {name: _checked(Study, block, f'experiments.yml: studies.{name}')
                        for name, block in found['studies'].items()}
        self.tables: dict[str, Mapping] = found['tables']

    def tasks(self, study: Study) -> list[str]:
        """Those of a study's that this scale has."""
        domains = [self.domains[name] for name in {study.trained_on, study.judged_on or study.trained_on}]
        return [task for task in study.tasks if all(self._has(domain, task) for domain in domains)]

    @staticmethod
    def _has(domain: Domain, task: str) -> bool:
        return task in domain.tasks or 'corruption' in domain.tasks and bool(_CORRUPTION.fullmatch(task))

    def seeds(self, study: Study, first: int, number: int) -> range:
        """Of each training of a study."""
        return range(first, first + max(number, study.seeds))

    def restorers(self, study: Study) -> list[Restorer]:
        """Those of a study that this scale has, task by task."""
        domain = self.domains[study.trained_on]
        found = []
        for task, block in itertools.product(self.tasks(study), study.restorers):
            choices = {key: value if isinstance(value, list) else [value] for key, value in block.items()}
            if 'recognizer' in choices:
                choices['recognizer'] = _recognizers(choices['recognizer'], list(domain.recognizers))
            found += [Restorer(domain=study.trained_on, task=task, **dict(zip(choices, values)))
                      for values in itertools.product(*choices.values())]
        return [restorer for restorer in found if restorer.method in (PLAIN, *domain.methods)]

    def training_options(self, restorer: Restorer, seed: int) -> dict[str, Any]:
        """The option file of one training."""
        options = self._trained(restorer)
        options.update(name=self.run_name(restorer, seed), manual_seed=seed)
        options['val'] = None  # judged afterwards, side by side
        return options

    def run_name(self, restorer: Restorer, seed: int) -> str:
        """Of the training's folder in ``experiments``: the same one for a default and for its value given."""
        for key in ('network', 'loss_weight'):
            default = replace(restorer, **{key: None})
            if restorer != default and self._trained(restorer) == self._trained(default):
                restorer = default
        words = [self.scale, restorer.domain, restorer.task, restorer.label, f'seed{seed}']
        return '_'.join(re.sub(r'[^\w.]+', '_', word).strip('_') for word in words)

    def _trained(self, restorer: Restorer) -> dict[str, Any]:
        """Options of a training, whatever its name and seed."""
        domain = self.domains[restorer.domain]
        method = {} if restorer.method == PLAIN else _found(domain.methods, restorer.method, 'method')
        options = self._task_options(domain, restorer.task, restorer.network)
        block = domain.recognizers[restorer.recognizer] if restorer.recognizer else None
        words = {'$recognizer': block, '$optim_g': options['train']['optim_g'],
                 '$scheduler': options['train']['scheduler']}
        options = changed(options, _filled(method.get('set', {}), words))
        if restorer.loss_weight is not None:
            options = changed(options, {'train.recog_opt.loss_weight': restorer.loss_weight})
        return options

    def _task_options(self, domain: Domain, task: str, network: str | None = None) -> dict[str, Any]:
        """Of the plain training."""
        corruption = None if task in domain.tasks else _CORRUPTION.fullmatch(task)
        block = domain.tasks['corruption'] if corruption and 'corruption' in domain.tasks else _found(
            domain.tasks, task, 'task')
        other = _found(domain.networks, network, 'network') if network else {}
        options = self._read(self.root / other.get('option_file', block['option_file']))
        words = {f'${key}': int(value) if value.isdigit() else value
                 for key, value in (corruption.groupdict() if corruption else {}).items()}
        options = changed(changed(options, _filled(block.get('set', {}), words)), other.get('set', {}))
        return self._with_data(options)

    def evaluations(self, study: Study) -> dict[tuple[str, str | None], list[Restorer]]:
        """(Task, network) -> the restorers that are judged side by side, the plain one first."""
        groups: dict[tuple[str, str | None], list[Restorer]] = {}
        for restorer in self.restorers(study):
            groups.setdefault((restorer.task, restorer.network), []).append(restorer)
        return groups

    def evaluation_options(self, name: str, restorers: Sequence[Restorer], seeds: Sequence[int],
                           folder: Path) -> dict[str, Any]:
        """The option file of one of a study's evaluations; ``folder`` has those of the trainings."""
        study = self.studies[name]
        judged_on = study.judged_on or study.trained_on
        domain, task = self.domains[judged_on], restorers[0].task
        block = {**self._task_options(domain, task)['datasets']['val'], **self._with_data(dict(domain.test))}
        blocks = {restorer.label: {
            'option_file': shown_path(folder / f'{self.run_name(restorer, seeds[0])}.yml', self.root),
            'checkpoint': [shown_path(self.network_file(restorer, seed), self.root) for seed in seeds],
            'used': [restorer.recognizer] if restorer.recognizer and judged_on == study.trained_on else [],
            'method': restorer.method} for restorer in restorers}
        words = [self.scale, name, task, restorers[0].network or '']
        return {'name': '_'.join(filter(None, words)).replace(' ', '_'), 'datasets': {task: block},
                'restorers': blocks, 'recognizers': dict(domain.recognizers),
                'recognition_metrics': dict(domain.recognition_metrics),
                'baseline': restorers[0].label, 'images': domain.images, 'audit': study.audit}

    def network_file(self, restorer: Restorer, seed: int) -> Path:
        """Where a training leaves its network."""
        return self.root / 'experiments' / self.run_name(restorer, seed) / 'models' / 'net_g_latest.pth'

    def _with_data(self, node: Any) -> Any:
        """Options with the data's folder in the place of ``datasets``."""
        if isinstance(node, dict):
            return {key: self._with_data(value) for key, value in node.items()}
        if self.data and isinstance(node, str) and node.startswith('datasets/'):
            return str(Path(self.data) / node.removeprefix('datasets/'))
        return node


def changed(options: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Options with other values under dotted keys."""
    options = copy.deepcopy(dict(options))
    for key, value in changes.items():
        *parents, last = key.split('.')
        node = options
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = copy.deepcopy(value)
    return options


def _filled(node: Any, words: Mapping[str, Any]) -> Any:
    """Options with the words that stand for something replaced."""
    if isinstance(node, Mapping):
        return {key: _filled(value, words) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, words) for value in node]
    return words.get(node, node) if isinstance(node, str) else node


def _recognizers(chosen: Sequence[str], known: Sequence[str]) -> list[str]:
    return [name for choice in chosen for name in {ALL: known, FIRST: known[:1]}.get(choice, [choice])]


def _checked(cls: type, block: Any, where: str) -> Any:
    check_arguments(cls, block, where)
    return cls(**block)


def _found(blocks: Mapping[str, Mapping], name: str, kind: str) -> Mapping:
    if name not in blocks:
        raise OptionError(f"experiments: no {kind} '{name}' at this scale.{suggestion(name, blocks)} "
                          f'There are {", ".join(blocks)}.')
    return blocks[name]
