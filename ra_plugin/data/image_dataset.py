"""ImageDataset: what functions here expect of a data set, for type checkers alone.

At run time it is torch's ``Dataset``: BasicSR's data sets, and a user's own, have these without deriving from it.
"""
from typing import TYPE_CHECKING, cast

from torch.utils.data import DataLoader, Dataset

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    class ImageDataset(Dataset[dict[str, Any]]):
        opt: Mapping[str, Any]
        options: Any  # those of ours
        num_classes: int | None

        def __len__(self) -> int: ...
else:
    ImageDataset = Dataset


def dataset_of(loader: DataLoader) -> 'ImageDataset':
    """Return the data set that a loader reads from."""
    return cast('ImageDataset', loader.dataset)
