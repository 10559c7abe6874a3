"""Classification images with labels, degraded on the fly: ``{lq, gt, label, lq_path, gt_path}``.

Images come from class folders as ImageNet has them, or from a list of paths and labels (JSON or CSV), and from disk or
from an lmdb as BasicSR writes it. What can be checked by listing folders is checked when the dataset is built.
"""
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from ra_plugin.data.annotations import RELATIVE, list_images, number_labels, read_classes
from ra_plugin.data.image_file import decode_image
from ra_plugin.degradations import build_degradation
from ra_plugin.options import OptionError, check_arguments
from ra_plugin.registry import DEGRADATION_REGISTRY
from ra_plugin.utils.optional import require


@dataclass(frozen=True, kw_only=True)
class LoaderOptions:
    """What BasicSR itself reads from a dataset's block, or adds to it (``phase`` and ``scale``)."""
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


@dataclass(frozen=True, kw_only=True)
class LabeledImageOptions(LoaderOptions):
    """The keys of a :class:`LabeledImageDataset` block; their types are what the options are checked against.

    Attributes:
        dataroot_gt: Folder of the clean images, or an lmdb. Without ``meta_info`` each folder in it is a class, with
            images at any depth; hidden files, and files beside the class folders, are ignored.
        meta_info: List of the images to use, paths relative to ``dataroot_gt``: a JSON file with ``{path: label}``,
            ``[[path, label], ...]`` or ``[{"path": ..., "label": ...}, ...]``, or a CSV file of ``path,label`` with or
            without that header. A label is a number from 0 or the name of a class.
        classes: Names of the classes, in the order of their numbers: a list, or a text file with a name a line. Classes
            without images are allowed. Default: the names that occur, sorted.
        io_backend: ``{type: disk}`` or ``{type: lmdb}``. Default: disk.
        resize: Length of the shorter side in pixels, with PIL's bilinear filter, as torchvision's ``Resize``. Default:
            as the file is.
        crop_size: Side in pixels of the square cut from gt: at random in phase ``train``, from the center otherwise.
            Default: the whole image.
        use_hflip: Mirror half of the images, drawn at random, in phase ``train`` only.
        degradation: What makes lq of gt, e.g. ``{type: BicubicDownsample, scale: 4}``. Default: lq is gt.
        seed: Start of the noise in validation, >= 0; training follows torch's seed instead.
    """
    dataroot_gt: str
    meta_info: str | None = None
    classes: Sequence[str] | str | None = None
    io_backend: Mapping | None = None
    resize: int | None = None
    crop_size: int | None = None
    use_hflip: bool = False
    degradation: Mapping | None = None
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class _IOBackend:
    type: Literal['disk', 'lmdb']


class LabeledImageDataset(torch.utils.data.Dataset):
    """Clean images with their labels, and the degraded image of each.

    In phase ``train`` crop, flip and noise are drawn anew for each item and follow torch's seed, also in workers. In
    other phases an item depends on nothing but ``seed`` and its index: the same for any number of workers, each time.

    Grayscale, palette and CMYK files become RGB as in torchvision's loader, and as there EXIF orientation is not
    applied. 16-bit grayscale, float images and images with transparent pixels are refused: what they look like in
    8-bit RGB is for the user to say. (Of 16-bit RGB files PIL reads the upper 8 bits.)

    Args:
        opt: The dataset's block of a BasicSR option file; keys as in :class:`LabeledImageOptions`.

    Attributes:
        paths: File, or lmdb key, of each image.
        labels: Class number of each image.
        classes: Names of the classes, or None where labels are numbers and nothing names them.
        num_classes: ``len(classes)``, or the largest label + 1.

    Shape:
        An item: ``gt`` float32 ``(3, H, W)`` and ``lq`` float32 ``(3, H / scale, W / scale)``, RGB, ``[0, 1]``;
        ``label`` int (a long tensor ``(N,)`` in a batch); ``lq_path`` and ``gt_path`` are both the clean image's path.

    Raises:
        OptionError: When built: an unknown or missing key, a value of the wrong type or out of range, a folder or a
            list of images that is not as described.
        ValueError: When an item is read: a file that cannot be used, by name.

    Example:
        >>> LabeledImageDataset({'phase': 'val', 'dataroot_gt': 'datasets/cifar10/val', 'scale': 2,
        ...                      'degradation': {'type': 'BicubicDownsample', 'scale': 2}})[0]['lq'].shape
        torch.Size([3, 16, 16])
    """

    def __init__(self, opt: Mapping[str, Any]):
        where = f"LabeledImageDataset({opt.get('name') or opt.get('phase', '')})"
        if 'phase' not in opt:
            raise OptionError(f"{where}: expected phase 'train', 'val' or 'test', got none. Give it; "
                              'in an option file BasicSR adds it.')
        self.check_options(opt, where)
        self.opt = opt  # BasicSR's models read the name of the data set from it
        self.options = LabeledImageOptions(**opt)
        self.degradation = build_degradation(self.options.degradation, f'{where}.degradation')
        _check_ranges(self.options, self.degradation.scale, where)
        self._lmdb = (self.options.io_backend or {}).get('type') == 'lmdb'
        self._client = None
        root = self.options.dataroot_gt
        if not os.path.isdir(root):
            raise OptionError(f"{where}.dataroot_gt: no folder '{root}'. {RELATIVE}")
        entries = list_images(root, self.options.meta_info, self._lmdb, where)
        classes = read_classes(self.options.classes, where)
        self.labels, self.classes = number_labels(entries, classes, where)
        self.num_classes = len(self.classes) if self.classes else max(self.labels) + 1
        self.paths = [path if self._lmdb else os.path.join(root, path) for path, _ in entries]

    @staticmethod
    def check_options(opt: Mapping[str, Any], where: str) -> None:
        """Check the block's keys and types without touching the disk. ``phase`` may be missing, as in a file.

        Raises:
            OptionError: An unknown key (with the nearest one that exists), a missing one, a value of the wrong type.
        """
        check_arguments(LabeledImageOptions, {'phase': 'train', **opt}, where)
        if opt.get('io_backend') is not None:
            check_arguments(_IOBackend, opt['io_backend'], f'{where}.io_backend')
        if opt.get('degradation') is not None:
            DEGRADATION_REGISTRY.check(opt['degradation'], f'{where}.degradation')

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_client': None}

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = range(len(self))[index]  # -1 is the last one, and has to have the last one's noise
        path = self.paths[index]
        if self.options.phase == 'train':
            rng = np.random.default_rng(torch.randint(2 ** 63 - 1, ()).item())
        else:
            rng = np.random.default_rng((self.options.seed, index))
        gt = self._load(path, rng)
        height, width = gt.shape[:2]
        scale = self.degradation.scale
        if height % scale or width % scale:
            raise ValueError(f'{path}: expected a width and height that scale {scale} divides, got {width}x{height}. '
                             f'Set crop_size to a multiple of {scale}, or crop the files.')
        lq = self.degradation(gt, rng)
        return {'lq': _to_tensor(lq), 'gt': _to_tensor(gt), 'label': self.labels[index],
                'lq_path': path, 'gt_path': path}

    def _load(self, path: str, rng: np.random.Generator) -> np.ndarray:
        """The clean image, resized, cropped and flipped: uint8 ``(H, W, 3)``, RGB."""
        image = decode_image(self._read(path), path)
        if self.options.resize:
            image = _resize_shorter_side(image, self.options.resize)
        train, size = self.options.phase == 'train', self.options.crop_size
        if size:
            width, height = image.size
            if min(width, height) < size:
                after = ' after resize' if self.options.resize else ''
                raise ValueError(f'{path}: expected at least {size}x{size} for crop_size {size}, got {width}x{height}'
                                 f'{after}. Set a smaller crop_size, or resize to {size} or more.')
            if train:
                left, top = int(rng.integers(width - size + 1)), int(rng.integers(height - size + 1))
            else:
                left, top = round((width - size) / 2), round((height - size) / 2)  # as torchvision's CenterCrop
            image = image.crop((left, top, left + size, top + size))
        if train and self.options.use_hflip and rng.random() < 0.5:
            image = image.transpose(Image.FLIP_LEFT_RIGHT)
        return np.array(image)

    def _read(self, path: str) -> bytes:
        if not self._lmdb:
            with open(path, 'rb') as file:
                return file.read()
        if self._client is None:  # opened where it is read: a worker that is spawned cannot be handed an open one
            require('basicsr', 'io_backend {type: lmdb}')
            from basicsr.utils import FileClient
            self._client = FileClient('lmdb', db_paths=self.options.dataroot_gt)
        data = self._client.get(path)
        if data is None:
            raise ValueError(f"{self.options.dataroot_gt}: no image '{path}', which its meta_info.txt lists. "
                             'Make the lmdb again.')
        return data


def _resize_shorter_side(image: Image.Image, size: int) -> Image.Image:
    width, height = image.size
    if width <= height:
        target = (size, int(size * height / width))  # truncated, as torchvision does
    else:
        target = (int(size * width / height), size)
    return image if target == image.size else image.resize(target, Image.BILINEAR)


def _to_tensor(image: np.ndarray) -> torch.Tensor:
    """``(H, W, 3)`` uint8, or float32 in ``[0, 1]``, to float32 ``(3, H, W)`` in ``[0, 1]``."""
    planes = image.transpose(2, 0, 1).astype(np.float32, order='C')
    if image.dtype == np.uint8:
        planes /= np.float32(255)
    return torch.from_numpy(planes)


def _check_ranges(options: LabeledImageOptions, scale: int, where: str) -> None:
    for key, least in (('resize', 1), ('crop_size', 1), ('seed', 0)):
        value = getattr(options, key)
        if value is not None and value < least:
            raise OptionError(f'{where}.{key}: expected a whole number >= {least}, got {value}. '
                              'Change it or leave it out.')
    if options.scale is not None and options.scale != scale:
        raise OptionError(f'{where}: expected a degradation that shrinks by scale {options.scale}, got one by {scale}. '
                          'Make the scale of the option file and of the degradation the same.')
    size = options.crop_size
    if size is not None and size % scale:
        raise OptionError(f'{where}.crop_size: expected a multiple of scale {scale}, got {size}. '
                          f'Use {size + scale - size % scale}.')
    if size is not None and options.resize is not None and size > options.resize:
        raise OptionError(f'{where}.crop_size: expected at most resize ({options.resize}), got {size}. '
                          'The shorter side of each image is resize pixels long.')
