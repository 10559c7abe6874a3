"""Ctrl-C, SIGTERM or a lost terminal end a run between two steps, when it can be saved; asked twice, at once."""
import contextlib
import os
import signal
from collections.abc import Iterator

import torch

from ra_plugin.utils.processes import anywhere
from ra_plugin.utils.signals import Interrupted, handled


class Interruption:
    """Notes a signal instead of dying of it, as long as it is entered; in other threads than the main one it is inert.

    Attributes:
        number: Of the signal that came; 0 where none did.
    """

    def __init__(self):
        self.number = 0
        self._at_once = False
        self._process = os.getpid()
        self._handled = handled(self._note)

    def __enter__(self) -> 'Interruption':
        self._handled.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self._handled.__exit__(*error)

    @property
    def name(self) -> str:
        """The signal that came, as ``'SIGTERM'``; empty where none did."""
        return signal.Signals(self.number).name if self.number else ''

    def _note(self, number: int, frame) -> None:
        if self.number:  # the second one
            raise KeyboardInterrupt
        self.number = number
        if self._at_once and os.getpid() == self._process:  # a data worker, which has a copy, is ended by the run
            raise Interrupted(number)

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
            if self.number:
                raise Interrupted(self.number)
            yield
        finally:
            self._at_once = False

    def requested(self, has_problem: bool = False) -> bool:
        """Return whether a signal or a problem has come, to any process of the run: all of them have to ask."""
        return anywhere(bool(self.number) or has_problem)
