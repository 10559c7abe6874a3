"""Cache of a frozen recognizer's outputs on clean images, so that an image costs only one forward pass."""
from collections.abc import Callable

import torch

from ra_plugin.recognizers import Recognizer
from ra_plugin.recognizers.facts import Outputs

_LIMIT = 2 ** 30  # bytes in total: 200,000 outputs of 1000 classes
_OVERHEAD = 1024  # bytes per cached output besides its numbers
Key = tuple[int, ...]


class ReferenceCache:
    """Cache of outputs, keyed by the content of the images, so that crops and flips are different images.

    An output computed in another batch can differ in its last bits: a resumed run, which starts with an empty cache,
    is then not identical bit for bit. The recognizers must not change.

    Args:
        limit: Maximum size in bytes, in CPU memory and per process. Once it is full, outputs for new images are not
            cached.
    """

    def __init__(self, limit: int = _LIMIT):
        self._room = limit
        self._answers: dict[tuple[Recognizer, Key], Outputs] = {}
        self._multipliers = torch.empty(0)

    def __call__(self, recognizer: Recognizer, images: torch.Tensor, ask: Callable[[torch.Tensor], Outputs]) -> Outputs:
        """Return ``ask(images)``, computed only for images that are not cached.

        Args:
            recognizer: Recognizer that computes the outputs.
            images: ``(N, 3, H, W)``.
            ask: Function that returns tensors ``(N, ...)`` by name, in which images do not depend on each other.
        """
        keys = [(recognizer, key) for key in self._keys(images)]
        known = {key: self._answers[key] for key in keys if key in self._answers}
        missing = [i for i, key in enumerate(keys) if key not in known]
        found = ask(images[missing] if known else images) if missing else {}
        if missing and (known or self._room > 0):
            answers = {name: value.cpu() for name, value in found.items()}  # one copy: each waits for the GPU
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
        """Return the keys: two sums of an image's 32-bit words times random odd numbers, modulo 2^64, and its shape.

        Different images have the same sums with a probability of at most 2^-64 (multilinear hashing).
        """
        numbers = images if images.element_size() >= 4 else images.float()
        words = numbers.contiguous().view(torch.int32).flatten(1).long()
        if self._multipliers.shape[-1] != words.shape[1] or self._multipliers.device != words.device:
            generator = torch.Generator().manual_seed(0)
            drawn = torch.randint(-2 ** 63, 2 ** 63 - 1, (2, words.shape[1]), generator=generator)
            self._multipliers = (drawn | 1).to(words.device)
        sums = torch.stack([(words * multipliers).sum(1) for multipliers in self._multipliers], 1)
        return [(*sums_of_one, *images.shape[1:]) for sums_of_one in sums.tolist()]
