"""Programs that this one runs: they end with it, and may save first what they have; and how this one was started."""
import os
import shlex
import sys
from collections.abc import Sequence

from ra_plugin.shipped.find import shown_name
from ra_plugin.utils.children import child, signals_passed_on


def run_program(command: Sequence, threads: int | None = None, cwd: os.PathLike | None = None) -> int:
    """Run a Python program, wait for its end and return its exit status.

    Args:
        command: File, or ``-m`` and a module; and arguments.
        threads: Of torch in it. Default: torch's own number.
        cwd: Where it runs.

    Raises:
        Interrupted: SIGTERM or SIGHUP has come, in the main thread. The program got it, too, and has ended.
        KeyboardInterrupt: Ctrl-C, where no program handles it; the program has ended.
    """
    env = {**os.environ, 'OMP_NUM_THREADS': str(threads)} if threads else None
    with signals_passed_on(), child(command, env=env, cwd=cwd) as program:
        try:
            return program.wait()
        except (KeyboardInterrupt, SystemExit):
            program.wait()  # asked a second time, this ends at once, and so does the program
            raise


def this_command(flag: str) -> str:
    """Return the command line of this program, as a user types it, with a flag at its end."""
    program = ['python', sys.argv[0]] if sys.argv[0].endswith('.py') else sys.argv[0].split()
    words = [word.replace('_', '-') if word.startswith('--') else shown_name(word) for word in sys.argv[1:]]
    return shlex.join([*program, *(word for word in words if word != flag), flag])
