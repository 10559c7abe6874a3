"""The command ``ra-plugin sweep`` in a clone: python tools/sweep.py --help"""
import sys

from ra_plugin.cli.main import run_command

if __name__ == '__main__':
    sys.exit(run_command('sweep', sys.argv[0], sys.argv[1:]))
