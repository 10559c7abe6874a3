"""Two halves of a data set's classes, drawn by a seed: for asking what transfers to categories never seen."""
import hashlib
from collections.abc import Iterable

from ra_plugin.options import OptionError


def split_classes(names: Iterable[str], seed: int = 0) -> tuple[list[str], list[str]]:
    """Halves A and B, each sorted; of an odd number B has one more.

    Drawn by a hash of seed and name: the same wherever it is drawn, with any version of any library.

    Raises:
        OptionError: A name that occurs twice, or fewer than four names.
    """
    names = sorted(names)
    if len(names) < 4 or len(set(names)) < len(names):
        raise OptionError(f'split_classes: expected four classes or more, each once, got {len(names)} names, '
                          f'{len(set(names))} of them different.')
    drawn = sorted(names, key=lambda name: hashlib.sha256(f'{seed} {name}'.encode()).digest())
    half = len(names) // 2
    return sorted(drawn[:half]), sorted(drawn[half:])
