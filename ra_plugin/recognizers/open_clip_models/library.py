"""The package open_clip, imported when a recognizer of it is built, and kept quiet."""
import contextlib
import logging
from collections.abc import Iterator
from types import ModuleType

from ra_plugin.utils.optional import require

PACKAGE = 'open_clip'


def library(where: str, module: str = '') -> ModuleType:
    """Import and return the package, or a module of it.

    Raises:
        ImportError: It is not installed; the message has the pip command.
    """
    return require(f'{PACKAGE}.{module}' if module else PACKAGE, where)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop what open_clip logs within the context, as that weights are random before they are loaded.

    It logs by the root logger, and Python gives that one a handler with the first message: it is removed again.
    """
    root = logging.getLogger()
    kept = list(root.handlers)
    root.addFilter(_is_of_others)
    try:
        yield
    finally:
        root.removeFilter(_is_of_others)
        for handler in [handler for handler in root.handlers if handler not in kept]:
            root.removeHandler(handler)


def _is_of_others(record: logging.LogRecord) -> bool:
    return f'/{PACKAGE}/' not in record.pathname.replace('\\', '/')
