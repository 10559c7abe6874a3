"""Which images a data set has, and their labels: from class folders, lists of paths and labels, or the keys of an lmdb.

Everything here looks at names alone; no image is opened.
"""
import csv
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ra_plugin.data.files import IMAGE_SUFFIXES, check_file, files_below, first_missing
from ra_plugin.options import OptionError, suggestion

Entry = tuple[str, int | str]  # path or lmdb key, relative to dataroot_gt; label as a number or as the class's name


def list_images(root: str, meta_info: str | None, is_lmdb: bool, where: str) -> list[Entry]:
    """The images in order; the same for class folders and for an lmdb made from them."""
    keys = _lmdb_keys(root, where) if is_lmdb else None
    if meta_info is not None:
        entries = read_labels(meta_info, f'{where}.meta_info')
        if keys is not None:
            entries = [(without_suffix(path), label) for path, label in entries]
        _check_present(entries, root, keys, f"{where}.meta_info: '{meta_info}'")
    elif keys is not None:
        entries = [(key, key.partition('/')[0]) for key in sorted(keys)]
        bare = [key for key, name in entries if key == name]
        if bare:
            raise OptionError(f"{where}.dataroot_gt: expected lmdb keys 'class/image', got '{bare[0]}'. "
                              'Make the lmdb with such keys, or give the labels in meta_info.')
    else:
        entries = _scan_class_folders(root, where)
    if not entries:
        raise OptionError(f"{where}: expected images, got none from '{meta_info or root}'. "
                          'Point it to a set with images.')
    return entries


def _scan_class_folders(root: str, where: str) -> list[Entry]:
    with os.scandir(root) as found:
        names = sorted(entry.name for entry in found if entry.is_dir() and not entry.name.startswith('.'))
    if len(names) > 1 and set(names) <= {'train', 'val', 'valid', 'validation', 'test'}:
        raise OptionError(f"{where}.dataroot_gt: expected a folder per class in '{root}', got {', '.join(names)}. "
                          f"Point it to one of them, e.g. '{os.path.join(root, names[0])}'.")
    # sorted without the suffix, as lmdb keys have none: then both give an image the same index, and so the same noise
    images = {name: sorted(files_below(root, IMAGE_SUFFIXES, name), key=os.path.splitext) for name in names}
    if not any(images.values()):
        raise OptionError(f"{where}.dataroot_gt: expected images in '{root}/<class>', got none. "
                          f"Known suffixes: {', '.join(IMAGE_SUFFIXES)}. List another layout in meta_info.")
    empty = [name for name in names if not images[name]]
    if empty:
        raise OptionError(f"{where}.dataroot_gt: expected images in each class folder, got none in "
                          f"'{os.path.join(root, empty[0])}'. Remove the folder, or fill it.")
    return [(path, name) for name in names for path in images[name]]


def read_labels(path: str, where: str) -> list[Entry]:
    """The paths and labels that a JSON or CSV file lists, as they are written there."""
    check_file(path, where)
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in ('.json', '.csv'):
        raise OptionError(f"{where}: expected a .json or .csv file, got '{path}'. Write path,label lines to a .csv.")
    return _read_csv(path, where) if suffix == '.csv' else _read_json(path, where)


def _read_csv(path: str, where: str) -> list[Entry]:
    with open(path, newline='', encoding='utf-8-sig') as file:
        rows = [(i, [cell.strip() for cell in row]) for i, row in enumerate(csv.reader(file), 1) if row]
    if rows and [cell.lower() for cell in rows[0][1]] == ['path', 'label']:
        del rows[0]
    for i, row in rows:
        if len(row) != 2 or not all(row):
            raise OptionError(f"{where}: expected path,label in row {i} of '{path}', got {','.join(row)!r}. "
                              'Quote a path that holds a comma.')
    numbers = all(re.fullmatch(r'-?[0-9]+', label) for _, (_, label) in rows)
    return [(name, int(label) if numbers else label) for _, (name, label) in rows]


def _read_json(path: str, where: str) -> list[Entry]:
    content = load_json(path, where)
    if not isinstance(content, (dict, list)):
        raise OptionError(f"{where}: expected a mapping or a list in '{path}', got {type(content).__name__}. "
                          'Write {"path": label, ...}.')
    entries = []
    for item in content.items() if isinstance(content, dict) else content:
        pair = (item.get('path'), item.get('label')) if isinstance(item, dict) else item
        fits = isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str)
        if not fits or type(pair[1]) not in (int, str):  # not isinstance: true and false are no labels
            raise OptionError(f"{where}: expected a path and a label (number or name) in '{path}', got {item!r}. "
                              'Write [path, label] or {"path": ..., "label": ...}.')
        entries.append(tuple(pair))
    return entries


def load_json(path: str, where: str) -> Any:
    with open(path, encoding='utf-8') as file:
        try:
            return json.load(file)
        except ValueError as error:
            raise OptionError(f"{where}: expected JSON, got '{path}' with an error ({error}). "
                              'Mend it or make it again.') from None


def _check_present(entries: list[Entry], root: str, keys: set[str] | None, where: str) -> None:
    """Name the first image that is listed and does not exist."""
    paths = (path for path, _ in entries)
    missing = first_missing(paths, root) if keys is None else next((path for path in paths if path not in keys), None)
    if missing is not None:
        raise OptionError(f"{where} lists '{missing}', which '{root}' does not have. "
                          'Paths in it are relative to dataroot_gt.')


def read_classes(classes: Sequence[str] | str | None, where: str, key: str = 'classes') -> tuple[str, ...] | None:
    if isinstance(classes, str):
        if not os.path.isfile(classes):
            raise OptionError(f"{where}.{key}: no file '{classes}'. Give a text file with a class a line, or a list.")
        lines = Path(classes).read_text(encoding='utf-8-sig').splitlines()
        classes = [line.strip() for line in lines if line.strip()]
    if classes is not None and not classes:
        raise OptionError(f'{where}.{key}: expected names of classes, got none. '
                          'Leave it out to use those that occur.')
    return None if classes is None else tuple(classes)


def number_labels(entries: list[Entry], classes: tuple[str, ...] | None, where: str,
                  key: str = 'meta_info') -> tuple[list[int], tuple[str, ...] | None]:
    """The class number of each entry, and the names of the classes where there are any; ``key`` names the list."""
    by_name = isinstance(entries[0][1], str)
    for path, label in entries:
        if isinstance(label, str) != by_name:
            raise OptionError(f"{where}.{key}: expected {'names' if by_name else 'numbers'} as labels throughout, "
                              f"got {label!r} for '{path}'. Use either numbers or names.")
    if by_name:
        classes = classes or tuple(sorted({label for _, label in entries}))
        return _number_names(entries, classes, where), classes
    for path, label in entries:
        if label < 0 or classes and label >= len(classes):
            bounds = f'from 0 to {len(classes) - 1} ({len(classes)} classes)' if classes else '>= 0'
            raise OptionError(f"{where}.{key}: expected a label {bounds}, got {label} for '{path}'. "
                              'Labels count from 0.')
    return [label for _, label in entries], classes


def _number_names(entries: list[Entry], classes: tuple[str, ...], where: str) -> list[int]:
    numbers = {name: i for i, name in enumerate(classes)}
    count = Counter(classes)  # ImageNet has two cranes: a name that occurs twice is wrong only where it is looked up
    for path, name in entries:
        if count[name] != 1:
            got = f"'{name}' more than once" if count[name] else f"no '{name}'"
            remedy = f'{suggestion(name, classes)} Add it, or leave the image out.'
            if count[name]:
                remedy = ' Give labels as numbers.'
            raise OptionError(f"{where}.classes: expected the class of '{path}', got {got}.{remedy}")
    return [numbers[name] for _, name in entries]


def keep_only(paths: Sequence[str], labels: Sequence[int], classes: tuple[str, ...] | None, kept: Sequence[str],
              where: str) -> tuple[list[str], list[int]]:
    """The paths of the images of some classes, and their labels: the place of the class in ``kept``."""
    if classes is None:
        raise OptionError(f'{where}.keep_classes: expected labels with names, got numbers that nothing names. '
                          'Name the classes: classes.')
    for name in kept:
        if kept.count(name) > 1:
            raise OptionError(f"{where}.keep_classes: expected each class once, got '{name}' more than once.")
        if classes.count(name) != 1:
            remedy = ' Rename one.' if name in classes else suggestion(name, classes)
            raise OptionError(f"{where}.keep_classes: expected one of the {len(classes)} classes, got '{name}', the "
                              f"name of {classes.count(name) or 'none'}.{remedy}")
    numbers = {classes.index(name): number for number, name in enumerate(kept)}
    found = [(path, numbers[label]) for path, label in zip(paths, labels) if label in numbers]
    if not found:
        raise OptionError(f"{where}.keep_classes: expected images of {', '.join(kept)}, got none. Keep other classes.")
    return [path for path, _ in found], [label for _, label in found]


def without_suffix(path: str) -> str:
    stem, suffix = os.path.splitext(path)
    return stem if suffix.lower() in IMAGE_SUFFIXES else path


def _lmdb_keys(root: str, where: str) -> set[str]:
    """Keys of an lmdb as BasicSR makes it, from lines ``key.png (h,w,c) compression`` of its meta_info.txt."""
    listing = Path(root) / 'meta_info.txt'
    if not listing.is_file() or not root.endswith('.lmdb'):
        raise OptionError(f"{where}.dataroot_gt: expected a folder *.lmdb with meta_info.txt, got '{root}'. "
                          'Make it with basicsr.utils.lmdb_util, or set io_backend to {type: disk}.')
    lines = listing.read_text(encoding='utf-8').splitlines()
    return {line.rpartition(' (')[0].removesuffix('.png') for line in lines if line}
