"""Distances to the decision boundaries of recognizers around restored images, and maps of them: table 6, figures 4, 6.

Writes boundary.json, boundary.md and boundary.html.

Example:
    python tools/boundary.py plain RA -opt options/eval/cifar10.yml --num_images 2000
"""
import argparse
import sys
from pathlib import Path

from ra_plugin.cli.basicsr_flags import add_force_yml
from ra_plugin.cli.start import loading


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs=2, metavar='NAME', help='the plain and the RA restorer')
    parser.add_argument('-opt', type=Path, required=True, help='option file of an evaluation, see options/eval')
    parser.add_argument('--source', help='recognizer Rs. Default: the one that the RA restorer was trained with')
    parser.add_argument('--targets', nargs='+', metavar='TARGET', help='recognizers Rt. Default: all others')
    parser.add_argument('--out', type=Path, help='folder of the results. Default: results/NAME_boundary')
    parser.add_argument('--num_images', type=int, help='images to restore, evenly spaced. Default: all')
    parser.add_argument('--maps', type=int, default=4, help='images to draw maps of. Default: 4')
    parser.add_argument('--factor', type=float, default=1.1,
                        help='from each distance that is looked at to the next; smaller is finer. Default: %(default)s')
    parser.add_argument('--seed', type=int, default=0, help='of random directions and drawn images. Default: 0')
    parser.add_argument('--batch_size', type=int, default=256, help='images at a time. Default: 256')
    parser.add_argument('--device', help='cpu, cuda, ... Default: a GPU where there is one')
    add_force_yml(parser)
    args = parser.parse_args()

    with loading():
        from ra_plugin.studies.boundary.measure import Search
        from ra_plugin.studies.boundary.run import BoundaryOptions, run_boundary
        from ra_plugin.training.pipeline import run

    def pipeline(root: Path) -> None:
        options = BoundaryOptions(names=args.names, source=args.source, targets=args.targets,
                                  num_images=args.num_images, maps=args.maps, seed=args.seed,
                                  search=Search(factor=args.factor), batch_size=args.batch_size,
                                  force_yml=args.force_yml)
        print(run_boundary(root, args.opt, args.out, options, args.device))

    return run(pipeline, Path(__file__).resolve().parents[1],
               'nothing is written before the end, and an earlier result stays; the same command begins anew')


if __name__ == '__main__':
    sys.exit(main())
