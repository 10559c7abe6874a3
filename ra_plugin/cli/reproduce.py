"""Make the paper's tables: train and judge the networks that they show, beside the paper's numbers.

Finished trainings are taken, stopped ones go on. docs/REPRODUCE.md has more.

Example:
    ra-plugin reproduce --all --dry-run
    ra-plugin reproduce T1 T2 --jobs 2
"""
import argparse
from pathlib import Path

from ra_plugin.cli.flags import UsageError
from ra_plugin.cli.start import loading, run_here
from ra_plugin.shipped.find import locate, option_text
from ra_plugin.shipped.written import load_quickly

_EXPERIMENTS = 'options/experiments'
_COMMON = 'experiments'  # of all scales: studies and tables


def scales() -> list[str]:
    """Return the names of the scales that are shipped."""
    return sorted(path.stem for path in locate(_EXPERIMENTS, Path()).glob('*.yml') if path.stem != _COMMON)


def tables() -> dict[str, str]:
    """Return the names of all tables and figures, and their titles."""
    blocks = load_quickly(option_text(f'{_EXPERIMENTS}/{_COMMON}.yml'))['tables']
    return {', '.join([name, *block.get('also', ())]): block['title'] for name, block in blocks.items()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    parser.epilog = 'tables:\n' + '\n'.join(f'  {name:<18}  {title}' for name, title in tables().items())
    parser.add_argument('tables', nargs='*', metavar='TABLE', help='names, as --help lists them')
    parser.add_argument('--all', action='store_true', help='all tables')
    parser.add_argument('--scale', choices=scales(), default='small', help='size of networks and data. Default: small')
    parser.add_argument('--data', help='folder in place of datasets')
    parser.add_argument('--seed', type=int, default=0, help='the first seed. Default: 0')
    parser.add_argument('--seeds', type=int, default=1, help='number of seeds. Default: 1')
    parser.add_argument('--jobs', type=int, default=1, help='trainings at a time. Default: 1')
    parser.add_argument('--device', help='of the evaluations. Default: a GPU where there is one')
    parser.add_argument('--out', type=Path, help='folder of the results. Default: results/reproduce/SCALE')
    parser.add_argument('--dry-run', action='store_true', help='show the plan alone')


def run(args: argparse.Namespace) -> int:
    """Reproduce tables, or show the plan; return the exit status."""
    if bool(args.tables) == args.all:
        raise UsageError('expected names of tables, or --all')
    with loading():
        from ra_plugin.paper.reproduce import Reproduction
        from ra_plugin.utils.out_folder import say_written

    def pipeline(root: Path) -> None:
        reproduction = Reproduction(root, args.scale, args.data, args.seed, args.seeds, args.out)
        plan = reproduction.plan(args.tables or list(reproduction.names))
        print(reproduction.describe(plan), flush=True)
        if not args.dry_run:
            print(reproduction.run(plan, args.jobs, args.device))
            say_written(reproduction.out, *(f'{name}.md' for name in plan.tables))

    return run_here(pipeline, 'finished trainings and judging are kept; the same command goes on from there')
