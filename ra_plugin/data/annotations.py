"""Images and labels of a data set: from class folders, lists of paths and labels, or the keys of an lmdb.

Only names are read; no image is opened.
"""
import csv
import io
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ra_plugin.data.class_order import ClassOrder, order_classes
from ra_plugin.data.files import IMAGE_SUFFIXES, check_file, files_below
from ra_plugin.data.label_values import Entry, are_numbers, as_numbers, whole_number
from ra_plugin.data.spellings import FilesOnDisk, Spellings
from ra_plugin.options import OptionError, check_type, suggestion
from ra_plugin.utils.text import how_many
from ra_plugin.utils.text_file import read_text

_HEADERS = (['path', 'label'], ['path', 'text'], ['filename', 'words'])  # the last is EasyOCR's


def list_images(root: str, meta_info: str | None, is_lmdb: bool, where: str) -> list[Entry]:
    """Return paths and labels of the images, in the same order for class folders and for an lmdb made from them."""
    keys = set(lmdb_keys(root, where)) if is_lmdb else None
    if meta_info is not None:
        entries = read_labels(meta_info, f'{where}.meta_info')
        if keys is not None:
            entries = [(without_suffix(path), label) for path, label in entries]
        entries = _as_present(entries, root, keys, f"{where}.meta_info: '{meta_info}'")
    elif keys is not None:
        entries: list[Entry] = [(key, key.partition('/')[0]) for key in sorted(keys)]
        bare = [key for key, name in entries if key == name]
        if bare:
            raise OptionError(f"{where}.dataroot_gt: expected lmdb keys 'class/image', got '{bare[0]}'. "
                              'Create the lmdb with such keys, or give the labels in meta_info.')
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
    # sorted without the suffix, like lmdb keys, so that an image has the same index and therefore the same noise
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
    """Return the paths and labels of a JSON or CSV file, unchanged."""
    check_file(path, where)
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in ('.json', '.csv'):
        raise OptionError(f"{where}: expected a .json or .csv file, got '{path}'. Write path,label lines to a .csv.")
    entries = _read_csv(path, where) if suffix == '.csv' else _read_json(path, where)
    check_one_label(entries, path, where)
    return entries


def check_one_label(entries: Sequence[Entry], path: str, where: str) -> None:
    """Check that no image is listed with two labels."""
    labels: dict[str, str | int | float] = {}
    for name, label in entries:
        if label not in (labels.setdefault(name, label),):  # by identity, too: nan is rejected elsewhere
            raise OptionError(f"{where}: '{path}' lists '{name}' with two labels, {labels[name]} and {label}. "
                              'Remove one of the two.')


def _read_csv(path: str, where: str) -> list[Entry]:
    try:
        lines = csv.reader(io.StringIO(read_text(path, where), newline=''), strict=True)
        rows = [(i, [cell.strip() for cell in row]) for i, row in enumerate(lines, 1) if row]
    except csv.Error as error:
        raise OptionError(f"{where}: expected CSV, got '{path}' with an error ({error}). "
                          'Write path,label lines.') from None
    if rows and [cell.lower() for cell in rows[0][1]] in _HEADERS:
        del rows[0]
    for i, row in rows:
        if len(row) != 2 or not all(row):
            raise OptionError(f"{where}: expected path,label in row {i} of '{path}', got {','.join(row)!r}. "
                              'Quote a path that contains a comma.')
    return [(name, label) for _, (name, label) in rows]


def _read_json(path: str, where: str) -> list[Entry]:
    content = load_json(path, where)
    if not isinstance(content, (dict, list)):
        raise OptionError(f"{where}: expected a mapping or a list in '{path}', got {type(content).__name__}. "
                          'Write {"path": label, ...}.')
    entries = []
    for item in content.items() if isinstance(content, dict) else content:
        pair = (item.get('path'), item.get('label')) if isinstance(item, dict) else item
        fits = isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str)
        if not fits or type(pair[1]) not in (int, float, str) or pair[1] == '':  # true and false are no labels
            raise OptionError(f"{where}: expected a path and a label (number or name) in '{path}', got {item!r}. "
                              'Write [path, label] or {"path": ..., "label": ...}.')
        entries.append(tuple(pair))
    return entries


def load_json(path: str, where: str) -> Any:
    text = read_text(path, where)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise OptionError(f"{where}: expected JSON, got '{path}' with an error ({error}). "
                          'Fix it or create it again.') from None


def _as_present(entries: list[Entry], root: str, keys: set[str] | None, where: str) -> list[Entry]:
    """Return the entries with paths in the spelling of the disk or the lmdb.

    Raises:
        OptionError: A listed image does not exist.
    """
    there = FilesOnDisk(root, where) if keys is None else Spellings(keys, where)
    found = []
    for path, label in entries:
        present = there.find(path)
        if present is None:
            raise OptionError(f"{where} lists '{path}', which is not in '{root}'. "
                              'Paths in it are relative to dataroot_gt.')
        found.append((present, label))
    return found


def read_classes(classes: Sequence[str] | str | None, where: str, key: str = 'classes') -> tuple[str, ...] | None:
    check_type(classes, Sequence[str] | str | None, f'{where}.{key}')
    if isinstance(classes, str):
        if not os.path.isfile(classes):
            raise OptionError(f"{where}.{key}: no file '{classes}'. Use a text file with a class per line, or a list.")
        lines = read_text(classes, f'{where}.{key}').splitlines()
        classes = [line.strip() for line in lines if line.strip()]
    if classes is not None and not classes:
        raise OptionError(f'{where}.{key}: expected names of classes, got none. '
                          'Remove it to use the names that occur.')
    return None if classes is None else tuple(classes)


def number_labels(entries: list[Entry], classes: tuple[str, ...] | None, where: str, key: str = 'meta_info', *,
                  by_folder: bool = False,
                  class_order: ClassOrder | None = None) -> tuple[list[int], tuple[str, ...] | None]:
    """Return the class number of each entry, and the names of the classes if there are any.

    Args:
        entries: Paths and labels.
        classes: Names in the order of the numbers. Default: names that occur, ordered by :func:`order_classes`.
        where: Name of the data set, for messages.
        key: Option from which the labels come.
        by_folder: Treat labels as names of folders, even if they look like numbers.
        class_order: Order of the names that occur.
    """
    if class_order is not None and classes is not None:
        raise OptionError(f'{where}.class_order: not allowed with classes, which defines the order. Remove it.')
    if by_folder or not are_numbers(entries, classes, where, key):
        named = [(path, label if isinstance(label, str) else str(whole_number(label))) for path, label in entries]
        if classes is None:
            classes = order_classes((name for _, name in named), class_order, where)
        elif not by_folder:
            named = [(path, _as_listed(name, classes)) for path, name in named]
        return _number_names(named, classes, where), classes
    if class_order is not None:
        raise OptionError(f'{where}.class_order: expected names as labels, got numbers, which define the order. '
                          'Remove it.')
    numbers = as_numbers(entries)
    for (path, _), number in zip(entries, numbers, strict=True):
        if number < 0 or classes and number >= len(classes):
            bounds = f'from 0 to {len(classes) - 1} ({how_many(len(classes), "class")})' if classes else '>= 0'
            raise OptionError(f"{where}.{key}: expected a label {bounds}, got {number} for '{path}'. "
                              'Labels count from 0.')
    return numbers, classes


def _as_listed(name: str, classes: tuple[str, ...]) -> str:
    """Return the name in the spelling of ``classes``; e.g. ``7.0`` for the name ``7``."""
    number = whole_number(name)
    return name if name in classes or number is None else str(number)


def _number_names(entries: list[tuple[str, str]], classes: tuple[str, ...], where: str) -> list[int]:
    numbers = {name: i for i, name in enumerate(classes)}
    count = Counter(classes)  # ImageNet has two cranes: a duplicate name is an error only if a label uses it
    known = Spellings(numbers, f'{where}.classes')
    entries = [(path, known.find(name) or name) for path, name in entries]
    for path, name in entries:
        if count[name] != 1:
            got = f"'{name}' more than once" if count[name] else f"no '{name}'"
            remedy = f'{suggestion(name, classes)} Add it, or remove the image.'
            if count[name]:
                remedy = ' Use numbers as labels.'
            raise OptionError(f"{where}.classes: expected the class of '{path}', got {got}.{remedy}")
    return [numbers[name] for _, name in entries]


def keep_only(paths: Sequence[str], labels: Sequence[int], classes: tuple[str, ...] | None, kept: Sequence[str],
              where: str) -> tuple[list[str], list[int]]:
    """Return the paths of the images of the classes ``kept``, and their labels: indices of ``kept``."""
    if classes is None:
        raise OptionError(f'{where}.keep_classes: expected classes with names, got numbers without names. '
                          'Give the names in classes.')
    for name in kept:
        if kept.count(name) > 1:
            raise OptionError(f"{where}.keep_classes: expected each class once, got '{name}' more than once.")
        if classes.count(name) != 1:
            remedy = ' Rename one.' if name in classes else suggestion(name, classes)
            raise OptionError(f"{where}.keep_classes: expected one of the {len(classes)} classes, got '{name}', the "
                              f"name of {classes.count(name) or 'none'}.{remedy}")
    numbers = {classes.index(name): number for number, name in enumerate(kept)}
    found = [(path, numbers[label]) for path, label in zip(paths, labels, strict=True) if label in numbers]
    if not found:
        raise OptionError(f"{where}.keep_classes: expected images of {', '.join(kept)}, got none. Keep other classes.")
    return [path for path, _ in found], [label for _, label in found]


def without_suffix(path: str) -> str:
    stem, suffix = os.path.splitext(path)
    return stem if suffix.lower() in IMAGE_SUFFIXES else path


def lmdb_keys(root: str, where: str) -> list[str]:
    """Return the keys of a BasicSR lmdb, from lines ``key.png (h,w,c) compression`` of its meta_info.txt."""
    listing = Path(root) / 'meta_info.txt'
    if not listing.is_file() or not root.endswith('.lmdb'):
        raise OptionError(f"{where}.dataroot_gt: expected a folder *.lmdb with meta_info.txt, got '{root}'. "
                          'Create it with basicsr.utils.lmdb_util, or set io_backend to {type: disk}.')
    lines = read_text(listing, f'{where}.dataroot_gt').splitlines()
    return [line.rpartition(' (')[0].removesuffix('.png') for line in lines if line]
