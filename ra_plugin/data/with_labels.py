"""Labels for data sets that have none: the class of each image, from its folder or a list of paths and labels."""
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ra_plugin.data.annotations import number_labels, read_classes, read_labels, without_suffix
from ra_plugin.data.class_order import ClassOrder
from ra_plugin.data.image_dataset import ImageDataset
from ra_plugin.data.label_values import Entry
from ra_plugin.data.spellings import Spellings
from ra_plugin.option_types import ClassNames, LabelsPath
from ra_plugin.options import OptionError, build_block
from ra_plugin.utils.text import how_many


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """Options that add labels to a data set without labels, BasicSR's or your own.

    Attributes:
        labels: ``folders``: the folder below ``dataroot_gt`` is the class; or a JSON or CSV file like ``meta_info`` of
            a :class:`LabeledImageDataset`, with paths relative to ``dataroot_gt``, which may list further images.
            Default: no labels.
        classes: Class names in the order of the labels: a list, or a text file with one name per line. Default: the
            names that occur, in the order of ``class_order``.
        class_order: Order of the names that occur, see :class:`LabeledImageDataset`. Default: ``text``.
    """

    labels: LabelsPath | None = None
    classes: ClassNames | None = None
    class_order: ClassOrder | None = None


class WithLabels(ImageDataset):
    """Wrapper of a data set that adds the class of each image to its items, as ``label`` int.

    Args:
        dataset: Data set of single images in BasicSR's form: ``paths`` lists the images, and items have ``gt_path``.
            Without clean images, ``lq_path`` and ``dataroot_lq`` are used instead.
        opt: Its option block, with the keys of :class:`LabelOptions`.

    Attributes:
        labels: Class number of each image.
        classes: Names of the classes, or None if labels are numbers without names.
        num_classes: ``len(classes)``, or the largest label + 1.

    Raises:
        OptionError: An image has no label, a label is not a class, or a file is not as described.
    """

    def __init__(self, dataset: ImageDataset, opt: Mapping[str, Any]):
        self.dataset, self.opt = dataset, dataset.opt
        self.paths = getattr(dataset, 'paths', None)
        self.where = f'{type(dataset).__name__}({opt.get("name") or opt.get("phase", "")})'
        kind = 'gt' if 'dataroot_gt' in opt else 'lq'
        self._root, self._path_key = opt[f'dataroot_{kind}'], f'{kind}_path'
        self._lmdb = (opt.get('io_backend') or {}).get('type') == 'lmdb'
        collate_fn = getattr(dataset, 'collate_fn', None)
        if collate_fn is not None:
            self.collate_fn = collate_fn
        names = self._names()
        options = build_block(LabelOptions, label_keys(opt), self.where)
        self._labels, self.classes = number_images(names, options, self.where, self._root, self._lmdb)
        self.labels = [self._labels[name] for name in names]
        self.num_classes = len(self.classes) if self.classes else max(self._labels.values()) + 1

    def _names(self) -> list[str]:
        if not self.paths:
            raise OptionError(f'{self.where}.labels: expected a data set that lists its images, got '
                              f"{'none of them' if self.paths is None else 'an empty one'}. Use LabeledImageDataset.")
        return [self._name(path[self._path_key] if isinstance(path, Mapping) else path) for path in self.paths]

    def _name(self, path: str) -> str:
        """Return the path below the root, or the key of an lmdb."""
        return path if self._lmdb else os.path.relpath(path, self._root)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = self.dataset[index]  # BasicSR replaces unreadable files by others: use the path in the item
        return {**item, 'label': self._labels[self._name(item[self._path_key])]}


def number_images(names: Sequence[str], options: LabelOptions, where: str, root: str,
                  is_lmdb: bool = False) -> tuple[dict[str, int], tuple[str, ...] | None]:
    """Return the class number of each image by its name, and the names of the classes if there are any.

    Args:
        names: Paths of the images below the root, or keys of an lmdb.
        options: Where the labels come from. A file of them may list further images.
        where: Name of the data set, for messages.
        root: Folder that the names are relative to, for messages.
        is_lmdb: Names are keys: without a suffix.

    Raises:
        OptionError: An image has no label, a label is not a class, or a file is not as described.
    """
    labels = options.labels
    by_folder = labels == 'folders'
    entries = ([_in_folder(name, where, root) for name in names] if by_folder else
               _read(labels, names, where, is_lmdb))
    numbers, classes = number_labels(entries, read_classes(options.classes, where), where, 'labels',
                                     by_folder=by_folder, class_order=options.class_order)
    found = {name: number for (name, _), number in zip(entries, numbers, strict=True)}
    missing = [name for name in names if name not in found]
    if missing:
        raise OptionError(f"{where}.labels: expected a label for each image, got none for '{min(missing)}' "
                          f"({len(missing)} of {how_many(len(names), 'image')}) in '{labels}'. Paths in it are "
                          f"relative to '{root}'.")
    return found, classes


def _in_folder(name: str, where: str, root: str) -> Entry:
    folder, slash, _ = name.partition('/')
    if not slash or folder == os.pardir:
        raise OptionError(f"{where}.labels: expected one folder per class in '{root}', got the image "
                          f"'{name}'. Use a .json or .csv file of paths and labels instead.")
    return name, folder


def _read(labels: str | None, names: Sequence[str], where: str, is_lmdb: bool) -> list[Entry]:
    entries = read_labels(labels or '', f'{where}.labels')
    if not entries:
        raise OptionError(f"{where}.labels: expected paths and labels in '{labels}', got none.")
    entries = [(os.path.normpath(name), label) for name, label in entries]
    entries = [(without_suffix(name), label) for name, label in entries] if is_lmdb else entries
    known = Spellings(names, f'{where}.labels')
    return [(known.find(name) or name, label) for name, label in entries]


def inner_dataset(dataset: ImageDataset) -> ImageDataset:
    """Return the data set within `WithLabels`; other data sets as they are."""
    return dataset.dataset if isinstance(dataset, WithLabels) else dataset


def label_keys(opt: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a data set's block that are :class:`LabelOptions`."""
    return {field.name: opt[field.name] for field in fields(LabelOptions) if field.name in opt}
