"""Where the pixels of an item come from: one drawing of resize, crop and flip, carried to image, masks and boxes.

Sizes are ``(width, height)``, as PIL has them.
"""
from dataclasses import dataclass

import numpy as np
from PIL import Image

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Resize to ``size``, keep a rectangle of it, mirror that.

    Attributes:
        source: Size of the file.
        size: Size after resizing.
        left, top: Corner of the part that is kept, in pixels of the resized image.
        kept: Size of that part.
        flip: Whether it is mirrored, left to right.
    """
    source: Size
    size: Size
    left: int
    top: int
    kept: Size
    flip: bool

    def image(self, image: Image.Image) -> np.ndarray:
        """An image of size ``source`` to uint8 ``(H, W, 3)``; resized with PIL's bilinear filter."""
        return np.array(self._apply(image, Image.Resampling.BILINEAR))

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """``(H, W)`` uint8 of size ``source`` to ``(H', W')`` of size ``kept``; each pixel takes its nearest value."""
        return np.array(self._apply(Image.fromarray(mask), Image.Resampling.NEAREST))

    def boxes(self, boxes: np.ndarray) -> np.ndarray:
        """``(K, 4)`` xyxy in pixels of the file to xyxy in pixels of the item, float32, cut at its borders.

        A box without a part inside comes out with no width or no height.
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
    """Choose the part to keep, and whether to mirror it.

    Args:
        source: Size of the file.
        size: Size to resize it to.
        crop: Size of the part to keep; a side that is longer than the image's is cut to it. None: all of the image.
        multiple: What the kept width and height have to be multiples of; what is over is cut off, without ``crop`` at
            the right and at the bottom.
        rng: Where the place and the flip are drawn from; None: the center, not mirrored.
        use_hflip: Mirror every other time.
    """
    kept = size[0] - size[0] % multiple, size[1] - size[1] % multiple
    left = top = 0
    if crop:
        kept = min(kept[0], crop[0]), min(kept[1], crop[1])
        spare = size[0] - kept[0], size[1] - kept[1]
        # the center as in torchvision's CenterCrop
        left, top = (round(n / 2) if rng is None else int(rng.integers(n + 1)) for n in spare)
    flip = use_hflip and rng is not None and rng.random() < 0.5
    return Geometry(source=source, size=size, left=left, top=top, kept=kept, flip=flip)


def resized(size: Size, shorter: int, longest: int | None = None) -> Size:
    """``size`` with a shorter side of ``shorter``, or less where the longer one would be more than ``longest``.

    The longer side keeps the proportion and is truncated, as in torchvision's ``Resize``.
    """
    short, long = min(size), max(size)
    target = shorter, int(shorter * long / short)
    if longest is not None and target[1] > longest:
        target = int(longest * shorter / target[1]), longest
    return target if size[0] <= size[1] else (target[1], target[0])
