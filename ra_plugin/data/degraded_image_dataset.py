"""Base class of all data sets: checked options, reproducible randomness, and degradation of gt to lq on the fly."""
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from ra_plugin.data.exif import ExifOrientation
from ra_plugin.degradations import build_degradation
from ra_plugin.options import OptionError, check_arguments


@dataclass(frozen=True, kw_only=True)
class LoaderOptions:
    """Keys of a dataset's block that the loaders read, or that BasicSR adds (``phase`` and ``scale``)."""
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
        exif_orientation: ``ignore``: pixels as stored, as in torchvision and timm; ``apply``: rotated upright, as in
            viewers and OpenCV. Default: ``ignore`` with class labels; with boxes or masks the one whose size equals
            that of the annotation, and an error if both have it. (Pillow itself rotates TIFF files.)
    """
    use_hflip: bool = False
    dataroot_lq: str | None = None
    degradation: Mapping | None = None
    seed: int = 0
    max_pixels: int | None = None
    exif_orientation: ExifOrientation | None = None


class DegradedImageDataset(torch.utils.data.Dataset):
    """Base class of data sets of clean images, labels and degraded images: ``{lq, gt, label, lq_path, gt_path}``.

    In phase ``train`` random values are drawn for each access and follow torch's seed, also in workers. In other phases
    an item depends only on ``seed`` and its index, for any number of workers.

    A subclass sets ``options_type``, sets ``paths`` (and ``classes``, ``num_classes``) in its constructor, and returns
    an item before degradation in :meth:`load`.

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
    paths: list[str]
    classes: tuple[str, ...] | None
    num_classes: int

    def __init__(self, opt: Mapping[str, Any]):
        self.where = f"{type(self).__name__}({opt.get('name') or opt.get('phase', '')})"
        if 'phase' not in opt:
            raise OptionError(f"{self.where}: expected phase 'train', 'val' or 'test', got none. Add it; "
                              'in an option file BasicSR does so.')
        self.check_options(opt, self.where)
        self.opt = opt  # BasicSR's models read the name of the data set from it
        self.options = self.options_type(**_with_one_root(opt))
        self.has_clean = self.options.dataroot_lq is None
        self.degradation = build_degradation(self.options.degradation, f'{self.where}.degradation')
        check_least(self.options.seed, 0, f'{self.where}.seed')
        check_least(self.options.max_pixels, 1, f'{self.where}.max_pixels')
        scale = self.options.scale
        if self.has_clean and scale is not None and scale != self.degradation.scale:
            raise OptionError(f'{self.where}: expected a degradation that shrinks by scale {scale}, got one by '
                              f'{self.degradation.scale}. '
                              'Use the same scale in the option file and the degradation.')

    @classmethod
    def check_options(cls, opt: Mapping[str, Any], where: str) -> None:
        """Check the block's keys and types without accessing the disk; ``phase`` may be missing, as in a file.

        Raises:
            OptionError: A key is unknown (the message suggests the nearest one) or missing, or a value has the wrong
                type.
        """
        if opt.get('dataroot_lq') is not None:
            for key in ('dataroot_gt', 'degradation'):
                if opt.get(key) is not None:
                    raise OptionError(f'{where}.{key}: not allowed with dataroot_lq, whose images are already degraded '
                                      f'and have no clean versions. Remove one; for pairs use PairedImageDataset.')
            if opt.get('phase') == 'train':
                raise OptionError(f'{where}.dataroot_lq: training needs clean images. Use dataroot_gt.')
        check_arguments(cls.options_type, {'phase': 'train', **_with_one_root(opt)}, where)
        if opt.get('degradation') is not None:
            build_degradation(opt['degradation'], f'{where}.degradation')  # cheap, and checks the values

    @property
    def train(self) -> bool:
        return self.options.phase == 'train'

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
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = range(len(self))[index]  # so that -1 has the same noise as the last index
        seed = torch.randint(2 ** 63 - 1, ()).item() if self.train else (self.options.seed, index)
        rng = np.random.default_rng(seed)
        gt, label = self.load(index, rng)
        path = self.paths[index]
        if not self.has_clean:
            return {'lq': _to_tensor(gt), 'label': self.enlarged(label, self.options.scale or 1), 'lq_path': path}
        lq = self.degradation(gt, rng)
        return {'lq': _to_tensor(lq), 'gt': _to_tensor(gt), 'label': label, 'lq_path': path, 'gt_path': path}


def _with_one_root(opt: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the options with the folder of the images under ``dataroot_gt``, even if it is ``dataroot_lq``."""
    return opt if opt.get('dataroot_lq') is None else {**opt, 'dataroot_gt': opt['dataroot_lq']}


def check_least(value: int | None, least: int, where: str) -> None:
    if value is not None and value < least:
        raise OptionError(f'{where}: expected a whole number >= {least}, got {value}. Change or remove it.')


def check_divides(scale: int, size: int, where: str) -> None:
    if size % scale:
        raise OptionError(f'{where}: expected a multiple of scale {scale}, got {size}. '
                          f'Use {size + scale - size % scale}.')


def _to_tensor(image: np.ndarray) -> torch.Tensor:
    """Convert ``(H, W, 3)`` uint8, or float32 in ``[0, 1]``, to float32 ``(3, H, W)`` in ``[0, 1]``."""
    planes = image.transpose(2, 0, 1).astype(np.float32, order='C')
    if image.dtype == np.uint8:
        planes /= np.float32(255)
    return torch.from_numpy(planes)
