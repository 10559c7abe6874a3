"""Flags that several commands share: words joined by dashes; BasicSR's underscores are taken as well."""
import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class UsageError(Exception):
    """Arguments that do not fit together; the message ends the program as argparse's own do."""


class Parser(argparse.ArgumentParser):
    """Parser of one command; ``--batch_size`` is ``--batch-size``, as BasicSR's users write flags.

    Args:
        program: Name of the command, as it was typed.
        text: Docstring of the command.
        settings: As of ``argparse.ArgumentParser``.
    """

    def __init__(self, program: str, text: str | None, **settings: Any):
        super().__init__(prog=program, description=text, formatter_class=argparse.RawDescriptionHelpFormatter,
                         **settings)

    def parse_known_args(self, args: Sequence[str] | None = None,  # type: ignore[override]
                         namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:
        """Parse, with dashes in the place of the underscores of flags."""
        return super().parse_known_args([_dashed(word) for word in (sys.argv[1:] if args is None else args)], namespace)


def _dashed(word: str) -> str:
    flag, equals, value = word.partition('=')
    return flag.replace('_', '-') + equals + value if word.startswith('--') else word


def add_opt(parser: argparse.ArgumentParser, text: str, required: bool = True) -> None:
    """Add the flag of the option file; ``args.opt`` is a path."""
    parser.add_argument('-opt', '--opt', type=option_file, required=required, metavar='FILE',
                        help=f'{text}; a path, or a name of `ra-plugin options list`')


def option_file(given: str) -> Path:
    """Return the option file of that path or name, as argparse's ``type``."""
    from ra_plugin.shipped import find
    file = find.option_file(given)
    if not file.exists():
        raise argparse.ArgumentTypeError(f'no option file {given}.{find.unknown_option_file(given)} '
                                         '`ra-plugin options list` shows the shipped ones, `ra-plugin options copy '
                                         'NAME` copies one.')
    return file


def add_force_yml(parser: argparse.ArgumentParser, of: str = 'of the file') -> None:
    """Add the flag that changes options."""
    parser.add_argument('--force-yml', nargs='+', metavar='KEY:KEY=VALUE',
                        help=f'change options {of}, e.g. train:total_iter=1000')


def add_loading(parser: argparse.ArgumentParser, batch_size: int) -> None:
    """Add the flags that say how images are judged: how many at a time, and where."""
    parser.add_argument('--batch-size', type=int, default=batch_size, help='images at a time. Default: %(default)s')
    parser.add_argument('--device', help='cpu, cuda, ... Default: a GPU where there is one')


def add_basicsr_flags(parser: argparse.ArgumentParser, text: str) -> None:
    """Add the flags of BasicSR's own programs."""
    add_opt(parser, text)
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none',
                        help='pytorch: started by torchrun, in several processes')
    parser.add_argument('--auto-resume', action='store_true', help='go on after the newest saved state')
    parser.add_argument('--debug', action='store_true', help='validate and save every 8 iterations, log each')
    parser.add_argument('--local-rank', type=int, default=0, help='set by launchers')
    add_force_yml(parser)


def basicsr_arguments(args: argparse.Namespace) -> list[str]:
    """Return the words of these flags in BasicSR's spelling: it parses the command line itself."""
    words = ['-opt', str(args.opt)]
    if args.launcher != 'none':
        words += ['--launcher', args.launcher]
    words += [f'--{flag}' for flag in ('auto_resume', 'debug') if getattr(args, flag)]
    if args.local_rank:
        words += ['--local_rank', str(args.local_rank)]
    return words + (['--force_yml', *args.force_yml] if args.force_yml else [])
