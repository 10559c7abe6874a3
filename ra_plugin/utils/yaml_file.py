"""YAML that users write: data alone, never code, and no key twice in one block, of which the last would win unsaid."""
from pathlib import Path
from typing import Any

import yaml

from ra_plugin.options import OptionError
from ra_plugin.utils.text_file import read_text


class UniqueKeyLoader(yaml.SafeLoader):
    """PyYAML's safe loader, which refuses a key that a block has twice."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == 'tag:yaml.org,2002:merge':
                continue
            line, name = key.start_mark.line + 1, (key.tag, key.value)
            if name in lines:
                raise OptionError(f"option file: line {line}: the key '{key.value}' is in its block twice, first in "
                                  f'line {lines[name]}. Keep one of them.')
            lines[name] = line
        return node


def read_yaml(path: str | Path, where: str) -> Any:
    """Return what a file holds; ``where`` is its place in the options, for messages. See `read_text`, `load_yaml`."""
    return load_yaml(read_text(path, where))


def load_yaml(text: str) -> Any:
    """Return what ``text`` holds.

    Raises:
        OptionError: A block has a key twice.
        yaml.YAMLError: It is no YAML, or has tags of Python.
    """
    return yaml.load(text, Loader=UniqueKeyLoader)
