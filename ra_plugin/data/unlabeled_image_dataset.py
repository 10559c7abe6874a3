"""Clean images without labels, degraded on the fly: ``{lq, gt, lq_path, gt_path}``."""
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ra_plugin.data.files import IMAGE_SUFFIXES, check_folder, files_below
from ra_plugin.data.image_file import read_image
from ra_plugin.data.spatial_label_dataset import SpatialLabelDataset, SpatialLabelOptions
from ra_plugin.options import OptionError


@dataclass(frozen=True, kw_only=True)
class UnlabeledImageOptions(SpatialLabelOptions):
    """Options of an :class:`UnlabeledImageDataset` block.

    Attributes:
        dataroot_gt: Folder of the clean images, at any depth; hidden files are ignored.
    """


class UnlabeledImageDataset(SpatialLabelDataset):
    """Data set of clean images of any size and their degraded images, without labels.

    Recognizers are scored on it by the agreement of their predictions with those on the clean images.

    Args:
        opt: The dataset's block of a BasicSR option file; keys as in :class:`UnlabeledImageOptions`.

    Shape:
        An item is as in :class:`DegradedImageDataset`, without ``label``.
    """

    options_type = UnlabeledImageOptions
    options: UnlabeledImageOptions
    gives_labels = False
    classes = num_classes = None

    def __init__(self, opt: Mapping[str, Any]):
        super().__init__(opt)
        root = self.options.dataroot
        check_folder(root, f'{self.where}.dataroot_gt')
        self.paths = [os.path.join(root, path) for path in sorted(files_below(root, IMAGE_SUFFIXES))]
        if not self.paths:
            raise OptionError(f"{self.where}.dataroot_gt: expected images in '{root}', got none. Known suffixes: "
                              f'{", ".join(IMAGE_SUFFIXES)}')
        self.keep_part()

    def load(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, None]:
        image = read_image(self.paths[index])
        return self.draw(image.size, self.paths[index], rng).image(image), None

    def __getitem__(self, index: int) -> dict[str, Any]:
        return _without_label(super().__getitem__(index))

    def collate_fn(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Collate items as in :class:`SpatialLabelDataset`, without ``label``."""
        return _without_label(super().collate_fn([{**item, 'label': None} for item in items]))

    def collate_labels(self, labels: Sequence[None], height: int, width: int) -> None:
        return None


def _without_label(item: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key != 'label'}
