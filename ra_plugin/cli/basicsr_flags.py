"""The flags of BasicSR's programs, which it reads again: here so that ``--help`` and slips need none of its imports."""
import argparse


def add_basicsr_flags(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add what train.py and test.py take, and return the parser."""
    parser.add_argument('-opt', required=True, metavar='FILE', help='option file')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none',
                        help='pytorch: started by torchrun, in several processes')
    parser.add_argument('--auto_resume', action='store_true', help='go on after the newest saved state')
    parser.add_argument('--debug', action='store_true', help='validate and save every 8 iterations, log each')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by launchers')
    add_force_yml(parser)
    return parser


def add_force_yml(parser: argparse.ArgumentParser, of: str = 'of the file') -> None:
    """Add the flag that changes options."""
    parser.add_argument('--force_yml', nargs='+', metavar='KEY:KEY=VALUE',
                        help=f'change options {of}, e.g. train:total_iter=1000')
