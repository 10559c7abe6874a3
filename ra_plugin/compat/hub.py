"""Asking Hugging Face's hub for files where the network may be away."""
import contextlib
from collections.abc import Iterator
from typing import Any

from ra_plugin.library_errors import is_network_error


@contextlib.contextmanager
def reached_or_offline(asks: bool = True) -> Iterator[None]:
    """Take what was fetched before, within the context, where the hub cannot be reached; else fetch as usual.

    Without a network the hub's client would ask for each missing file six times, over 23 seconds, and timm for two
    files one after the other. The mode of the client is as it was after the context.

    Args:
        asks: The hub is asked within the context at all.

    Raises:
        Exception: Of the client: the hub cannot be reached, and a file was not fetched before.
    """
    away = _away() if asks else None
    if away is None:
        yield
        return
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    except Exception as error:
        if not is_network_error(error):
            raise
        raise away from error  # which says more than that the client is offline
    finally:
        constants.HF_HUB_OFFLINE = before


def _away() -> Exception | None:
    """Return why the hub cannot be reached; None where it can, or where its client is not installed."""
    try:
        from huggingface_hub import constants
        from huggingface_hub.utils import get_session
    except ImportError:
        return None
    session: Any = get_session()
    try:
        session.head(constants.ENDPOINT, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except Exception as error:
        if not is_network_error(error):
            raise
        return error
    return None
