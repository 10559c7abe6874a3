"""Pillow's limit on the size of an image, lifted while a file is opened whose size is checked elsewhere."""
import contextlib
import threading
from collections.abc import Iterator

from PIL import Image

_LOCK = threading.RLock()


@contextlib.contextmanager
def without_pixel_limit() -> Iterator[int | None]:
    """Open images of any size; yield the most pixels that Pillow would read otherwise, None for no limit.

    Pillow warns above ``Image.MAX_IMAGE_PIXELS`` and refuses above twice that. It has no argument for one file alone.
    """
    with _LOCK:
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield None if limit is None else 2 * limit
        finally:
            Image.MAX_IMAGE_PIXELS = limit
