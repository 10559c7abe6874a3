"""Evaluate restorers by what recognizers make of their images: transfer, certainty, harm, and an audit of the gain.

Example:
    ra-plugin evaluate -opt options/eval/cifar10.yml
"""
import argparse
from pathlib import Path

from ra_plugin.cli.flags import add_force_yml, add_loading, add_opt
from ra_plugin.cli.start import loading, run_here


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    add_opt(parser, 'option file of an evaluation')
    parser.add_argument('--out', type=Path, help='folder of the results. Default: results/NAME')
    add_loading(parser, batch_size=64)
    parser.add_argument('--num-workers', type=int, default=0, help='processes that read images. Default: 0')
    parser.add_argument('--restart', action='store_true', help='start over instead of going on')
    add_force_yml(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate; return the exit status."""
    with loading():
        from ra_plugin.evaluation.write_report import run_evaluation
        from ra_plugin.utils.out_folder import say_written

    def pipeline(root: Path) -> None:
        tables, out = run_evaluation(root, args.opt, args.out, args.batch_size, args.num_workers, args.device,
                                     args.restart, args.force_yml)
        print(tables)
        say_written(out, 'results.json', 'tables.md', 'report.html')

    again = 'the same command without --restart' if args.restart else 'the same command'
    return run_here(pipeline, f'finished judging is kept; {again} goes on from there')
