"""Train a network as a BasicSR option file says.

Example:
    ra-plugin train -opt options/ra_rdn_x4.yml
    torchrun --nproc_per_node 4 -m ra_plugin train -opt options/ra_rdn_x4.yml --launcher pytorch
"""
import argparse
import sys
from pathlib import Path

from ra_plugin.cli.flags import add_basicsr_flags, basicsr_arguments
from ra_plugin.cli.start import loading, run_here


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    add_basicsr_flags(parser, 'option file of a training')
    # for the commands that train: they say where results are, and how to go on
    parser.add_argument('--root', type=Path, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Train; return the exit status."""
    sys.argv[1:] = basicsr_arguments(args)
    with loading():
        from ra_plugin.training.pipeline import train_pipeline
    if args.root:
        return run_here(lambda here: train_pipeline(args.root, is_part=True), 'nothing is lost')
    return run_here(train_pipeline, 'the same command starts over')
