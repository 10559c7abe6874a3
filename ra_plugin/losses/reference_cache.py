"""What a frozen recognizer answers on clean images, kept: each of them costs one pass, however often it comes back."""
from collections.abc import Callable

import torch

from ra_plugin.recognizers import Recognizer
from ra_plugin.recognizers.base import Outputs

_LIMIT = 2 ** 30  # bytes in all: 200,000 answers of 1000 classes
_OVERHEAD = 1024  # bytes that keeping an answer takes besides its numbers
Key = tuple[int, ...]


class ReferenceCache:
    """Answers by what is in the images, so that crops and flips are images of their own, whatever data set made them.

    An answer that was computed among other images can differ from a new one in its last bits: a run that is resumed,
    with an empty cache, is then not the same bit for bit. The recognizers must stay as they are.

    Args:
        limit: Bytes of answers that are kept, in the memory of the computer and of this process. What comes after them
            is asked for each time.
    """

    def __init__(self, limit: int = _LIMIT):
        self._room = limit
        self._answers: dict[tuple[Recognizer, Key], Outputs] = {}
        self._multipliers = torch.empty(0)

    def __call__(self, recognizer: Recognizer, images: torch.Tensor, ask: Callable[[torch.Tensor], Outputs]) -> Outputs:
        """``ask(images)``, asked for those images alone of which the recognizer's answers are not known.

        Args:
            recognizer: Whose answers these are.
            images: ``(N, 3, H, W)``.
            ask: Gives tensors ``(N, ...)`` by name, in which images do not depend on each other.
        """
        keys = [(recognizer, key) for key in self._keys(images)]
        known = {key: self._answers[key] for key in keys if key in self._answers}
        missing = [i for i, key in enumerate(keys) if key not in known]
        found = ask(images[missing] if known else images) if missing else {}
        if missing and (known or self._room > 0):
            answers = {name: value.cpu() for name, value in found.items()}  # at once: a GPU waits for each copy
            for place, i in enumerate(missing):
                known[keys[i]] = {name: value[place] for name, value in answers.items()}
                self._keep(keys[i], known[keys[i]])
        if len(missing) == len(keys):
            return found
        return {name: torch.stack([known[key][name] for key in keys]).to(images.device) for name in known[keys[0]]}

    def _keep(self, key: tuple[Recognizer, Key], answer: Outputs) -> None:
        size = _OVERHEAD + sum(value.nbytes for value in answer.values())
        if key in self._answers:
            return
        if size > self._room:
            self._room = 0  # full
        else:
            self._room -= size
            self._answers[key] = {name: value.clone() for name, value in answer.items()}  # not a view of the batch

    def _keys(self, images: torch.Tensor) -> list[Key]:
        """Two sums of the images' 32-bit words, each times a random odd number, modulo 2^64.

        Two images that differ have the same two with a probability of 2^-64 or less (multilinear hashing).
        """
        numbers = images if images.element_size() >= 4 else images.float()
        words = numbers.contiguous().view(torch.int32).flatten(1).long()
        if self._multipliers.shape[-1] != words.shape[1] or self._multipliers.device != words.device:
            generator = torch.Generator().manual_seed(0)
            drawn = torch.randint(-2 ** 63, 2 ** 63 - 1, (2, words.shape[1]), generator=generator)
            self._multipliers = (drawn | 1).to(words.device)
        sums = torch.stack([(words * multipliers).sum(1) for multipliers in self._multipliers], 1)
        return [(*sums_of_one, *images.shape[1:]) for sums_of_one in sums.tolist()]
