"""The contract of detectors, of any library."""
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ra_plugin.recognizers.base import Recognizer
from ra_plugin.recognizers.facts import Outputs
from ra_plugin.utils.text import how_many

DetectionLabel = Sequence[Mapping[str, Any]]


class DetectionRecognizer(Recognizer):
    """A network that finds objects: boxes with a class and a score, and masks where it has them.

    A label batch is a list with one mapping an image: ``boxes`` ``(K, 4)``, xyxy in pixels of the image as it comes;
    ``labels`` ``(K,)`` long, in ``[0, num_classes)``; where they are known ``masks`` ``(K, H, W)`` bool, ``ignore``
    ``(K,)`` bool (neither object nor background), and ``size`` (height, width) of the image within a padded batch. An
    image may have no object. Boxes without area are left out.
    """

    task = 'detection'

    def loss(self, images: torch.Tensor, label: DetectionLabel) -> dict[str, torch.Tensor]:
        """Return the detector's own training loss, term by term, each a scalar over the batch.

        Raises:
            ValueError: As `check_label`.
        """
        self._has_no('loss')

    def outputs(self, images: torch.Tensor, reference: Outputs | None = None) -> Outputs:
        """Return the answers at all places (anchors, points, queries, proposals) before boxes are chosen.

        Returns:
            ``logits`` ``(N, C, M)``, over M places; a sigmoid's logit z as the two logits (z, 0). ``regression``
            ``(N, V)``: the other numbers, such as sides of boxes, weighted by how likely an object is there. Further
            keys as `Recognizer.outputs` has them.
        """
        self._has_no('outputs')

    def predict(self, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        """Return the objects of each image, best first, without gradient.

        Returns:
            For each image ``{'boxes': (K, 4) xyxy in its pixels, 'labels': (K,) long, 'scores': (K,) in [0, 1]}``, and
            ``'masks'`` ``(K, H, W)`` bool where the network has them.
        """
        self._has_no('predict')

    def sizes(self, images: torch.Tensor, label: DetectionLabel) -> list[tuple[int, int]]:
        """Return the (height, width) of each image within a padded batch.

        Raises:
            ValueError: One is larger than the batch, or no size.
        """
        whole = (images.shape[-2], images.shape[-1])
        found: list[tuple[int, ...]] = [tuple(item.get('size', whole)) for item in label]
        for i, size in enumerate(found):
            if len(size) != 2 or not all(1 <= side <= most for side, most in zip(size, whole, strict=True)):
                raise ValueError(f'{self}: image {i}: expected a size (height, width) of at most {whole}, that of the '
                                 f'batch, got {size}.')
        return [(height, width) for height, width in found]

    def masks_of(self, item: Mapping[str, Any], size: tuple[int, int]) -> torch.Tensor:
        """Return the masks of an image's objects, ``(K, H, W)`` of its ``size``, for a loss that needs them.

        Raises:
            ValueError: There are none, or they are smaller than the image.
        """
        if 'masks' not in item:
            raise ValueError(f'{self}: its loss needs masks, and the labels have boxes alone. Give the data set '
                             'with_masks: true.')
        if item['masks'].shape[1] < size[0] or item['masks'].shape[2] < size[1]:
            raise ValueError(f'{self}: expected masks of the size of the image, {size}, got '
                             f'{tuple(item["masks"].shape[1:])}.')
        return item['masks'][:, :size[0], :size[1]]

    def check_label(self, label: Any, count: int, where: str) -> None:
        if not isinstance(label, (list, tuple)) or not all(
                isinstance(item, Mapping) and {'boxes', 'labels'} <= set(item) for item in label):
            raise ValueError(f"{where}: expected a list of {{'boxes': (K, 4), 'labels': (K,)}}, one an image, got "
                             f'{type(label).__name__}. Use a DetectionDataset.')
        if len(label) != count:
            raise ValueError(f'{where}: expected labels of {how_many(count, "image")}, got {len(label)}.')
        for i, item in enumerate(label):
            _check_objects(item, self.info.num_classes, f'{where}: image {i}')


def solid_and_ignored(item: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return which objects of an image have an area, and which are neither object nor background, each ``(K,)`` bool.

    A box without area has a loss of NaN.
    """
    boxes, labels = item['boxes'], item['labels']
    ignored = item['ignore'] if 'ignore' in item else torch.zeros_like(labels, dtype=torch.bool)
    return (boxes[:, 2:] > boxes[:, :2]).all(1), ignored


def counted(item: Mapping[str, Any]) -> torch.Tensor:
    """Return which objects of an image count in a loss that knows nothing to ignore, ``(K,)`` bool."""
    solid, ignored = solid_and_ignored(item)
    return solid & ~ignored


def _check_objects(item: Mapping[str, Any], num_classes: int, where: str) -> None:
    boxes, labels = item['boxes'], item['labels']
    if boxes.dim() != 2 or boxes.shape[1] != 4 or labels.shape != boxes.shape[:1]:
        raise ValueError(f'{where}: expected boxes (K, 4) and labels (K,), got {tuple(boxes.shape)} and '
                         f'{tuple(labels.shape)}.')
    for key in ('ignore', 'masks'):
        if key in item and len(item[key]) != len(labels):
            raise ValueError(f"{where}: expected '{key}' of {how_many(len(labels), 'box')}, got "
                             f'{tuple(item[key].shape)}.')
    if labels.device.type == 'cpu' and labels.numel() and not (
            0 <= int(labels.min()) <= int(labels.max()) < num_classes):
        raise ValueError(f'{where}: expected labels in 0..{num_classes - 1}, got {int(labels.min())}..'
                         f'{int(labels.max())}. Are these the classes it was trained on?')
