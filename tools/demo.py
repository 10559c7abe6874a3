"""The command ``ra-plugin demo`` in a clone: python tools/demo.py --help"""
import sys

from ra_plugin.cli.main import run_command

if __name__ == '__main__':
    sys.exit(run_command('demo', sys.argv[0], sys.argv[1:]))
