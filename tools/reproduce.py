"""The paper's tables: train what they need, judge it, and lay it out beside the paper's numbers.

What is finished is taken, what was stopped goes on. docs/REPRODUCE.md has more.

Example:
    python tools/reproduce.py --all --dry-run
    python tools/reproduce.py T1 T2 --jobs 2
"""
import argparse
import sys
from pathlib import Path

from ra_plugin.cli.start import loading

ROOT = Path(__file__).resolve().parents[1]
SCALES = sorted(file.stem for file in (ROOT / 'options' / 'experiments').glob('*.yml') if file.stem != 'experiments')


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('tables', nargs='*', metavar='TABLE', help='T1, T2, ... as --all --dry-run lists them')
    parser.add_argument('--all', action='store_true', help='all tables')
    parser.add_argument('--scale', choices=SCALES, default='small', help='Default: small')
    parser.add_argument('--data', help='folder in place of datasets')
    parser.add_argument('--seed', type=int, default=0, help='the first seed. Default: 0')
    parser.add_argument('--seeds', type=int, default=1, help='number of seeds. Default: 1')
    parser.add_argument('--jobs', type=int, default=1, help='trainings at a time. Default: 1')
    parser.add_argument('--device', help='of the evaluations. Default: a GPU where there is one')
    parser.add_argument('--out', type=Path, help='Default: results/reproduce/SCALE')
    parser.add_argument('--dry-run', action='store_true', help='show the plan alone')
    args = parser.parse_args()
    if bool(args.tables) == args.all:
        parser.error('expected names of tables, or --all')

    with loading():
        from ra_plugin.paper.reproduce import Reproduction
        from ra_plugin.training.pipeline import run

    def pipeline(root: Path) -> None:
        reproduction = Reproduction(root, args.scale, args.data, args.seed, args.seeds, args.out)
        plan = reproduction.plan(args.tables or reproduction.names)
        print(reproduction.describe(plan), flush=True)
        if not args.dry_run:
            print(reproduction.run(plan, args.jobs, args.device))

    return run(pipeline, ROOT, 'what is trained and judged is kept; the same command goes on from there')


if __name__ == '__main__':
    sys.exit(main())
