"""``--force-yml KEY:KEY=VALUE``: change options of a file from the command line, as BasicSR does."""
import argparse
import ast
import copy
from collections.abc import Mapping, Sequence
from typing import Any

from ra_plugin.options import OptionError, check_type, suggestion

_FLAG, _BASICSR = '--force-yml', '--force_yml'
_WORDS = {'~': None, 'none': None, 'true': True, 'false': False}


def forced(opt: Mapping[str, Any], entries: Sequence[str] | None) -> dict[str, Any]:
    """Return the options with the entries in place; a key may be new, the blocks that it stands in may not.

    Raises:
        OptionError: An entry that is no KEY:KEY=VALUE, or for a block that is not there.
    """
    opt = copy.deepcopy(dict(opt))
    for entry in entries or ():
        keys, value = split(entry)
        block = opt
        for depth, key in enumerate(keys[:-1]):
            if key not in block:
                place = ':'.join(keys[:depth]) or 'the file'
                raise OptionError(f"{_FLAG} {entry}: no '{key}' in {place}.{suggestion(key, list(map(str, block)))}")
            block = block[key]
            check_type(block, dict, f'{_FLAG} {entry}: {":".join(keys[:depth + 1])}')
        block[keys[-1]] = read_value(value)
    return opt


def split(entry: str) -> tuple[list[str], str]:
    """Return the keys and the value of an entry.

    Raises:
        OptionError: It has none.
    """
    place, _, value = entry.partition('=')
    keys = [key.strip() for key in place.strip().split(':')]
    if entry.count('=') != 1 or not all(keys) or not value.strip():
        raise OptionError(f'{_FLAG} {entry}: expected KEY:KEY=VALUE, e.g. train:total_iter=1000, with one = sign. '
                          'Write other values in the option file.')
    return keys, value.strip()


def read_value(text: str) -> Any:
    """Return what a value means to BasicSR: ``~``, true, false, a number, a list in Python's form, or text."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if text.startswith('!!float'):
        try:
            return float(text.removeprefix('!!float'))
        except ValueError:
            raise OptionError(f'{_FLAG}: expected a number, got {text}.') from None
    if text.isascii() and text.isdigit():
        return int(text)
    if text.isascii() and text.replace('.', '', 1).isdigit():
        return float(text)
    if text.startswith('['):
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            raise OptionError(f"{_FLAG}: expected a list as Python has it, e.g. ['a', 'b'], got {text}.") from None
    return text


def as_arguments(entries: Sequence[str] | None) -> list[str]:
    """Return the words of a command line that give these entries."""
    return [_FLAG, *entries] if entries else []


def check_forced(arguments: Sequence[str]) -> None:
    """Check the entries of a command line that BasicSR is to read.

    Raises:
        OptionError: See `split`.
    """
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument(_FLAG, _BASICSR, nargs='+', default=())
    try:
        entries = parser.parse_known_args(list(arguments))[0].force_yml
    except (argparse.ArgumentError, SystemExit):
        return  # the program's own parser says so
    for entry in entries:
        split(entry)
