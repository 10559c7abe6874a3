"""What data sets share whose labels have a place in the image: resize, crop and flip, and batches of padded images."""
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
    """Changes of an image and its label, in this order: resize, scale, crop, flip; then gt is degraded.

    Width and height of gt are multiples of the degradation's scale: what is over is cut off, from whole images at the
    right and at the bottom.

    Attributes:
        resize: Length of the shorter side in pixels, with PIL's bilinear filter, or ``[shorter, longest]``: less where
            the longer side would exceed ``longest``. Default: as the file is.
        scale_range: ``[low, high]``: in phase ``train`` the image is scaled by a factor drawn evenly from it, after
            ``resize``. Default: not scaled.
        crop_size: Side in pixels of the square cut from gt, or ``[height, width]``: at random in phase ``train``, from
            the center otherwise. A side of the image that is shorter stays as it is; in training the batch is padded
            to ``crop_size``. Default: the whole image.
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
    """A :class:`DegradedImageDataset` whose labels move with the image, and whose images may differ in size.

    A subclass carries its label with the :class:`Geometry` that :meth:`draw` gives, and pads labels to one size in
    :meth:`collate_labels`.
    """

    options: SpatialLabelOptions

    def __init__(self, opt: Mapping[str, Any]):
        super().__init__(opt)
        crop = self.options.crop_size
        self._crop: Size | None = (crop, crop) if isinstance(crop, int) else tuple(crop[::-1]) if crop else None

    def check_sample(self, check: Callable[[int], None]) -> None:
        """Check some images when the data set is built, evenly spaced: what is wrong with many is found early.

        Args:
            check: Raises a ValueError for the image of that number. With ``on_bad_image: skip`` only
                an :class:`UnsettledFileError` counts.
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
        """The geometry of one item, for a file of ``source`` ``(width, height)`` pixels.

        Raises:
            ValueError: Nothing would be left of the image.
        """
        resize, scale_range, scale = self.options.resize, self.options.scale_range, self.degradation.scale
        size = source
        if resize:
            size = resized(source, resize) if isinstance(resize, int) else resized(source, *resize)
        if self.train and scale_range:
            factor = rng.uniform(*scale_range)
            size = tuple(int(side * factor + 0.5) for side in size)
        self.check_leaves_pixels(size, source, path)
        return draw_geometry(source, size, self._crop, scale, rng if self.train else None, self.options.use_hflip)

    def collate_fn(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Items to a batch; smaller images are padded with zeros at the right and at the bottom, in lq as in gt.

        The batch is as high and as wide as its largest image; in training, with ``crop_size``, at least that.

        Shape:
            ``gt`` ``(N, 3, H, W)``, ``lq`` ``(N, 3, H / scale, W / scale)``; paths are lists; ``label`` is what
            :meth:`collate_labels` makes of them; ``size`` has height and width of each gt without the padding. Without
            clean images there is no gt, and the others are as if there were.
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
        """The labels of a batch whose gt is padded to ``height`` and ``width``."""
        raise NotImplementedError(f'{type(self).__name__} has no collate_labels().')


def pad_to(image: torch.Tensor, height: int, width: int, value: float = 0) -> torch.Tensor:
    """``(..., H, W)`` to ``(..., height, width)``, filled up at the right and at the bottom."""
    return pad(image, (0, width - image.shape[-1], 0, height - image.shape[-2]), value=value)


def enlarged_map(label: torch.Tensor, scale: int) -> torch.Tensor:
    """``(..., H, W)`` to ``(..., scale * H, scale * W)``: each pixel becomes a square."""
    return label.repeat_interleave(scale, -2).repeat_interleave(scale, -1)
