"""Blend networks of one architecture: the mean of their weights is a network, too.

Of two, (1 - alpha) of the first and alpha of the second; of more, equal shares. It takes no training and no images.
Measured on small networks: half-way between a network and its fine-tuned version gives 60 to 75 % of the gain in
recognition that a smaller weight of the loss gives at the same PSNR; train with recog_budget where you can. Half-way
between two networks that were trained separately is worse than either.

Example:
    ra-plugin blend plain.safetensors tuned.safetensors --alpha 0.3 --out blend.safetensors
"""
import argparse
import sys
from pathlib import Path

from ra_plugin.cli.start import loading


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    parser.add_argument('networks', nargs='+', metavar='RUN|FILE', help='two or more: each a training (its name below '
                        'experiments/, its folder, its option file, or weights in its folder), or a weights file')
    parser.add_argument('--alpha', type=float,
                        help='share of the second of two, 0 to 1. Default: equal shares')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE.safetensors',
                        help='file to write, in the layout of the first')
    parser.add_argument('--overwrite', action='store_true', help='replace a file that is there. Default: an error')


def run(args: argparse.Namespace) -> int:
    """Blend; return the exit status."""
    with loading():
        from ra_plugin.restoring.blending import blend
        from ra_plugin.utils import command_line
        from ra_plugin.utils.out_folder import say_written

    def write() -> None:
        blend(args.networks, args.alpha, args.out, args.overwrite, Path.cwd())
        say_written(args.out)

    return command_line.run(write, Path(sys.argv[0]).name)
