"""Check whether a data set has labels, clean images, both, or neither, for evaluating recognizers."""
import copy
from dataclasses import dataclass

from ra_plugin.data.image_dataset import ImageDataset
from ra_plugin.data.with_labels import WithLabels
from ra_plugin.options import OptionError
from ra_plugin.utils.random_streams import kept_random_streams

_LABELED = ('LabeledImageDataset (or, with boxes and masks, DetectionDataset, SegmentationDataset; with words, '
            'TextDataset)')
GAIN_LABELS = f'Add labels: folders, or labels: FILE; or use {_LABELED}'


@dataclass(frozen=True)
class Given:
    """Optional parts of a data set's items.

    Attributes:
        labels: True if items have labels, by which recognizers are scored.
        clean: True if items have clean images, with which images and predictions are compared.
    """

    labels: bool
    clean: bool


def given_by(dataset: ImageDataset, where: str) -> Given:
    """Return the parts of a data set's items, determined from its first item.

    Raises:
        OptionError: The data set is empty, or has neither labels nor clean images.
    """
    if not len(dataset):
        raise OptionError(f'{where}: expected images, got none. Check its folders and lists.')
    with kept_random_streams():  # reading an item may draw random numbers, which must not change the training
        item = untouched(dataset)[0]
    given = Given('label' in item, 'gt' in item)
    if not (given.labels or given.clean):
        raise OptionError(neither(where, type(dataset).__name__))
    return given


def no_labels(loss: str, kind: str) -> str:
    """Return the message for a loss that needs labels and a data set of class ``kind`` without labels."""
    return (f'{loss} needs labels, but {kind} has none. {GAIN_LABELS} for datasets.train, or RecogConsistencyLoss, '
            'which needs no labels.')


def neither(where: str, kind: str) -> str:
    """Return the message for a data set of class ``kind`` without labels and clean images."""
    return (f'{where}: evaluation needs labels or clean images, but {kind} has neither. {GAIN_LABELS}; or add clean '
            'images: dataroot_gt.')


def untouched(dataset: ImageDataset) -> ImageDataset:
    """Return a copy to read from, since BasicSR's data sets open files on first use, which is up to the workers."""
    probe = copy.copy(dataset)
    if isinstance(probe, WithLabels):
        probe.dataset = untouched(probe.dataset)
    backend = getattr(probe, 'io_backend_opt', None)
    if backend is not None:  # BasicSR's data sets remove its type
        vars(probe)['io_backend_opt'] = dict(backend)
    return probe
