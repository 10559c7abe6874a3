"""Images of any size in the input of a YOLO network, as its predictor places them: resized and centered on a border."""
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

BORDER = 114 / 255

Sides = tuple[int, int]  # (height, width)


@dataclass(frozen=True)
class Place:
    """Place of an image in the input."""

    original: Sides
    resized: Sides
    padded: Sides
    top: int
    left: int

    @property
    def scale(self) -> tuple[float, float]:
        """Factors on height and width."""
        return self.resized[0] / self.original[0], self.resized[1] / self.original[1]


@dataclass(frozen=True)
class Letterbox:
    """Sizes of images and their places.

    Args:
        size: (height, width) that images are resized to fit into; None: they are resized by ``factor``.
        factor: Factor on height and width.
        stride: Sides of the input are multiples of it.
    """

    size: Sides | None
    factor: float = 1.0
    stride: int = 32

    def places(self, sizes: Sequence[Sides]) -> list[Place]:
        """Return the place of each image of a batch; the border is the smallest one where all are of one size."""
        resized = [self.resized(*size) for size in sizes]
        needed = [math.ceil(max(sides) / self.stride) * self.stride for sides in zip(*resized, strict=True)]
        height, width = self.size if self.size and len(set(sizes)) > 1 else needed
        return [_centered(original, sides, (height, width)) for original, sides in zip(sizes, resized, strict=True)]

    def resized(self, height: int, width: int) -> Sides:
        """Return the size that an image is resized to, without its border."""
        if self.size is None:
            return max(int(height * self.factor + 0.5), 1), max(int(width * self.factor + 0.5), 1)
        ratio = min(self.size[0] / height, self.size[1] / width)
        return max(round(height * ratio), 1), max(round(width * ratio), 1)


def _centered(original: Sides, resized: Sides, padded: Sides) -> Place:
    top, left = (round((whole - part) / 2 - 0.1) for whole, part in zip(padded, resized, strict=True))
    return Place(original, resized, padded, top, left)


def place_image(images: torch.Tensor, place: Place, border: float = BORDER) -> torch.Tensor:
    """Resize and pad ``(N, C, H, W)`` of one size; differentiable, bilinear without antialiasing, as OpenCV does it."""
    if place.resized != place.original:
        images = F.interpolate(images, place.resized, mode='bilinear', align_corners=False)
    below, right = (whole - part - before for whole, part, before in zip(
        place.padded, place.resized, (place.top, place.left), strict=True))
    return F.pad(images, (place.left, right, place.top, below), value=border)


def place_boxes(boxes: torch.Tensor, place: Place) -> torch.Tensor:
    """Return boxes ``(K, 4)``, xyxy in pixels of the image, in pixels of the input."""
    height, width = place.scale
    offset = boxes.new_tensor([place.left, place.top] * 2)
    return boxes * boxes.new_tensor([width, height] * 2) + offset


def within_image(maps: torch.Tensor, place: Place) -> torch.Tensor:
    """Crop maps ``(..., h, w)`` of the input to the cells that are not in the border alone."""
    rows, columns = (slice(before * cells // whole, -(-(before + part) * cells // whole)) for before, part, cells,
                     whole in zip((place.top, place.left), place.resized, maps.shape[-2:], place.padded, strict=True))
    return maps[..., rows, columns]
