"""Warnings that go to the log of a run, or to Python's warnings if there is none."""
import logging
import warnings


def warn(message: str) -> None:
    """Log a warning on each call if a run has a log; otherwise issue a UserWarning, shown once per text."""
    logger = logging.getLogger('basicsr')
    if logger.handlers:
        logger.warning(message)
    else:
        warnings.warn(message, stacklevel=3)
