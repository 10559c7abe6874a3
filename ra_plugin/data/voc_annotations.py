"""Boxes in Pascal VOC's layout: ``JPEGImages``, ``Annotations/<name>.xml``, ``ImageSets/Main/<split>.txt``."""
import os
import xml.etree.ElementTree as ElementTree

import numpy as np

from ra_plugin.data.box_annotations import AnnotatedImage, as_boxes
from ra_plugin.data.class_order import ClassOrder, order_classes
from ra_plugin.data.files import check_file, check_folder, files_by_stem
from ra_plugin.data.spellings import FilesOnDisk, Spellings, normal_forms
from ra_plugin.data.xml_file import read_xml
from ra_plugin.options import NUMBER_AS_TEXT, OptionError
from ra_plugin.utils.text_file import read_text

CLASSES = ('aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow', 'diningtable', 'dog',
           'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor')


def read_voc(root: str, split: str, where: str) -> list[AnnotatedImage]:
    """Return the images of a split, in its order, with all of their boxes.

    Coordinates are read as in mmdet's ``XMLDataset``: truncated to whole numbers and reduced by 1, since VOC counts
    pixels from 1. The size in an XML file may differ from that of the image, because many programs write it wrongly:
    there is a warning, and boxes that extend beyond the image are errors then. If it is the image's size with width and
    height swapped, the boxes are taken to be on a rotated image.
    """
    check_folder(root, f'{where}.dataroot_gt')
    listing = os.path.join(root, 'ImageSets', 'Main', f'{split}.txt')
    check_file(listing, f'{where}.split')
    folder = os.path.join(root, 'JPEGImages')
    check_folder(folder, f'{where}.dataroot_gt')
    images = files_by_stem(folder, None, f'{where}.dataroot_gt')
    names = [line.strip() for line in read_text(listing, f'{where}.split').splitlines() if line.strip()]
    known, annotations = Spellings(images, f'{where}.split'), FilesOnDisk(root, f'{where}.dataroot_gt')
    found = []
    for name in names:
        there = known.find(os.path.normpath(name))
        if there is None:
            raise OptionError(f"{where}.split: '{listing}' lists '{name}', which has no image in '{folder}'. "
                              'Expected one name per line, without suffix.')
        found.append((name, os.path.join(folder, images[there])))
    return [_read_image(root, name, path, annotations, where) for name, path in found]


def default_classes(images: list[AnnotatedImage], class_order: ClassOrder | None, where: str) -> tuple[str, ...]:
    """Return VOC's 20 classes in their usual order if there are no others; otherwise those that occur, in order."""
    names = sorted({name for image in images for name in image.names})
    found = set(dict(zip(normal_forms(names), names,
                         strict=True)).values())  # names that differ only in Unicode form are one class
    return CLASSES if found <= set(CLASSES) else order_classes(found, class_order, where)


def _read_image(root: str, name: str, image_path: str, annotations: FilesOnDisk, where: str) -> AnnotatedImage:
    path = os.path.join('Annotations', f'{name}.xml')
    path = os.path.join(root, annotations.find(path) or path)
    check_file(path, f'{where}.dataroot_gt')
    annotation = read_xml(path, f'{where}.dataroot_gt')
    objects = annotation.findall('object')
    names = tuple((found.findtext('name') or '').strip() for found in objects)
    if not all(names):
        raise OptionError(f"{where}.dataroot_gt: expected the name of a class in each object of '{path}', got none. "
                          'Add the name, or remove the object.')
    return AnnotatedImage(
        path=image_path, image_id=name, source=path, names=names,
        boxes=as_boxes([_read_box(found, path, where) for found in objects]), stated_size=_read_size(annotation),
        ignore=np.array([_is_difficult(found, path, where) for found in objects], bool))


def _read_size(annotation: ElementTree.Element) -> tuple[int, int] | None:
    """Return the stated width and height; None if they are not positive numbers."""
    try:
        width, height = (int(float(annotation.findtext(f'size/{key}') or '')) for key in ('width', 'height'))
    except (TypeError, ValueError, OverflowError):
        return None
    return (width, height) if width > 0 and height > 0 else None


def _is_difficult(found: ElementTree.Element, path: str, where: str) -> bool:
    text = (found.findtext('difficult') or '0').strip().lower() or '0'
    if text in ('true', 'false'):
        return text == 'true'
    if not NUMBER_AS_TEXT.fullmatch(text):
        raise OptionError(f"{where}.dataroot_gt: expected 0 or 1 as difficult in each object of '{path}', got {text!r}"
                          '. Fix or remove it.')
    return float(text) != 0


def _read_box(found: ElementTree.Element, path: str, where: str) -> list[int]:
    box = {key: found.findtext(f'bndbox/{key}') for key in ('xmin', 'ymin', 'xmax', 'ymax')}
    try:
        x1, y1, x2, y2 = (int(float(value or '')) - 1 for value in box.values())
    except (TypeError, ValueError, OverflowError):
        x1, y1, x2, y2 = 0, 0, -1, -1
    if x2 < x1 or y2 < y1:
        raise OptionError(f"{where}.dataroot_gt: expected numbers xmin <= xmax and ymin <= ymax in each bndbox of "
                          f"'{path}', got {', '.join(f'{key} {value}' for key, value in box.items())}. "
                          'Fix or remove the box.')
    return [x1, y1, x2, y2]
