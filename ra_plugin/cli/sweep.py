"""Train with several weights of the recognition loss and show what accuracy costs in PSNR; the paper's table 5.

Example:
    ra-plugin sweep -opt options/demo/ra_srresnet_x2_cifar10.yml --loss-weight 0 1e-4 1e-3 1e-2 \\
        --eval options/eval/cifar10_val.yml --max-psnr-drop 0.1
"""
import argparse
import shlex
import sys
from pathlib import Path

from ra_plugin.cli.flags import add_force_yml, add_opt, option_file
from ra_plugin.cli.start import loading, run_here


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    add_opt(parser, 'option file of a training with a recognition loss')
    parser.add_argument('--loss-weight', type=float, nargs='+', required=True, help='weights, 0 among them')
    parser.add_argument('--eval', type=option_file, required=True, metavar='FILE', help='option file of an evaluation')
    parser.add_argument('--max-psnr-drop', type=float,
                        help='name the best weight that surely costs no more dB than that. Default: any')
    parser.add_argument('--out', type=Path, help='folder of the results. Default: results/sweep_NAME')
    add_force_yml(parser, 'of the training')


def run(args: argparse.Namespace) -> int:
    """Train, judge and choose; return the exit status."""
    with loading():
        from ra_plugin.report.markdown import to_markdown
        from ra_plugin.report.sweep import sweep_lines
        from ra_plugin.studies.sweep.run import sweep
        from ra_plugin.utils.out_folder import say_written

    def pipeline(root: Path) -> None:
        out = args.out or root / 'results' / f'sweep_{args.opt.stem}'
        results = sweep(root, args.opt, args.loss_weight, args.eval, out,
                        command=f'ra-plugin sweep {shlex.join(sys.argv[1:])}',
                        max_psnr_drop=args.max_psnr_drop, force_yml=args.force_yml)
        print(to_markdown(results), *sweep_lines(results), sep='\n')
        say_written(out, 'results.json', 'tables.md', 'report.html')

    return run_here(pipeline, 'finished trainings and judging are kept; the same command goes on from there')
