"""Resize, crop and flip, drawn once and applied to image, masks and boxes alike.

Sizes are ``(width, height)``, as in PIL.
"""
from dataclasses import dataclass

import numpy as np
from PIL import Image

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Resize to ``size``, followed by a crop and an optional horizontal flip.

    Attributes:
        source: Size of the file.
        size: Size after resizing.
        left, top: Top left corner of the crop, in pixels of the resized image.
        kept: Size of the crop.
        flip: Flip horizontally.
    """
    source: Size
    size: Size
    left: int
    top: int
    kept: Size
    flip: bool

    def image(self, image: Image.Image) -> np.ndarray:
        """Transform an image of size ``source`` to uint8 ``(H, W, 3)``; resized with PIL's bilinear filter."""
        return np.array(self._apply(image, Image.Resampling.BILINEAR))

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """Transform a mask of size ``source``, uint8 ``(H, W)``, to size ``kept``, with nearest-neighbor resizing."""
        return np.array(self._apply(Image.fromarray(mask), Image.Resampling.NEAREST))

    def boxes(self, boxes: np.ndarray) -> np.ndarray:
        """Transform boxes ``(K, 4)``, xyxy in pixels of the file, to float32 xyxy in pixels of the item, clipped to it.

        A box outside the item gets width or height 0.
        """
        corners = boxes.reshape(-1, 2, 2).astype(np.float64)  # (K, corner, xy)
        corners = corners * np.divide(self.size, self.source) - (self.left, self.top)
        corners = corners.clip(0, self.kept)
        if self.flip:
            corners[..., 0] = self.kept[0] - corners[:, ::-1, 0]
        return corners.reshape(-1, 4).astype(np.float32)

    def _apply(self, image: Image.Image, resample: Image.Resampling) -> Image.Image:
        if self.size != image.size:
            image = image.resize(self.size, resample)
        if self.kept != self.size:
            image = image.crop((self.left, self.top, self.left + self.kept[0], self.top + self.kept[1]))
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if self.flip else image


def draw_geometry(source: Size, size: Size, crop: Size | None, multiple: int, rng: np.random.Generator | None,
                  use_hflip: bool) -> Geometry:
    """Choose the crop and the flip.

    Args:
        source: Size of the file.
        size: Size to resize it to.
        crop: Size of the crop, limited to the size of the image; None for the whole image.
        multiple: Divisor of the resulting width and height; the remainder is cropped, without ``crop`` at the right and
            at the bottom.
        rng: Generator for position and flip; None for the center without a flip.
        use_hflip: Flip with a probability of 0.5.
    """
    kept = size[0] - size[0] % multiple, size[1] - size[1] % multiple
    left = top = 0
    if crop:
        kept = min(kept[0], crop[0]), min(kept[1], crop[1])
        spare = size[0] - kept[0], size[1] - kept[1]
        # the center, rounded as in torchvision's CenterCrop
        left, top = (round(n / 2) if rng is None else int(rng.integers(n + 1)) for n in spare)
    flip = use_hflip and rng is not None and rng.random() < 0.5
    return Geometry(source=source, size=size, left=left, top=top, kept=kept, flip=flip)


def resized(size: Size, shorter: int, longest: int | None = None) -> Size:
    """Return ``size`` scaled to a shorter side of ``shorter``, or less if the longer side would exceed ``longest``.

    The other side keeps the aspect ratio and is truncated, as in torchvision's ``Resize``.
    """
    short, long = min(size), max(size)
    target = shorter, int(shorter * long / short)
    if longest is not None and target[1] > longest:
        target = int(longest * shorter / target[1]), longest
    return target if size[0] <= size[1] else (target[1], target[0])
