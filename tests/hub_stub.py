"""A Hugging Face hub that answers what a test says, in the place of the network."""
import contextlib
from collections.abc import Callable, Iterator

import httpx
import huggingface_hub
from huggingface_hub.utils import _http


@contextlib.contextmanager
def hub_that_answers(answer: Callable[[httpx.Request], httpx.Response]) -> Iterator[None]:
    """Let the hub's client ask a function within the context, and as before after it: that knows offline mode."""
    before = _http._GLOBAL_CLIENT_FACTORY
    huggingface_hub.set_client_factory(lambda: httpx.Client(transport=httpx.MockTransport(answer)))
    try:
        yield
    finally:
        huggingface_hub.set_client_factory(before)  # which closes the client, too
