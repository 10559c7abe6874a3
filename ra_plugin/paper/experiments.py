"""The paper's experiments as data, from `options/experiments`: trainings and evaluations of each table."""
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ra_plugin.evaluation.options import read_options
from ra_plugin.options import OptionError, build_block, suggestion
from ra_plugin.paper.tables import PLAIN, as_list, is_shown
from ra_plugin.shipped.find import locate

_FOLDER = Path('options', 'experiments')
_COMMON = 'experiments.yml'  # of all scales; beside it there is a file for each of them
ALL, FIRST = 'all', 'first'  # of the recognizers of a domain
_CORRUPTION = re.compile(r'(?P<corruption>\w+) (?P<severity>[1-5])')  # a task: 'snow 5'


@dataclass(frozen=True, kw_only=True)
class Domain:
    """Data set at one scale: its recognizers, and the trainings and evaluations of each task.

    Attributes:
        recognizers: Name -> block; in the order of the paper's.
        tasks: Name -> ``option_file`` of the plain training, and ``set``: dotted key -> another value. ``corruption``
            is that of all corruptions, ``$corruption`` and ``$severity`` in it. ``times``: the first task's time that
            an image takes in training, for the estimate.
        methods: Name -> ``set``: what it changes in the plain training, or in that of its ``option_file``.
            ``$recognizer`` stands for the block, ``$others`` for a list of all other blocks, ``$optim_g`` and
            ``$scheduler`` for those of the plain training. A `Restorer`'s keys in ``path.pretrain_network_g``, here or
            in a task or network, stand for the network that its training leaves. With ``left_out`` the recognizer
            judges and the others are used. ``adds``: how much longer an image takes, in the time of the first task's
            plain training.
        networks: Name -> ``option_file``, in place of the task's, or ``set``; ``times`` as of a task.
        judges: Name -> block of recognizers that judge alone. A `Restorer`'s keys in the place of a checkpoint stand
            for the recognizer that its training leaves.
        makes: File -> the program and arguments that make it, where it is not there. A `Restorer`'s keys among them
            stand for the option file of its training.
        needs: Files that these programs need and nobody makes.
        test: Keys of the validation set's block that are others where results are reported.
        recognition_metrics, quality_metrics: As in an evaluation; the latter in studies that ask for them.
        images: Evenly spaced images that are judged. Default: all.
        minutes: Minutes of the first task's plain training, for the estimate of a plan.
    """

    recognizers: Mapping
    tasks: Mapping
    methods: Mapping
    networks: Mapping = field(default_factory=dict)
    judges: Mapping = field(default_factory=dict)
    makes: Mapping = field(default_factory=dict)
    needs: Sequence[str] = ()
    test: Mapping = field(default_factory=dict)
    recognition_metrics: Mapping = field(default_factory=dict)
    quality_metrics: Mapping | Sequence[str] = ()
    images: int | None = None
    minutes: float = 1.0

    def task(self, name: str) -> Mapping:
        """Return the block of a task, or that of all corruptions.

        Raises:
            OptionError: There is none.
        """
        return self.tasks['corruption'] if self.corruption(name) else known(self.tasks, name, 'task')

    def corruption(self, task: str) -> dict[str, str]:
        """Return ``corruption`` and ``severity`` of a task of the block of all corruptions; else nothing."""
        found = _CORRUPTION.fullmatch(task) if 'corruption' in self.tasks and task not in self.tasks else None
        return found.groupdict() if found else {}


@dataclass(frozen=True, kw_only=True)
class Restorer:
    """Coordinates of a row or column of a table, which one or more seeds train."""

    domain: str
    task: str
    method: str
    recognizer: str | None = None
    network: str | None = None
    loss_weight: float | None = None

    @property
    def label(self) -> str:
        """Name among the restorers of one task."""
        weight = '' if self.loss_weight is None else f'weight {self.loss_weight:g}'
        return ', '.join(filter(None, [self.network, ' '.join(filter(None, [self.method, self.recognizer])), weight]))


@dataclass(frozen=True, kw_only=True)
class Study:
    """Restorers that are judged side by side.

    Attributes:
        tasks: Each is a condition of its own.
        restorers: Blocks of `Restorer`'s keys; a list stands for each of its items, ``recognizer`` may be ``all`` or
            ``first``.
        trained_on, judged_on: Domain, or several: those trained on each are judged on each. Default of the latter: the
            domain that they were trained on.
        judges: Names of those that judge beside the recognizers of the domain.
        quality: True: images are judged by the domain's ``quality_metrics``.
        seeds: At least so many.
        audit: Images of the audit.
    """

    tasks: Sequence[str]
    restorers: Sequence[Mapping]
    trained_on: str | Sequence[str] = 'classification'
    judged_on: str | Sequence[str] | None = None
    judges: Sequence[str] = ()
    quality: bool = False
    seeds: int = 1
    audit: int = 0

    def pairs(self) -> list[tuple[str, str]]:
        """Return the pairs of domains of training and judging."""
        trained_on = as_list(self.trained_on)
        if self.judged_on is None:
            return [(name, name) for name in trained_on]
        return list(itertools.product(trained_on, as_list(self.judged_on)))


class Experiments:
    """Experiments at one scale.

    Args:
        root: Folder below which the files are looked up first, then among the shipped ones.
        scale: ``'small'``, ``'paper'`` or another file's name in ``options/experiments``.

    Raises:
        OptionError: The files are invalid.
    """

    def __init__(self, root: Path, scale: str):
        self.scale = scale
        self.domains = {name: _checked(Domain, block, f'{scale}.yml: {name}')
                        for name, block in read_options(locate(_FOLDER / f'{scale}.yml', root)).items()}
        found = read_options(locate(_FOLDER / _COMMON, root))
        self.studies = {name: _checked(Study, block, f'experiments.yml: studies.{name}')
                        for name, block in found['studies'].items()}
        self.tables: dict[str, Mapping] = found['tables']

    def tasks(self, study: Study) -> list[str]:
        """Return the tasks of a study that this scale has."""
        domains = [self.domains.get(name) for pair in study.pairs() for name in pair]
        if study.judges and not any(domain and set(study.judges) & set(domain.judges) for domain in domains):
            return []
        return [task for task in study.tasks
                if all(domain and (task in domain.tasks or domain.corruption(task)) for domain in domains)]

    def seeds(self, study: Study, first: int, number: int) -> range:
        """Return the seeds of each training of a study."""
        return range(first, first + max(number, study.seeds))

    def restorers(self, study: Study) -> list[Restorer]:
        """Return the restorers of a study that this scale has, domain by domain and task by task."""
        return [restorer for name in as_list(study.trained_on) for task in self.tasks(study)
                for restorer in self._task_restorers(study, name, task)]

    def _task_restorers(self, study: Study, name: str, task: str) -> list[Restorer]:
        domain, found = self.domains[name], []
        for block in study.restorers:
            choices = {key: as_list(value) for key, value in block.items()}
            if 'recognizer' in choices:
                choices['recognizer'] = _recognizers(choices['recognizer'], list(domain.recognizers))
            found += [Restorer(domain=name, task=task, **dict(zip(choices, values, strict=True)))
                      for values in itertools.product(*choices.values())]
        return [restorer for restorer in found if restorer.method in (PLAIN, *domain.methods)
                and restorer.network in (None, *domain.networks) and restorer.recognizer in (None, *domain.recognizers)]

    def shown(self, table: str) -> list[Restorer]:
        """Return the restorers that a table shows."""
        spec = self.tables[table]
        return [restorer for restorer in self.restorers(self.studies[spec['study']])
                if is_shown(spec, asdict(restorer))]

    def trained(self, study: Study, restorers: Sequence[Restorer]) -> list[Restorer]:
        """Return the restorers to train for a study, each after the one it starts from, and the trainings of judges."""
        found: dict[Restorer, None] = {}
        for restorer in (*restorers, *(
                restorer for _, judged_on in study.pairs() if self.tasks(study)
                for restorer in self.judge_trainings(judged_on, study).values())):
            start = self.start(restorer)
            found.update(dict.fromkeys([start, restorer] if start else [restorer]))
        return list(found)

    def judge_trainings(self, domain: str, study: Study) -> dict[str, Restorer]:
        """Return judge -> the training that makes it."""
        return {name: Restorer(domain=domain, **block['checkpoint'])
                for name, block in self.judges(domain, study).items() if isinstance(block.get('checkpoint'), Mapping)}

    def judges(self, domain: str, study: Study) -> dict[str, Mapping]:
        """Return the judges of a study beside the recognizers of a domain, as far as this scale has them."""
        judges = self.domains[domain].judges
        return {name: judges[name] for name in study.judges if name in judges}

    def start(self, restorer: Restorer) -> Restorer | None:
        """Return the restorer whose network a training starts from."""
        domain = self.domains[restorer.domain]
        blocks = (domain.task(restorer.task), domain.networks.get(restorer.network, {}), self.method(restorer))
        changes = {key: value for block in blocks for key, value in block.get('set', {}).items()}
        start = changes.get('path.pretrain_network_g')
        return replace(restorer, **{'recognizer': None, 'loss_weight': None, **start}) if start else None

    def method(self, restorer: Restorer) -> Mapping:
        """Return the changes that a method makes in the plain training."""
        methods = self.domains[restorer.domain].methods
        return {} if restorer.method == PLAIN else known(methods, restorer.method, 'method')


def _recognizers(chosen: Sequence[str], known: Sequence[str]) -> list[str]:
    return [name for choice in chosen for name in {ALL: known, FIRST: known[:1]}.get(choice, [choice])]


def _checked(cls: type, block: Any, where: str) -> Any:
    return build_block(cls, block, where)


def known(blocks: Mapping[str, Mapping], name: str, kind: str) -> Mapping:
    """Return the block of that name.

    Raises:
        OptionError: There is none.
    """
    if name not in blocks:
        raise OptionError(f"experiments: no {kind} '{name}' at this scale.{suggestion(name, blocks)} "
                          f'There are {", ".join(blocks)}.')
    return blocks[name]
