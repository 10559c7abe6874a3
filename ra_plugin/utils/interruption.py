"""Graceful interruption: a first signal ends a run between two steps, where it can be saved; a second one at once."""
import contextlib
import os
import signal
from collections.abc import Iterator

import torch

from ra_plugin.utils.processes import anywhere
from ra_plugin.utils.signals import Interrupted, handled


class Interruption:
    """Context manager that records a signal instead of ending the process; no effect outside the main thread.

    Attributes:
        number: Number of the signal received; 0 for none.
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
        """Name of the signal received, e.g. ``'SIGTERM'``; empty for none."""
        return signal.Signals(self.number).name if self.number else ''

    def _note(self, number: int, frame) -> None:
        if self.number:  # the second signal
            raise KeyboardInterrupt
        self.number = number
        if self._at_once and os.getpid() == self._process:  # a data worker has a copy; the run ends it
            raise Interrupted(number)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Raise `Interrupted` as soon as a signal comes, for work that may stay unfinished, such as a validation.

        Has no effect in a distributed run, whose processes have to stop together.
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
        """Return True if any process of the run has a signal or a problem; all processes have to call this."""
        return anywhere(bool(self.number) or has_problem)
