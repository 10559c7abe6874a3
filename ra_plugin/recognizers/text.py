"""The contract of networks that read the word in an image."""
from collections.abc import Sequence
from typing import Any

import torch

from ra_plugin.recognizers.base import Recognizer
from ra_plugin.recognizers.characters import spelled, split
from ra_plugin.recognizers.facts import Outputs
from ra_plugin.utils.text import how_many, shown
from ra_plugin.utils.warn import warn


class TextRecognizer(Recognizer):
    """A network that reads one word, or one line, an image; ``info.classes`` are its characters.

    A label batch is a list of N strings of those characters, in any Unicode form.

    Attributes:
        words_without_loss: Number of words so far that were `too_long`.
        warns_of_long_words: `loss` warns of the first of them.
    """

    task = 'text'
    words_without_loss = 0
    warns_of_long_words = True

    def loss(self, images: torch.Tensor, label: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return the network's own training loss, term by term, each ``(N,)`` or a scalar over the batch.

        Raises:
            ValueError: As `check_label`.
        """
        self._has_no('loss')

    def outputs(self, images: torch.Tensor, reference: Outputs | None = None) -> Outputs:
        """Return ``{'logits': (N, C, T)}``: the scores of C characters, blank or end among them, at T steps.

        A network that writes one character after the other is asked with the characters that it read in the clean
        image.
        """
        self._has_no('outputs')

    def predict(self, images: torch.Tensor) -> list[dict[str, Any]]:
        """Return for each image ``{'text': str, 'score': float in [0, 1]}``, without gradient."""
        self._has_no('predict')

    def too_long(self, words: Sequence[str], size: tuple[int, int] | None = None) -> list[str]:
        """Return the words that need more steps than the network has, so that their loss is 0 and has no gradient.

        Args:
            words: Words of its characters.
            size: (height, width) of their images. Default: any; none is too long where the steps depend on the size.
        """
        return []

    def _count_long(self, words: Sequence[str], of: int) -> None:
        """Count words of a batch that are `too_long`; they are warned of once."""
        if words and self.warns_of_long_words:
            self.warns_of_long_words = False
            warn(f'{self}: {len(words)} of {of} words in a batch, and perhaps others, {long_words(words)}')
        self.words_without_loss += len(words)

    def check_form(self, label: Any, count: int, where: str) -> None:
        if not isinstance(label, (list, tuple)) or not all(isinstance(text, str) for text in label):
            raise ValueError(f'{where}: expected a list of words, one an image, got {type(label).__name__}. Use a '
                             'TextDataset.')
        if len(label) != count:
            raise ValueError(f'{where}: expected words of {how_many(count, "image")}, got {len(label)}.')

    def check_label(self, label: Any, count: int, where: str) -> None:
        self.check_form(label, count, where)
        characters = tuple(self.info.classes or ())
        known = set(characters)
        for text in label if known else ():
            foreign = next((one for one in split(spelled(text, characters), characters) if one not in known), None)
            if foreign is not None:
                raise ValueError(f'{where}: expected words of the {len(known)} characters that it '
                                 f'reads, got {shown(foreign)} in {shown(text)}. Leave such words out: '
                                 'characters of the data set.')


def long_words(words: Sequence[str]) -> str:
    """Describe words that are too long for a reader, for a warning."""
    return (f'as {shown(max(words, key=len))}, need more steps than the network has: their loss is 0, and it '
            'cannot read them. Leave them out by max_length of the data set, or set a greater width.')
