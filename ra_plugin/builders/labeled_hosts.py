"""Build BasicSR's own data sets with labels or a list of pairs: their images are listed here.

BasicSR searches no class folders, and takes a list's name up to its first space, and from one folder.
"""
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from basicsr.data import build_dataset
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.data.realesrgan_dataset import RealESRGANDataset
from basicsr.data.realesrgan_paired_dataset import RealESRGANPairedDataset
from basicsr.data.single_image_dataset import SingleImageDataset
from basicsr.utils.registry import DATASET_REGISTRY

from ra_plugin.data.class_folder_paths import paired_paths, single_paths
from ra_plugin.data.image_dataset import ImageDataset
from ra_plugin.data.with_labels import WithLabels

# class -> key of its list, and what lists its images
_HOSTS: dict[type, tuple[str, Callable[..., list | None]]] = {
    PairedImageDataset: ('meta_info_file', paired_paths),
    RealESRGANPairedDataset: ('meta_info', paired_paths),
    RealESRGANDataset: (  # would not begin without a list
        'meta_info', partial(single_paths, kind='gt', even_flat=True)),
    SingleImageDataset: ('meta_info_file', partial(single_paths, kind='lq')),
}


def is_listed_here(opt: Mapping[str, Any], cls: type) -> bool:
    """Return True for the block of a data set that `build_listed` builds: with labels, or a list of pairs."""
    return bool(opt.get('labels') or issubclass(cls, PairedImageDataset) and opt.get('meta_info_file'))


def build_listed(opt: Mapping[str, Any]) -> ImageDataset:
    """Return the data set of a block, with ``labels`` where it has them; classes derived from BasicSR's as these.

    Raises:
        OptionError: Images, lists and labels do not belong together.
    """
    dataset = _with_listed_images(opt)
    return WithLabels(dataset, opt) if opt.get('labels') else dataset


def _with_listed_images(opt: Mapping[str, Any]) -> ImageDataset:
    cls = DATASET_REGISTRY.get(opt['type'])
    host = next((host for host in _HOSTS if isinstance(cls, type) and issubclass(cls, host)), None)
    if host is None or (opt.get('io_backend') or {}).get('type') != 'disk':
        return build_dataset(opt)
    list_key, find = _HOSTS[host]
    where = f'{cls.__name__}({opt.get("name") or opt.get("phase", "")})'
    paths = find(opt=opt, list_key=list_key, where=where)
    if paths is None:  # BasicSR finds them, in the order of the disk
        return build_dataset(opt)
    dataset = build_dataset({**opt, list_key: os.devnull})  # an empty list: it looks for no images itself
    dataset.paths, dataset.opt = paths, opt
    return dataset
