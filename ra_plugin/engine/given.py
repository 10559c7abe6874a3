"""What a data set gives to judge by: labels, clean images, both, or neither."""
from collections.abc import Mapping
from dataclasses import dataclass

from basicsr.utils.registry import DATASET_REGISTRY
from torch.utils.data import Dataset

from ra_plugin.engine.networks import registered
from ra_plugin.options import OptionError
from ra_plugin.utils.random_streams import kept_random_streams

_LABELED = 'LabeledImageDataset (or, with boxes and masks, DetectionDataset, SegmentationDataset)'
GAIN_LABELS = f'Give it labels: folders, or labels: FILE; or use {_LABELED}'


@dataclass(frozen=True)
class Given:
    """What the items of a data set have.

    Attributes:
        labels: Recognizers are judged by right and wrong.
        clean: Images are compared with clean ones, and answers with those on clean ones.
    """

    labels: bool
    clean: bool


def given_by(dataset: Dataset, where: str) -> Given:
    """Return what a data set gives, by its first item.

    Raises:
        OptionError: It is empty, or gives neither labels nor clean images.
    """
    if not len(dataset):
        raise OptionError(f'{where}: expected images, got none. Check its folders and lists.')
    with kept_random_streams():  # a data set may draw where a training is not to notice
        item = dataset[0]
    given = Given('label' in item, 'gt' in item)
    if not (given.labels or given.clean):
        raise OptionError(_neither(where, type(dataset).__name__))
    return given


def has_no_labels(block: Mapping) -> bool:
    """Return whether this is one of BasicSR's own data sets as it is; a user's own is known once it is built."""
    cls = registered(DATASET_REGISTRY, block['type'], '', 'data set') if block else None
    return cls is not None and cls.__module__.startswith('basicsr.') and not block.get('labels')


def has_no_clean(block: Mapping) -> bool:
    """Return whether a data set's block alone tells that it gives no clean images."""
    cls = registered(DATASET_REGISTRY, block['type'], '', 'data set') if block else None
    only_degraded = bool(block and block.get('dataroot_lq') and not block.get('dataroot_gt'))
    return cls is not None and cls.__module__.startswith(('basicsr.', 'ra_plugin.')) and only_degraded or (
        cls is not None and cls.__module__.startswith('basicsr.') and cls.__name__ == 'SingleImageDataset')


def check_given(block: Mapping, where: str) -> None:
    """Check, without reading anything, that there may be something to judge by.

    Raises:
        OptionError: The data set gives neither labels nor clean images.
    """
    if has_no_labels(block) and has_no_clean(block):
        raise OptionError(_neither(where, block['type']))


def _neither(where: str, kind: str) -> str:
    return (f'{where}: judging needs labels or clean images, and {kind} gives neither. {GAIN_LABELS}; or give it clean '
            'images: dataroot_gt.')
