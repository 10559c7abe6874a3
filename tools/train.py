"""The command ``ra-plugin train`` in a clone: python tools/train.py --help"""
import sys

from ra_plugin.cli.main import run_command

if __name__ == '__main__':
    sys.exit(run_command('train', sys.argv[0], sys.argv[1:]))
