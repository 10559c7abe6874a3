"""Find the known name that a typo was meant to be."""
import difflib
from collections.abc import Iterable


def suggestion(key: object, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return `` Did you mean 'x'?`` with the closest of ``known``, or an empty string.

    Close are names of much the same letters, in any case, and those that the key is a part of, or that are part of it.
    """
    text, names = str(key), list(known)
    close = difflib.get_close_matches(text, names, n=1, cutoff=cutoff)
    if not close:
        folded = {name.casefold(): name for name in names}
        close = difflib.get_close_matches(text.casefold(), folded, n=1, cutoff=cutoff) or difflib.get_close_matches(
            text.casefold(), [name for name in folded if _is_part(text.casefold(), name)], n=1, cutoff=0)
        close = [folded[name] for name in close]
    return f" Did you mean '{close[0]}'?" if close else ''


def _is_part(one: str, other: str) -> bool:
    """Tell whether one of two names begins or ends with the other, of two letters or more."""
    short, long = sorted((one, other), key=len)
    return len(short) >= 2 and (long.startswith(short) or long.endswith(short))


def nearest(key: object, known: Iterable[str], cutoff: float = 0.8) -> str | None:
    """Return the one of ``known`` that ``key`` may be a typo of; None where they have too little in common.

    Typos are one letter inserted, left out, replaced or exchanged with its neighbor (in words of six letters or more,
    two), another case, the first five letters or more, and mostly the same letters in the same order.
    """
    text, known = str(key), list(known)
    distances = {name: _distance(text.casefold(), name.casefold()) for name in known}
    best = min(distances, key=distances.__getitem__, default=None)
    if best is not None and distances[best] <= (1 if len(text) < 6 else 2):
        return best
    begun = [name for name in known if len(text) >= 5 and name.startswith(text)]
    if len(begun) == 1:
        return begun[0]
    close = difflib.get_close_matches(text, known, n=1, cutoff=cutoff)
    return close[0] if close else None


def _distance(one: str, other: str) -> int:
    """Return the edit distance of two words, with exchanged neighbors as one edit (optimal string alignment)."""
    before, last = [], list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (a != b)))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                row[j] = min(row[j], before[j - 2] + 1)
        before, last = last, row
    return last[-1]
