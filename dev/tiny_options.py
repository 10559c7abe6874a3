"""Reduction of a BasicSR option file to small networks, a few generated images and three iterations."""
# isort: off
import ra_plugin.basicsr  # noqa: F401 - patches BasicSR before its first import here
# isort: on
import inspect
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import cv2
import numpy as np
import torch
from basicsr.archs import build_network
from basicsr.utils.lmdb_util import LmdbMaker
from basicsr.utils.registry import ARCH_REGISTRY

# Values that make BasicSR's architectures small; smaller values of the file are kept.
_TINY_NETWORK = {'num_feat': 8, 'num_block': 1, 'num_group': 1, 'num_grow_ch': 4, 'num_channel': 4, 'squeeze_factor': 4,
                 'embed_dim': 12, 'depths': [2], 'num_heads': [2], 'img_size': 16, 'window_size': 4, 'crop_size': 64,
                 'z_dim': 8}
_FIXED_SIZES = ('crop_size', 'input_size')  # architectures with such a key only support images of that size
_CROP = 48  # for all others; a multiple of the scales 1, 2, 3, 4 and 8
_IMAGE = 216  # likewise; without border it has four blocks of 96 pixels, of which NIQE needs more than one
_BATCH = 2  # batch normalization needs more than one image
_NUM_IMAGES = 3


def tiny_options(opt: dict, root: Path) -> dict:
    """Return the same experiment for the CPU, with tiny networks and images, saved and logged at each iteration.

    Args:
        opt: Content of the file; missing or misplaced blocks are left to the checks of the run.
        root: Folder for the generated images and the weights for ``path.pretrain_network_*``.
    """
    opt = deepcopy(opt)
    networks = {key: opt[key] for key in opt if key.startswith('network_')}
    for network in networks.values():
        _shrink_network(network)
    fixed = next(_fixed_sizes(networks.values()), None)
    for block in (opt, *_block(opt, 'datasets').values()):
        if 'gt_size' in block:
            block['gt_size'] = fixed or _CROP
    for dataset in _block(opt, 'datasets').values():
        _shrink_dataset(dataset, fixed or _IMAGE, opt.get('scale', 1), root)
    if 'queue_size' in opt:  # the pair pool is then full after one batch, and the second is taken from it
        opt['queue_size'] = _batch_size(opt['datasets']['train'])
    _make_pretrained(_block(opt, 'path'), networks, root)
    _block(opt, 'train').update(total_iter=2)
    if 'val' in opt:
        opt['val'].update(val_freq=2)
    _block(opt, 'logger').update(print_freq=1, save_checkpoint_freq=1)
    return opt


def _block(opt: dict, key: str) -> dict:
    return opt.get(key) or {}


def _batch_size(dataset: dict) -> int:
    return min(_BATCH, dataset.get('batch_size_per_gpu', 1))


def _arguments(network: dict) -> dict:
    """Return the arguments of the architecture with their defaults; none for an unknown architecture."""
    try:
        architecture = ARCH_REGISTRY.get(str(network.get('type')))
    except KeyError:
        return {}
    return {key: value.default for key, value in inspect.signature(architecture).parameters.items()}


def _shrink_network(network: dict) -> None:
    arguments = {**_arguments(network), **network}
    for key, tiny in _TINY_NETWORK.items():
        current = arguments.get(key)
        if isinstance(tiny, list) and isinstance(current, (list, tuple)):
            network[key] = tiny
        elif isinstance(tiny, int) and isinstance(current, int):
            network[key] = min(tiny, current)


def _fixed_sizes(networks) -> Iterator[int]:
    for network in networks:
        arguments = {**_arguments(network), **network}
        yield from (arguments[key] for key in _FIXED_SIZES if isinstance(arguments.get(key), int))


def _shrink_dataset(dataset: dict, size: int, scale: int, root: Path) -> None:
    """Set a small batch, no workers, and paths to new images of ``size`` pixels, smaller by ``scale`` for lq."""
    if 'num_worker_per_gpu' in dataset:
        dataset['num_worker_per_gpu'] = 0
    if 'batch_size_per_gpu' in dataset:
        dataset['batch_size_per_gpu'] = _batch_size(dataset)
    names = [f'{i:04d}' for i in range(_NUM_IMAGES)]
    images = [_photograph(i, size) for i in range(_NUM_IMAGES)]
    is_lmdb = _block(dataset, 'io_backend').get('type') == 'lmdb'
    for key, value in dataset.items():
        if not isinstance(value, str) or not key.startswith(('dataroot_', 'meta_info')):
            continue
        place = root / 'data' / re.sub(r'[^\w.]+', '_', value)  # the same for all blocks with the same path
        dataset[key] = str(place)
        if key.startswith('meta_info'):
            place.parent.mkdir(exist_ok=True, parents=True)
            place.write_text(''.join(f'{name}.png ({size},{size},3)\n' for name in names))
        elif key == 'dataroot_lq':
            low = [cv2.resize(image, (size // scale, size // scale), interpolation=cv2.INTER_AREA) for image in images]
            template = '{}' if is_lmdb else dataset.get('filename_tmpl', '{}')
            # use only the name of the template, so that nothing is written elsewhere
            _save(place, {Path(template.format(name)).name: image
                          for name, image in zip(names, low, strict=True)}, is_lmdb)
        else:
            _save(place, dict(zip(names, images, strict=True)), is_lmdb)


def _photograph(seed: int, size: int) -> np.ndarray:
    """Return a smooth, grainy image ``(size, size, 3)``, uint8."""
    rng = np.random.default_rng(seed)
    smooth = cv2.resize(rng.uniform(32, 224, (8, 8, 3)), (size, size), interpolation=cv2.INTER_CUBIC)
    return (smooth + rng.normal(0, 8, smooth.shape)).clip(0, 255).astype(np.uint8)


def _save(folder: Path, images: dict[str, np.ndarray], is_lmdb: bool) -> None:
    if is_lmdb and folder.exists():  # written for another block
        return
    folder.parent.mkdir(exist_ok=True, parents=True)
    if not is_lmdb:
        folder.mkdir(exist_ok=True)
        for name, image in images.items():
            cv2.imwrite(str(folder / f'{name}.png'), image)
        return
    maker = LmdbMaker(str(folder), map_size=2**26)
    for name, image in images.items():
        maker.put(cv2.imencode('.png', image)[1].tobytes(), name, image.shape)
    maker.close()


def _make_pretrained(paths: dict, networks: dict, root: Path) -> None:
    """Write random weights for each network that has a pretrained path in the file."""
    for name, network in networks.items():
        letter = name.removeprefix('network_')
        if not paths.get(f'pretrain_network_{letter}'):
            continue
        weights = build_network(network).state_dict()
        file = root / f'pretrained_{letter}.pth'
        torch.save({key: weights for key in ('params', 'params_ema', paths.get(f'param_key_{letter}', 'params'))}, file)
        paths[f'pretrain_network_{letter}'] = str(file)
