"""Annotations for text in option blocks that names a file, weights, a config, a list of classes or a module.

Only text under a key with such an annotation (or ``pathlib.Path``) is taken for a path; how the key is spelled does not
matter. Where no file is in the current folder, it is looked up below the root, then among the shipped files. An
address, e.g. ``https://...`` or ``hf-hub:OWNER/NAME``, always stays as it is.
"""
import os
import re
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from ra_plugin.options import CHANGE, Limits
from ra_plugin.shipped.find import find
from ra_plugin.type_hints import is_union

_ADDRESS = re.compile(r'[A-Za-z][\w+.-]+:')
_WEIGHTS = ('.pth', '.pt', '.safetensors', '.bin', '.tar', '.ckpt', '.pkl')


@dataclass(frozen=True)
class Names:
    """Note in an annotation that text names something on the disk.

    Attributes:
        what: Kind of the thing; a ``config`` stands for its base configs, too, a ``module`` for its imports.
        else_name_unless: Endings of paths: other text that names no file is a name, e.g. of a model of a hub, and stays
            as it is. Default: text is always a path.
        is_made: A folder that does not exist is made in the current folder, not below the root.
        is_folder: What is named is a folder.
    """

    what: Literal['file', 'config', 'module'] = 'file'
    else_name_unless: tuple[str, ...] | None = None
    is_made: bool = False
    is_folder: bool = False

    def resolved(self, text: str, root: Path) -> str:
        """Return the path: as it is where it exists, else as `find` finds it; names and addresses stay as they are."""
        path = os.path.expanduser(text)
        exists = (os.path.isdir if self.is_folder else
                  os.path.exists if self.else_name_unless is None else os.path.isfile)
        if self.what == 'module':
            return text
        if os.path.isabs(path) or exists(path):
            return path
        found = find(path, root)
        if found and exists(found):
            return str(found)
        is_name = self.else_name_unless is not None and not path.endswith(self.else_name_unless or '\0')
        return text if is_name or self.is_made or _ADDRESS.match(text) else str(root / path)


FilePath = Annotated[str, Names()]
WeightsPath = Annotated[str, Names(else_name_unless=_WEIGHTS)]
ConfigPath = Annotated[str, Names('config', else_name_unless=())]
LabelsPath = Annotated[str, Names(else_name_unless=('.json', '.csv'))]
ClassNames = Sequence[str] | FilePath
Characters = Sequence[str] | Annotated[str, Names(else_name_unless=('.txt',))]
CacheFolder = Annotated[str, Names(is_made=True)]
ModelFolder = Annotated[str, Names(else_name_unless=(), is_folder=True)]
ModuleName = Annotated[str, Names('module')]

Positive = Annotated[int, Limits(least=1, whole=True, remedy=CHANGE)]
NonNegative = Annotated[int, Limits(least=0, whole=True, remedy=CHANGE)]


def named_by(hint: Any, value: Any) -> Names | None:
    """Return what a value names by its annotation; None where it is no text, or names nothing on the disk."""
    if not isinstance(value, str):
        return None
    if hint is Path:
        return Names()
    if typing.get_origin(hint) is Annotated:
        return next((note for note in typing.get_args(hint) if isinstance(note, Names)), None)
    options = typing.get_args(hint) if is_union(hint) else ()
    return next(filter(None, (named_by(option, value) for option in options)), None)
