"""What all our data sets share: checked options, reproducible randomness, and lq made of gt as it is read."""
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from ra_plugin.data.exif import ExifOrientation
from ra_plugin.degradations import build_degradation
from ra_plugin.option_types import FilePath, NonNegative, Positive
from ra_plugin.options import OptionError, build_block
from ra_plugin.registry import DegradationBlock


@dataclass(frozen=True, kw_only=True)
class LoaderOptions:
    """How the images of a data set are loaded; BasicSR adds ``phase`` and ``scale`` to the block itself.

    Attributes:
        type: Class of the data set.
        name: Name for logs and for the folder of restored images.
        phase: What the data set is for.
        scale: Factor by which images are restored. Default: that of the option file.
        batch_size_per_gpu: Images in a batch, also in validation (where BasicSR always takes one). Default: 1 in
            validation; required in training.
        num_worker_per_gpu: Processes that read images; 0: the process of the run itself. Default: 0 in validation;
            required in training.
        dataset_enlarge_ratio: How many times each image is seen in an epoch of training.
        use_shuffle: Draw the order of the images anew for each epoch of training.
        prefetch_mode: ``cpu``: read ahead in a thread; ``cuda``: copy the next batch to the GPU while the last one is
            used, needs ``pin_memory``. Default: neither.
        num_prefetch_queue: Batches that are read ahead with ``cpu``.
        pin_memory: Keep batches in memory from which a GPU can copy by itself.
        persistent_workers: Keep the processes that read images from epoch to epoch.
        on_bad_image: An image that cannot be read in training: ``raise`` ends the run, ``skip`` takes the next one, but
            for one that an option has to settle (``max_pixels``, ``exif_orientation``, values of masks).
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
    """The keys that the block of every :class:`DegradedImageDataset` may hold.

    Attributes:
        use_hflip: Mirror half of the images, drawn at random, in phase ``train`` only.
        dataroot_lq: Instead of ``dataroot_gt``: images that are degraded already, and have no clean version. Then an
            item has no gt, and ``scale`` is how many times as large the restored image, and with it the label, is.
        degradation: What makes lq of gt, e.g. ``{type: BicubicDownsample, scale: 4}``. Default: lq is gt.
        seed: Start of the noise in validation, >= 0; training follows torch's seed instead.
        max_pixels: Read images and masks of up to so many pixels. Default: Pillow's limit, about 179 million.
        exif_orientation: ``ignore``: pixels as they are stored, as torchvision and timm read them; ``apply``: turned
            upright, as viewers and OpenCV show them. Default: with class labels ``ignore``; with boxes or masks
            whichever has the size that these were drawn for, and an error where both have. (Pillow turns TIFF itself.)
    """
    dataroot_gt: FilePath | None = None
    use_hflip: bool = False
    dataroot_lq: FilePath | None = None
    degradation: DegradationBlock | None = None
    seed: NonNegative = 0
    max_pixels: Positive | None = None
    exif_orientation: ExifOrientation | None = None

    def __post_init__(self):
        if self.dataroot_lq is not None:
            for key in ('dataroot_gt', 'degradation'):
                if getattr(self, key) is not None:
                    raise OptionError('dataroot_lq has images that are degraded already, without clean versions. Leave '
                                      'one of the two out; for pairs take PairedImageDataset.', key)
            if self.phase == 'train':
                raise OptionError('training needs clean images to learn from. Use dataroot_gt.', 'dataroot_lq')
        elif self.dataroot_gt is None:
            raise OptionError("'dataroot_gt' is missing.")
        elif self.scale is not None and self.scale != self.degrade.scale:
            raise OptionError(f'expected a degradation that shrinks by scale {self.scale}, got one by '
                              f'{self.degrade.scale}. Make the scale of the option file and of the degradation the '
                              'same.')

    @functools.cached_property
    def degrade(self) -> Any:
        """Return the degradation, built."""
        return build_degradation(self.degradation, 'degradation')

    @property
    def dataroot(self) -> str:
        """Return the folder of the images."""
        return self.dataroot_gt if self.dataroot_lq is None else self.dataroot_lq

    def check_divides(self, size: int, key: str) -> None:
        """Raise OptionError where the degradation would leave a fraction of a pixel of a side of ``size``."""
        scale = self.degrade.scale
        if size % scale:
            raise OptionError(f'expected a multiple of scale {scale}, got {size}. Use {size + scale - size % scale}.',
                              key)


class DegradedImageDataset(torch.utils.data.Dataset):
    """Clean images with their labels, and the degraded image of each: ``{lq, gt, label, lq_path, gt_path}``.

    In phase ``train`` all that is random is drawn anew for each item and follows torch's seed, also in workers. In
    other phases an item depends on nothing but ``seed`` and its index: the same for any number of workers, each time.

    A subclass names its options in ``options_type``, sets ``paths`` (and ``classes``, ``num_classes``) when it is
    built, and says in :meth:`load` what an item is before it is degraded.

    Args:
        opt: The dataset's block of a BasicSR option file; keys as in ``options_type``.

    Shape:
        An item: ``gt`` float32 ``(3, H, W)`` and ``lq`` float32 ``(3, H / scale, W / scale)``, RGB, ``[0, 1]``;
        ``label`` is on the grid of gt; ``lq_path`` and ``gt_path`` are both the clean image's path. With
        ``dataroot_lq`` there are no ``gt`` and ``gt_path``, and ``label`` is on the grid of the restored image.

    Raises:
        OptionError: When built: an unknown or missing key, a value of the wrong type or out of range, files that are
            not as described.
        ValueError: When an item is read: a file that cannot be used, by name.
    """

    options_type: type[DegradedImageOptions]
    paths: list[str]
    classes: tuple[str, ...] | None
    num_classes: int

    def __init__(self, opt: Mapping[str, Any]):
        self.where = f"{type(self).__name__}({opt.get('name') or opt.get('phase', '')})"
        if 'phase' not in opt:
            raise OptionError(f"{self.where}: expected phase 'train', 'val' or 'test', got none. Give it; "
                              'in an option file BasicSR adds it.')
        self.opt = opt  # BasicSR's models read the name of the data set from it
        self.options = build_block(self.options_type, opt, self.where)
        self.has_clean = self.options.dataroot_lq is None
        self.degradation = self.options.degrade

    @property
    def train(self) -> bool:
        return self.options.phase == 'train'

    def load(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, Any]:
        """The clean image, uint8 ``(H, W, 3)``, RGB, with sides that scale divides, and its label."""
        raise NotImplementedError(f'{type(self).__name__} has no load().')

    def check_leaves_pixels(self, size: tuple[int, int], source: tuple[int, int], path: str) -> None:
        """Check that the scale leaves something of an image of ``size`` ``(width, height)``, in the file ``source``.

        Raises:
            ValueError: A side is shorter than the scale, so that nothing would be left once what is over is cut off.
        """
        scale = self.degradation.scale
        if min(size) < scale:
            after = '' if size == source else ' after scaling'
            raise ValueError(f'{path}: expected at least {scale}x{scale} pixels for scale {scale}, got '
                             f'{size[0]}x{size[1]}{after}. Leave the image out, or resize to more.')

    def enlarged(self, label: Any, scale: int) -> Any:
        """The label on a grid ``scale`` times as fine; one that has no place in the image stays as it is."""
        return label

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = range(len(self))[index]  # -1 is the last one, and has to have the last one's noise
        seed = torch.randint(2 ** 63 - 1, ()).item() if self.train else (self.options.seed, index)
        rng = np.random.default_rng(seed)
        gt, label = self.load(index, rng)
        path = self.paths[index]
        if not self.has_clean:
            return {'lq': _to_tensor(gt), 'label': self.enlarged(label, self.options.scale or 1), 'lq_path': path}
        lq = self.degradation(gt, rng)
        return {'lq': _to_tensor(lq), 'gt': _to_tensor(gt), 'label': label, 'lq_path': path, 'gt_path': path}


def _to_tensor(image: np.ndarray) -> torch.Tensor:
    """``(H, W, 3)`` uint8, or float32 in ``[0, 1]``, to float32 ``(3, H, W)`` in ``[0, 1]``."""
    planes = image.transpose(2, 0, 1).astype(np.float32, order='C')
    if image.dtype == np.uint8:
        planes /= np.float32(255)
    return torch.from_numpy(planes)
