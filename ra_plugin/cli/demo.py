"""Train three networks on CIFAR-10 and compare how well recognizers read the images; some ten minutes on two cores.

Example:
    ra-plugin prepare-data cifar10
    ra-plugin demo
"""
import argparse
import sys
from pathlib import Path

from ra_plugin.cli.start import loading, run_here
from ra_plugin.shipped.find import find


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    parser.add_argument('--seed', type=int, default=0, help='of the three trainings. Default: 0')
    parser.add_argument('--num-images', type=int, default=4000, help='evenly spaced over the split. Default: 4000')
    parser.add_argument('--split', choices=['test', 'val'], default='test', help='val is for choosing settings')
    parser.add_argument('--skip-training', action='store_true', help='score the networks of the last run')
    parser.add_argument('--out', type=Path, help='folder of the results. Default: results/demo')


def run(args: argparse.Namespace) -> int:
    """Train and compare; return the exit status."""
    with loading():
        from ra_plugin.demo.run import run_demo

    if not find('datasets/cifar10/complete', Path()):
        print(f'{Path(sys.argv[0]).name}: no data. Run: ra-plugin prepare-data cifar10', file=sys.stderr)
        return 2
    return run_here(lambda root: run_demo(root, args.out or root / 'results' / 'demo', args.seed, args.num_images,
                                          args.split, train=not args.skip_training),
                    'finished trainings are kept; the same command starts over, with --skip-training after the last '
                    'training')
