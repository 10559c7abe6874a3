"""The geometric steps of a config's test pipeline, applied differentiably to a batch of tensors."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ra_plugin.utils.optional import require


@dataclass(frozen=True)
class Size:
    """Sizes of an image on its way to the model."""

    original: tuple[int, int]  # (height, width), here and below
    resized: tuple[int, int]
    padded: tuple[int, int]  # at the right and the bottom
    pad_value: float  # on the 0..255 scale

    @property
    def scale_factor(self) -> tuple[float, float]:
        """Scale factors (width, height), in the order of OpenMMLab."""
        return self.resized[1] / self.original[1], self.resized[0] / self.original[0]


@dataclass
class PipelineGeometry:
    """Resizing and padding of images of any size.

    Args:
        transforms: The geometric ones of a test pipeline, built: ``Pad``, and those with ``Resize`` in their name.
        factor: Instead of them, one factor on height and width; None: images stay as they come.
    """

    transforms: Sequence[Any] = ()
    factor: float | None = None
    _known: dict[tuple[int, int], Size] = field(default_factory=dict)

    @classmethod
    def from_config(cls, pipeline: Sequence[Mapping], package: str) -> 'PipelineGeometry':
        """Build the geometric steps of a test pipeline's config."""
        registry = require('mmengine.registry', package)
        named = [(step.get('type'), step) for step in pipeline if isinstance(step, Mapping)]
        chosen = [step for name, step in named if isinstance(name, str) and
                  ('Resize' in name or name.rpartition('.')[2] == 'Pad') and 'Random' not in name]
        with registry.DefaultScope.overwrite_default_scope(package):
            return cls([registry.TRANSFORMS.build(step) for step in chosen])

    def size(self, height: int, width: int) -> Size:
        """Return the size of an image in the model, measured once for each size with the library's own transforms."""
        key = (height, width)
        if key not in self._known:
            self._known[key] = self._measure(key)
        return self._known[key]

    def _measure(self, original: tuple[int, int]) -> Size:
        if not self.transforms:
            factor = self.factor or 1.0
            height, width = (max(1, int(side * factor + 0.5)) for side in original)  # rounded as mmcv does
            resized = height, width
            return Size(original, resized, resized, 0.0)
        probe = {'img': np.zeros((*original, 3), np.uint8), 'img_shape': original, 'ori_shape': original}
        resized = original
        for transform in self.transforms:
            probe = transform(probe)
            if 'Resize' in type(transform).__name__:
                resized = probe['img'].shape[:2]
        padded = probe['img'].shape[:2]
        value = float(probe['img'][-1, -1, 0]) if padded != resized else 0.0
        return Size(original, (resized[0], resized[1]), (padded[0], padded[1]), value)


def fit_images(images: torch.Tensor, size: Size) -> torch.Tensor:
    """Resize and pad ``(N, 3, H, W)`` on the 0..255 scale; bilinear without antialiasing, as OpenCV does it."""
    if size.resized != size.original:
        images = F.interpolate(images, size.resized, mode='bilinear', align_corners=False)
    return _pad(images, size, size.pad_value)


def within_image(maps: torch.Tensor, padded: Sequence[int], sample: Any) -> torch.Tensor:
    """Crop maps of a model's input to the cells that are not in its padding.

    Args:
        maps: ``(..., h, w)``, over the whole input.
        padded: (height, width) of the input.
        sample: The library's data sample of one of the images, which are of one size.
    """
    scale = sample.scale_factor[::-1]
    rows, columns = (min(cells, -(-round(side * factor) * cells // whole)) for side, factor, cells, whole in zip(
        sample.ori_shape, scale, maps.shape[-2:], padded, strict=True))
    return maps[..., :rows, :columns]


def fit_masks(masks: torch.Tensor, size: Size, pad_value: int) -> torch.Tensor:
    """Resize and pad masks ``(N, H, W)`` of whole numbers or bool, to the nearest pixel."""
    if size.resized != size.original:
        masks = F.interpolate(masks[:, None].float(), size.resized, mode='nearest')[:, 0].to(masks.dtype)
    return _pad(masks, size, pad_value)


def _pad(tensor: torch.Tensor, size: Size, value: float) -> torch.Tensor:
    below, right = (after - before for after, before in zip(size.padded, size.resized, strict=True))
    return F.pad(tensor, (0, right, 0, below), value=value) if below or right else tensor
