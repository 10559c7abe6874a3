"""Start a program: say that it imports for some seconds, then run it."""
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Say on standard error that the program loads its parts, and end it at once where a signal comes.

    Nothing has begun by then, so nothing can be lost; an exception in the middle of an import could be caught there.
    """
    program = Path(sys.argv[0]).name
    if os.environ.get('RANK', '0') == '0':  # of several processes, one speaks
        print(f'{program}: loading PyTorch and BasicSR ...', file=sys.stderr, flush=True)

    def end(number: int, frame) -> None:
        os.write(2, f'{program}: Stopped by {signal.Signals(number).name} before it began; nothing has changed.\n'
                 .encode(errors='replace'))
        os._exit(128 + number)

    previous = {}
    if threading.current_thread() is threading.main_thread():
        previous = {number: signal.signal(number, end) for number in _SIGNALS
                    if signal.getsignal(number) != signal.SIG_IGN}  # as nohup has it
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


def run_here(pipeline: Callable[[Path], object], kept: str) -> int:
    """Run a pipeline with the current folder as its root, and return the exit status.

    Args:
        pipeline: Takes the folder that experiments and results are in.
        kept: After a signal: what is kept, and how to go on.
    """
    from ra_plugin.training.pipeline import run
    return run(pipeline, Path.cwd(), kept)
