"""Labels of images in a training with traiNNer-redux, and the trainings in which images have none."""
import os
from collections.abc import Sequence
from typing import Any

import torch

from ra_plugin.data.class_folder_paths import single_paths
from ra_plugin.data.with_labels import LabelOptions, number_images
from ra_plugin.options import OptionError
from ra_plugin.recognizers import Recognizer

_WITHOUT = 'Use RecogConsistencyLoss, which needs no labels, or'


class ImageLabels:
    """Class number of each image of the training data, by its path.

    Args:
        options: Where the labels come from, see `LabelOptions`. Paths in a file are relative to ``dataroot_gt``; where
            that is a list of folders, to each of them.
        roots: The folders ``dataroot_gt``.
        meta_info: File that lists the images. Default: all images in the folders, at any depth.
        where: Place of the loss, for messages.

    Attributes:
        classes: Names of the classes, or None if labels are numbers without names.
        num_classes: ``len(classes)``, or the largest label + 1.

    Raises:
        OptionError: An image has no label, a label is not a class, or a file is not as described.
    """

    def __init__(self, options: LabelOptions, roots: Sequence[str], meta_info: str | None, where: str):
        self.where = where
        names = {root: _names(root, meta_info, where) for root in roots}
        together = list(dict.fromkeys(name for own in names.values() for name in own))
        if not together:
            raise OptionError(f"{where}.labels: expected images in '{', '.join(roots)}', got none.")
        numbers, self.classes = number_images(together, options, where, ', '.join(roots))
        self._numbers = {_plain(os.path.join(root, name)): numbers[name] for root, own in names.items() for name in own}
        self.num_classes = len(self.classes) if self.classes else max(numbers.values()) + 1

    def of(self, paths: Sequence[str]) -> torch.Tensor:
        """Return the class numbers ``(N,)`` long of the images with these paths.

        Raises:
            OptionError: An image has none.
        """
        unknown = next((path for path in paths if _plain(path) not in self._numbers), None)
        if unknown is not None:
            raise OptionError(f"{self.where}.labels: no label for '{unknown}', which was not below dataroot_gt as the "
                              'training began. Start it again.')
        return torch.tensor([self._numbers[_plain(path)] for path in paths])


def _names(root: str, meta_info: str | None, where: str) -> list[str]:
    """Return the images of a folder that are trained with, relative to it."""
    block = {'dataroot_gt': root, 'meta_info': meta_info}
    return [os.path.relpath(path, root) for path in single_paths(block, 'meta_info', where, 'gt', even_flat=True) or ()]


def _plain(path: str) -> str:
    return os.path.abspath(path)


def check_task(recognizer: Recognizer, where: str) -> None:
    """Check that labels of the recognizer are classes of whole images.

    Raises:
        OptionError: They are boxes, masks or words.
    """
    if recognizer.info.task not in ('classification', 'embedding'):
        raise OptionError(f'{where}: labels are classes of images here, and {recognizer} does {recognizer.info.task}. '
                          f'{_WITHOUT} a classifier.')


def check_labels_last(opt: Any, where: str) -> None:
    """Check that each image of a batch is one labeled image of the training data.

    Args:
        opt: traiNNer-redux's options.
        where: Place of the loss, for messages.

    Raises:
        OptionError: Images are mixed or reordered after they are read, or there are no clean images in files.
    """
    data = opt.datasets['train']
    refused = (
        (opt.train.use_moa, 'train.use_moa mixes images of different classes', 'leave use_moa out'),
        (opt.train.eco.enabled, 'train.eco trains on mixtures with the images of a teacher', 'leave eco out'),
        (opt.high_order_degradation, 'high_order_degradation draws images from a pool of earlier batches',
         'degrade the images beforehand'),
        (data.dataroot_gt is None, 'datasets.train has no dataroot_gt, and thus no labeled images', 'add it'),
        ((data.io_backend or {}).get('type', 'disk') != 'disk', 'datasets.train.io_backend gives no paths of files',
         'set it to {type: disk}'))
    for is_so, fact, remedy in refused:
        if is_so:
            raise OptionError(f'{where}.labels: {fact}. {_WITHOUT} {remedy}.')
