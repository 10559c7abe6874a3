"""An image with its boxes as an annotation file has them, whatever its format."""
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class AnnotatedImage:
    """One image of a detection data set.

    Attributes:
        path: The image file.
        image_id: What the data set calls it: COCO's number, VOC's name.
        source: The annotation file, for messages.
        boxes: ``(K, 4)`` float32, xyxy in pixels of the file; not yet cut at its borders.
        names: Class of each box.
        ignore: ``(K,)`` bool: VOC's difficult, COCO's crowd.
        size: ``(width, height)`` of the image where the annotations are known to be of that size, else None.
        stated_size: The same as the annotation file states it, right or wrong; None where it does not. It decides on
            EXIF orientation, and how strictly boxes are held to the image.
        segmentations: Outline of each box's object in COCO's form, where they are asked for.
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
