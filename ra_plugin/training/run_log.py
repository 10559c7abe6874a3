"""Log of a run: BasicSR's logger, a file in the run's folder, and a console that does not break progress bars."""
import logging
import os
import sys
from logging.handlers import MemoryHandler

from basicsr.utils import get_env_info, get_root_logger, get_time_str
from basicsr.utils.logger import initialized_logger
from basicsr.utils.options import dict2str
from tqdm import tqdm

from ra_plugin.utils.full_disk import is_full_disk
from ra_plugin.utils.text import printable


class _Formatter(logging.Formatter):
    """Formatter of BasicSR's lines that escapes control characters in names of files and classes."""

    def __init__(self):
        super().__init__('%(asctime)s %(levelname)s: %(message)s')

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class _Console(logging.StreamHandler):
    """Handler for standard error that writes lines above the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            tqdm.write(self.format(record), file=self.stream)
        except Exception:  # a closed terminal must not end a run
            self.handleError(record)


class _LogFile(logging.FileHandler):
    """Handler for the log file: a full disk, which checkpoints report, neither ends a run nor floods the console.

    Lines that find no room are written with the next that do.
    """

    def handleError(self, record: logging.LogRecord) -> None:
        if not is_full_disk(sys.exc_info()[1]):
            super().handleError(record)

    def close(self) -> None:
        try:
            super().close()
        except OSError as error:
            if not is_full_disk(error):
                raise


class RunLog:
    """BasicSR's logger for one run; messages are buffered until the run has its folder.

    Args:
        opt: The parsed option file.
        phase: ``'train'`` | ``'test'``, the prefix of the file name.
    """

    def __init__(self, opt: dict, phase: str):
        self.opt, self.phase = opt, phase
        self.logger = logging.getLogger('basicsr')
        self.console = _Console()
        self.file: logging.FileHandler | None = None
        self.buffer = MemoryHandler(capacity=100_000, flushLevel=logging.CRITICAL + 1, flushOnClose=False)

    def __enter__(self) -> 'RunLog':
        self._reset()
        get_root_logger()  # BasicSR's set-up: on ranks above 0 the logger only reports errors
        if self.opt['rank'] == 0:
            self.logger.setLevel(logging.INFO)
        self._remove_handlers()
        self.console.setFormatter(_Formatter())
        self.console.setLevel(logging.WARNING)
        self.logger.addHandler(self.console)
        self.logger.addHandler(self.buffer)
        self.logger.info(get_env_info())
        self.logger.info(dict2str(_with_text_keys(self.opt)))
        return self

    def open(self) -> None:
        """Open the log file and write the buffered messages; the console uses ``logger.console_level`` from now on."""
        if self.opt['rank']:
            return
        self.logger.removeHandler(self.buffer)
        self.console.setLevel(str((self.opt.get('logger') or {}).get('console_level', 'info')).upper())
        path = os.path.join(self.opt['path']['log'], f'{self.phase}_{self.opt["name"]}_{get_time_str()}.log')
        self.file = _LogFile(path, encoding='utf-8', errors='backslashreplace')
        self.file.setFormatter(_Formatter())
        self.logger.addHandler(self.file)
        for record in self.buffer.buffer:
            self.file.handle(record)
            if self.console.level <= record.levelno < logging.WARNING:  # warnings were shown before
                self.console.handle(record)

    def __exit__(self, kind, error, traceback) -> None:
        if error is not None and self.file is not None:
            self.file.handle(self.logger.makeRecord('basicsr', logging.ERROR, '', 0, 'Stopped.', (),
                                                    (kind, error, traceback)))
        self._reset()

    def _reset(self) -> None:
        """Remove all handlers, so that several runs in one process do not write to each other's files."""
        self._remove_handlers()
        initialized_logger.pop('basicsr', None)

    def _remove_handlers(self) -> None:
        for handler in list(self.logger.handlers):
            self.logger.removeHandler(handler)
            handler.close()


def _with_text_keys(opt: dict) -> dict:
    """Return the options with numeric keys (e.g. of a label_map) as text, as dict2str requires."""
    return {str(key): _with_text_keys(value) if isinstance(value, dict) else value for key, value in opt.items()}
