"""Tables of the commands' flags for the option reference, from argparse's own records of them."""
import argparse
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ra_plugin.cli.flags import Parser, option_file
from ra_plugin.cli.main import COMMANDS
from ra_plugin.utils.text import one_line

_DEFAULT = re.compile(r'(?:^|(?<=\.) )Default: (.*)$')  # the end of a help text
_TYPES: dict[Any, str] = {None: 'text', int: 'whole number', float: 'number', Path: 'path', option_file: 'option file'}
_COUNTS = {'+': ', one or more', '*': ', any number'}


def program_sections() -> list[str]:
    """Return a section for each command of ``ra-plugin``: its purpose, and a table of its flags."""
    return [_section(name, parser_of(name)) for name in COMMANDS]


def parser_of(name: str) -> argparse.ArgumentParser:
    """Return the parser of a command."""
    command = importlib.import_module(f'ra_plugin.cli.{name.replace("-", "_")}')
    parser = Parser(f'ra-plugin {name}', command.__doc__)
    command.add_arguments(parser)
    return parser


def actions_of(parser: argparse.ArgumentParser, before: str = '') -> Iterator[tuple[str, argparse.Action]]:
    """Yield what help shows of a parser but for --help: its flags and arguments, and its actions' with their names."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from actions_of(below, f'{before}{name} ')
        elif action.dest != 'help' and action.help != argparse.SUPPRESS:
            yield before, action


def default_of(action: argparse.Action) -> tuple[str, str]:
    """Return what a flag is without being given, and its meaning without that; help texts end with "Default: ..."."""
    text = one_line((action.help or '') % {**vars(action), 'prog': 'ra-plugin'})
    said = _DEFAULT.search(text)
    meaning = text[:said.start()] if said else text
    meaning = meaning if meaning.endswith('...') else meaning.removesuffix('.')
    if action.required and action.nargs not in ('*', '?'):  # which argparse has as required in some versions
        return 'required', meaning
    if said:
        return said[1], meaning
    return ('off' if action.nargs == 0 else 'none' if action.default in (None, []) else f'`{action.default}`'), meaning


def _section(name: str, parser: argparse.ArgumentParser) -> str:
    rows = [_row(before, action) for before, action in actions_of(parser)]
    return '\n'.join([f'### `ra-plugin {name}`\n', f'{COMMANDS[name][0].upper()}{COMMANDS[name][1:]}.\n',
                      '| flag | takes | default | meaning |', '|---|---|---|---|', *rows, ''])


def _row(before: str, action: argparse.Action) -> str:
    default, meaning = default_of(action)
    named = action.option_strings or [str(action.metavar or action.dest)]
    cells = (', '.join(f'`{before}{name}`' for name in named), _takes(action), default, meaning)
    return f'| {" | ".join(cell.replace("|", chr(92) + "|") for cell in cells)} |'


def _takes(action: argparse.Action) -> str:
    if action.nargs == 0:
        return 'nothing'
    choices = ', '.join(f'`{choice}`' for choice in action.choices or ())
    count = f', {action.nargs} of them' if isinstance(action.nargs, int) else _COUNTS.get(action.nargs or '', '')
    return f'{choices or _TYPES.get(action.type) or action.metavar}{count}'
