"""The command ``ra-plugin evaluate`` in a clone: python tools/evaluate.py --help"""
import sys

from ra_plugin.cli.main import run_command

if __name__ == '__main__':
    sys.exit(run_command('evaluate', sys.argv[0], sys.argv[1:]))
