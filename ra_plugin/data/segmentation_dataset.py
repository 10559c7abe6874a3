"""Images with a class per pixel, degraded on the fly: a folder of images and one of index masks."""
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ra_plugin.data.annotations import read_classes
from ra_plugin.data.files import UnsettledFileError, check_file, check_folder, files_by_stem
from ra_plugin.data.image_file import read_image
from ra_plugin.data.mask_file import read_mask
from ra_plugin.data.mask_sample import MaskSample
from ra_plugin.data.spatial_label_dataset import SpatialLabelDataset, SpatialLabelOptions, enlarged_map, pad_to
from ra_plugin.data.spellings import Spellings
from ra_plugin.option_types import ClassNames, FilePath
from ra_plugin.options import OptionError
from ra_plugin.recognizers.facts import IGNORED
from ra_plugin.utils.text_file import read_text


@dataclass(frozen=True, kw_only=True)
class SegmentationOptions(SpatialLabelOptions):
    """Options of a :class:`SegmentationDataset` block.

    Attributes:
        dataroot_gt: Folder of the clean images, at any depth; hidden files are ignored.
        dataroot_mask: Folder of the masks. A mask has the path of its image, except for the suffix. It is an 8-bit gray
            or palette image in a lossless format such as PNG; its values are class numbers.
        meta_info: Text file of the images to use, with one path without suffix per line. Default: all images.
        image_suffix: End of the image names, e.g. Cityscapes' ``_leftImg8bit.png``. Default: any image suffix.
        mask_suffix: End of the mask names, e.g. ``_gtFine_labelTrainIds.png``.
        classes: Names of the classes in the order of their numbers: a list, or a text file with one name per line.
        num_classes: Number of classes, if they have no names. One of the two is required.
        ignore_index: Value in the files of pixels without a class, e.g. 11 in CamVid; it becomes 255, like 255 itself.
            Default: 255, but masks with only 0 and 255 are rejected unless this or label_map is given.
        label_map: Class number of each value in the files, e.g. ``{7: 0, 8: 1}``; other values become 255. Default: the
            values are the class numbers.
        reduce_zero_label: As in mmseg, for ADE20K: 0 in the files means no class, and k is class k - 1. Default: false;
            if it is given explicitly, it is not compared with the recognizer's.
    """
    dataroot_mask: FilePath
    meta_info: FilePath | None = None
    image_suffix: str | None = None
    mask_suffix: str = '.png'
    classes: ClassNames | None = None
    num_classes: int | None = None
    ignore_index: int | None = None
    label_map: Mapping | None = None
    reduce_zero_label: bool | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.classes is None and self.num_classes is None:
            raise OptionError('expected classes or num_classes, got neither. Masks do not say how many classes there '
                              'are.')
        if self.ignore_index is not None and not 0 <= self.ignore_index <= 255:
            raise OptionError(f'expected a value from 0 to 255, got {self.ignore_index}.', 'ignore_index')
        if self.label_map is not None and self.reduce_zero_label:
            raise OptionError('not allowed with label_map, which defines the class of each value. Remove it.',
                              'reduce_zero_label')
        if self.label_map is not None and self.ignore_index not in (None, IGNORED):
            raise OptionError(f'not allowed with label_map, got {self.ignore_index}. Omit that value from label_map '
                              'instead.', 'ignore_index')


class SegmentationDataset(SpatialLabelDataset):
    """Data set of clean images with the class of each pixel, and their degraded images.

    Args:
        opt: The dataset's block of a BasicSR option file; keys as in :class:`SegmentationOptions`.

    Attributes:
        paths, mask_paths: Files of each image.
        classes: Names of the classes, or None.
        num_classes: Number of classes.
        shifts_labels: True if 0 in the files means no class, and k is class k - 1.

    Shape:
        An item is as in :class:`DegradedImageDataset`; ``label`` is long ``(H, W)``: class numbers from 0, and 255 for
        pixels without a class. In a batch it is ``(N, H, W)``, padded with 255.

    Example:
        >>> SegmentationDataset({'phase': 'val', 'dataroot_gt': 'datasets/camvid/val', 'ignore_index': 11,
        ...                      'dataroot_mask': 'datasets/camvid/valannot', 'num_classes': 11})[0]['label'].shape
        torch.Size([360, 480])
    """

    options_type = SegmentationOptions
    options: SegmentationOptions
    num_classes: int

    def __init__(self, opt: Mapping[str, Any]):
        super().__init__(opt)
        options, where = self.options, self.where
        self.classes = read_classes(options.classes, where)
        self.num_classes = _count_classes(options, self.classes, where)
        self._table = _value_table(options, self.num_classes, where)
        pairs = _list_pairs(options, where)
        self.paths = [os.path.join(options.dataroot, image) for image, _ in pairs]
        self.mask_paths = [os.path.join(options.dataroot_mask, mask) for _, mask in pairs]
        last = self.num_classes - 1
        self.keep_part('mask_paths')
        self.shifts_labels = bool(self._table[0] == IGNORED and self._table[1] == 0 and self._table[last + 1] == last)
        sample = MaskSample(self.num_classes, len(self.paths))
        self.check_sample(lambda index: sample.add(*self._read_mask(index)))
        sample.check(f'{where}.dataroot_mask', options.ignore_index != IGNORED and not options.label_map)

    def load(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, torch.Tensor]:
        path, mask_path = self.paths[index], self.mask_paths[index]
        mask, label = self._read_mask(index)
        image = read_image(path, self.options.max_pixels, self.options.exif_orientation, mask.shape[::-1])
        if mask.shape != image.size[::-1]:
            raise ValueError(f'{mask_path}: expected a mask of {image.width}x{image.height} pixels as {path}, got '
                             f'{mask.shape[1]}x{mask.shape[0]}. Use the labeled image.')
        geometry = self.draw(image.size, path, rng)
        return geometry.image(image), torch.from_numpy(geometry.mask(label).astype(np.int64))

    def _read_mask(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the stored values, uint8 ``(H, W)``, and their labels, uint8."""
        mask = read_mask(self.mask_paths[index], self.options.max_pixels)
        label = self._table[mask]
        if (label < 0).any():
            options, value = self.options, mask[label < 0].max()
            first = int(bool(options.reduce_zero_label))
            ignored = IGNORED if options.ignore_index is None else options.ignore_index
            remedy = 'Set ignore_index or label_map for it, or correct the mask.'
            if value == self.num_classes:
                remedy = ('If 0 in the files means no class, as in ADE20K, set reduce_zero_label: true; if this is the '
                          'value of no class, set ignore_index.')
            raise UnsettledFileError(f'{self.mask_paths[index]}: expected class numbers from {first} to '
                                     f'{self.num_classes - 1 + first} or {ignored} (ignored), got {value}. '
                                     f'{remedy}')
        return mask, label.astype(np.uint8)

    def enlarged(self, label: torch.Tensor, scale: int) -> torch.Tensor:
        return enlarged_map(label, scale)

    def collate_labels(self, labels: Sequence[torch.Tensor], height: int, width: int) -> torch.Tensor:
        return torch.stack([pad_to(label, height, width, IGNORED) for label in labels])


def _count_classes(options: SegmentationOptions, classes: tuple[str, ...] | None, where: str) -> int:
    count = (options.num_classes or 0) if classes is None else len(classes)
    if options.num_classes not in (None, count):
        raise OptionError(f'{where}.num_classes: expected {count}, as many as classes names, got '
                          f'{options.num_classes}. Remove it.')
    if not 1 <= count < IGNORED:
        raise OptionError(f'{where}: expected 1 to {IGNORED - 1} classes, got {count}. {IGNORED} means ignored.')
    return count


def _value_table(options: SegmentationOptions, num_classes: int, where: str) -> np.ndarray:
    """Return the label of each value of a mask, int16 ``(256,)``; -1 for values that must not occur."""
    ignored = IGNORED if options.ignore_index is None else options.ignore_index
    if options.label_map is None:
        first = int(bool(options.reduce_zero_label))
        table = np.full(256, -1, np.int16)
        table[first:first + num_classes] = np.arange(num_classes)
        table[[ignored, IGNORED, *range(first)]] = IGNORED
        return table
    table = np.full(256, IGNORED, np.int16)
    for value, number in options.label_map.items():
        if not (type(value) is type(number) is int and 0 <= value <= 255 and 0 <= number < num_classes):
            raise OptionError(f'{where}.label_map: expected a value from 0 to 255 and a class number from 0 to '
                              f'{num_classes - 1}, got {value!r}: {number!r}. Omit values without a class.')
        table[value] = number
    return table


def _list_pairs(options: SegmentationOptions, where: str) -> list[tuple[str, str]]:
    """Return pairs of image and mask, relative to their folders."""
    check_folder(options.dataroot, f'{where}.dataroot_gt')
    check_folder(options.dataroot_mask, f'{where}.dataroot_mask')
    images = files_by_stem(options.dataroot, options.image_suffix, f'{where}.dataroot_gt')
    masks = files_by_stem(options.dataroot_mask, options.mask_suffix, f'{where}.dataroot_mask')
    stems = sorted(images) if options.meta_info is None else _read_stems(options.meta_info, images, where)
    if not stems:
        raise OptionError(f"{where}: expected images, got none from '{options.meta_info or options.dataroot}'. "
                          'Check the folder and image_suffix.')
    known = Spellings(masks, f'{where}.dataroot_mask')
    pairs = []
    for stem in stems:
        there = known.find(stem)
        if there is None:
            mask = os.path.join(options.dataroot_mask, stem + options.mask_suffix)
            raise OptionError(f"{where}.dataroot_mask: expected the mask '{mask}' of '{images[stem]}', got none. "
                              'Check mask_suffix and image_suffix, or remove the image.')
        pairs.append((images[stem], masks[there]))
    return pairs


def _read_stems(path: str, images: Mapping[str, str], where: str) -> list[str]:
    check_file(path, f'{where}.meta_info')
    lines = read_text(path, f'{where}.meta_info').splitlines()
    stems = [os.path.normpath(line.strip()) for line in lines if line.strip()]
    known = Spellings(images, f'{where}.meta_info')
    found = []
    for stem in stems:
        there = known.find(stem)
        if there is None:
            raise OptionError(f"{where}.meta_info: '{path}' lists '{stem}', which has no image in dataroot_gt. "
                              'Expected one path per line, relative to it and without the suffix.')
        found.append(there)
    return found
