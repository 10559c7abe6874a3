"""Words read right, and the character error rate: against labels, or against what was read in the clean image."""
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ra_plugin.metrics.base import CLEAN_ANSWERS, Metrics, TaskScore
from ra_plugin.utils.text import composed

_NO_LETTERS = -1  # of a label without letters and digits, by which no answer is right or wrong


class TextScore(TaskScore):
    """Scores of words that were read, in Unicode's composed form.

    ``exact_match``: share of images whose word is right, letter by letter. ``word_accuracy``: the same for letters and
    digits alone, in any case, as benchmarks of scene text count it, over the images whose label has any. ``cer``:
    character error rate, insertions, deletions and substitutions over the number of characters of all labels; it may
    exceed 1; lower is better.

    Args:
        metrics: One or more of these. Default: ``exact_match`` and ``cer``.
    """

    known: Sequence[str] = ('exact_match', 'word_accuracy', 'cer')
    default: Sequence[str] = ('exact_match', 'cer')
    lower_is_better: Sequence[str] = ('cer',)

    def __init__(self, metrics: Metrics = None):
        super().__init__(metrics)
        self._rows: list[np.ndarray] = []  # of each image: right, right by letters and digits, edits, characters

    def __len__(self) -> int:
        return len(self._rows)

    def update(self, predictions: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> None:
        """Add a batch: ``predict`` of the images, and the words in them."""
        for found, word in zip(predictions, labels, strict=True):
            self._rows.append(np.array(self._row(found['text'], word), int))

    def _row(self, read: str, word: str) -> list[int]:
        read, word = composed(read), composed(word)
        plain = _plain(word)
        return [read == word, _plain(read) == plain if plain else _NO_LETTERS, edit_distance(read, word), len(word)]

    def records(self) -> np.ndarray:
        """Return ``(N, 4)`` or more: right, right by letters and digits (-1 for none), edits, characters."""
        return np.stack(self._rows) if self._rows else np.empty((0, len(self._row('', ''))), int)

    def add_records(self, records: Iterable[np.ndarray]) -> None:
        self._rows += list(records)

    def per_image(self) -> dict[str, np.ndarray]:
        """Map the metrics that are means over images to ``(N,)`` bool; to numbers where an image has none, NaN."""
        rows = self.records()
        plain = rows[:, 1] > 0
        if (left_out := rows[:, 1] == _NO_LETTERS).any():
            plain = np.where(left_out, np.nan, plain)
        values = dict(zip(self.known, (rows[:, 0] > 0, plain), strict=False))
        return {name: values[name] for name in self.metrics if name in values}

    def resampled(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        right, plain, edits, characters = self.records()[:, :4].T
        counted = plain != _NO_LETTERS
        with np.errstate(invalid='ignore', divide='ignore'):
            found = dict(zip(self.known, (counts @ right / counts.sum(1),
                                          counts @ (plain * counted) / (counts @ counted),
                                          counts @ edits / (counts @ characters)), strict=True))
        return {name: found[name] for name in self.metrics}


class TextAgreement(TextScore):
    """Agreement of the words read in restored and in clean images: the same measures, with the latter as labels.

    Args:
        metrics: One or more of ``text_agreement`` (`TextScore`'s exact match), ``word_agreement`` and
            ``cer_to_clean``. Default: the first and the last.
    """

    known = ('text_agreement', 'word_agreement', 'cer_to_clean')
    default = ('text_agreement', 'cer_to_clean')
    lower_is_better = ('cer_to_clean',)
    against = CLEAN_ANSWERS

    def update(self, predictions: Sequence[Mapping[str, Any]], clean: Sequence[Mapping[str, Any]]) -> None:
        """Add a batch: ``predict`` of the restored images, and of the clean ones."""
        super().update(predictions, [found['text'] for found in clean])

    def _row(self, read: str, word: str) -> list[int]:
        return [*super()._row(read, word), zlib.crc32(composed(word).encode())]

    def commonest(self) -> tuple[str, float]:
        """Return what is read most often in clean images, ``'nothing'`` or ``'one word'``, and its share of them."""
        rows = self.records()
        _, first, counts = np.unique(rows[:, 4], return_index=True, return_counts=True)
        most = int(counts.argmax())
        return 'one word' if rows[first[most], 3] else 'nothing', float(counts[most] / len(rows))


def edit_distance(a: str, b: str) -> int:
    """Return the least number of insertions, deletions and substitutions that turn one text into the other."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (left != right))
    return row[-1]


def _plain(word: str) -> str:
    return ''.join(character for character in word.casefold() if character.isalnum())
