"""The log of a run: BasicSR's logger, a file in the run's folder, and a console that leaves progress bars whole."""
import logging
import os
from logging.handlers import MemoryHandler

from basicsr.utils import get_env_info, get_root_logger, get_time_str
from basicsr.utils.logger import initialized_logger
from basicsr.utils.options import dict2str
from tqdm import tqdm

from ra_plugin.utils.text import printable


class _Formatter(logging.Formatter):
    """BasicSR's lines; what names of files and classes hold cannot steer the terminal that shows them."""

    def __init__(self):
        super().__init__('%(asctime)s %(levelname)s: %(message)s')

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class _Console(logging.StreamHandler):
    """Standard error, with lines above the progress bar instead of through it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            tqdm.write(self.format(record), file=self.stream)
        except Exception:  # a terminal that is gone is no reason to end a run
            self.handleError(record)


class RunLog:
    """BasicSR's logger for one run; what is said before the run has its folder is kept, and written once it has."""

    def __init__(self, opt: dict, phase: str):
        self.opt, self.phase = opt, phase
        self.logger = logging.getLogger('basicsr')
        self.console = _Console()
        self.file: logging.FileHandler | None = None
        self.buffer = MemoryHandler(capacity=100_000, flushLevel=logging.CRITICAL + 1, flushOnClose=False)

    def __enter__(self) -> 'RunLog':
        self._reset()
        get_root_logger()  # BasicSR's set-up: on ranks above 0 the logger speaks of errors alone
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
        """The run has begun: to its file goes everything, to the console what ``logger.console_level`` asks for."""
        if self.opt['rank']:
            return
        self.logger.removeHandler(self.buffer)
        self.console.setLevel(str((self.opt.get('logger') or {}).get('console_level', 'info')).upper())
        path = os.path.join(self.opt['path']['log'], f'{self.phase}_{self.opt["name"]}_{get_time_str()}.log')
        self.file = logging.FileHandler(path, encoding='utf-8', errors='backslashreplace')
        self.file.setFormatter(_Formatter())
        self.logger.addHandler(self.file)
        for record in self.buffer.buffer:
            self.file.handle(record)
            if self.console.level <= record.levelno < logging.WARNING:  # warnings have been shown
                self.console.handle(record)

    def __exit__(self, kind, error, traceback) -> None:
        if error is not None and self.file is not None:
            self.file.handle(self.logger.makeRecord('basicsr', logging.ERROR, '', 0, 'Stopped.', (),
                                                    (kind, error, traceback)))
        self._reset()

    def _reset(self) -> None:
        """Leave nothing behind: several runs in one process must not write into one another's files."""
        self._remove_handlers()
        initialized_logger.pop('basicsr', None)

    def _remove_handlers(self) -> None:
        for handler in list(self.logger.handlers):
            self.logger.removeHandler(handler)
            handler.close()


def _with_text_keys(opt: dict) -> dict:
    """The same options, with text for keys that are numbers, as those of a label_map: dict2str cannot print them."""
    return {str(key): _with_text_keys(value) if isinstance(value, dict) else value for key, value in opt.items()}
