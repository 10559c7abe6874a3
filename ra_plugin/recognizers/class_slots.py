"""The classes of detectors that count the background among them, or ids that COCO gave to no class."""
from collections.abc import Sequence
from dataclasses import dataclass

import torch

_UNUSED = 'N/A'  # 11 of COCO's 90


@dataclass(frozen=True)
class ClassSlots:
    """The place of each class in a detector's answers, in the order of the classes.

    Class 0 of every detector of torchvision is the background; of those with one sigmoid per class, FCOS and RetinaNet,
    nothing is ever of it. The first class here is 1 there. Those of transformers have the background, if any, last, and
    it is none of their classes.

    Args:
        count: Number of the network's classes, with a background that comes first.
        places: Their number in the network.
        names: Their names, where known.
    """

    count: int
    places: tuple[int, ...]
    names: tuple[str, ...] | None

    @classmethod
    def of(cls, count: int, categories: Sequence[str] | None, first: int = 1) -> 'ClassSlots':
        """Return the classes of a network: those in its weights' record, if that has as many, else all numbers.

        Args:
            count: Number of the network's classes.
            categories: Their names in the record, if it has any.
            first: The first number that is of a class: 1 after a background.
        """
        if categories is None or count != len(categories):
            return cls(count, tuple(range(first, count)), None)
        places = tuple(place for place in range(first, count) if categories[place] != _UNUSED)
        return cls(count, places, tuple(categories[place] for place in places))

    def to_network(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the network's numbers of classes, long."""
        return labels.new_tensor(self.places, dtype=torch.long)[labels.long()]

    def from_network(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the classes of the network's numbers, -1 for those of no class."""
        table = labels.new_full((self.count,), -1)
        table[list(self.places)] = torch.arange(len(self.places), device=labels.device)
        return table[labels]
