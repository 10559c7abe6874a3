"""Digests of all that the records of an evaluation depend on: processings, recognizers, metrics, images."""
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass, replace
from functools import cache, lru_cache
from importlib import metadata
from typing import Any

from torch import nn

from ra_plugin.builders.identity import (
    canonical,
    digest,
    file_identity,
    folder_identity,
    named_files,
    state_identity,
    weights_digest,
    without_secrets,
)
from ra_plugin.builders.named_sources import module_files
from ra_plugin.data.detection_dataset import DetectionDataset
from ra_plugin.data.image_dataset import ImageDataset
from ra_plugin.data.labeled_image_dataset import LabeledImageDataset
from ra_plugin.data.segmentation_dataset import SegmentationDataset
from ra_plugin.data.text_dataset import TextDataset
from ra_plugin.data.unlabeled_image_dataset import UnlabeledImageDataset
from ra_plugin.data.with_labels import inner_dataset
from ra_plugin.evaluation.judging import Judging
from ra_plugin.evaluation.restored_folder import FolderOfImages
from ra_plugin.evaluation.restorer_network import Network
from ra_plugin.evaluation.restorers import Restorer, RestorerOptions
from ra_plugin.evaluation.reuse import BASIC, Plan, metric_unit, score_unit
from ra_plugin.metrics.pyiqa_metrics import PyiqaOptions, QualityMetric
from ra_plugin.options import option_hints
from ra_plugin.recognizers import Recognizer
from ra_plugin.recognizers.frozen.out_of_sight import networks_within
from ra_plugin.results import CLEAN, NONE
from ra_plugin.version import __version__

# whose items depend on their files and labels alone, both of which each data set lists
_LISTED = (LabeledImageDataset, DetectionDataset, SegmentationDataset, TextDataset, UnlabeledImageDataset)
# keys that change no image and no answer
_LOADING = {'name', 'batch_size_per_gpu', 'num_worker_per_gpu', 'dataset_enlarge_ratio', 'use_shuffle',
            'prefetch_mode', 'num_prefetch_queue', 'pin_memory', 'persistent_workers'}
_NAMING = {'used', 'method', 'conditions', 'option_file', 'checkpoint', 'blend', 'alpha', 'folder'}


class RecordPlans:
    """Maker of the plans of an evaluation's conditions; weights are read once.

    Args:
        recognizers: Name -> its block, paths resolved.
        quality_metrics: Name -> its block.
        imports: The modules of ``custom_imports``.
    """

    def __init__(self, recognizers: Mapping[str, Mapping], quality_metrics: Mapping[str, Any],
                 imports: Sequence[str] = ()):
        self._blocks, self._metric_blocks = recognizers, quality_metrics
        self._imports = [file_identity(path) for name in imports for path in module_files(f'{name}.')]
        self._digests: dict[int, tuple[nn.Module, str]] = {}  # of weights, with what has them

    def plan(self, judging: Judging, restorers: Sequence[Restorer], dataset: ImageDataset, block: Mapping,
             numbers: Sequence[int], names: Sequence[str] | None) -> Plan:
        """Return the plan of a condition.

        Args:
            judging: How its images are judged.
            restorers: Restorers of the condition.
            dataset: Data set of the condition, with its degradation.
            block: Options that it was built from.
            numbers: Numbers of the images that are judged.
            names: Paths of these, below their data set's folder; None where it does not list them.
        """
        makers = {CLEAN: {0: digest(CLEAN)}, NONE: {0: digest(NONE)},
                  **{restorer.name: dict(enumerate(self._restorer(restorer))) for restorer in restorers}}
        judges = {score_unit(name): self._recognizer(name, judge, judging)
                  for name, judge in judging.recognizers.items()}
        metrics = {metric_unit(name): self._metric(name, metric) for name, metric in judging.quality_metrics.items()}
        units = {(name, seed, what): digest(makers[name][seed], value) for name, seed in judging.processings
                 for what, value in {BASIC: BASIC, **metrics, **judges}.items()}
        folders = {(restorer.name, seed): process for restorer in restorers
                   for seed, process in enumerate(restorer.processings) if isinstance(process, FolderOfImages)}
        restored = {key: self._restored(process, names, len(numbers)) for key, process in folders.items()}
        of_baseline = [values for (name, _), values in restored.items() if name == judging.baseline]
        return Plan(
            units=units, numbers=numbers, images=list(self.images(dataset, block, numbers)),
            baseline=[NONE if judging.baseline == NONE else digest(
                makers[judging.baseline], [values[place] for values in of_baseline]) for place in range(len(numbers))],
            audited=frozenset(judging.audited), restored=restored)

    def _restored(self, process: FolderOfImages, names: Sequence[str] | None, count: int) -> list[str]:
        if names is None:
            return [digest(folder_identity(process.folder))] * count
        files = [process.file(name) for name in names]
        return [digest(_real(file), state_identity(file)) for file in files]

    def _restorer(self, restorer: Restorer) -> Iterator[str]:
        """Yield the digest of each seed."""
        options = {key: value for key, value in vars(restorer.options).items() if key not in _NAMING}
        hints = option_hints(RestorerOptions)
        for process in restorer.processings:
            if isinstance(process, Network):  # the weights themselves count, wherever they are from
                yield digest(canonical(_without(options, ('checkpoint',)), hints),
                             named_files(options, hints, but=('checkpoint',)), self._network(process.fitted.network))
            else:
                yield digest(canonical(options, hints), named_files(options, hints), '')

    def _recognizer(self, name: str, recognizer: Recognizer, judging: Judging) -> str:
        block = without_secrets(self._blocks[name])
        block = {key: value for key, value in block.items() if key not in recognizer.options_of_asking}
        # the weights themselves count, wherever they are from
        infos = [replace(part.info, source='') for part in dict.fromkeys((recognizer, *recognizer.members()))]
        return digest(canonical(_without(block, ('checkpoint',))), named_files(block, but=('checkpoint', 'cache')),
                      self._network(recognizer), infos, judging.metrics.get(recognizer.info.task), recognizer.costly)

    def _metric(self, name: str, metric: QualityMetric) -> str:
        network = getattr(metric, 'metric', None)
        block = self._metric_blocks.get(name)
        # the name, too: many metrics have neither options nor weights
        return digest(name, canonical(block, PyiqaOptions), metric.source, named_files(block, PyiqaOptions),
                      self._network(network) if isinstance(network, nn.Module) else '')

    def _network(self, network: nn.Module) -> str:
        """Return the digest of a network's weights, its code, and the packages that its layers are from."""
        if id(network) not in self._digests:
            modules = sorted({type(layer).__module__ for part in networks_within(network) for layer in part.modules()})
            packages = sorted({name.partition('.')[0] for name in modules} - {'torch', 'ra_plugin'})
            self._digests[id(network)] = network, digest(
                weights_digest(network),
                [[name, _version(name)] for name in packages],
                [file_identity(path) for name in modules for path in module_files(f'{name}.')])
        return self._digests[id(network)][1]

    def images(self, dataset: ImageDataset, block: Mapping, numbers: Sequence[int]) -> Iterator[str]:
        """Yield the digest of each image, with its label."""
        is_lmdb = (block.get('io_backend') or {}).get('type') == 'lmdb'
        is_listed = type(dataset) in _LISTED and not is_lmdb
        options = {key: value for key, value in block.items() if key not in _LOADING}
        seen = frozenset() if is_listed or is_lmdb else frozenset(
            _real(file) for number in range(len(dataset)) for file in item_files(dataset, number))
        # what a data set lists image by image counts for each image alone; of others whatever their block names
        named = {'degradation': block.get('degradation'), 'type': block.get('type')} if is_listed else options
        common = digest(__version__, canonical(options), self._imports, getattr(dataset, 'classes', None),
                        named_files(named, seen=seen))
        for number in numbers:
            files = item_files(dataset, number)
            yield digest(common, number, files if is_lmdb else [[_real(file), state_identity(file)] for file in files],
                         list(_label_facts(dataset, number)))


def _label_facts(dataset: ImageDataset, number: int) -> Iterator[Any]:
    """Yield the facts that a data set has of an image's label."""
    for key in ('labels', 'images', 'words'):
        listed = getattr(dataset, key, None)
        if isinstance(listed, (list, tuple)) and len(listed) == len(dataset):
            fact = listed[number]
            if is_dataclass(fact) and not isinstance(fact, type) and hasattr(fact, 'source'):
                fact = replace(fact, path='', source='')
            yield fact


def item_files(dataset: ImageDataset, number: int) -> list[str]:
    """Return the files that one item of a data set is made of, or its keys in an lmdb, as the data set lists them."""
    within = inner_dataset(dataset)
    found = []
    for key in ('paths', 'mask_paths'):
        listed = getattr(within, key, None)
        if isinstance(listed, (list, tuple)) and len(listed) == len(within):
            paths = listed[number].values() if isinstance(listed[number], Mapping) else [listed[number]]
            found += [path for path in paths if isinstance(path, str)]
    return found


def image_names(dataset: ImageDataset, block: Mapping) -> list[str] | None:
    """Return the names of a data set's images below its folder; None where it does not list them."""
    within = inner_dataset(dataset)
    paths = getattr(within, 'paths', None)
    if not isinstance(paths, (list, tuple)) or len(paths) != len(within):
        return None
    found = []
    for path in paths:
        kind = 'lq' if isinstance(path, Mapping) and 'gt_path' not in path or 'dataroot_gt' not in block else 'gt'
        path = path.get(f'{kind}_path') if isinstance(path, Mapping) else path
        if not isinstance(path, str):
            return None
        found.append(image_name(path, block, kind))
    return found


def image_name(path: str, block: Mapping, kind: str) -> str:
    """Return the path of an image below its data set's folder; its name alone where it is not there.

    Args:
        path: Path of the image, or its key in an lmdb.
        block: Options of the data set.
        kind: ``'gt'`` or ``'lq'``.
    """
    if (block.get('io_backend') or {}).get('type') == 'lmdb':
        return os.path.normpath(path)
    root = block.get(f'dataroot_{kind}')
    below = os.path.relpath(path, root) if root else os.pardir
    return os.path.basename(path) if below.startswith(os.pardir) else below


def _version(package: str) -> str:
    """Return the version of a package, as it tells it or as it was installed; nothing for a module of the user."""
    told = getattr(sys.modules.get(package), '__version__', None)
    return str(told) if told else ' '.join(metadata.version(name) for name in _installed().get(package, ()))


@cache
def _installed() -> Mapping[str, Sequence[str]]:
    return metadata.packages_distributions()


def _without(node: Any, keys: Sequence[str]) -> Any:
    if isinstance(node, Mapping):
        return {key: _without(value, keys) for key, value in node.items() if key not in keys}
    return [_without(value, keys) for value in node] if isinstance(node, (list, tuple)) else node


def _real(path: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(_real_folder(os.path.abspath(folder)), name)


@lru_cache(4096)
def _real_folder(path: str) -> str:
    return os.path.realpath(path)
