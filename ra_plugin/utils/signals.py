"""Handling of the signals that end a program (Ctrl-C, SIGTERM, a lost terminal): one exception, one exit status."""
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(SystemExit):  # not an Exception, which the interrupted code may catch
    """Raised to end a program after a signal; if uncaught, the exit status is 128 + signal, as in shells.

    Args:
        number: Number of the signal.
        where: Progress so far, e.g. ``' at image 9 of 30'``.
        is_told: True if the user has already been informed.
    """

    def __init__(self, number: int, where: str = '', is_told: bool = False):
        super().__init__(128 + number)
        self.code: int
        self.number, self.where, self.is_told = number, where, is_told

    def __str__(self) -> str:
        return f'Stopped by {signal.Signals(self.number).name}{self.where}'


@contextlib.contextmanager
def handled(handler: Callable[[int, FrameType | None], None], signals: Sequence[int] = SIGNALS) -> Iterator[None]:
    """Install ``handler`` for the signals within the block, except for those that are ignored (as under nohup).

    Has no effect outside the main thread, which receives all signals.
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
    """Signal handler that always raises `Interrupted`."""
    raise Interrupted(number)
