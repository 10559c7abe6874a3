"""The check of all recognizers of an option file, on images of its own data sets."""
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch.utils.data import default_collate

from ra_plugin.builders.identity import canonical
from ra_plugin.builders.loaders import build_dataset, evenly_spaced
from ra_plugin.builders.option_file import parse_options
from ra_plugin.data.class_check import check_classes
from ra_plugin.data.image_dataset import ImageDataset
from ra_plugin.metrics.embedding import check_identities
from ra_plugin.models.recog_aware_model import recog_blocks
from ra_plugin.models.recog_validation import recognizable
from ra_plugin.options import OptionError
from ra_plugin.recognizers import Recognizer, build_recognizer
from ra_plugin.recognizers.trainable import frozen
from ra_plugin.registry import RECOGNIZER_REGISTRY
from ra_plugin.studies.doctor.checks import BUILD, Case, Finding, check_recognizer, failure
from ra_plugin.utils.progress import progress
from ra_plugin.utils.tensors import moved
from ra_plugin.utils.yaml_file import read_yaml


def read_options(root: Path, file: str) -> dict:
    """Read the option file on the command line, checked for its kind of run: training, or only testing."""
    try:
        content = read_yaml(file, 'option file')
    except (OSError, OptionError, yaml.YAMLError):
        content = None  # the parser says what is wrong
    trains = isinstance(content, Mapping) and 'train' in content
    return parse_options(root, is_train=trains)[0]


def examine(opt: Mapping[str, Any], count: int = 100, expected: Mapping[str, float] | None = None) -> Iterator[Finding]:
    """Check every recognizer of parsed options; one that fails does not keep the others from it.

    Args:
        opt: As `read_options` gives them.
        count: Labeled images to check with, evenly spaced over the data set; all of them are held in memory.
        expected: Name of a recognizer -> its score on clean images, in ``[0, 1]``.

    Raises:
        OptionError: No recognizers or images, or a name in ``expected`` that no recognizer has.
    """
    blocks = recognizer_blocks(opt)
    unknown = set(expected or ()) - set(blocks)
    if not blocks:
        raise OptionError('doctor: expected recognizers in train.recog_opt or val.recognizers, got none.')
    if unknown:
        raise OptionError(f"doctor: --expect: no recognizer '{min(unknown)}'. Known: {', '.join(blocks)}")
    device = torch.device('cuda' if opt.get('num_gpu') and torch.cuda.is_available() else 'cpu')
    dataset = _chosen_dataset(opt)
    images, labels = _examples(dataset, count, device)
    for name, (block, trains) in progress(list(blocks.items()), 'Checking', unit='recognizer'):
        try:
            recognizer = build_recognizer(block, name).to(device)
        except Exception as error:  # of any type: it is the finding
            yield replace(failure(error), recognizer=name, check=BUILD)
            continue
        own = _labels_of_task(recognizer, labels)
        yield from check_recognizer(Case(
            name, recognizer, images, own, trains, (expected or {}).get(name),
            '' if own is None else _class_problem(dataset, recognizer)))


def recognizer_blocks(opt: Mapping[str, Any]) -> dict[str, tuple[Any, bool]]:
    """Map each name to (option block, true if it serves as a loss); ensembles by their members, each block once.

    Names are those in ``val.recognizers``, and for what trains alone its place below ``train``.
    """
    training = []
    losses = recog_blocks(opt.get('train') or {})
    for i, loss in enumerate(losses):
        place = f'recog_opt[{i}].recognizer' if len(losses) > 1 else 'recog_opt.recognizer'
        training += _members(frozen(loss['recognizer']), place)
    judging = [member for name, block in ((opt.get('val') or {}).get('recognizers') or {}).items()
               for member in _members(frozen(block), name)]
    trained = [canonical(block) for _, block in training]
    found = {name: (block, canonical(block) in trained) for name, block in judging}
    for place, block in training:
        if not any(canonical(block) == canonical(other) for other, _ in found.values()):
            found[place] = block, True
    return found


def _members(block: Any, place: str) -> list[tuple[str, Any]]:
    return RECOGNIZER_REGISTRY.get(block['type'], place).member_blocks(block, place)


def _chosen_dataset(opt: Mapping[str, Any]) -> ImageDataset:
    """Return the first data set for validation with labels, else the training set with images as for validation."""
    options = opt['datasets']
    for phase in sorted(options, key=lambda phase: (phase == 'train', phase)):
        kind = 'val' if phase == 'train' else options[phase]['phase']  # crops from the center, nothing drawn at random
        dataset = build_dataset({**options[phase], 'phase': kind})
        if not len(dataset):
            raise OptionError(f'datasets.{phase}: expected images, got none.')
        if 'label' in dataset[0]:
            break
    return dataset


def _examples(dataset: ImageDataset, count: int,
              device: torch.device) -> tuple[list[torch.Tensor], Sequence[Any] | None]:
    """Return evenly spaced clean images, each ``(1, 3, H, W)``, and their labels, each as a batch of one."""
    if count < 1:
        raise OptionError(f'doctor: -k: expected a whole number >= 1, got {count}.')
    collate = getattr(dataset, 'collate_fn', default_collate)
    images, labels = [], []
    for index in evenly_spaced(len(dataset), count):
        batch = collate([dataset[index]])
        clean = batch['gt'] if 'gt' in batch else batch['lq']
        images.append(recognizable(clean, dataset.opt).to(device))
        labels.append(moved(batch.get('label'), device))
    return images, None if labels[0] is None else labels


def _labels_of_task(recognizer: Recognizer, labels: Sequence[Any] | None) -> Sequence[Any] | None:
    """Return the labels, or None for an embedding network where they are no identities: it does without."""
    if labels is not None and recognizer.info.task == 'embedding':
        try:
            check_identities(labels[0], 1, str(recognizer))
        except ValueError:
            return None
    return labels


def _class_problem(dataset: ImageDataset, recognizer: Recognizer) -> str:
    try:
        check_classes(dataset, [recognizer], 'the data set')
    except OptionError as error:
        return str(error)
    return ''
