"""Run this repository's scripts as subprocesses and forward signals to them, so that none outlives its parent."""
import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence

from ra_plugin.utils.signals import Interrupted, handled

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)  # the terminal itself sends Ctrl-C to all of its programs
_running: set[subprocess.Popen] = set()
_told: list[int] = []  # the signals received so far


@contextlib.contextmanager
def child(command: Sequence, **settings) -> Iterator[subprocess.Popen]:
    """Start a Python program and register it, so that it receives forwarded signals.

    Args:
        command: Script and arguments.
        settings: Further arguments of ``subprocess.Popen``.
    """
    program = subprocess.Popen([sys.executable, *command], **settings)
    _running.add(program)
    try:
        for number in tuple(_told):  # a signal came while another thread was starting this program
            program.send_signal(number)
        yield program
    finally:
        _running.discard(program)


def output(command: Sequence, seconds: float) -> subprocess.CompletedProcess:
    """Run a Python program that has nothing to save and return its standard output; standard error is dropped.

    Raises:
        subprocess.TimeoutExpired: The program ran longer than ``seconds`` and was killed.
    """
    with child(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as program:
        try:
            text, _ = program.communicate(timeout=seconds)
        except BaseException:
            program.kill()
            program.wait()
            raise
    return subprocess.CompletedProcess(program.args, program.returncode, text)


@contextlib.contextmanager
def children_end() -> Iterator[None]:
    """Terminate all child programs if the block raises; for programs that have nothing to save."""
    try:
        yield
    except BaseException:  # including GeneratorExit, when the caller no longer wants the results
        for program in tuple(_running):
            program.terminate()
        raise


@contextlib.contextmanager
def signals_passed_on() -> Iterator[None]:
    """Forward SIGTERM and SIGHUP to the child programs of all threads, and raise `Interrupted` here.

    Has no effect outside the main thread.
    """
    is_outermost = signal.getsignal(signal.SIGTERM) != _pass_on
    with handled(_pass_on, _SIGNALS):
        try:
            yield
        finally:
            if is_outermost:
                _told.clear()


def _pass_on(number: int, frame) -> None:
    _told.append(number)
    for program in tuple(_running):
        program.send_signal(number)
    raise Interrupted(number)
