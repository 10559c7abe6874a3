"""Build data sets and validation loaders."""
from collections.abc import Mapping

import numpy as np
import torch
from basicsr.data import build_dataset as build_basicsr_dataset
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.utils.registry import MODEL_REGISTRY
from torch.utils.data import DataLoader, default_collate

from ra_plugin.builders.crop_check import check_crops
from ra_plugin.builders.dataset_paths import check_listed, check_paths, pairs_remedy
from ra_plugin.builders.labeled_hosts import build_listed, is_listed_here
from ra_plugin.builders.networks import dataset_class
from ra_plugin.builders.unread_keys import check_dataset
from ra_plugin.data.image_dataset import ImageDataset
from ra_plugin.data.with_labels import inner_dataset
from ra_plugin.library_errors import translated
from ra_plugin.models.own_validation import has_own_validation
from ra_plugin.models.plain_validation import has_plain_validation
from ra_plugin.options import OptionError
from ra_plugin.utils.text_file import read_text

_NO_CUT = 1 << 12  # a scale at which the clean image is not cut to a multiple of the degraded one's size


def build_val_loaders(opt: Mapping) -> list[DataLoader]:
    """Return a loader for each data set but ``train``, with its ``batch_size_per_gpu`` (default 1) and workers."""
    loaders = []
    for phase, dataset_opt in sorted(opt['datasets'].items()):
        if phase == 'train':
            continue
        if phase.split('_')[0] not in ('val', 'test'):
            raise OptionError(f'datasets.{phase}: expected train, val, val_<n>, test or test_<n>.')
        dataset = build_dataset(dataset_opt, f'datasets.{phase}')
        loaders.append(DataLoader(
            dataset, batch_size=_val_batch_size(opt, dataset_opt), shuffle=False,
            num_workers=dataset_opt.get('num_worker_per_gpu') or 0, collate_fn=getattr(dataset, 'collate_fn', _collate),
            pin_memory=bool(dataset_opt.get('pin_memory')) and torch.cuda.is_available()))
    return loaders


def build_dataset(dataset_opt: Mapping, where: str | None = None) -> ImageDataset:
    """Build the data set of a block, with labels where the block asks for them.

    Args:
        dataset_opt: The block.
        where: Its place, for messages. Default: its name.

    Raises:
        OptionError: A key that its class does not know, or cannot do without; files that are not as it expects them;
            or one of BasicSR's own is to keep some classes, which it would pass over in silence.
    """
    where = where or f'datasets: {dataset_opt.get("name") or dataset_opt.get("phase")}'
    kind = dataset_class(dataset_opt, where)
    if not hasattr(kind, 'options_type'):  # those of ours are checked as they are built
        check_dataset(dataset_opt, where)
    is_basicsr = kind.__module__.startswith('basicsr.')
    is_ours = is_listed_here(dataset_opt, kind)
    if is_basicsr and not is_ours:  # else the images are listed, and missed, by ours
        check_paths(dataset_opt, where)
    with translated(where):
        try:
            dataset = (build_listed if is_ours else build_basicsr_dataset)(dataset_opt)
        except UnicodeDecodeError:  # of a list that BasicSR reads, which the message would not name
            for key in ('meta_info', 'meta_info_file'):
                if dataset_opt.get(key):
                    read_text(dataset_opt[key], f'{where}: {key}')
            raise
        except (AssertionError, ValueError) as error:
            if remedy := pairs_remedy(error):
                raise OptionError(f'{where}: {error} {remedy}') from error
            raise
    host = type(inner_dataset(dataset))
    if dataset_opt.get('keep_classes') and host.__module__.startswith('basicsr.'):
        raise OptionError(f'{where}: keep_classes has no effect in {host.__name__}. Use LabeledImageDataset.')
    if dataset_opt.get('on_bad_image') != 'skip':
        if is_basicsr and (dataset_opt.get('io_backend') or {}).get('type') != 'lmdb':
            check_listed(inner_dataset(dataset), dataset_opt, where)
        check_crops(dataset, where)
    return dataset


def with_scale(block: Mapping, cls: type, where: str) -> dict:
    """Return the block of a data set with the ``scale`` that BasicSR's pairs ask for; a training's file has it on top.

    It is the size of the first clean image over that of the first degraded one.

    Raises:
        OptionError: One is no multiple of the other.
    """
    if 'scale' in block or not issubclass(cls, PairedImageDataset):
        return dict(block)
    item = build_dataset({**block, 'scale': _NO_CUT})[0]
    (height, width), (low, narrow) = item['gt'].shape[-2:], item['lq'].shape[-2:]
    scale = height // low
    if scale < 1 or width // narrow != scale:
        raise OptionError(f'{where}: expected clean images of a multiple of the size of the degraded ones, got '
                          f'{width}x{height} and {narrow}x{low} ({item["gt_path"]}). Set scale, if that is right.')
    return {**block, 'scale': scale}


def evenly_spaced(total: int, count: int | None = None) -> list[int]:
    """Return ``count`` evenly spaced numbers below ``total``; all of them by default, or where there are fewer."""
    return np.linspace(0, total - 1, total if count is None else min(count, total)).round().astype(int).tolist()


def _val_batch_size(opt: Mapping, dataset_opt: Mapping) -> int:
    """Return the batch size; 1 where BasicSR validates, which would score a batch as one picture."""
    if opt['model_type'] == 'RecogAwareModel':
        ours = not has_own_validation(MODEL_REGISTRY.get(opt.get('base_model_type', 'SRModel')))
    else:
        ours = has_plain_validation(MODEL_REGISTRY.get(opt['model_type']))
    return dataset_opt.get('batch_size_per_gpu') or 1 if ours else 1


def _collate(items: list[dict]) -> dict:
    sizes = {tuple(item['lq'].shape) for item in items}
    if len(sizes) > 1:
        raise ValueError(f'validation images of different sizes {sorted(sizes)} cannot share a batch. '
                         'Set batch_size_per_gpu: 1, or crop_size, for this data set.')
    return default_collate(items)
