"""Run programs as subprocesses and forward signals, so that a child can save before it exits."""
import os
import shlex
import sys
from collections.abc import Sequence

from ra_plugin.shipped.find import shown_name
from ra_plugin.utils.children import child, signals_passed_on


def run_program(command: Sequence, threads: int | None = None, cwd: os.PathLike | None = None) -> int:
    """Run a Python program, wait for its end and return its exit status.

    Args:
        command: Script, or ``-m`` and a module, with arguments.
        threads: Number of threads of torch in the program. Default: torch's own number.
        cwd: Working directory of the program.

    Raises:
        Interrupted: SIGTERM or SIGHUP was received, in the main thread. It was forwarded, and the program has ended.
        KeyboardInterrupt: Ctrl-C was received without a handler; the program has ended.
    """
    env = {**os.environ, 'OMP_NUM_THREADS': str(threads)} if threads else None
    with signals_passed_on(), child(command, env=env, cwd=cwd) as program:
        try:
            return program.wait()
        except (KeyboardInterrupt, SystemExit):
            program.wait()  # a second signal ends both at once
            raise


def this_command(flag: str) -> str:
    """Return the command line of this program, as a user types it, with a flag at its end."""
    program = ['python', sys.argv[0]] if sys.argv[0].endswith('.py') else sys.argv[0].split()
    words = [word.replace('_', '-') if word.startswith('--') else shown_name(word) for word in sys.argv[1:]]
    return shlex.join([*program, *(word for word in words if word != flag), flag])
