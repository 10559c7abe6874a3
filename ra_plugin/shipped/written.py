"""Make option files of others by replacing some of their text: ``written.yml`` says which."""
import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ra_plugin.options import OptionError

_TABLE = Path(__file__).with_name('written.yml')
_LOADER = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)  # a tenth of the time, where libyaml is there
_HEAD = re.compile(r'\A(?:#.*\n)*')


@functools.cache
def table() -> Mapping[str, Any]:
    """Return the table of the written option files: ``changes`` and ``files``."""
    return load_quickly(_TABLE.read_text(encoding='utf-8'))


def load_quickly(text: str) -> Any:
    """Return what the YAML of a shipped file holds, unchecked: for ``--help`` and lists."""
    return yaml.load(text, Loader=_LOADER)


def written_text(name: str, read: Callable[[str], str]) -> str:
    """Return the text of a written option file.

    Args:
        name: Path below ``options/`` without suffix, e.g. ``small/joint_srresnet_x2_cifar10``.
        read: Returns the text of a shipped file of that kind of name.

    Raises:
        OptionError: A text that is to be replaced does not occur.
    """
    files = table()['files']
    entry = files[name]
    base = entry['from']
    text = written_text(base, read) if base in files else read(base)
    for change in (*(table()['changes'][change] for change in entry.get('with', ())), entry.get('text', {})):
        for old, new in change.items():
            if old not in text:
                raise OptionError(f'{_TABLE.name}: {name}: expected the text {old!r} in {base}.yml, found none.')
            text = text.replace(old, new)
    for block in entry.get('without', ()):
        text, count = re.subn(rf'^  {block}:\n(?:    .*\n)+', '', text, flags=re.MULTILINE)
        if count != 1:
            raise OptionError(f'{_TABLE.name}: {name}: expected one block {block} in {base}.yml, found {count}.')
    if 'head' in entry:
        text = _HEAD.sub(lambda match: entry['head'], text, count=1)
    return re.sub(r'^name: .*', f'name: {Path(name).name}', text, count=1, flags=re.MULTILINE)
