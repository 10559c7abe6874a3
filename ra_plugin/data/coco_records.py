"""Records of a JSON file in COCO's format, with ids and numbers of any spelling converted to one type.

``'0'``, ``0`` and ``0.0`` are the same id and the same flag. A value that cannot be converted is an error that names
its field.
"""
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

from ra_plugin.options import NUMBER_AS_TEXT, OptionError

_KEPT_OF_URL = 2  # parts of LVIS's URL: folder of the split and file, train2017/000000391895.jpg


def records(content: Any, key: str, root: str, place: str) -> list[dict]:
    """Return ``'images'``, ``'annotations'`` or ``'categories'`` of a file, with values converted in place.

    Args:
        content: The parsed file.
        key: Key of the list.
        root: Folder of the images.
        place: The file, for messages.

    Raises:
        OptionError: There is no such list, or a record lacks a field or has an invalid value.
    """
    found = content.get(key) if isinstance(content, Mapping) else None
    if not isinstance(found, list):
        raise OptionError(f"{place}: expected a list '{key}', got {'none' if found is None else str(found)[:100]}. "
                          "COCO's instances_*.json have images, annotations and categories.")
    for record in found:
        if key == 'images' and isinstance(record, dict) and record.get('file_name') is None:
            record['file_name'] = _name_in_url(record.get('coco_url'), root)
        missing = [field for field in _REQUIRED[key] if not isinstance(record, dict) or record.get(field) is None]
        if missing:
            raise OptionError(f"{place}: expected {', '.join(_REQUIRED[key])} in each of '{key}', got no {missing[0]} "
                              f'in {str(record)[:200]}. Fix it, or create the file again.')
        for field, (kind, read) in {**_REQUIRED[key], **_OPTIONAL.get(key, {})}.items():
            value = record.get(field)
            if value is None:
                continue
            record[field] = read(value)
            if record[field] is None:
                raise OptionError(f"{place}: expected {kind}, got {value!r} in {field} of one of '{key}': "
                                  f'{str({**record, field: value})[:200]}. Fix it, or create the file again.')
    return found


def _identity(value: Any) -> int | str | None:
    """Return an id: a number, also from text, or other text as it is."""
    if isinstance(value, str):
        value = value.strip()
        return int(value) if value.isascii() and value.isdigit() and str(int(value)) == value else value or None
    return _whole(value)


def _whole(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number == int(number) else None


def _number(value: Any) -> int | float | None:
    if type(value) is int:
        return value
    if isinstance(value, str) and NUMBER_AS_TEXT.fullmatch(value.strip()):
        value = float(value)
    return value if isinstance(value, float) and math.isfinite(value) else None


def _flag(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    words = {'true': True, 'false': False, '': False}
    if isinstance(value, str) and value.strip().lower() in words:
        return words[value.strip().lower()]
    number = _number(value)
    return None if number is None else bool(number)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _box(value: Any) -> list[float] | None:
    items = value if isinstance(value, list) else []
    numbers = [number for item in items if (number := _number(item)) is not None]
    return numbers if len(items) == len(numbers) == 4 else None


def _name_in_url(url: Any, root: str) -> str | None:
    """Return the file name at the end of LVIS's ``coco_url``, with the folder of the split if ``root`` contains it."""
    parts = url.split('/')[-_KEPT_OF_URL:] if isinstance(url, str) else ['']
    if not parts[-1]:
        return None
    return '/'.join(parts) if os.path.isdir(os.path.join(root, *parts[:-1])) else parts[-1]


_Field = tuple[str, Callable[[Any], Any]]  # description, and conversion, which returns None for invalid values
_ID: _Field = ('a number or text', _identity)
_SIZE: _Field = ('a whole number', _whole)
_REQUIRED: dict[str, dict[str, _Field]] = {
    'images': {'id': _ID, 'file_name': ('text', _text), 'width': _SIZE, 'height': _SIZE},
    'annotations': {'image_id': _ID, 'category_id': _ID, 'bbox': ('a bbox [x, y, width, height]', _box)},
    'categories': {'id': _ID, 'name': ('text', _text)},
}
_OPTIONAL: dict[str, dict[str, _Field]] = {
    'annotations': {'area': ('a number', _number), 'iscrowd': ('0 or 1', _flag), 'ignore': ('0 or 1', _flag)},
}
