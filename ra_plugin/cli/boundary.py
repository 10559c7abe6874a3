"""Measure and map the decision boundaries of recognizers around restored images: table 6, figures 4 and 6.

Writes boundary.json, boundary.md and boundary.html.

Example:
    ra-plugin boundary plain RA -opt options/eval/cifar10.yml --num-images 2000
"""
import argparse
from pathlib import Path

from ra_plugin.cli.flags import add_force_yml, add_loading, add_opt
from ra_plugin.cli.start import loading, run_here


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    parser.add_argument('names', nargs=2, metavar='NAME', help='the plain and the RA restorer')
    add_opt(parser, 'option file of an evaluation')
    parser.add_argument('--source', help='recognizer Rs. Default: the one that the RA restorer was trained with')
    parser.add_argument('--targets', nargs='+', metavar='TARGET', help='recognizers Rt. Default: all others')
    parser.add_argument('--out', type=Path, help='folder of the results. Default: results/NAME_boundary')
    parser.add_argument('--num-images', type=int, help='images to restore, evenly spaced. Default: all')
    parser.add_argument('--maps', type=int, default=4, help='images to draw maps of. Default: 4')
    parser.add_argument('--factor', type=float, default=1.1,
                        help='from each distance that is looked at to the next; smaller is finer. Default: %(default)s')
    parser.add_argument('--seed', type=int, default=0, help='of random directions and drawn images. Default: 0')
    add_loading(parser, batch_size=256)
    add_force_yml(parser)


def run(args: argparse.Namespace) -> int:
    """Measure and draw; return the exit status."""
    with loading():
        from ra_plugin.studies.boundary.measure import Search
        from ra_plugin.studies.boundary.run import BoundaryOptions, run_boundary
        from ra_plugin.utils.out_folder import say_written

    def pipeline(root: Path) -> None:
        options = BoundaryOptions(names=args.names, source=args.source, targets=args.targets,
                                  num_images=args.num_images, maps=args.maps, seed=args.seed,
                                  search=Search(factor=args.factor), batch_size=args.batch_size,
                                  force_yml=args.force_yml)
        tables, out = run_boundary(root, args.opt, args.out, options, args.device)
        print(tables)
        say_written(out, 'boundary.json', 'boundary.md', 'boundary.html')

    return run_here(pipeline, 'nothing is written before the end, and an earlier result stays; the same command starts '
                              'over')
