"""Answers of recognizers drawn into an image: boxes with their classes, or masks as colors."""
import colorsys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LEAST_SCORE = 0.3  # of a box that is drawn
_MASK_SHARE = 0.55  # of the color over the image


def class_colors(count: int) -> np.ndarray:
    """Return ``(count, 3)`` uint8, well apart for neighboring class numbers."""
    hues = (np.arange(count) * 0.618034) % 1  # the golden ratio never comes back to a hue
    return np.array([[round(255 * v) for v in colorsys.hsv_to_rgb(hue, 0.85, 0.9)] for hue in hues], np.uint8)


def draw_boxes(image: np.ndarray, objects: Mapping[str, Any], classes: Sequence[str] | None, num_classes: int,
               least_score: float = LEAST_SCORE) -> np.ndarray:
    """Draw the boxes of one image with their classes.

    Args:
        image: ``(H, W, 3)`` uint8.
        objects: ``boxes (K, 4)`` xyxy in pixels, ``labels (K,)``, and ``scores (K,)`` for predictions.
        classes: Names of the classes. Default: their numbers.
        num_classes: Number of classes, for as many colors.
        least_score: Boxes below it are left out.

    Returns:
        ``(H, W, 3)`` uint8.
    """
    sheet = Image.fromarray(image)
    draw, font, colors = ImageDraw.Draw(sheet), ImageFont.load_default(10), class_colors(num_classes)
    scores = objects['scores'] if 'scores' in objects else np.ones(len(objects['labels']))
    for box, label, score in zip(objects['boxes'].tolist(), objects['labels'].tolist(), scores.tolist(), strict=True):
        if score < least_score:
            continue
        color = tuple(colors[label].tolist())
        draw.rectangle(box, outline=color, width=2)
        draw.text((box[0] + 3, box[1] + 1), classes[int(label)] if classes else str(label), color, font)
    return np.asarray(sheet)


def draw_mask(image: np.ndarray, mask: np.ndarray, num_classes: int) -> np.ndarray:
    """Draw the colors of the classes over one image; pixels of no class (255) stay as they are.

    Args:
        image: ``(H, W, 3)`` uint8.
        mask: ``(H, W)`` class numbers.
        num_classes: Number of classes; this number and those above it are no class.

    Returns:
        ``(H, W, 3)`` uint8.
    """
    known = mask < num_classes
    colored = image.astype(np.float32)
    colored[known] += _MASK_SHARE * (class_colors(num_classes)[mask[known]] - colored[known])
    return colored.round().astype(np.uint8)
