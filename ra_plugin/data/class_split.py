"""Random halves of a data set's classes, for measuring transfer to categories never seen in training."""
import hashlib
from collections.abc import Iterable

from ra_plugin.options import OptionError


def split_classes(names: Iterable[str], seed: int = 0) -> tuple[list[str], list[str]]:
    """Return halves A and B, each sorted; for an odd number of classes B has one more.

    They are drawn by a hash of seed and name, so they do not depend on the machine or on library versions.

    Raises:
        OptionError: A name occurs twice, or there are fewer than four names.
    """
    names = sorted(names)
    if len(names) < 4 or len(set(names)) < len(names):
        raise OptionError(f'split_classes: expected four or more different classes, got {len(names)} names, '
                          f'{len(set(names))} of them different.')
    drawn = sorted(names, key=lambda name: hashlib.sha256(f'{seed} {name}'.encode()).digest())
    half = len(names) // 2
    return sorted(drawn[:half]), sorted(drawn[half:])
