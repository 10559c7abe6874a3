"""Lists of images in class folders for BasicSR's data sets, which read only one folder and cut names at a space."""
import os
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ra_plugin.data.files import IMAGE_SUFFIXES, check_file, check_folder, files_below
from ra_plugin.data.spellings import FilesOnDisk
from ra_plugin.options import OptionError
from ra_plugin.utils.text_file import read_text

_SIZE = re.compile(r'\s+\(\d+,\s*\d+(,\s*\d+)?\)(\s+\d+)?$')  # lines of BasicSR's lists: name (h,w,c) [compression]


def single_paths(opt: Mapping[str, Any], list_key: str, where: str, kind: str,
                 even_flat: bool = False) -> list[str] | None:
    """Return the images of ``dataroot_<kind>`` at any depth, or those of the list; None if there are no subfolders.

    Args:
        opt: Option block of the data set.
        list_key: Key of its list of images.
        where: Name of the data set, for messages.
        kind: ``'gt'`` or ``'lq'``.
        even_flat: Also list the images if there are no subfolders.
    """
    names = _names(opt, kind, list_key, where, even_flat)
    root = opt[f'dataroot_{kind}']
    return None if names is None else [os.path.join(root, name) for name in names]


def paired_paths(opt: Mapping[str, Any], list_key: str, where: str) -> list[dict[str, str]] | None:
    """Return pairs of ``lq_path`` and ``gt_path``; None if there are no subfolders and no list.

    The degraded image of ``cat/1.png`` is ``cat/1.png`` (with ``filename_tmpl``) below ``dataroot_lq``, or ``1.png`` if
    the former does not exist. A line of the list may name both: ``cat/1.png, cat/1x4.png``.

    Raises:
        OptionError: An image has no counterpart, or several clean images have the same degraded image.
    """
    check_folder(opt['dataroot_lq'], f'{where}.dataroot_lq')
    names = _names(opt, 'gt', list_key, where)
    if names is None:
        return None
    template = opt.get('filename_tmpl') or '{}'
    there = FilesOnDisk(opt['dataroot_lq'], f'{where}.dataroot_lq')
    pairs = [_pair(name, template, opt, there, where) for name in names]
    shared = next((path for path, count in Counter(lq for lq, _ in pairs).items() if count > 1), None)
    if shared is not None:
        clean = [gt for lq, gt in pairs if lq == shared]
        raise OptionError(f"{where}.dataroot_lq: expected one degraded image per clean image, got '{shared}' for "
                          f"'{clean[0]}' and '{clean[1]}'. Put the degraded images into the same class folders.")
    return [{'lq_path': lq, 'gt_path': gt} for lq, gt in pairs]


def degraded_file(name: str, root: str, there: FilesOnDisk, template: str = '{}') -> str | None:
    """Return the file of a clean image's degraded one, in the spelling of the disk; None where there is none.

    Args:
        name: Path of the clean image below its folder.
        root: Folder of the degraded images.
        there: Its files.
        template: Name of a degraded file, ``{}`` standing for that of the clean one without its suffix.
    """
    return _first_file(_places(name, template), root, there)


def _places(name: str, template: str) -> list[str]:
    folder, file = os.path.split(name)
    stem, suffix = os.path.splitext(file)
    file = template.format(stem) + suffix
    return [os.path.join(folder, file), file]


def _first_file(places: list[str], root: str, there: FilesOnDisk) -> str | None:
    return next((path for path in (os.path.join(root, there.find(place) or place) for place in places)
                 if os.path.isfile(path)), None)


def _pair(name: str, template: str, opt: Mapping[str, Any], there: FilesOnDisk, where: str) -> tuple[str, str]:
    gt = os.path.join(opt['dataroot_gt'], name)
    if not os.path.isfile(gt) and ', ' in name:
        name, _, other = name.partition(', ')
        places = [other]
        gt = os.path.join(opt['dataroot_gt'], name)
    else:
        places = _places(name, template)
    found = _first_file(places, opt['dataroot_lq'], there)
    if found is None:
        raise OptionError(f"{where}.dataroot_lq: expected the degraded image of '{name}' as '{places[0]}' in "
                          f"'{opt['dataroot_lq']}', got none. Use the same folders as in dataroot_gt, or set "
                          'filename_tmpl.')
    return found, gt


def _names(opt: Mapping[str, Any], kind: str, list_key: str, where: str, even_flat: bool = False) -> list[str] | None:
    """Return the names below the folder; None without a list and subfolders, unless ``even_flat``."""
    root, listing = opt[f'dataroot_{kind}'], opt.get(list_key)
    check_folder(root, f'{where}.dataroot_{kind}')
    if listing is None:
        names = sorted(files_below(root, IMAGE_SUFFIXES))
        return names if even_flat or any(os.path.dirname(name) for name in names) else None
    check_file(listing, f'{where}.{list_key}')
    lines = [line.strip() for line in read_text(listing, f'{where}.{list_key}').splitlines() if line.strip()]
    there = FilesOnDisk(root, f'{where}.{list_key}')
    names = [_listed_name(line, there) for line in lines]
    for name in names:
        first = name.partition(', ')[0]
        if not os.path.isfile(os.path.join(root, name)) and not os.path.isfile(os.path.join(root, first)):
            raise OptionError(f"{where}.{list_key}: '{listing}' lists '{name}', which is not in '{root}'. "
                              f'Paths in it are relative to dataroot_{kind}.')
    return names


def _listed_name(line: str, there: FilesOnDisk) -> str:
    """Return the name in a line, in the spelling of the disk; it may contain spaces, and the image size may follow."""
    name = _SIZE.sub('', line)
    first, comma, other = name.partition(', ')
    if found := there.find(name):
        return found
    if comma and (found := there.find(first)):
        return f'{found}, {other}'
    return there.find(line.split(' ')[0]) or name  # BasicSR's rule: the text before the first space
