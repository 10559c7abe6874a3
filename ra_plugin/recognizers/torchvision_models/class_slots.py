"""The classes of torchvision's detectors, which count the background, and ids that COCO gave to no class."""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

_UNUSED = 'N/A'  # 11 of COCO's 90


@dataclass(frozen=True)
class ClassSlots:
    """The place of each class in a detector's answers, in the order of the classes.

    Class 0 of every detector of torchvision is the background; of those with one sigmoid per class, FCOS and RetinaNet,
    nothing is ever of it. The first class here is 1 there.

    Args:
        count: Number of the network's classes, with the background.
        places: Their number in the network.
        names: Their names, where known.
    """

    count: int
    places: tuple[int, ...]
    names: tuple[str, ...] | None

    @classmethod
    def of(cls, count: int, categories: Sequence[str]) -> 'ClassSlots':
        """Return the classes of a network: those in its weights' record, if that has as many, else all numbers from 1.
        """
        if count != len(categories):
            return cls(count, tuple(range(1, count)), None)
        places = tuple(place for place in range(1, count) if categories[place] != _UNUSED)
        return cls(count, places, tuple(categories[place] for place in places))

    def to_network(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the network's numbers of classes, long."""
        return labels.new_tensor(self.places, dtype=torch.long)[labels.long()]

    def from_network(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the classes of the network's numbers, -1 for those of no class."""
        table = labels.new_full((self.count,), -1)
        table[list(self.places)] = torch.arange(len(self.places), device=labels.device)
        return table[labels]


def count_classes(model: Any) -> int:
    """Return the number of a detector's classes, with the background."""
    if hasattr(model, 'roi_heads'):
        return model.roi_heads.box_predictor.cls_score.out_features
    head = model.head.classification_head
    return head.num_columns if has_softmax(model) else head.num_classes


def has_softmax(model: Any) -> bool:
    """True for SSD, whose head scores all classes and the background together."""
    return not hasattr(model, 'roi_heads') and hasattr(model.head.classification_head, 'num_columns')
