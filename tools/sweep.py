"""Train with several weights of the recognition loss and show what accuracy costs in PSNR; the paper's table 5.

Example:
    python tools/sweep.py -opt options/demo/ra_srresnet_x2_cifar10.yml --loss-weight 0 1e-4 1e-3 1e-2 \\
        --eval options/eval/cifar10_val.yml --max-psnr-drop 0.1
"""
import argparse
import shlex
import sys
from pathlib import Path

from ra_plugin.cli.basicsr_flags import add_force_yml
from ra_plugin.cli.start import loading


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-opt', type=Path, required=True, help='option file of a training with a recognition loss')
    parser.add_argument('--loss-weight', type=float, nargs='+', required=True, help='weights, 0 among them')
    parser.add_argument('--eval', type=Path, required=True, help='option file of an evaluation, see options/eval')
    parser.add_argument('--max-psnr-drop', type=float,
                        help='name the best weight that surely costs no more dB than that (default: any)')
    parser.add_argument('--out', type=Path, help='folder of the results. Default: results/sweep_NAME')
    add_force_yml(parser, 'of the training')
    args = parser.parse_args()

    with loading():
        from ra_plugin.report.markdown import to_markdown
        from ra_plugin.report.sweep import sweep_lines
        from ra_plugin.studies.sweep.run import sweep
        from ra_plugin.training.pipeline import run

    command = f'python tools/sweep.py {shlex.join(sys.argv[1:])}'

    def pipeline(root: Path) -> None:
        out = args.out or root / 'results' / f'sweep_{args.opt.stem}'
        results = sweep(root, args.opt, args.loss_weight, args.eval, out, command=command,
                        max_psnr_drop=args.max_psnr_drop, force_yml=args.force_yml)
        print(f'{to_markdown(results)}\nWritten to {out}: results.json, tables.md, report.html.')
        print('\n'.join(sweep_lines(results)))

    return run(pipeline, Path(__file__).resolve().parents[1],
               'what is trained and judged is kept; the same command goes on from there')


if __name__ == '__main__':
    sys.exit(main())
