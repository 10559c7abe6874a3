"""Which values of an option file name files and folders, and where these are looked up."""
import os
import re
from pathlib import Path
from typing import Any

from ra_plugin.options import OptionError
from ra_plugin.shipped.find import find

# the keys of files and folders; a key that begins like one of them, as config_name, is none
_PATH_KEYS = {'meta_info', 'meta_info_file', 'annotation_file', 'checkpoint', 'config', 'file', 'pretrained_model_path',
              'resume_state', 'classes', 'keep_classes', 'labels', 'option_file', 'folder', 'cache'}
_PATH_PREFIXES = ('dataroot_', 'pretrain_network_')
_PASSED_ON = {'module_kwargs', 'model_kwargs', 'cfg_options', 'headers'}  # blocks whose keys have another's meaning
_WRITTEN = {'cache'}  # what is not there yet is made in the current folder
_MAY_BE_NAMES = {'checkpoint': ('.pth', '.pt', '.safetensors', '.bin', '.tar', '.ckpt', '.pkl'),  # else: of a hub
                 'config': (), 'labels': ('.json', '.csv')}  # of a package's zoo; a way to label
_ADDRESS = re.compile(r'[A-Za-z][\w+.-]+:')


def is_path_key(key: object) -> bool:
    """Return whether text under this key of an option block names a file or a folder."""
    return isinstance(key, str) and (key in _PATH_KEYS or key.startswith(_PATH_PREFIXES))


def resolve_paths(node: Any, root: Path) -> None:
    """Resolve relative paths in a block of options, in place: as they are where they exist, else as `find` finds them.


    A name that is no path, as the address of a hub or the name of a zoo's config, stays as it is.
    """
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if key in _PASSED_ON:
            continue
        if is_path_key(key) and isinstance(value, str):
            node[key] = _resolved(value, root, key)
        elif is_path_key(key) and isinstance(value, list) and not key.endswith('classes'):  # a list there holds names
            node[key] = [_resolved(item, root, key) if isinstance(item, str) else item for item in value]
        elif isinstance(value, (dict, list)):
            resolve_paths(value, root)


def _resolved(value: str, root: Path, key: str) -> str:
    path = os.path.expanduser(value)
    exists = os.path.isfile if key in _MAY_BE_NAMES else os.path.exists
    if os.path.isabs(path) or exists(path):
        return path
    found = find(path, root)
    if found and exists(found):
        return str(found)
    is_name = key in _MAY_BE_NAMES and not path.endswith(_MAY_BE_NAMES[key] or '\0')
    return value if is_name or key in _WRITTEN or _ADDRESS.match(value) else str(root / path)


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
        raise OptionError(f'{where}: expected the name of a folder below {parents}, got {name!r}.')
