"""The command ``ra-plugin survey`` in a clone: python tools/survey.py --help"""
import sys

from ra_plugin.cli.main import run_command

if __name__ == '__main__':
    sys.exit(run_command('survey', sys.argv[0], sys.argv[1:]))
