"""Test a network as a BasicSR option file says.

Example:
    python tools/test.py -opt FILE
"""
import argparse
import sys
from pathlib import Path

from ra_plugin.cli.basicsr_flags import add_basicsr_flags
from ra_plugin.cli.start import loading


def parser() -> argparse.ArgumentParser:
    return add_basicsr_flags(argparse.ArgumentParser(description=__doc__,
                                                     formatter_class=argparse.RawDescriptionHelpFormatter))


if __name__ == '__main__':
    parser().parse_args()
    with loading():
        from ra_plugin.training.pipeline import run, test_pipeline
    sys.exit(run(test_pipeline, Path(__file__).resolve().parents[1], 'the same command begins anew'))
