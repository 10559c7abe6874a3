"""Find images that are smaller than the crops taken from them when a data set is built, by reading file headers."""
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ra_plugin.builders.dataset_paths import PAIRS
from ra_plugin.data.early_check import read_head
from ra_plugin.data.files import evenly_spaced_sample
from ra_plugin.data.image_dataset import ImageDataset
from ra_plugin.data.labeled_image_dataset import LabeledImageDataset
from ra_plugin.data.with_labels import inner_dataset
from ra_plugin.options import OptionError

_MOST = 1000  # images whose heads are read, evenly spaced: some tenths of a second
_THREADS = 8  # for file systems that take their time


def check_crops(dataset: ImageDataset, where: str) -> None:
    """Check that images are as large as the crops of a data set; of more than 1000 images, that many of them.

    Raises:
        OptionError: With the key, the first image that is too small, its size, and how many there are.
    """
    within = inner_dataset(dataset)
    places = evenly_spaced_sample(len(within), _MOST) if _crop_of(within) else []
    with ThreadPoolExecutor(_THREADS) as pool:
        problems = [problem for problem in pool.map(lambda place: crop_problem(dataset, place, where), places)
                    if problem]
    if problems:
        raise OptionError(f'{problems[0]} ({len(problems)} of the {len(places)} images that were looked at are too '
                          'small.)')


def crop_problem(dataset: ImageDataset, index: int, where: str) -> str:
    """Return what is wrong with the size of an image; nothing where it can be cropped or cannot be told."""
    within = inner_dataset(dataset)
    key = _crop_of(within)
    if key is None:
        return ''
    for path, least, size in _sizes(within, index, key):
        if 0 < min(size) < least:
            what = f'{least} pixels' if least == within.opt[key] else (
                f'{least} pixels, {key} over scale, for the degraded image')
            return (f'{where}.{key}: expected images with sides of at least {what}, got {size[0]}x{size[1]}: {path}. '
                    f'Set a smaller {key}, or leave small images out.')
    return ''


def _crop_of(dataset: ImageDataset) -> str | None:
    """Return the key with the crop size of a data set that can neither pad nor enlarge an image."""
    opt = getattr(dataset, 'opt', None)
    if not isinstance(opt, Mapping):
        return None
    if isinstance(dataset, LabeledImageDataset):
        return 'crop_size' if opt.get('crop_size') and not opt.get('resize') else None
    reader = type(dataset).__getitem__
    is_pair = reader.__module__.startswith('basicsr.') and reader.__qualname__.partition('.')[0] in PAIRS
    return 'gt_size' if is_pair and opt.get('phase') == 'train' and isinstance(opt.get('gt_size'), int) else None


def _sizes(dataset: Any, index: int, key: str) -> Iterator[tuple[str, int, Sequence[int]]]:
    """Yield each file of an item, the shortest side that it needs, and its size, ``(0, 0)`` where that is not known."""
    paths, size = dataset.paths[index], dataset.opt[key]
    named = paths.items() if isinstance(paths, Mapping) else [('gt_path', paths)]
    for name, path in sorted(named):
        if isinstance(path, str) and os.path.isfile(path):
            least = size // int(dataset.opt.get('scale') or 1) if name == 'lq_path' else size
            yield path, least, read_head(path).size
