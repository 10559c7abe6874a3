"""Class names as options give them."""
from collections.abc import Sequence
from pathlib import Path

from ra_plugin.utils.text_file import read_text


def read_classes(classes: Sequence[str] | str | int) -> tuple[str, ...] | None:
    """The names in a list, or in a text file with one a line; None for a number of classes.

    Raises:
        ValueError: No such file, no names or an empty one among them, or no positive number.
    """
    if isinstance(classes, int):
        if classes < 1:
            raise ValueError(f'classes: expected 1 or more, got {classes}.')
        return None
    if isinstance(classes, str):
        path = Path(classes)
        if not path.is_file():
            raise ValueError(f'classes: no file {path}. Name a text file with one class a line.')
        classes = read_text(path, 'classes').strip().splitlines()
    if not classes or not all(name.strip() for name in classes):
        raise ValueError('classes: expected a name for each, got none, or an empty one.')
    return tuple(name.strip() for name in classes)


def folded(name: str) -> str:
    """A name without its case and spacing, in which other programs differ."""
    return ' '.join(name.casefold().split())


def class_word(label: int, names: Sequence[str] | None) -> str:
    """A label in words: its name, where there are names."""
    if label < 0:
        return 'none of the classes'
    return names[label] if names else f'class {label}'
