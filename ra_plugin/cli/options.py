"""List, copy and write the shipped option files.

`-opt NAME` takes each of them from where it is. Some are not shipped as files but written when they are asked for, from
the files that they differ little from; `write` writes all of those.

Example:
    ra-plugin options list
    ra-plugin options copy ra_rdn_x4 my_options/rdn.yml
    ra-plugin options write options
"""
import argparse
import re
import textwrap
from pathlib import Path

from ra_plugin.cli.flags import UsageError
from ra_plugin.shipped.find import option_files, option_text, unknown_option_file, written_files
from ra_plugin.utils.out_folder import say_written

_END = re.compile(r'\. (?=[A-Z]|ra-plugin|make )')  # of a sentence; 'Eq. 2' is not one


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of this command."""
    actions = parser.add_subparsers(dest='action', required=True, metavar='ACTION',
                                    parser_class=argparse.ArgumentParser)
    listing = actions.add_parser('list', help='names, and what each file is for')
    listing.add_argument('words', nargs='*', metavar='WORD', help='list names with all these words in them')
    copy = actions.add_parser('copy', help='copy one file, to change it')
    copy.add_argument('name', metavar='NAME', help='as listed, with or without .yml')
    copy.add_argument('to', nargs='?', type=Path, metavar='TO',
                      help='file or folder. Default: the current folder')
    write = actions.add_parser('write', help='write the option files that are not shipped as files')
    write.add_argument('folder', nargs='?', type=Path, default=Path('options'), metavar='FOLDER',
                       help='folder to write them to. Default: options')


def run(args: argparse.Namespace) -> int:
    """Run the action; return the exit status."""
    {'list': _list, 'copy': _copy, 'write': _write}[args.action](args)
    return 0


def _list(args: argparse.Namespace) -> None:
    for path in option_files():
        if all(word in path for word in args.words):
            print(f'{_name(path):<55} {_purpose(option_text(path))}')


def _copy(args: argparse.Namespace) -> None:
    known = {_name(path): path for path in option_files()}
    name = args.name.removeprefix('options/').removesuffix('.yml')
    if name not in known:
        raise UsageError(f'no shipped option file {args.name!r}.{unknown_option_file(args.name)}')
    to = args.to or Path()
    to = to / f'{Path(name).name}.yml' if to.is_dir() else to
    _put(option_text(known[name]), to)


def _write(args: argparse.Namespace) -> None:
    for path in written_files():
        _put(option_text(path), args.folder / path.removeprefix('options/'))


def _put(text: str, file: Path) -> None:
    if file.exists() and file.read_text(encoding='utf-8') != text:
        raise UsageError(f'{file} exists and is another file. Move it away, or name another place.')
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding='utf-8')
    say_written(file)


def _name(path: str) -> str:
    return path.removeprefix('options/').removesuffix('.yml')


def _purpose(text: str) -> str:
    """Return the first sentence of the comment that a file begins with."""
    lines = []
    for line in text.splitlines():
        if not line.startswith('#'):
            break
        lines.append(line.lstrip('# '))
    return textwrap.shorten(_END.split(' '.join(lines))[0].rstrip('.'), 110, placeholder=' ...')
