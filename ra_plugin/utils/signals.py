"""Signals that ask a program to end: Ctrl-C, SIGTERM, a lost terminal. Each becomes one exception, one exit status."""
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(SystemExit):  # no error of what it interrupts, which handles Exception
    """Raised where a program is to end now; uncaught, it ends with the status that shells give, 128 + signal.

    Args:
        number: Of the signal.
        where: What had been reached, e.g. ``' at image 9 of 30'``.
        is_told: The user has read of it.
    """

    def __init__(self, number: int, where: str = '', is_told: bool = False):
        super().__init__(128 + number)
        self.code: int
        self.number, self.where, self.is_told = number, where, is_told

    def __str__(self) -> str:
        return f'Stopped by {signal.Signals(self.number).name}{self.where}'


@contextlib.contextmanager
def handled(handler: Callable[[int, FrameType | None], None], signals: Sequence[int] = SIGNALS) -> Iterator[None]:
    """Within, ``handler`` gets the signals, but those that are ignored, as nohup has it, or are its own already.

    Inert in other threads than the main one, which gets all signals.
    """
    previous = {}
    if threading.current_thread() is threading.main_thread():
        previous = {number: signal.signal(number, handler) for number in signals
                    if signal.getsignal(number) not in (signal.SIG_IGN, handler)}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Handle a signal: end what runs.

    Raises:
        Interrupted: Always.
    """
    raise Interrupted(number)
