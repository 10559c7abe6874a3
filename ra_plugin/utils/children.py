"""Programs that this one runs beside itself: a signal reaches them, too, and none outlives it."""
import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence

from ra_plugin.utils.signals import Interrupted, handled

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)  # Ctrl-C reaches all programs of a terminal, once each
_running: set[subprocess.Popen] = set()
_told: list[int] = []  # the signals that have come


@contextlib.contextmanager
def child(command: Sequence, **settings) -> Iterator[subprocess.Popen]:
    """A Python program that runs; ``settings`` are those of ``subprocess.Popen``.

    Args:
        command: File and arguments.
    """
    program = subprocess.Popen([sys.executable, *command], **settings)
    _running.add(program)
    try:
        for number in tuple(_told):  # it was about to begin in another thread
            program.send_signal(number)
        yield program
    finally:
        _running.discard(program)


def output(command: Sequence, seconds: float) -> subprocess.CompletedProcess:
    """Run a Python program that has nothing to save, and return what it wrote; what it wrote of errors is dropped.

    Raises:
        subprocess.TimeoutExpired: It took more than ``seconds``, and has been killed.
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
    """After an error or a signal within, no program runs on: for those that have nothing to save."""
    try:
        yield
    except BaseException:  # GeneratorExit, too: what is no longer asked for
        for program in tuple(_running):
            program.terminate()
        raise


@contextlib.contextmanager
def signals_passed_on() -> Iterator[None]:
    """Within, SIGTERM and SIGHUP reach the programs that run, too, in whatever thread, and raise `Interrupted` here.

    Inert in other threads than the main one.
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
