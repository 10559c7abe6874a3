"""Detectors that are called as torchvision's are: with a list of images, and one of targets for the losses."""
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from ra_plugin.recognizers.class_slots import ClassSlots
from ra_plugin.recognizers.detection import DetectionLabel, DetectionRecognizer, counted
from ra_plugin.recognizers.frozen.loss_mode import LossMode
from ra_plugin.recognizers.networks import widened
from ra_plugin.recognizers.size_errors import about_size
from ra_plugin.utils.random_streams import seeded

_MASK_THRESHOLD = 0.5


class ListDetector(DetectionRecognizer):
    """A detector whose network takes a list of images ``(3, H, W)`` and gives a mapping for each.

    In inference mode that has ``boxes`` ``(K, 4)``, xyxy in pixels, ``labels`` ``(K,)``, ``scores`` ``(K,)`` and where
    it has them ``masks`` ``(K, 1, H, W)``, best first. In training mode it takes targets of ``boxes``, ``labels`` and
    ``masks``, too, and gives its losses by name.

    Its loss is that of training, with batch norm and dropout in inference mode. Random sampling, of anchors and
    proposals, starts from the same seed in each call. Boxes to ignore are left out.

    Attributes:
        slots: Its classes.
        seed: Seed of the sampling.
        wants_masks: Its targets have masks.
    """

    slots: ClassSlots
    seed: int = 0
    wants_masks = False
    _loss_mode: LossMode

    def fed(self, images: torch.Tensor) -> torch.Tensor:
        """Return images as the network takes them, ``(N, 3, H, W)``; boxes are in their pixels."""
        return self.cast(images)

    def autocast(self, images: torch.Tensor) -> torch.autocast:
        if self.autocast_to is None and self.dtype in (torch.bfloat16, torch.float16):  # weights, but boxes are not
            return torch.autocast(images.device.type, self.dtype)
        return super().autocast(images)

    @contextlib.contextmanager
    def _calling(self, images: torch.Tensor) -> Iterator[None]:
        with about_size(images, str(self), ask=self._found), self.autocast(images):
            yield

    def _found(self, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        return self.model(list(self.fed(images)))

    def loss(self, images: torch.Tensor, label: DetectionLabel) -> dict[str, torch.Tensor]:
        """Return the detector's own training loss, term by term, each a scalar over the batch."""
        self.check_label(label, len(images), str(self))
        sizes = self.sizes(images, label)
        targets = self.targets(label, sizes, images.device)
        inputs = [image[:, :height, :width] for image, (height, width) in zip(self.fed(images), sizes, strict=True)]
        with self._calling(images), seeded(self.seed, images.device), self._loss_mode.on():
            return widened(self.model(inputs, targets))

    def targets(self, label: DetectionLabel, sizes: Sequence[tuple[int, int]], device: torch.device,
                ) -> list[dict[str, torch.Tensor]]:
        """Return the labels of images of these sizes, (height, width), as the network takes them in training mode."""
        return [self._target(item, size, device) for item, size in zip(label, sizes, strict=True)]

    def _target(self, item: Mapping[str, Any], size: tuple[int, int], device: torch.device) -> dict[str, torch.Tensor]:
        boxes = item['boxes'].to(torch.promote_types(self.dtype, torch.float32))
        ratios = [after / before for after, before in zip(self.resized(*size), size, strict=True)][::-1]
        used = counted({**item, 'boxes': boxes * boxes.new_tensor(ratios * 2)})
        target = {'boxes': boxes[used].to(device), 'labels': self.slots.to_network(item['labels'][used]).to(device)}
        if self.wants_masks:
            target['masks'] = self.masks_of(item, size)[used].to(device, torch.uint8)
        return target

    @torch.no_grad()
    def predict(self, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        """Return for each image ``{'boxes': (K, 4) xyxy in its pixels, 'labels': (K,), 'scores': (K,)}``, best first.

        A network with masks adds ``'masks'``, ``(K, H, W)`` bool, of the probabilities of 0.5 and more.
        """
        with self._calling(images):
            return [self._decoded(found) for found in self._found(images)]

    def _decoded(self, found: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        labels = self.slots.from_network(found['labels'])
        known = labels >= 0
        objects = {'boxes': found['boxes'][known], 'labels': labels[known], 'scores': found['scores'][known]}
        if 'masks' in found:
            objects['masks'] = found['masks'][known, 0] >= _MASK_THRESHOLD
        return widened(objects)
