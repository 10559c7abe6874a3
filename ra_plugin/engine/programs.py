"""Programs of the repository that another one runs: they end with it, and may save first what they have."""
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)  # Ctrl-C reaches all programs of a terminal, once each
_running: set[subprocess.Popen] = set()
_told: list[int] = []  # the signals that have come


def run_program(command: Sequence, threads: int | None = None, cwd: os.PathLike | None = None) -> int:
    """Run a Python program, wait for its end and give its exit status.

    Args:
        command: File and arguments.
        threads: Of torch in it. Default: torch's own number.
        cwd: Where it runs.

    Raises:
        SystemExit: SIGTERM or SIGHUP has come, in the main thread. The program got it, too, and has ended.
        KeyboardInterrupt: Ctrl-C; the program has ended.
    """
    env = {**os.environ, 'OMP_NUM_THREADS': str(threads)} if threads else None
    with signals_passed_on():
        program = subprocess.Popen([sys.executable, *command], env=env, cwd=cwd)
        _running.add(program)
        for number in tuple(_told):  # it was about to begin in another thread
            program.send_signal(number)
        try:
            return program.wait()
        except (KeyboardInterrupt, SystemExit):
            program.wait()  # asked a second time, this ends at once, and so does the program
            raise
        finally:
            _running.discard(program)


@contextlib.contextmanager
def signals_passed_on() -> Iterator[None]:
    """Within, SIGTERM and SIGHUP reach the programs that run, too, in whatever thread, and raise `SystemExit` here.

    Inert in other threads than the main one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, _pass_on) for number in _SIGNALS
                if signal.getsignal(number) not in (signal.SIG_IGN, _pass_on)}  # as nohup has it; as it is already
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if previous:
            _told.clear()


def _pass_on(number: int, frame) -> None:
    _told.append(number)
    for program in tuple(_running):
        program.send_signal(number)
    raise SystemExit(128 + number)
