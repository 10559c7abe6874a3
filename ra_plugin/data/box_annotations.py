"""Record of an image and its boxes, common to all annotation formats."""
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class AnnotatedImage:
    """Annotations of one image of a detection data set.

    Attributes:
        path: Image file.
        image_id: Id in the data set: COCO's number or VOC's name.
        source: Annotation file, for messages.
        boxes: ``(K, 4)`` float32, xyxy in pixels of the file; not clipped to the image.
        names: Class of each box.
        ignore: ``(K,)`` bool: VOC's difficult, COCO's crowd.
        size: ``(width, height)`` of the annotated image if it is reliable, otherwise None.
        stated_size: ``(width, height)`` according to the annotation file, which may be wrong; None if it has none. It
            decides about EXIF orientation, and how strictly boxes are checked against the image.
        segmentations: Outline of each box's object in COCO's format; None unless masks are requested.
    """
    path: str
    image_id: int | str
    source: str
    boxes: np.ndarray
    names: tuple[str, ...]
    ignore: np.ndarray
    size: tuple[int, int] | None = None
    stated_size: tuple[int, int] | None = None
    segmentations: tuple[Any, ...] | None = None


def as_boxes(boxes: list) -> np.ndarray:
    return np.array(boxes, np.float32).reshape(-1, 4)
