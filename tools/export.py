"""Run the command ``ra-plugin export``, in a clone."""
import sys

from ra_plugin.cli.main import run_command

if __name__ == '__main__':
    sys.exit(run_command('export', sys.argv[0], sys.argv[1:]))
