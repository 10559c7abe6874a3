"""How a program runs and ends: what the user can mend is one line."""
import os
import sys
import traceback
from collections.abc import Callable

from ra_plugin.utils.allocator import keep_freed_memory
from ra_plugin.utils.text import printable


def run(main: Callable[[], None], program: str) -> int:
    """Run ``main``; an error that the user can mend is one line on standard error, and exit status 2.

    ``RA_PLUGIN_DEBUG=1`` in the environment shows the traceback, too.
    """
    keep_freed_memory()
    try:
        main()
    except (ValueError, ImportError, OSError) as error:
        if os.environ.get('RA_PLUGIN_DEBUG'):
            traceback.print_exc()
        lines = str(error).strip().splitlines() or ['']
        # torch passes on what a data worker raised as the text of a traceback: its last line is the message
        message = lines[-1].partition(': ')[2] if 'DataLoader worker' in lines[0] else ' '.join(lines)
        print(f'{program}: {printable(message)}', file=sys.stderr)
        return 2
    return 0
