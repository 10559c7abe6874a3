"""The package ultralytics, imported when a recognizer of it is built, and kept quiet."""
import contextlib
import logging
from collections.abc import Iterator
from types import ModuleType

from ra_plugin.compat.ultralytics_import import importing_ultralytics
from ra_plugin.utils.optional import require


def library(module: str, where: str) -> ModuleType:
    """Import and return a module of ultralytics, e.g. ``'ultralytics.nn.tasks'``.

    Raises:
        ImportError: It is not installed; the message has the pip command and the licence.
    """
    with importing_ultralytics(), quiet():
        return require(module, where)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop what ultralytics logs within the context, such as a table of the layers that it builds."""
    logger = logging.getLogger('ultralytics')
    kept, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = kept
