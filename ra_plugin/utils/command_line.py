"""Entry point shared by all programs: user errors are printed as one line, signals end with their exit status."""
import os
import sys
import traceback
from collections.abc import Callable

from ra_plugin.utils.allocator import keep_freed_memory
from ra_plugin.utils.full_disk import is_full_disk
from ra_plugin.utils.signals import Interrupted, handled, interrupt
from ra_plugin.utils.text import printable


def run(main: Callable[[], object], program: str, kept: str = 'the same command starts again',
        keep_memory: bool = True) -> int:
    """Run ``main``; print an error that the user can fix as one line on standard error and return exit status 2.

    Ctrl-C, SIGTERM and a lost terminal also end with one line, and exit status 130, 143 or 129.
    ``RA_PLUGIN_DEBUG=1`` in the environment shows the traceback of an error.

    Args:
        main: Main function of the program.
        program: Name of the program, for messages.
        kept: Text for the line after a signal or on a full disk: what was saved, and how to continue.
        keep_memory: Keep freed memory for what comes next; see `keep_freed_memory`.

    Returns:
        Exit status of the program.
    """
    if keep_memory:
        keep_freed_memory()
    try:
        with handled(interrupt):
            main()
    except Interrupted as error:
        if not error.is_told:
            print(f'{program}: {printable(str(error))}; {kept}.', file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print(f'{program}: Stopped at once after a second signal; what was saved before is kept.', file=sys.stderr)
        return 130
    except (ValueError, ImportError, OSError) as error:
        if os.environ.get('RA_PLUGIN_DEBUG'):
            traceback.print_exc()
        lines = str(error).strip().splitlines() or ['']
        # torch re-raises an error of a data worker with the traceback as its text: the last line is the message
        message = lines[-1].partition(': ')[2] if 'DataLoader worker' in lines[0] else ' '.join(lines)
        if isinstance(error, OSError) and is_full_disk(error):
            message = f'{error.filename or "a file"}: {error.strerror}. Make room; {kept}.'
        print(f'{program}: {printable(message)}', file=sys.stderr)
        return 2
    return 0
