"""What a data set gives to judge by: labels, clean images, both, or neither."""
import copy
from dataclasses import dataclass

from torch.utils.data import Dataset

from ra_plugin.data.with_labels import WithLabels
from ra_plugin.options import OptionError
from ra_plugin.utils.random_streams import kept_random_streams

_LABELED = 'LabeledImageDataset (or, with boxes and masks, DetectionDataset, SegmentationDataset)'
GAIN_LABELS = f'Give it labels: folders, or labels: FILE; or use {_LABELED}'


@dataclass(frozen=True)
class Given:
    """Parts that the items of a data set have.

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
        item = untouched(dataset)[0]
    given = Given('label' in item, 'gt' in item)
    if not (given.labels or given.clean):
        raise OptionError(neither(where, type(dataset).__name__))
    return given


def no_labels(loss: str, kind: str) -> str:
    """Return what to say where a loss needs labels, and a data set of that kind gives none."""
    return (f'{loss} needs labels, and {kind} gives none. {GAIN_LABELS} for datasets.train, or RecogConsistencyLoss, '
            'which needs none.')


def neither(where: str, kind: str) -> str:
    """Return what to say of a data set of that kind that gives nothing to judge by."""
    return (f'{where}: judging needs labels or clean images, and {kind} gives neither. {GAIN_LABELS}; or give it clean '
            'images: dataroot_gt.')


def untouched(dataset: Dataset) -> Dataset:
    """A copy to read from: BasicSR's data sets open files on the first read, which workers are to do themselves."""
    probe = copy.copy(dataset)
    if isinstance(probe, WithLabels):
        probe.dataset = untouched(probe.dataset)
    if hasattr(probe, 'io_backend_opt'):  # they take its type out
        probe.io_backend_opt = dict(probe.io_backend_opt)
    return probe
