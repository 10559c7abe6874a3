"""Test a network as a BasicSR option file says.

Example:
    ra-plugin test -opt options/test_ra_srresnet_x4_resnet18.yml
"""
import argparse
import sys

from ra_plugin.cli.flags import add_basicsr_flags, basicsr_arguments
from ra_plugin.cli.start import loading, run_here


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    add_basicsr_flags(parser, 'option file of a test')


def run(args: argparse.Namespace) -> int:
    """Test; return the exit status."""
    sys.argv[1:] = basicsr_arguments(args)
    with loading():
        from ra_plugin.training.pipeline import test_pipeline
    return run_here(test_pipeline, 'the same command starts over')
