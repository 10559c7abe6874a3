"""Reading of boxes and masks from a JSON file in COCO's format."""
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ra_plugin.data.annotations import load_json
from ra_plugin.data.box_annotations import AnnotatedImage, as_boxes
from ra_plugin.data.coco_records import records
from ra_plugin.data.coco_usage import check_usage, reason_to_drop
from ra_plugin.data.files import check_file, check_folder
from ra_plugin.data.spellings import FilesOnDisk
from ra_plugin.options import OptionError
from ra_plugin.utils.optional import require


def read_coco(root: str, annotation_file: str, with_masks: bool,
              where: str) -> tuple[list[AnnotatedImage], tuple[str, ...]]:
    """Return the images of a file with their boxes, in its order, and the category names in the order of their ids.

    As in mmdet's ``CocoDataset``, boxes that are thinner than a pixel, have no area, lie outside the image or are
    marked ``ignore`` are dropped; boxes marked ``iscrowd`` are kept as ignored ones.
    """
    place = f'{where}.annotation_file'
    check_folder(root, f'{where}.dataroot_gt')
    check_file(annotation_file, place)
    content = load_json(annotation_file, place)
    place = f"{place}: '{annotation_file}'"
    images, annotations, categories = (records(content, key, root, place)
                                       for key in ('images', 'annotations', 'categories'))
    files = FilesOnDisk(root, place)
    for image in images:
        name, image['file_name'] = image['file_name'], files.find(image['file_name'])
        if image['file_name'] is None:
            raise OptionError(f"{place} lists '{name}', which is not in '{root}'. "
                              'A file_name in it is relative to dataroot_gt.')
    names = {category['id']: category['name'] for category in sorted(categories, key=_by_id)}
    found: dict[Any, list[Mapping]] = {image['id']: [] for image in images}
    for kind, listed in (('image', images), ('category', categories)):
        twice = [number for number, count in Counter(record['id'] for record in listed).items() if count > 1]
        if twice:
            raise OptionError(f'{place}: expected unique ids of images and categories, got the {kind} '
                              f'{twice[0]!r} twice. Renumber them.')
    check_usage(images, annotations, place)
    sizes = {image['id']: (image['width'], image['height']) for image in images}
    for annotation in annotations:
        _check_annotation(annotation, names, with_masks, place)
        if annotation['image_id'] in found:  # a file with part of the images may have the annotations of all
            if with_masks:
                _check_outline(annotation, sizes[annotation['image_id']], place)
            found[annotation['image_id']].append(annotation)
    return [_annotated(image, found[image['id']], names, root, annotation_file, with_masks)
            for image in images], tuple(names.values())


def decode_segmentation(segmentation: Any, width: int, height: int) -> np.ndarray:
    """Return COCO's polygons or run lengths, checked by `read_coco`, as a bool mask ``(height, width)``."""
    mask = require('pycocotools.mask', 'with_masks')
    if isinstance(segmentation, list):
        polygons = [polygon for polygon in segmentation if _is_polygon(polygon)]
        if not polygons:
            return np.zeros((height, width), bool)
        runs = mask.merge(mask.frPyObjects(polygons, height, width))
    else:
        runs = segmentation
        if isinstance(runs['counts'], list):
            runs = mask.frPyObjects(runs, *runs['size'])
    return mask.decode(runs).astype(bool)


def _by_id(record: Mapping) -> tuple[bool, int | str]:
    """Return a sort key that orders numeric ids before text ids."""
    return isinstance(record['id'], str), record['id']


def _check_annotation(annotation: Mapping, names: Mapping[int, str], with_masks: bool, place: str) -> None:
    what = f'annotation {annotation.get("id")} of image {annotation["image_id"]}'
    if annotation['category_id'] not in names:
        known = ', '.join(map(str, list(names)[:20])) + (', ...' if len(names) > 20 else '')
        raise OptionError(f'{place}: expected the id of a category ({known}), got '
                          f'{annotation["category_id"]} in {what}. Add the category, or remove the annotation.')
    outline = annotation.get('segmentation') or None  # an empty list means none
    is_runs = isinstance(outline, Mapping) and {'size', 'counts'} <= outline.keys()
    if with_masks and not isinstance(outline, list) and not is_runs:
        raise OptionError(f'{place}: expected a segmentation (polygons, or size and counts) for with_masks, got '
                          f'{"none" if outline is None else str(outline)[:100]} in {what}. '
                          'Add it, or remove with_masks.')


def _check_outline(annotation: Mapping, size: tuple[int, int], place: str) -> None:
    """Check that an outline lies near its image: the memory for drawing it grows with its extent."""
    outline, (width, height) = annotation['segmentation'], size
    what = f'annotation {annotation.get("id")} of image {annotation["image_id"]}'
    if isinstance(outline, list):
        reach = 4 * max(width, height)
        if not all(isinstance(polygon, list) and all(isinstance(value, (int, float)) and abs(value) <= reach
                                                     for value in polygon) for polygon in outline):
            raise OptionError(f'{place}: expected polygons [[x, y, x, y, ...], ...] within the image of {width}x'
                              f'{height}, got {str(outline)[:100]} in {what}. Fix or remove them.')
        return
    runs = outline['counts']
    if not isinstance(runs, (list, str)) or outline['size'] != [height, width]:
        raise OptionError(f'{place}: expected a segmentation of {width}x{height} with size and counts, got '
                          f'{str(outline)[:100]} in {what}. Check that image and annotation belong together.')
    if isinstance(runs, list) and not (all(isinstance(run, int) and run >= 0 for run in runs)
                                       and sum(runs) == width * height):
        raise OptionError(f'{place}: expected counts >= 0 that add up to {width}x{height} pixels, got '
                          f'{str(runs)[:100]} in {what}. Fix or remove them.')


def _annotated(image: Mapping, annotations: Sequence[Mapping], names: Mapping[int, str], root: str,
               annotation_file: str, with_masks: bool) -> AnnotatedImage:
    kept = [annotation for annotation in annotations if reason_to_drop(annotation, image) is None]
    corners = [(x, y, x + width, y + height) for x, y, width, height in (annotation['bbox'] for annotation in kept)]
    segmentations = tuple(annotation['segmentation'] for annotation in kept) if with_masks else None
    ignore = [annotation.get('iscrowd') or with_masks and not _has_outline(annotation) for annotation in kept]
    size = image['width'], image['height']
    return AnnotatedImage(
        path=os.path.join(root, image['file_name']), image_id=image['id'], source=annotation_file,
        boxes=as_boxes(corners), names=tuple(names[annotation['category_id']] for annotation in kept),
        ignore=np.array(ignore, bool), size=size, stated_size=size, segmentations=segmentations)


def _has_outline(annotation: Mapping) -> bool:
    segmentation = annotation['segmentation']
    return not isinstance(segmentation, list) or any(_is_polygon(polygon) for polygon in segmentation)


def _is_polygon(polygon: Sequence[float]) -> bool:
    return len(polygon) >= 6 and len(polygon) % 2 == 0
