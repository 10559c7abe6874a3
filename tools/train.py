"""Train a network as a BasicSR option file says.

Example:
    python tools/train.py -opt FILE
"""
import argparse
import sys
from pathlib import Path


def parser() -> argparse.ArgumentParser:
    """The flags of BasicSR, which reads them again; here so that ``--help`` and slips need none of its imports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-opt', required=True, metavar='FILE', help='option file')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none',
                        help='pytorch: started by torchrun, in several processes')
    parser.add_argument('--auto_resume', action='store_true', help='go on after the newest saved state')
    parser.add_argument('--debug', action='store_true', help='validate and save every 8 iterations, log each')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by launchers')
    parser.add_argument('--force_yml', nargs='+', metavar='KEY:KEY=VALUE',
                        help='change options of the file, e.g. train:total_iter=1000')
    return parser


if __name__ == '__main__':
    parser().parse_args()
    from ra_plugin.engine.runs import run, train_pipeline
    sys.exit(run(train_pipeline, Path(__file__).resolve().parents[1]))
