"""Check the folders and lists that blocks of BasicSR's data sets name: its own messages name neither block nor key."""
import os
from collections.abc import Iterator, Mapping
from typing import Any

from torch.utils.data import Dataset

from ra_plugin.data.files import check_file, check_folder
from ra_plugin.data.spellings import FilesOnDisk
from ra_plugin.options import OptionError, check_type

_LISTS = ('meta_info', 'meta_info_file')
PAIRS = ('PairedImageDataset', 'RealESRGANPairedDataset')  # of single images
_LMDB_LIST = 'meta_info.txt'  # within each lmdb
# BasicSR's messages about pairs that do not match, and the remedies.
_PAIRS_REMEDIES = {
    'is not in lq_paths': 'filename_tmpl, {} in it standing for the name of the clean image without its suffix, has to '
                          'give the names of the degraded images in dataroot_lq.',
    'different number of images': 'dataroot_gt and dataroot_lq have to hold the same images, once clean and once '
                                  'degraded.',
    'should both in lmdb formats': 'With io_backend {type: lmdb} dataroot_gt and dataroot_lq have to end in .lmdb.',
}


def check_paths(block: Mapping[str, Any], where: str) -> None:
    """Check that what the block of one of BasicSR's data sets names is there; nothing is listed or read.

    Raises:
        OptionError: With the key.
    """
    is_lmdb = (block.get('io_backend') or {}).get('type') == 'lmdb'
    for key, value in block.items():
        place = f'{where}.{key}'
        if key.startswith('dataroot') and value is not None:
            for path in value if isinstance(value, (list, tuple)) else [value]:
                check_type(path, str, place)
                check_folder(path, place)
                if is_lmdb:
                    check_file(os.path.join(path, _LMDB_LIST), place)
        elif key in _LISTS and value is not None and not isinstance(value, (list, tuple)):
            check_type(value, str, place)
            check_file(value, place)
    template = block.get('filename_tmpl')
    # the template of videos is of another kind: 08d
    if template is not None and block.get('type') in PAIRS and not _names_images(template):
        raise OptionError(f"{where}.filename_tmpl: expected a text with one {{}} for the name of the clean image, such "
                          f"as '{{}}x2', got {template!r}.")


def _names_images(template: Any) -> bool:
    """Return whether a template makes the name of a degraded image of that of a clean one."""
    try:
        return isinstance(template, str) and template.format('a') != template.format('b')
    except (LookupError, ValueError):
        return False


def pairs_remedy(error: BaseException) -> str:
    """Return what to do about pairs that BasicSR finds do not match; nothing of other errors."""
    return next((remedy for words, remedy in _PAIRS_REMEDIES.items() if words in str(error)), '')


def check_listed(dataset: Dataset, block: Mapping[str, Any], where: str) -> None:
    """Check that the files are there that a data set of BasicSR's has listed by the names in a list.

    Raises:
        OptionError: With the key and the first that is not.
    """
    key = next((key for key in _LISTS if block.get(key)), 'dataroot_gt')
    files = FilesOnDisk('.', f'{where}.{key}')
    missing = next((path for path in _paths(dataset) if files.find(path) is None), None)
    if missing is not None:
        raise OptionError(f'{where}.{key}: no file {missing}. Correct the list or the folder.')


def _paths(dataset: Any) -> Iterator[str]:
    paths = getattr(dataset, 'paths', None)
    for item in paths if isinstance(paths, (list, tuple)) else ():
        for path in item.values() if isinstance(item, Mapping) else [item]:
            if isinstance(path, str):
                yield path
