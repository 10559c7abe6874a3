"""The contract of networks that read the word in an image."""
from collections.abc import Sequence
from typing import Any

import torch

from ra_plugin.recognizers.base import Recognizer
from ra_plugin.recognizers.characters import spelled, split
from ra_plugin.recognizers.facts import Outputs
from ra_plugin.utils.text import how_many, shown


class TextRecognizer(Recognizer):
    """A network that reads one word, or one line, an image; ``info.classes`` are its characters.

    A label batch is a list of N strings of those characters, in any Unicode form.
    """

    task = 'text'

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
