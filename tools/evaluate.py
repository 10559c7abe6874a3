"""Evaluate restorers by what recognizers make of their images: transfer, certainty, harm, and an audit of the gain.

Example:
    python tools/evaluate.py -opt options/eval/cifar10.yml
"""
import argparse
import sys
from pathlib import Path

from ra_plugin.cli.basicsr_flags import add_force_yml
from ra_plugin.cli.start import loading


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-opt', type=Path, required=True, help='option file, see options/eval')
    parser.add_argument('--out', type=Path, help='folder of the results. Default: results/NAME')
    parser.add_argument('--batch_size', type=int, default=64, help='images at a time. Default: 64')
    parser.add_argument('--num_workers', type=int, default=0, help='processes that read images. Default: 0')
    parser.add_argument('--device', help='cpu, cuda, ... Default: a GPU where there is one')
    parser.add_argument('--restart', action='store_true', help='begin anew instead of going on')
    add_force_yml(parser)
    args = parser.parse_args()

    with loading():
        from ra_plugin.evaluation.write_report import run_evaluation
        from ra_plugin.training.pipeline import run

    def pipeline(root: Path) -> None:
        print(run_evaluation(root, args.opt, args.out, args.batch_size, args.num_workers, args.device, args.restart,
                             args.force_yml))

    again = 'the same command without --restart' if args.restart else 'the same command'
    return run(pipeline, Path(__file__).resolve().parents[1],
               f'what is judged is kept; {again} goes on from there')


if __name__ == '__main__':
    sys.exit(main())
