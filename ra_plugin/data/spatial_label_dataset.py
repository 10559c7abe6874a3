"""Base class of data sets whose labels have positions: resize, crop and flip, and batches of padded images."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import pad

from ra_plugin.data.degraded_image_dataset import DegradedImageDataset, DegradedImageOptions
from ra_plugin.data.files import UnsettledFileError, evenly_spaced_sample
from ra_plugin.data.geometry import Geometry, Size, draw_geometry, resized
from ra_plugin.option_types import Positive
from ra_plugin.options import OptionError


@dataclass(frozen=True, kw_only=True)
class SpatialLabelOptions(DegradedImageOptions):
    """Options for the transforms of an image and its label, in this order: resize, scale, crop, flip; then degradation.

    Width and height of gt are cropped to multiples of the degradation's scale, for whole images at the right and at the
    bottom.

    Attributes:
        resize: Length of the shorter side in pixels, with PIL's bilinear filter, or ``[shorter, longest]``: less if the
            longer side would exceed ``longest``. Default: no resizing.
        scale_range: ``[low, high]``: in phase ``train`` the image is scaled by a factor drawn uniformly from it, after
            ``resize``. Default: no scaling.
        crop_size: Side in pixels of a square crop of gt, or ``[height, width]``: random in phase ``train``, otherwise
            the center. Shorter sides of the image are kept; in training the batch is padded to ``crop_size``. Default:
            the whole image.
    """
    resize: Positive | Sequence[Positive] | None = None
    scale_range: Sequence[float] | None = None
    crop_size: Positive | Sequence[Positive] | None = None

    def __post_init__(self):
        super().__post_init__()
        for key, form in (('resize', '[shorter, longest]'), ('crop_size', '[height, width]')):
            value = getattr(self, key)
            if isinstance(value, Sequence) and len(value) != 2:
                raise OptionError(f'expected a whole number or {form}, got {value}.', key)
        if isinstance(self.resize, Sequence) and self.resize[0] > self.resize[1]:
            raise OptionError(f'expected [shorter, longest], got {self.resize}. Swap the two.', 'resize')
        for size in [self.crop_size] if isinstance(self.crop_size, int) else self.crop_size or []:
            self.check_divides(size, 'crop_size')
        factors = self.scale_range
        if factors is not None and not (len(factors) == 2 and 0 < factors[0] <= factors[1]):
            raise OptionError(f'expected [low, high] with 0 < low <= high, got {factors}. Write e.g. [0.5, 2.0].',
                              'scale_range')


class SpatialLabelDataset(DegradedImageDataset):
    """Base class of a :class:`DegradedImageDataset` whose labels are transformed with the images, of any size.

    A subclass transforms its label with the :class:`Geometry` of :meth:`draw`, and pads labels to one size in
    :meth:`collate_labels`.
    """

    options: SpatialLabelOptions

    def __init__(self, opt: Mapping[str, Any]):
        super().__init__(opt)
        crop = self.options.crop_size
        self._crop: Size | None = (crop, crop) if isinstance(crop, int) else (crop[1], crop[0]) if crop else None

    def check_sample(self, check: Callable[[int], None]) -> None:
        """Check some evenly spaced images when the data set is built, to find common problems early.

        Args:
            check: Function that raises a ValueError for an invalid image, given its index. With ``on_bad_image: skip``
                only an :class:`UnsettledFileError` is raised.
        """
        for index in evenly_spaced_sample(len(self.paths)):
            try:
                check(index)
            except UnsettledFileError:
                raise
            except ValueError:
                if self.options.on_bad_image == 'raise':
                    raise

    def draw(self, source: Size, path: str, rng: np.random.Generator) -> Geometry:
        """Draw the geometry of one item, for a file of ``source`` ``(width, height)`` pixels.

        Raises:
            ValueError: The resulting image would be empty.
        """
        resize, scale_range, scale = self.options.resize, self.options.scale_range, self.degradation.scale
        size = source
        if resize:
            size = resized(source, resize) if isinstance(resize, int) else resized(source, *resize)
        if self.train and scale_range:
            factor = rng.uniform(scale_range[0], scale_range[1])
            size = int(size[0] * factor + 0.5), int(size[1] * factor + 0.5)
        self.check_leaves_pixels(size, source, path)
        return draw_geometry(source, size, self._crop, scale, rng if self.train else None, self.options.use_hflip)

    def collate_fn(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Collate items into a batch; smaller images, lq and gt, are padded with zeros at the right and at the bottom.

        Height and width of the batch are those of its largest image; in training at least ``crop_size``.

        Shape:
            ``gt`` ``(N, 3, H, W)``, ``lq`` ``(N, 3, H / scale, W / scale)``; paths are lists; ``label`` is the result
            of :meth:`collate_labels`; ``size`` has height and width of each gt without the padding. Without clean
            images there is no gt; the other values are the same.
        """
        width, height = self._crop if self._crop and self.train else (0, 0)
        scale = self.degradation.scale if self.has_clean else self.options.scale or 1
        sizes = [tuple(scale * side for side in item['lq'].shape[1:]) for item in items]
        height, width = max(height, *(size[0] for size in sizes)), max(width, *(size[1] for size in sizes))
        clean = {'gt': torch.stack([pad_to(item['gt'], height, width) for item in items]),
                 'gt_path': [item['gt_path'] for item in items]} if self.has_clean else {}
        return {
            'lq': torch.stack([pad_to(item['lq'], height // scale, width // scale) for item in items]),
            'label': self.collate_labels([item['label'] for item in items], height, width),
            'size': sizes,
            'lq_path': [item['lq_path'] for item in items],
            **clean,
        }

    def collate_labels(self, labels: Sequence[Any], height: int, width: int) -> Any:
        """Collate the labels of a batch whose gt is padded to ``height`` and ``width``."""
        raise NotImplementedError(f'{type(self).__name__} has no collate_labels().')


def pad_to(image: torch.Tensor, height: int, width: int, value: float = 0) -> torch.Tensor:
    """Pad ``(..., H, W)`` to ``(..., height, width)`` at the right and at the bottom."""
    return pad(image, (0, width - image.shape[-1], 0, height - image.shape[-2]), value=value)


def enlarged_map(label: torch.Tensor, scale: int) -> torch.Tensor:
    """Enlarge ``(..., H, W)`` to ``(..., scale * H, scale * W)`` by repeating pixels."""
    return label.repeat_interleave(scale, -2).repeat_interleave(scale, -1)
