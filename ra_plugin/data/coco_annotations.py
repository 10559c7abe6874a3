"""Boxes, and outlines, from a json file in COCO's form."""
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ra_plugin.data.annotations import load_json
from ra_plugin.data.box_annotations import AnnotatedImage, as_boxes
from ra_plugin.data.files import check_file, check_folder, first_missing
from ra_plugin.options import OptionError
from ra_plugin.utils.optional import require


def read_coco(root: str, annotation_file: str, with_masks: bool,
              where: str) -> tuple[list[AnnotatedImage], tuple[str, ...]]:
    """The images of the file in its order, with their boxes, and the names of its categories in the order of the ids.

    As in mmdet's ``CocoDataset`` a box is left out that is thinner than a pixel, has no area, lies outside of the
    image, or is marked ``ignore``; one that is marked ``iscrowd`` is kept and ignored.
    """
    place = f'{where}.annotation_file'
    check_folder(root, f'{where}.dataroot_gt')
    check_file(annotation_file, place)
    content = load_json(annotation_file, place)
    place = f"{place}: '{annotation_file}'"
    images = _records(content, 'images', {'id': (int, str), 'file_name': str, 'width': int, 'height': int}, place)
    annotations = _records(content, 'annotations', {'image_id': (int, str), 'category_id': int, 'bbox': list}, place)
    categories = _records(content, 'categories', {'id': int, 'name': str}, place)
    missing = first_missing((image['file_name'] for image in images), root)
    if missing is not None:
        raise OptionError(f"{place} lists '{missing}', which '{root}' does not have. "
                          'A file_name in it is relative to dataroot_gt.')
    names = {category['id']: category['name'] for category in sorted(categories, key=lambda c: c['id'])}
    found: dict[Any, list[Mapping]] = {image['id']: [] for image in images}
    if len(found) < len(images) or len(names) < len(categories):
        raise OptionError(f'{place}: expected an id of its own for each image and each category, got one twice. '
                          'Number them anew.')
    sizes = {image['id']: (image['width'], image['height']) for image in images}
    for annotation in annotations:
        _check_annotation(annotation, names, with_masks, place)
        if annotation['image_id'] in found:  # the json of a part of the images may keep the annotations of all
            if with_masks:
                _check_outline(annotation, sizes[annotation['image_id']], place)
            found[annotation['image_id']].append(annotation)
    return [_annotated(image, found[image['id']], names, root, annotation_file, with_masks)
            for image in images], tuple(names.values())


def decode_segmentation(segmentation: Any, width: int, height: int) -> np.ndarray:
    """COCO's polygons or run lengths, as `read_coco` checked them, as a bool mask ``(height, width)``."""
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


def _records(content: Any, key: str, fields: Mapping[str, Any], place: str) -> list[Mapping]:
    records = content.get(key) if isinstance(content, Mapping) else None
    if not isinstance(records, list):
        raise OptionError(f"{place}: expected a list '{key}', got {'none' if records is None else str(records)[:100]}. "
                          "COCO's instances_*.json have images, annotations and categories.")
    for record in records:
        for field, kind in fields.items():
            if not isinstance(record, Mapping) or not isinstance(record.get(field), kind):
                raise OptionError(f"{place}: expected {', '.join(fields)} in each of '{key}', got {str(record)[:200]}. "
                                  'Mend that one, or make the file again.')
    return records


def _check_annotation(annotation: Mapping, names: Mapping[int, str], with_masks: bool, place: str) -> None:
    what = f'annotation {annotation.get("id")} of image {annotation["image_id"]}'
    box = annotation['bbox']
    if len(box) != 4 or not all(isinstance(value, (int, float)) for value in box):
        raise OptionError(f'{place}: expected a bbox [x, y, width, height], got {box} in {what}. '
                          'Mend it, or take it out.')
    if not isinstance(annotation.get('area', 1), (int, float)):
        raise OptionError(f'{place}: expected a number as area, got {annotation["area"]!r} in {what}. '
                          'Mend it, or take it out.')
    if annotation['category_id'] not in names:
        raise OptionError(f'{place}: expected the id of a category ({", ".join(map(str, names))}), got '
                          f'{annotation["category_id"]} in {what}. Add the category, or take the annotation out.')
    outline = annotation.get('segmentation') or None  # an empty list is none
    is_runs = isinstance(outline, Mapping) and {'size', 'counts'} <= outline.keys()
    if with_masks and not isinstance(outline, list) and not is_runs:
        raise OptionError(f'{place}: expected a segmentation (polygons, or size and counts) for with_masks, got '
                          f'{"none" if outline is None else str(outline)[:100]} in {what}. '
                          'Add it, or leave with_masks out.')


def _check_outline(annotation: Mapping, size: tuple[int, int], place: str) -> None:
    """Drawing an outline takes memory with its length, whatever the image's size: one far outside is none of it."""
    outline, (width, height) = annotation['segmentation'], size
    what = f'annotation {annotation.get("id")} of image {annotation["image_id"]}'
    if isinstance(outline, list):
        reach = 4 * max(width, height)
        if not all(isinstance(polygon, list) and all(isinstance(value, (int, float)) and abs(value) <= reach
                                                     for value in polygon) for polygon in outline):
            raise OptionError(f'{place}: expected polygons [[x, y, x, y, ...], ...] within the image of {width}x'
                              f'{height}, got {str(outline)[:100]} in {what}. Mend them, or take them out.')
        return
    runs = outline['counts']
    if not isinstance(runs, (list, str)) or outline['size'] != [height, width]:
        raise OptionError(f'{place}: expected a segmentation of {width}x{height} with size and counts, got '
                          f'{str(outline)[:100]} in {what}. Do image and annotation belong together?')
    if isinstance(runs, list) and not (all(isinstance(run, int) and run >= 0 for run in runs)
                                       and sum(runs) == width * height):
        raise OptionError(f'{place}: expected counts >= 0 that add up to {width}x{height} pixels, got '
                          f'{str(runs)[:100]} in {what}. Mend them, or take them out.')


def _annotated(image: Mapping, annotations: Sequence[Mapping], names: Mapping[int, str], root: str,
               annotation_file: str, with_masks: bool) -> AnnotatedImage:
    kept = [annotation for annotation in annotations if _has_area(annotation, image)]
    corners = [(x, y, x + width, y + height) for x, y, width, height in (annotation['bbox'] for annotation in kept)]
    segmentations = tuple(annotation['segmentation'] for annotation in kept) if with_masks else None
    ignore = [bool(annotation.get('iscrowd')) or with_masks and not _has_outline(annotation) for annotation in kept]
    return AnnotatedImage(
        path=os.path.join(root, image['file_name']), image_id=image['id'], source=annotation_file,
        boxes=as_boxes(corners), names=tuple(names[annotation['category_id']] for annotation in kept),
        ignore=np.array(ignore, bool), size=(image['width'], image['height']), segmentations=segmentations)


def _has_area(annotation: Mapping, image: Mapping) -> bool:
    x, y, width, height = annotation['bbox']
    inside = (min(x + width, image['width']) > max(x, 0)) and (min(y + height, image['height']) > max(y, 0))
    return inside and width >= 1 and height >= 1 and annotation.get('area', 1) > 0 and not annotation.get('ignore')


def _has_outline(annotation: Mapping) -> bool:
    segmentation = annotation['segmentation']
    return not isinstance(segmentation, list) or any(_is_polygon(polygon) for polygon in segmentation)


def _is_polygon(polygon: Sequence[float]) -> bool:
    return len(polygon) >= 6 and len(polygon) % 2 == 0
