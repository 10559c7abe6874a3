"""``python -m ra_plugin``: the command ``ra-plugin`` where it is not on the path."""
import sys

from ra_plugin.cli.main import main

if __name__ == '__main__':
    sys.exit(main(program='python -m ra_plugin'))
