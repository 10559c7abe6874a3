"""How a program runs and ends: what the user can mend is one line."""
import os
import sys
import traceback
from collections.abc import Callable

from ra_plugin.utils.allocator import keep_freed_memory
from ra_plugin.utils.signals import Interrupted, handled, interrupt
from ra_plugin.utils.text import printable


def run(main: Callable[[], None], program: str, kept: str = 'the same command begins anew') -> int:
    """Run ``main``; an error that the user can mend is one line on standard error, and exit status 2.

    Ctrl-C, SIGTERM and a lost terminal end it with one line, too, and exit status 130, 143 or 129.
    ``RA_PLUGIN_DEBUG=1`` in the environment shows the traceback of an error.

    Args:
        main: Does the work.
        program: Its name, for messages.
        kept: After a signal: what is kept, and how to go on.
    """
    keep_freed_memory()
    try:
        with handled(interrupt):
            main()
    except Interrupted as error:
        if not error.is_told:
            print(f'{program}: {printable(str(error))}; {kept}.', file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print(f'{program}: Stopped at once, as it was asked twice; what was saved before is kept.', file=sys.stderr)
        return 130
    except (ValueError, ImportError, OSError) as error:
        if os.environ.get('RA_PLUGIN_DEBUG'):
            traceback.print_exc()
        lines = str(error).strip().splitlines() or ['']
        # torch passes on what a data worker raised as the text of a traceback: its last line is the message
        message = lines[-1].partition(': ')[2] if 'DataLoader worker' in lines[0] else ' '.join(lines)
        print(f'{program}: {printable(message)}', file=sys.stderr)
        return 2
    return 0
