"""Classification images with labels, degraded on the fly: ``{lq, gt, label, lq_path, gt_path}``.

Images come from class folders as in ImageNet, or from a list of paths and labels (JSON or CSV), and from disk or from a
BasicSR lmdb. Everything that can be checked by listing folders is checked when the dataset is built.
"""
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ra_plugin.data.annotations import keep_only, list_images, number_labels, read_classes
from ra_plugin.data.class_order import ClassOrder
from ra_plugin.data.degraded_image_dataset import DegradedImageDataset, DegradedImageOptions
from ra_plugin.data.files import check_folder
from ra_plugin.data.geometry import Size, draw_geometry, resized
from ra_plugin.data.image_file import decode_image
from ra_plugin.option_types import ClassNames, FilePath, Positive
from ra_plugin.options import OptionError
from ra_plugin.utils.optional import require


@dataclass(frozen=True, kw_only=True)
class IOBackend:
    """Source of the images.

    Attributes:
        type: ``disk``: files; ``lmdb``: a BasicSR lmdb.
    """
    type: Literal['disk', 'lmdb']


@dataclass(frozen=True, kw_only=True)
class LabeledImageOptions(DegradedImageOptions):
    """Options of a :class:`LabeledImageDataset` block.

    Attributes:
        dataroot_gt: Folder of the clean images, or an lmdb. Without ``meta_info`` each folder in it is a class, with
            images at any depth; hidden files, and files beside the class folders, are ignored.
        meta_info: List of the images to use, with paths relative to ``dataroot_gt``: a JSON file with
            ``{path: label}``, ``[[path, label], ...]`` or ``[{"path": ..., "label": ...}, ...]``, or a CSV file of
            ``path,label`` with or without that header. A label is a number from 0, or the name of a class. Labels that
            are all whole numbers are class numbers, in any spelling: ``7``, ``"7"``, ``7.0``.
        classes: Names of the classes in the order of their numbers: a list, or a text file with one name per line.
            Classes without images are allowed. Default: the names that occur, ordered by ``class_order``.
        class_order: ``text``, as torchvision sorts class folders (10 before 2), or ``natural``, as timm does (2 before
            10, ignoring case). Default: ``text``, with a warning if the two orders differ; required if they differ and
            all names are numbers.
        keep_classes: Names of the classes to keep, as a list or a text file: other images are dropped, and labels are
            indices of this list. Default: all classes.
        half: ``first`` or ``second`` half of the images of each class, in their order; for an odd number the first half
            has one more. Default: all images.
        io_backend: ``{type: disk}`` or ``{type: lmdb}``. Default: disk.
        resize: Length of the shorter side in pixels, with PIL's bilinear filter, as in torchvision's ``Resize``.
            Default: no resizing.
        crop_size: Side in pixels of a square crop of gt: random in phase ``train``, otherwise the center. Default: the
            whole image, cropped at the right and at the bottom to multiples of the degradation's scale.
    """
    meta_info: FilePath | None = None
    classes: ClassNames | None = None
    class_order: ClassOrder | None = None
    keep_classes: ClassNames | None = None
    half: Literal['first', 'second'] | None = None
    io_backend: IOBackend | None = None
    resize: Positive | None = None
    crop_size: Positive | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.crop_size is None:
            return
        self.check_divides(self.crop_size, 'crop_size')
        if self.resize is not None and self.crop_size > self.resize:
            raise OptionError(f'expected at most resize ({self.resize}), got {self.crop_size}. The shorter side of '
                              'each image is resize pixels long.', 'crop_size')


class LabeledImageDataset(DegradedImageDataset):
    """Data set of clean images with class labels, and their degraded images.

    In phase ``train`` crop, flip and noise are drawn for each access and follow torch's seed, also in workers. In other
    phases an item depends only on ``seed`` and its index, for any number of workers.

    Grayscale, palette and CMYK files are converted to RGB as in torchvision's loader, and as there EXIF orientation is
    not applied by default. 16-bit grayscale, float images and images with transparent pixels are rejected, because
    their conversion to 8-bit RGB is ambiguous. (PIL reads the upper 8 bits of 16-bit RGB files.)

    Args:
        opt: The dataset's block of a BasicSR option file; keys as in :class:`LabeledImageOptions`.

    Attributes:
        paths: File, or lmdb key, of each image.
        labels: Class number of each image.
        classes: Names of the classes, or None if labels are numbers without names.
        num_classes: ``len(classes)``, or the largest label + 1.

    Shape:
        An item: ``gt`` float32 ``(3, H, W)`` and ``lq`` float32 ``(3, H / scale, W / scale)``, RGB, ``[0, 1]``;
        ``label`` int (a long tensor ``(N,)`` in a batch); ``lq_path`` and ``gt_path`` are both the clean image's path.

    Raises:
        OptionError: On construction: a key is unknown or missing, a value has the wrong type or is out of range, or a
            folder or list of images is not as described.
        ValueError: When an item is read: the named file is unusable.

    Example:
        >>> LabeledImageDataset({'phase': 'val', 'dataroot_gt': 'datasets/cifar10/val', 'scale': 2,
        ...                      'degradation': {'type': 'BicubicDownsample', 'scale': 2}})[0]['lq'].shape
        torch.Size([3, 16, 16])
    """

    options_type = LabeledImageOptions
    options: LabeledImageOptions

    def __init__(self, opt: Mapping[str, Any]):
        super().__init__(opt)
        options, where = self.options, self.where
        self._lmdb = options.io_backend is not None and options.io_backend.type == 'lmdb'
        self._client = None
        root = options.dataroot
        check_folder(root, f'{where}.dataroot_gt')
        entries = list_images(root, options.meta_info, self._lmdb, where)
        paths = [path for path, _ in entries]
        self.labels, self.classes = number_labels(
            entries, read_classes(options.classes, where), where, by_folder=options.meta_info is None,
            class_order=options.class_order)
        kept = read_classes(options.keep_classes, where, 'keep_classes')
        if kept:
            paths, self.labels = keep_only(paths, self.labels, self.classes, kept, where)
            self.classes = kept
        self.num_classes = len(self.classes) if self.classes else max(self.labels) + 1
        if options.half:
            places = _half(self.labels, options.half, f'{where}.half')
            paths, self.labels = [paths[i] for i in places], [self.labels[i] for i in places]
        self.paths = paths if self._lmdb else [os.path.join(root, path) for path in paths]
        self.keep_part('labels')

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_client': None}

    def load(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        path, options = self.paths[index], self.options
        image = decode_image(self._read(path), path, options.max_pixels, options.exif_orientation or 'ignore')
        size = resized(image.size, options.resize) if options.resize else image.size
        self._check_size(size, image.size, path)
        crop = (options.crop_size, options.crop_size) if options.crop_size else None
        geometry = draw_geometry(image.size, size, crop, self.degradation.scale, rng if self.train else None,
                                 options.use_hflip)
        return geometry.image(image), self.labels[index]

    def _check_size(self, size: Size, source: Size, path: str) -> None:
        crop = self.options.crop_size
        if crop and min(size) < crop:
            after = ' after resize' if self.options.resize else ''
            raise ValueError(f'{path}: expected at least {crop}x{crop} for crop_size {crop}, got {size[0]}x{size[1]}'
                             f'{after}. Set a smaller crop_size, or resize to {crop} or more.')
        self.check_leaves_pixels(size, source, path)

    def _read(self, path: str) -> bytes:
        if not self._lmdb:
            with open(path, 'rb') as file:
                return file.read()
        if self._client is None:  # opened in the process that reads: an open one cannot be passed to spawned workers
            require('basicsr', 'io_backend {type: lmdb}')
            from basicsr.utils import FileClient
            self._client = FileClient('lmdb', db_paths=self.options.dataroot)
        data = self._client.get(path)
        if data is None:
            raise ValueError(f"{self.options.dataroot}: no image '{path}', which its meta_info.txt lists. "
                             'Create the lmdb again.')
        return data


def _half(labels: Sequence[int], half: str, where: str) -> list[int]:
    """Return the indices of the images in the given half of their class."""
    total, before, kept = Counter(labels), Counter(), []
    for i, label in enumerate(labels):
        if (2 * before[label] < total[label]) == (half == 'first'):
            kept.append(i)
        before[label] += 1
    if not kept:
        raise OptionError(f'{where}: expected a class with two or more images, got one image per class. '
                          'Remove half.')
    return kept
