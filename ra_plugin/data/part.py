"""Parts of a list of images that never overlap, by a hash of each path."""
import hashlib
from collections.abc import Sequence

_RANGE = 2 ** 64


def share_of(path: str) -> float:
    """Return where a path, relative to its folder, is in ``[0, 1)``: the same place on each machine."""
    digest = hashlib.sha256(path.replace('\\', '/').encode(errors='surrogateescape')).digest()
    return int.from_bytes(digest[:8], 'big') / _RANGE


def places_within(paths: Sequence[str], low: float, high: float) -> list[int]:
    """Return the indices of the paths that lie in ``[low, high)``."""
    return [i for i, path in enumerate(paths) if low <= share_of(path) < high]
