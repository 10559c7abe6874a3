"""Split the classes of a data set in two halves, at random by a seed: half_a.txt and half_b.txt, one class per line.

An option file names them: keep_classes: datasets/imagenet/half_a.txt

Example:
    ra-plugin split-classes datasets/imagenet/train --out datasets/imagenet
"""
import argparse
import sys
from pathlib import Path

from ra_plugin.cli.start import loading
from ra_plugin.utils.text import how_many


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    parser.add_argument('data', type=Path, help='folder with a folder for each class')
    parser.add_argument('--out', type=Path, required=True, help='folder of the two lists')
    parser.add_argument('--seed', type=int, default=0, help='of the draw. Default: 0')


def run(args: argparse.Namespace) -> int:
    """Split; return the exit status."""
    with loading():
        from ra_plugin.data.class_split import split_classes
        from ra_plugin.utils.command_line import run as run_program
        from ra_plugin.utils.out_folder import say_written

    def split() -> None:
        names = [path.name for path in args.data.iterdir() if path.is_dir() and not path.name.startswith('.')]
        args.out.mkdir(parents=True, exist_ok=True)
        for letter, half in zip('ab', split_classes(names, args.seed), strict=True):
            file = args.out / f'half_{letter}.txt'
            file.write_text('\n'.join(half) + '\n', encoding='utf-8')
            print(f'{file.name}: {how_many(len(half), "class")}')
        say_written(args.out, 'half_a.txt', 'half_b.txt')

    return run_program(split, Path(sys.argv[0]).name)
