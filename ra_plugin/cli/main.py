"""List the commands of ``ra-plugin``, and start the one that is asked for."""
import importlib
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from ra_plugin.cli.flags import Parser, UsageError
from ra_plugin.utils.text import one_line
from ra_plugin.version import __version__

COMMANDS = {
    'train': 'train a network as an option file says',
    'test': 'test a network as an option file says',
    'evaluate': 'judge restorers by what recognizers make of their images: results, tables, a page',
    'tune': 'make a finished restorer recognition-aware within a budget of PSNR, and report on it',
    'restore': 'restore a folder of photographs with the network of a training',
    'export': 'write a network for other programs: ONNX, checked against PyTorch, or safetensors, and a model card',
    'blend': 'average the weights of networks, e.g. of one and its fine-tuned version',
    'doctor': 'check the recognizers of an option file on real images before a run',
    'sweep': 'train with several weights of the recognition loss and choose one by a budget of PSNR',
    'boundary': 'measure and draw decision boundaries around restored images',
    'survey': 'ask people which of two answers fits an image, and score what they say',
    'reproduce': "train, judge and lay out the paper's tables",
    'demo': 'train three networks on CIFAR-10 and compare them; ten minutes on two cores',
    'options': 'list, copy and write the shipped option files',
    'prepare-data': 'prepare the data of the demo and of the experiments',
    'train-recognizer': 'train one of the small classifiers',
    'split-classes': 'split the classes of a data set in two halves',
}


def main(arguments: Sequence[str] | None = None, program: str = 'ra-plugin') -> int:
    """Run the command that the command line names; return the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ('-h', '--help'):
        print(_help(program))
        return 0 if words else 2
    if words[0] == '--version':
        print(f'ra_plugin {__version__}')
        return 0
    name = words[0].replace('_', '-')
    if name not in COMMANDS:
        close = get_close_matches(name, COMMANDS, 1)
        hint = f' Did you mean {close[0]!r}?' if close else f' `{program} --help` lists all.'
        print(f'{program}: no command {words[0]!r}.{hint}', file=sys.stderr)
        return 2
    return run_command(name, f'{program} {name}', words[1:])


def run_command(name: str, program: str, arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        name: One of `COMMANDS`.
        program: How it was called, for usage, messages and records: ``ra-plugin train``, ``tools/train.py``.
        arguments: Words after that.

    Returns:
        Exit status.
    """
    command = importlib.import_module(f'ra_plugin.cli.{name.replace("-", "_")}')
    parser = Parser(Path(program).name, command.__doc__)
    command.add_arguments(parser)
    args = parser.parse_args(arguments)
    sys.argv[:] = [program, *arguments]  # logs and messages say how the program was called
    try:
        return command.run(args)
    except UsageError as error:
        parser.error(str(error))
    except ImportError as error:  # of what a command imports when it runs; within the run, messages are made there
        if os.environ.get('RA_PLUGIN_DEBUG'):
            raise
        print(f'{parser.prog}: {one_line(error)}', file=sys.stderr)
        return 2


def _help(program: str) -> str:
    lines = (f'  {name:<18}{text}' for name, text in COMMANDS.items())
    return '\n'.join([f'usage: {program} COMMAND ...', '', 'Recognition-aware image restoration.', '', *lines, '',
                      f'`{program} COMMAND --help` says what a command takes. Output goes below the current folder.'])
