"""Ctrl-C, SIGTERM or a lost terminal end a run between two steps, when it can be saved; asked twice, at once."""
import contextlib
import signal
import threading
from collections.abc import Iterator

import torch

from ra_plugin.utils.processes import anywhere

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):  # no error of what it interrupts, which handles Exception
    """The run is to end now; nothing is under way that must be finished first."""


class Interruption:
    """Notes a signal instead of dying of it, as long as it is entered; in other threads than the main one it is inert.

    Attributes:
        name: Of the signal that came, as ``'SIGTERM'``; empty where none did.
    """

    def __init__(self):
        self.name = ''
        self._at_once = False
        self._previous = {}

    def __enter__(self) -> 'Interruption':
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in _SIGNALS
                              if signal.getsignal(number) != signal.SIG_IGN}  # as nohup has it
        return self

    def __exit__(self, *error) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame) -> None:
        if self.name:  # the second one
            raise KeyboardInterrupt
        self.name = signal.Signals(number).name
        if self._at_once:
            raise Interrupted

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Within, a signal raises `Interrupted` where it comes: for what can be left unfinished, as a validation.

        Not in a run of several processes, which have to leave together.
        """
        if torch.distributed.is_initialized():
            yield
            return
        self._at_once = True
        try:
            if self.name:
                raise Interrupted
            yield
        finally:
            self._at_once = False

    def requested(self, has_problem: bool = False) -> bool:
        """Whether a signal or a problem has come, to this process or another of the run: all of them have to ask."""
        return anywhere(bool(self.name) or has_problem)
