"""Resolve paths in option files; annotations say which values are paths, see `ra_plugin.option_types`."""
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ra_plugin.builders.block_classes import texts
from ra_plugin.option_types import FilePath
from ra_plugin.options import OptionError


def resolve_paths(node: Any, root: Path, hint: Any = None, is_absolute: bool = False) -> None:
    """Resolve relative paths in options, in place: as they are where they exist, else below ``root``.

    Args:
        node: Options in any nesting. The classes of its blocks have to be registered.
        root: The folder.
        hint: Annotation of ``node``, see `hints_within`.
        is_absolute: Make paths of what exists absolute, for options that are used in another folder.
    """
    for found in list(texts(node, hint)):
        if found.names is not None and isinstance(found.holder, (dict, list)):
            path = found.names.resolved(found.text, root)
            is_path = is_absolute and found.names.what != 'module' and os.path.exists(path)
            found.holder[found.place] = os.path.abspath(path) if is_path else path


def training_file(opt: Mapping[str, Any]) -> dict[str, Any]:
    """Return the annotations of the paths in an option file of a training that are in no block with a type."""
    path = opt.get('path') if isinstance(opt, Mapping) else None
    return {'path': {key: FilePath for key in (path if isinstance(path, Mapping) else ())
                     if key == 'resume_state' or str(key).startswith('pretrain_network_')}}


def check_folder_name(name: str, where: str, parents: str, is_nested_allowed: bool = False) -> None:
    """Check a name that becomes a folder's.

    Args:
        name: As an option file has it.
        where: Its place, for messages.
        parents: Folders that the folder is made in, for messages.
        is_nested_allowed: It may be a path of several parts.

    Raises:
        OptionError: The folder would be elsewhere.
    """
    parts = Path(name).parts
    if os.path.isabs(name) or '..' in parts or not parts or len(parts) > 1 and not is_nested_allowed:
        raise OptionError(f'expected the name of a folder below {parents}, got {name!r}.', where)
