"""Temporary removal of Pillow's image size limit, for files whose size is checked elsewhere."""
import contextlib
import threading
from collections.abc import Iterator

from PIL import Image

_LOCK = threading.RLock()


@contextlib.contextmanager
def without_pixel_limit() -> Iterator[int | None]:
    """Open images of any size within the block; yield Pillow's own limit in pixels, None for no limit.

    Pillow warns above ``Image.MAX_IMAGE_PIXELS`` and raises above twice that. It has no setting for a single file.
    """
    with _LOCK:
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield None if limit is None else 2 * limit
        finally:
            Image.MAX_IMAGE_PIXELS = limit
