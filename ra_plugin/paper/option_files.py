"""Option files of the experiments: trainings, and the evaluations that judge them."""
import copy
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ra_plugin.evaluation.options import read_options
from ra_plugin.paper.experiments import Domain, Experiments, Restorer, Study, known
from ra_plugin.paper.tables import PLAIN
from ra_plugin.shipped.find import locate, shown_path


@dataclass(frozen=True)
class Make:
    """Way to make a file: program and arguments, and the trainings and files that it needs."""

    command: Sequence[str]
    after: Sequence[Restorer]
    needs: Sequence[str]


@dataclass(frozen=True)
class Group:
    """Restorers that are judged side by side, the plain one first.

    Attributes:
        judged_on: Domain.
        options: Options of the evaluation.
    """

    restorers: Sequence[Restorer]
    judged_on: str
    options: Mapping[str, Any]


class ExperimentOptions:
    """`Experiments` as option files.

    Args:
        experiments: Which.
        root: Folder of ``experiments`` and ``results``; relative paths are looked up below it.
        folder: Folder of the trainings' option files.
        data: Folder that takes the place of ``datasets`` in the paths of data.
    """

    def __init__(self, experiments: Experiments, root: Path, folder: Path, data: str | None = None):
        self.experiments, self.root, self.folder, self.data = experiments, root, folder, data
        self._read = functools.cache(read_options)  # a plan asks for the same few files hundreds of times

    def training_options(self, restorer: Restorer, seed: int) -> dict[str, Any]:
        """Return the options of one training."""
        options, start = self._trained(restorer), self.experiments.start(restorer)
        if start:
            options['path']['pretrain_network_g'] = shown_path(self.network_file(start, seed), self.root)
        options.update(name=self.run_name(restorer, seed), manual_seed=seed)
        options['val'] = None  # judged afterwards, side by side
        return options

    def run_name(self, restorer: Restorer, seed: int) -> str:
        """Return the training's folder in ``experiments``: the same for a default and for its value given."""
        for key in ('network', 'loss_weight'):
            default = replace(restorer, **{key: None})
            if restorer != default and self._trained(restorer) == self._trained(default):
                restorer = default
        words = [self.experiments.scale, restorer.domain, restorer.task, restorer.label, f'seed{seed}']
        return '_'.join(re.sub(r'[^\w.]+', '_', word).strip('_') for word in words)

    def _trained(self, restorer: Restorer) -> dict[str, Any]:
        """Return the options of a training without name and seed."""
        domain, method = self.experiments.domains[restorer.domain], self.experiments.method(restorer)
        options = self._task_options(domain, restorer.task, restorer.network, method.get('option_file'))
        others = [block for name, block in domain.recognizers.items() if name != restorer.recognizer]
        words = {'$recognizer': domain.recognizers.get(restorer.recognizer), '$others': others,
                 '$optim_g': options['train'].get('optim_g'), '$scheduler': options['train']['scheduler']}
        options = changed(options, _filled(method.get('set', {}), words))
        if restorer.loss_weight is not None:
            options = changed(options, {'train.recog_opt.loss_weight': restorer.loss_weight})
        return options

    def _task_options(self, domain: Domain, task: str, network: str | None = None,
                      option_file: str | None = None) -> dict[str, Any]:
        """Return the options of the plain training, or of another one in its place."""
        block = domain.task(task)
        other = known(domain.networks, network, 'network') if network else {}
        options = self._read(locate(option_file or other.get('option_file', block['option_file']), self.root))
        words = {f'${key}': int(value) if value.isdigit() else value
                 for key, value in domain.corruption(task).items()}
        options = changed(changed(options, _filled(block.get('set', {}), words)), other.get('set', {}))
        return self._with_data(options)

    def minutes(self, restorer: Restorer) -> float:
        """Return the estimated minutes of one training, by the images that it sees and the cost of each."""
        domain = self.experiments.domains[restorer.domain]
        times = domain.task(restorer.task).get('times', 1)
        times *= domain.networks.get(restorer.network, {}).get('times', 1)
        first = Restorer(domain=restorer.domain, task=next(iter(domain.tasks)), method=PLAIN)
        return (domain.minutes * _images_seen(self._trained(restorer)) / _images_seen(self._trained(first))
                * (times + self.experiments.method(restorer).get('adds', 0)))

    def groups(self, name: str, seeds: Sequence[int], restorers: Sequence[Restorer]) -> list[Group]:
        """Return the evaluations of restorers of a study."""
        study = self.experiments.studies[name]
        found: dict[tuple, list[Restorer]] = {}
        for restorer in restorers:
            for trained_on, judged_on in study.pairs():
                if restorer.domain == trained_on:
                    found.setdefault((judged_on, trained_on, restorer.task, restorer.network), []).append(restorer)
        return [Group(restorers, judged_on, self._evaluation_options(name, judged_on, restorers, seeds))
                for (judged_on, *_), restorers in found.items()]

    def _evaluation_options(self, name: str, judged_on: str, restorers: Sequence[Restorer],
                            seeds: Sequence[int]) -> dict[str, Any]:
        study, domain, first = self.experiments.studies[name], self.experiments.domains[judged_on], restorers[0]
        block = {**self._task_options(domain, first.task)['datasets']['val'], **self._with_data(dict(domain.test))}
        blocks = {restorer.label: {
            'option_file': shown_path(self.option_file(restorer, seeds[0]), self.root),
            'checkpoint': [shown_path(self.network_file(restorer, seed), self.root) for seed in seeds],
            'used': self._used(restorer) if judged_on == restorer.domain else [],
            'method': restorer.method} for restorer in restorers}
        place = [first.domain, 'on', judged_on] if len(study.pairs()) > 1 else []
        words = [self.experiments.scale, name, *place, first.task, first.network]
        return {'name': '_'.join(filter(None, words)).replace(' ', '_'), 'datasets': {first.task: block},
                'restorers': blocks, 'recognizers': {**domain.recognizers, **self._judges(judged_on, study, seeds[0])},
                'recognition_metrics': dict(domain.recognition_metrics),
                'quality_metrics': domain.quality_metrics if study.quality else [],
                'baseline': first.label, 'images': domain.images, 'audit': study.audit}

    def _judges(self, domain: str, study: Study, seed: int) -> dict[str, Mapping]:
        trainings = self.experiments.judge_trainings(domain, study)
        files = {name: shown_path(self.network_file(restorer, seed, 'r'), self.root)
                 for name, restorer in trainings.items()}
        return {name: {**block, 'checkpoint': files[name]} if name in files else block
                for name, block in self.experiments.judges(domain, study).items()}

    def _used(self, restorer: Restorer) -> list[str]:
        """Return the recognizers that a training uses."""
        recognizers = self.experiments.domains[restorer.domain].recognizers
        if self.experiments.method(restorer).get('left_out'):
            return [name for name in recognizers if name != restorer.recognizer]
        return [restorer.recognizer] if restorer.recognizer else []

    def network_file(self, restorer: Restorer, seed: int, kind: str = 'g') -> Path:
        """Return the path of the network of a training, or of the recognizer that it trained: ``'r'``."""
        return self.root / 'experiments' / self.run_name(restorer, seed) / 'models' / f'net_{kind}_latest.pth'

    def option_file(self, restorer: Restorer, seed: int) -> Path:
        """Return the path of the option file of one training."""
        return self.folder / f'{self.run_name(restorer, seed)}.yml'

    def makes(self, study: Study, seed: int) -> dict[str, Make]:
        """Return file -> the program that makes it, for files of the recognizers of a study."""
        found = {}
        for name in dict.fromkeys(name for pair in study.pairs() for name in pair if self.experiments.tasks(study)):
            domain = self.experiments.domains[name]
            blocks = [*domain.recognizers.values(), *self.experiments.judges(name, study).values()]
            needed = [block.get('checkpoint') for block in blocks]
            found.update({file: self._make(name, words, seed) for file, words in domain.makes.items()
                          if file in needed})
        return found

    def _make(self, domain: str, words: Sequence[Any], seed: int) -> Make:
        after = [Restorer(domain=domain, **word) for word in words if isinstance(word, Mapping)]
        files = iter(self.option_file(restorer, seed) for restorer in after)
        return Make([str(next(files)) if isinstance(word, Mapping) else self._with_data(word) for word in words], after,
                    self.experiments.domains[domain].needs)

    def _with_data(self, node: Any) -> Any:
        """Return options with the data's folder in place of ``datasets``."""
        if isinstance(node, dict):
            return {key: self._with_data(value) for key, value in node.items()}
        if isinstance(node, list):
            return [self._with_data(value) for value in node]
        if self.data and isinstance(node, str) and f'{node}/'.startswith('datasets/'):
            return str(Path(self.data) / node.removeprefix('datasets').lstrip('/'))
        return node


def _images_seen(run: Mapping[str, Any]) -> int:
    """Return the number of images that a training sees."""
    return run['train']['total_iter'] * run['datasets']['train']['batch_size_per_gpu']


def changed(options: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with other values under dotted keys."""
    options = copy.deepcopy(dict(options))
    for key, value in changes.items():
        *parents, last = key.split('.')
        node = options
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = copy.deepcopy(value)
    return options


def _filled(node: Any, words: Mapping[str, Any]) -> Any:
    """Return options with placeholders filled in."""
    if isinstance(node, Mapping):
        return {key: _filled(value, words) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, words) for value in node]
    return words.get(node, node) if isinstance(node, str) else node
