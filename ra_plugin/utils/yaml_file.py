"""Safe reading of YAML files: no code is run, and duplicate keys, of which YAML keeps the last, are errors."""
from pathlib import Path
from typing import Any

import yaml

from ra_plugin.options import OptionError
from ra_plugin.utils.text_file import read_text


class UniqueKeyLoader(yaml.SafeLoader):
    """PyYAML's safe loader that rejects duplicate keys in a block."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == 'tag:yaml.org,2002:merge':
                continue
            line, name = key.start_mark.line + 1, (key.tag, key.value)
            if name in lines:
                raise OptionError(f"option file: line {line}: duplicate key '{key.value}', first used in line "
                                  f'{lines[name]}. Keep one of them.')
            lines[name] = line
        return node


def read_yaml(path: str | Path, where: str) -> Any:
    """Return the content of a YAML file; see `read_text` (also for ``where``) and `load_yaml` for the errors."""
    return load_yaml(read_text(path, where))


def load_yaml(text: str) -> Any:
    """Return the content of a YAML text.

    Raises:
        OptionError: A block has a duplicate key.
        yaml.YAMLError: The text is not YAML, or has Python tags.
    """
    return yaml.load(text, Loader=UniqueKeyLoader)
