"""Base class of all data sets: checked options, reproducible randomness, and degradation of gt to lq on the fly."""
import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch

from ra_plugin.data.exif import ExifOrientation
from ra_plugin.data.image_dataset import ImageDataset
from ra_plugin.data.part import places_within
from ra_plugin.degradations import build_degradation
from ra_plugin.option_types import FilePath, NonNegative, Positive
from ra_plugin.options import Limits, OptionError, build_block
from ra_plugin.registry import DegradationBlock

Share = Annotated[float, Limits(least=0, most=1)]


@dataclass(frozen=True, kw_only=True)
class LoaderOptions:
    """Options for loading the images of a data set; BasicSR itself adds ``phase`` and ``scale`` to the block.

    Attributes:
        type: Class of the data set.
        name: Name for logs and for the folder of restored images.
        phase: Use of the data set.
        scale: Upscaling factor of the restoration. Default: that of the option file.
        batch_size_per_gpu: Images per batch, also in validation (where BasicSR always uses 1). Default: 1 in
            validation; required in training.
        num_worker_per_gpu: Number of worker processes; 0: the main process. Default: 0 in validation; required in
            training.
        dataset_enlarge_ratio: Number of times that each image is used in an epoch of training.
        use_shuffle: Draw a new order of the images for each epoch of training.
        prefetch_mode: ``cpu``: prefetch in a thread; ``cuda``: copy the next batch to the GPU during the current step,
            needs ``pin_memory``. Default: neither.
        num_prefetch_queue: Number of batches to prefetch with ``cpu``.
        pin_memory: Keep batches in pinned memory, from which a GPU can copy asynchronously.
        persistent_workers: Keep the worker processes between epochs.
        on_bad_image: Handling of an unreadable image in training: ``raise`` ends the run, ``skip`` uses the next image,
            except for images that need an option (``max_pixels``, ``exif_orientation``, values of masks).
    """
    type: str = ''
    name: str = ''
    phase: Literal['train', 'val', 'test']
    scale: int | None = None
    batch_size_per_gpu: int | None = None
    num_worker_per_gpu: int | None = None
    dataset_enlarge_ratio: int = 1
    use_shuffle: bool = True
    prefetch_mode: Literal['cpu', 'cuda'] | None = None
    num_prefetch_queue: int = 1
    pin_memory: bool = False
    persistent_workers: bool = False
    on_bad_image: Literal['raise', 'skip'] = 'raise'


@dataclass(frozen=True, kw_only=True)
class DegradedImageOptions(LoaderOptions):
    """Options common to all :class:`DegradedImageDataset` blocks.

    Attributes:
        use_hflip: Flip images horizontally with a probability of 0.5, in phase ``train`` only.
        dataroot_lq: Folder of degraded images without clean versions, instead of ``dataroot_gt``. Items then have no
            gt, and the restored image, like the label, is ``scale`` times as large.
        degradation: Degradation that makes lq from gt, e.g. ``{type: BicubicDownsample, scale: 4}``. Default: lq is gt.
        seed: Seed of the noise in validation, >= 0; training uses torch's seed instead.
        max_pixels: Maximum number of pixels of images and masks. Default: Pillow's limit, about 179 million.
        part: ``[from, to]`` in ``[0, 1]``: the share of the images to use. Which those are depends on their paths below
            dataroot alone, so that ``[0, 0.8]`` and ``[0.8, 1]`` never have an image in common, whatever is added or
            removed. Default: all images.
        exif_orientation: ``ignore``: pixels as stored, as in torchvision and timm; ``apply``: rotated upright, as in
            viewers and OpenCV. Default: ``ignore`` with class labels; with boxes or masks the one whose size equals
            that of the annotation, and an error if both have it. (Pillow itself rotates TIFF files.)
    """
    dataroot_gt: FilePath | None = None
    use_hflip: bool = False
    dataroot_lq: FilePath | None = None
    degradation: DegradationBlock | None = None
    seed: NonNegative = 0
    max_pixels: Positive | None = None
    part: Sequence[Share] | None = None
    exif_orientation: ExifOrientation | None = None

    def __post_init__(self):
        if self.part is not None and not (len(self.part) == 2 and self.part[0] < self.part[1]):
            raise OptionError(f'expected [from, to] with from < to, got {list(self.part)}. Write e.g. [0, 0.8].',
                              'part')
        if self.dataroot_lq is not None:
            for key in ('dataroot_gt', 'degradation'):
                if getattr(self, key) is not None:
                    raise OptionError('not allowed with dataroot_lq, whose images are already degraded and have no '
                                      'clean versions. Remove one; for pairs use PairedImageDataset.', key)
            if self.phase == 'train':
                raise OptionError('training needs clean images. Use dataroot_gt.', 'dataroot_lq')
        elif self.dataroot_gt is None:
            raise OptionError("'dataroot_gt' is missing.")
        elif self.scale is not None and self.scale != self.degrade.scale:
            raise OptionError(f'expected a degradation that shrinks by scale {self.scale}, got one by '
                              f'{self.degrade.scale}. Use the same scale in the option file and the degradation.')

    @functools.cached_property
    def degrade(self) -> Any:
        """Return the degradation built from its block."""
        return build_degradation(self.degradation, 'degradation')

    @property
    def dataroot(self) -> str:
        """Return the folder of the images."""
        return self.dataroot_lq or self.dataroot_gt or ''

    def check_divides(self, size: int, key: str) -> None:
        """Raise OptionError if ``size`` is not a multiple of the degradation's scale."""
        scale = self.degrade.scale
        if size % scale:
            raise OptionError(f'expected a multiple of scale {scale}, got {size}. Use {size + scale - size % scale}.',
                              key)


class DegradedImageDataset(ImageDataset):
    """Base class of data sets of clean images, labels and degraded images: ``{lq, gt, label, lq_path, gt_path}``.

    In phase ``train`` random values are drawn for each access and follow torch's seed, also in workers. In other phases
    an item depends only on ``seed`` and its index, for any number of workers.

    A subclass sets ``options_type``; in its constructor it sets ``paths`` (and ``classes``, ``num_classes``) and calls
    :meth:`keep_part` last; and it returns an item before degradation in :meth:`load`.

    Args:
        opt: The dataset's block of a BasicSR option file; keys as in ``options_type``.

    Shape:
        An item: ``gt`` float32 ``(3, H, W)`` and ``lq`` float32 ``(3, H / scale, W / scale)``, RGB, ``[0, 1]``;
        ``label`` has the resolution of gt; ``lq_path`` and ``gt_path`` are both the clean image's path. With
        ``dataroot_lq`` there are no ``gt`` and ``gt_path``, and ``label`` has the resolution of the restored image.

    Raises:
        OptionError: On construction: a key is unknown or missing, a value has the wrong type or is out of range, or
            files are not as described.
        ValueError: When an item is read: the named file is unusable.
    """

    options_type: type[DegradedImageOptions]
    options: DegradedImageOptions
    paths: list[str]
    classes: tuple[str, ...] | None
    num_classes: int | None
    _part: Sequence[float] | None = None  # that `paths` are of

    def __init__(self, opt: Mapping[str, Any]):
        self.where = f"{type(self).__name__}({opt.get('name') or opt.get('phase', '')})"
        if 'phase' not in opt:
            raise OptionError(f"{self.where}: expected phase 'train', 'val' or 'test', got none. Add it; "
                              'in an option file BasicSR does so.')
        self.opt = opt  # BasicSR's models read the name of the data set from it
        self.options = build_block(self.options_type, opt, self.where)
        self.has_clean = self.options.dataroot_lq is None
        self.degradation = self.options.degrade

    @property
    def train(self) -> bool:
        return self.options.phase == 'train'

    def keep_part(self, *lists: str) -> None:
        """Keep the images of the option ``part`` alone.

        Args:
            lists: Names of the attributes that have a value for each image, beside ``paths``.

        Raises:
            OptionError: No image is in that part.
        """
        self._part = self.options.part
        if self._part is None:
            return
        low, high = self._part
        root = os.path.join(self.options.dataroot, '')
        places = places_within([path.removeprefix(root) for path in self.paths], low, high)
        if not places:
            raise OptionError(f'{self.where}.part: none of the {len(self.paths)} images is in [{low:g}, {high:g}]. '
                              'Use a larger part, or more images.')
        for name in ('paths', *lists):
            values = getattr(self, name)
            setattr(self, name, [values[place] for place in places])

    def load(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, Any]:
        """Return the clean image, uint8 ``(H, W, 3)``, RGB, with sides divisible by scale, and its label."""
        raise NotImplementedError(f'{type(self).__name__} has no load().')

    def check_leaves_pixels(self, size: tuple[int, int], source: tuple[int, int], path: str) -> None:
        """Check that an image of ``size`` ``(width, height)`` is not empty after cropping to multiples of the scale.

        Args:
            size: Width and height after resizing.
            source: Width and height of the file.
            path: The file, for messages.

        Raises:
            ValueError: A side is shorter than the scale.
        """
        scale = self.degradation.scale
        if min(size) < scale:
            after = '' if size == source else ' after scaling'
            raise ValueError(f'{path}: expected at least {scale}x{scale} pixels for scale {scale}, got '
                             f'{size[0]}x{size[1]}{after}. Remove the image, or resize to a larger size.')

    def enlarged(self, label: Any, scale: int) -> Any:
        """Return the label for an image ``scale`` times as large; a label without positions is unchanged."""
        return label

    def __len__(self) -> int:
        if self._part != self.options.part:
            raise NotImplementedError(f'{type(self).__name__} has no part: its constructor does not call keep_part().')
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = range(len(self))[index]  # so that -1 has the same noise as the last index
        seed = int(torch.randint(2 ** 63 - 1, ())) if self.train else (self.options.seed, index)
        rng = np.random.default_rng(seed)
        gt, label = self.load(index, rng)
        path = self.paths[index]
        if not self.has_clean:
            return {'lq': _to_tensor(gt), 'label': self.enlarged(label, self.options.scale or 1), 'lq_path': path}
        lq = self.degradation(gt, rng)
        return {'lq': _to_tensor(lq), 'gt': _to_tensor(gt), 'label': label, 'lq_path': path, 'gt_path': path}


def _to_tensor(image: np.ndarray) -> torch.Tensor:
    """Convert ``(H, W, 3)`` uint8, or float32 in ``[0, 1]``, to float32 ``(3, H, W)`` in ``[0, 1]``."""
    planes = image.transpose(2, 0, 1).astype(np.float32, order='C')
    if image.dtype == np.uint8:
        planes /= np.float32(255)
    return torch.from_numpy(planes)
