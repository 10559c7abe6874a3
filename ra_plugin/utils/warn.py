"""A warning where it is read: in the log of a run that has one, else as Python's own."""
import logging
import warnings


def warn(message: str) -> None:
    """Say it once for each call in a run's log; from Python as a UserWarning, which is shown once for each text."""
    logger = logging.getLogger('basicsr')
    if logger.handlers:
        logger.warning(message)
    else:
        warnings.warn(message, stacklevel=3)
