"""Images with boxes, degraded on the fly: Pascal VOC's layout or COCO's JSON, from one folder or several."""
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from ra_plugin.data.annotations import read_classes
from ra_plugin.data.box_annotations import AnnotatedImage
from ra_plugin.data.class_order import ClassOrder
from ra_plugin.data.coco_annotations import decode_segmentation, read_coco
from ra_plugin.data.exif import exif_orientation, is_to_be_turned, turned_size
from ra_plugin.data.files import UnsettledFileError
from ra_plugin.data.geometry import Geometry, Size
from ra_plugin.data.image_file import open_image, read_image
from ra_plugin.data.spatial_label_dataset import SpatialLabelDataset, SpatialLabelOptions, enlarged_map, pad_to
from ra_plugin.data.spellings import Spellings
from ra_plugin.data.voc_annotations import default_classes, read_voc
from ra_plugin.option_types import ClassNames, FilePath
from ra_plugin.options import Limits, OptionError, suggestion
from ra_plugin.utils.optional import require
from ra_plugin.utils.text import how_many
from ra_plugin.utils.warn import warn

_NEARLY_NONE = 0.05  # share of the boxes


@dataclass(frozen=True, kw_only=True)
class DetectionOptions(SpatialLabelOptions):
    """Options of a :class:`DetectionDataset` block.

    Attributes:
        dataroot_gt: VOC: folder with JPEGImages, Annotations and ImageSets, e.g. ``VOCdevkit/VOC2007``. COCO: folder of
            the images.
        subfolders: Folders in ``dataroot_gt`` to combine into one data set, e.g. ``[VOC2007, VOC2012]`` in
            ``VOCdevkit``. Default: ``dataroot_gt`` itself.
        split: VOC: name of the list in ``ImageSets/Main``, e.g. ``trainval``, or one name per folder.
        annotation_file: COCO: JSON file, or one file per folder.
        classes: Names of the classes in the order of their numbers: a list, or a text file with one name per line;
            classes without boxes are allowed. Default, VOC: its 20 classes if no other name occurs, otherwise the names
            that occur, in ``class_order``; COCO: the categories in the order of their ids, without gaps.
        class_order: VOC: order of the names that occur, see :class:`LabeledImageDataset`.
        with_masks: COCO: also load instance masks. Needs pycocotools, the extra ``coco``.
        filter_empty: Skip images without a box, in phase ``train`` only; ignored boxes do not count.
        min_box_size: Drop boxes whose width or height, in pixels of gt, is smaller than this after resize and crop;
            boxes without width or height are always dropped.
    """
    subfolders: Sequence[str] | None = None
    split: str | Sequence[str] | None = None
    annotation_file: FilePath | Sequence[FilePath] | None = None
    classes: ClassNames | None = None
    class_order: ClassOrder | None = None
    with_masks: bool = False
    filter_empty: bool = False
    min_box_size: Annotated[float, Limits(least=0)] = 1

    def __post_init__(self):
        super().__post_init__()
        if (self.split is None) == (self.annotation_file is None):
            got = 'neither' if self.split is None else 'both'
            raise OptionError(f"expected split (VOC's layout) or annotation_file (COCO's json), got {got}.")
        if self.class_order is not None and (self.split is None or self.classes is not None):
            raise OptionError(f"not allowed with {'classes' if self.classes else 'COCO'}, which defines the order. "
                              'Remove it.', 'class_order')
        if self.with_masks and self.split is not None:
            raise OptionError("expected annotation_file (COCO's json), got split: VOC's boxes have no masks. Remove "
                              'with_masks.', 'with_masks')


class DetectionDataset(SpatialLabelDataset):
    """Data set of clean images with boxes, and their degraded images.

    VOC's coordinates are reduced by 1, as in mmdet. Boxes are clipped to gt. An image is rotated by EXIF orientation if
    the annotation has the size of the rotated image; if the size does not decide, an error asks for
    ``exif_orientation``.

    Args:
        opt: The dataset's block of a BasicSR option file; keys as in :class:`DetectionOptions`.

    Attributes:
        paths: File of each image.
        classes: Names of the classes.
        images: Annotations of each image.

    Shape:
        An item is as in :class:`DegradedImageDataset`. Its ``label``: ``boxes`` float32 ``(K, 4)``, xyxy in pixels of
        gt; ``labels`` long ``(K,)`` from 0; ``ignore`` bool ``(K,)``, true for VOC's difficult and COCO's crowd;
        ``size`` ``(height, width)`` of gt without the padding of a batch, which is at the bottom and right;
        ``image_id`` COCO's number or VOC's name; ``masks`` bool ``(K, H, W)``, only with ``with_masks``. In a batch
        ``label`` is a list of these.

    Example:
        >>> DetectionDataset({'phase': 'val', 'dataroot_gt': 'datasets/VOCdevkit/VOC2007', 'split': 'test',
        ...                   'degradation': {'type': 'BicubicDownsample', 'scale': 4}})[0]['label']['boxes'].shape
        torch.Size([1, 4])
    """

    options_type = DetectionOptions
    options: DetectionOptions

    def __init__(self, opt: Mapping[str, Any]):
        super().__init__(opt)
        options, where = self.options, self.where
        images, names = self._read_annotations()
        self.classes = read_classes(options.classes, where) or names
        self.num_classes = len(self.classes)
        numbers = _number_classes(self.classes, images, where)
        if self.train and options.filter_empty:
            images = [image for image in images if not image.ignore.all()]
        if not images:
            what = 'images with boxes' if self.train and options.filter_empty else 'images'
            raise OptionError(f'{where}: expected {what}, got none from {options.dataroot}. '
                              'Use a data set that has some.')
        self.images = images
        self.paths = [image.path for image in images]
        self.labels = [np.array([numbers[name] for name in image.names], np.int64) for image in images]
        _check_boxes(images, where)
        self.keep_part('images', 'labels')
        self.check_boxes_count(range(len(self.images)), where)
        self._has_warned = False
        self.check_sample(self._check_header)

    def _read_annotations(self) -> tuple[list[AnnotatedImage], tuple[str, ...]]:
        """Return all images, and the default classes."""
        options, where = self.options, self.where
        if options.split is not None:
            images = [image for root, split in self._sources('split') for image in read_voc(root, split, where)]
            return images, default_classes(images, options.class_order, where)
        if options.with_masks:
            require('pycocotools', f'{where}.with_masks')
        images: list[AnnotatedImage] = []
        names: tuple[str, ...] | None = None
        for root, file in self._sources('annotation_file'):
            found, categories = read_coco(root, file, options.with_masks, where)
            if names is not None and categories != names and options.classes is None:
                raise OptionError(f"{where}.annotation_file: '{file}' has other categories than the file before it. "
                                  'List all of them in classes.')
            images, names = images + found, categories
        return images, names or ()

    def _sources(self, key: str) -> list[tuple[str, str]]:
        """Return each folder with its split or JSON file."""
        root, subfolders, value = self.options.dataroot, self.options.subfolders, getattr(self.options, key)
        roots = [os.path.join(root, name) for name in subfolders] if subfolders else [root]
        files = [value] * len(roots) if isinstance(value, str) else value
        if len(files) != len(roots):
            raise OptionError(f'{self.where}.{key}: expected one for each of {len(roots)} folders, got {len(files)}. '
                              'Give one per subfolder, or one name for all.')
        return list(zip(roots, files, strict=True))

    def load(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, Any]]:
        annotated = self.images[index]
        image = read_image(annotated.path, self.options.max_pixels, self.options.exif_orientation,
                           annotated.stated_size)
        self._check_size(annotated, image.size)
        geometry = self.draw(image.size, annotated.path, rng)
        boxes = geometry.boxes(annotated.boxes)
        sides = boxes[:, 2:] - boxes[:, :2]
        kept = np.flatnonzero(((sides > 0) & (sides >= self.options.min_box_size)).all(1))
        label = {
            'boxes': torch.from_numpy(boxes[kept]),
            'labels': torch.from_numpy(self.labels[index][kept]),
            'ignore': torch.from_numpy(annotated.ignore[kept]),
            'size': geometry.kept[::-1],
            'image_id': annotated.image_id,
        }
        if self.options.with_masks:
            label['masks'] = torch.from_numpy(_masks(annotated, kept, geometry))
        return geometry.image(image), label

    def _check_header(self, index: int) -> None:
        """Check size and EXIF orientation of an image file without decoding it."""
        annotated, rule = self.images[index], self.options.exif_orientation
        header = open_image(Path(annotated.path).read_bytes(), annotated.path, self.options.max_pixels, decode=False)
        size, orientation = header.size, exif_orientation(header)
        if header.format == 'TIFF':  # rotated by Pillow, also its size
            orientation = 1
        if rule == 'apply' or rule is None and is_to_be_turned(size, orientation, annotated.stated_size,
                                                               annotated.path):
            size = turned_size(size, orientation)
        self._check_size(annotated, size)

    def _check_size(self, annotated: AnnotatedImage, size: Size) -> None:
        _check_size(annotated, size, self.options.exif_orientation)
        stated = annotated.stated_size
        if annotated.size is None and stated is not None and stated != size and not self._has_warned:
            self._has_warned = True
            warn(f"{self.where}: {annotated.path} has {size[0]}x{size[1]} pixels, but '{annotated.source}' says "
                 f'{stated[0]}x{stated[1]}. If the image was resized after it was '
                 'annotated, its boxes are in the wrong place: use the annotated image. Otherwise correct the size. '
                 'Further images are not reported.')

    def check_boxes_count(self, numbers: Iterable[int], where: str) -> None:
        """Check that at least one box of these images is not ignored, as training and scores need one.

        Raises:
            OptionError: All boxes are ignored, or there are none.
        """
        images = [self.images[number] for number in numbers]
        if all(image.ignore.all() for image in images):
            boxes = sum(len(image.boxes) for image in images)
            got = f'only {boxes} ignored ones' if boxes else 'none'
            raise OptionError(f"{where}: expected boxes in '{images[0].source}', got {got} for "
                              f"{how_many(len(images), 'image')}. Use the file with the annotations (COCO's "
                              'image_info_*.json have none), or UnlabeledImageDataset for images without labels.')

    def enlarged(self, label: dict[str, Any], scale: int) -> dict[str, Any]:
        found = {**label, 'boxes': label['boxes'] * scale, 'size': tuple(scale * side for side in label['size'])}
        if 'masks' in label:
            found['masks'] = enlarged_map(label['masks'], scale)
        return found

    def collate_labels(self, labels: Sequence[dict[str, Any]], height: int, width: int) -> list[dict[str, Any]]:
        if not self.options.with_masks:
            return list(labels)
        return [{**label, 'masks': pad_to(label['masks'], height, width)} for label in labels]


def _masks(annotated: AnnotatedImage, kept: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return the masks of the boxes that are kept, bool ``(K, H, W)``."""
    width, height = geometry.kept
    masks = np.zeros((len(kept), height, width), bool)
    outlines = annotated.segmentations or ()
    for mask, k in zip(masks, kept, strict=True):
        whole = decode_segmentation(outlines[k], *geometry.source)
        mask[:] = geometry.mask(whole.astype(np.uint8))
    return masks


def _check_size(annotated: AnnotatedImage, size: Size, rule: str | None) -> None:
    """Check that the image has the annotated size; otherwise boxes would silently be in the wrong place."""
    stated, got = (f'{side[0]}x{side[1]}' if side else '' for side in (annotated.stated_size, size))
    if annotated.stated_size != size and annotated.stated_size == size[::-1] and rule is None:
        raise UnsettledFileError(
            f"{annotated.path}: expected {stated} pixels as in '{annotated.source}', got {got}, the two sides swapped. "
            'If the image was rotated after it was annotated (its EXIF orientation is gone), rotate it back; if the '
            'annotation fits the image as it is, correct its size' +
            ('.' if annotated.size else ', or set exif_orientation: ignore.'))
    if annotated.size is not None and annotated.size != size:
        raise ValueError(f"{annotated.path}: expected {stated} pixels as in '{annotated.source}', got {got}. Use the "
                         'annotated image.')
    outside = (annotated.boxes[:, :2] > size).any(1)
    if not outside.any() and annotated.stated_size not in (None, size):  # the annotated image may have been larger
        outside = (annotated.boxes[:, 2:] > size).any(1)
    if outside.any():
        box = [int(value) for value in annotated.boxes[outside][0]]
        raise ValueError(f"{annotated.path}: expected boxes within its {got} pixels, got {box} (counted "
                         f"from 0) in '{annotated.source}'. Use the annotated image, or correct the box.")


def _check_boxes(images: list[AnnotatedImage], where: str) -> None:
    """Check that most boxes have a width and height; if hardly any have, the format is wrong."""
    boxes = np.concatenate([image.boxes for image in images])
    whole = (boxes[:, 2:] > boxes[:, :2]).all(1)
    if len(boxes) and whole.mean() <= _NEARLY_NONE:
        i, number = next((i, k) for i, image in enumerate(images) for k in range(len(image.boxes)))
        raise OptionError(f"{where}: expected boxes with width and height, got {whole.sum()} of {len(boxes)}; the "
                          f"first is {images[i].boxes[number].astype(int).tolist()} (counted from 0) in "
                          f"'{images[i].source}'. Coordinates are in pixels, not fractions of the image.")


def _number_classes(classes: tuple[str, ...], images: list[AnnotatedImage], where: str) -> dict[str, int]:
    numbers = {name: i for i, name in enumerate(classes)}
    if len(numbers) < len(classes):
        twice = next(name for name in classes if classes.count(name) > 1)
        raise OptionError(f"{where}.classes: expected each name once, got '{twice}' more than once. Rename one.")
    known = Spellings(set(numbers), f'{where}.classes')
    for image in images:
        for name in image.names:
            if name not in numbers and (found := known.find(name)):
                numbers[name] = numbers[found]
            if name not in numbers:
                raise OptionError(f"{where}.classes: expected the classes of '{image.source}', got no '{name}'."
                                  f'{suggestion(name, classes)} Add it, or remove its boxes.')
    return numbers
