"""A segmenter of any library whose network gives logits of each pixel, at any resolution."""
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ra_plugin.recognizers.classification import Fit
from ra_plugin.recognizers.facts import DETECTORS, IGNORED, Outputs, RecognizerInfo, TaskError
from ra_plugin.recognizers.feature_layers import captured, check_feature_layer, dense_classifying_layer
from ra_plugin.recognizers.first_answer import first_answer
from ra_plugin.recognizers.frozen.padding import repeat_edge
from ra_plugin.recognizers.frozen.resizing import judging, place_of
from ra_plugin.recognizers.logits_check import check_logits
from ra_plugin.recognizers.networks import unwrapped, widened
from ra_plugin.recognizers.segmentation import SegmentationRecognizer
from ra_plugin.utils.text import how_many

Box = tuple[int, int, int, int]  # top, left, height, width of the image within what the network is given


class DenseLogitsRecognizer(SegmentationRecognizer):
    """A network whose forward pass gives logits ``(N, C, h, w)``.

    One channel is the logit of a class against the background: class 1 against class 0. The loss is the cross-entropy
    at the resolution of the labels, to which logits are resized bilinearly; ignored pixels do not count.

    Args:
        fit: With an ``info.input_size`` ``'stretch'`` or ``'border'``; a crop would not show all that has labels.
        feature_layer: Dotted name of the layer whose output is `features`. Default: the input of the last layer with an
            output for each class.
        divisor: Height and width are padded to multiples of it, at the bottom and at the right, by the last row and
            column.

    Raises:
        TaskError: It does not give such logits.
    """

    def __init__(self, model: nn.Module, info: RecognizerInfo, fit: Fit = 'crop', feature_layer: str | None = None,
                 divisor: int = 1):
        super().__init__(model, info, fit)
        if fit == 'crop' and info.input_size:
            raise ValueError(f"{self}: fit: expected 'stretch' or 'border', got 'crop', which cuts off what labels "
                             'are of.')
        check_feature_layer(model, feature_layer, str(self))
        self.divisor, self.feature_layer = divisor, feature_layer
        outputs = self._count_outputs()
        self.info = replace(self.info, num_classes=max(outputs, 2))
        if info.classes and len(info.classes) != self.info.num_classes:
            raise ValueError(f'{self}: {how_many(len(info.classes), "class name")} for a network that has '
                             f'{self.info.num_classes}{" with the background" if outputs == 1 else ""}.')
        self._head = dense_classifying_layer(self.model, self._ask_once, outputs)

    def _count_outputs(self) -> int:
        answer = first_answer(self, self._ask_once)
        if not isinstance(answer, torch.Tensor) or answer.dim() != 4:
            got = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
            raise TaskError(f'{self}: expected logits (N, C, h, w) from the network, got {got}. Is it a segmenter? '
                            f'Name the part that is (output: logits). A detector is for {DETECTORS}.')
        check_logits(answer.movedim(1, 3).flatten(0, 2), str(self))
        return answer.shape[1]

    @torch.no_grad()
    def _ask_once(self) -> Any:
        prepared, _ = self._padded(self.mean.new_full((1, 3, *(self.info.input_size or (64, 64))), 0.5))
        with self.autocast(prepared):
            return self.read(self.model(prepared))

    def _padded(self, images: torch.Tensor) -> tuple[torch.Tensor, Box]:
        """Return what the network is given, and where the images are in it."""
        original = images.shape[-2], images.shape[-1]
        prepared = self.prepare(images)
        size = self.info.input_size
        box = place_of(original, size, self.fit) if size else (0, 0, *original)
        rows, columns = prepared.shape[-2:]
        return repeat_edge(prepared, -rows % self.divisor, -columns % self.divisor), box

    def _logits(self, images: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int], Box]:
        """Return the logits of what the network is given, its size, and where the images are in it."""
        prepared, box = self._padded(images)
        with self.autocast(images):
            logits = widened(self.read(self.model(prepared)))
        if logits.shape[1] == 1:
            logits = torch.cat([torch.zeros_like(logits), logits], 1)
        return logits, (prepared.shape[-2], prepared.shape[-1]), box

    def pixel_logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits of each pixel of the images as they come, ``(N, num_classes, H, W)``."""
        logits, whole, (top, left, height, width) = self._logits(images)
        if (height, width) != whole:
            logits = _resized(logits, whole)[..., top:top + height, left:left + width]
        return _resized(logits, (images.shape[-2], images.shape[-1]))

    def outputs(self, images: torch.Tensor, reference: Outputs | None = None) -> Outputs:
        """Return ``{'logits': (N, C, h, w)}`` at the network's resolution, without what is padded."""
        logits, whole, (top, left, height, width) = self._logits(images)
        rows, columns = logits.shape[-2:]
        above, below = top * rows // whole[0], -(-(top + height) * rows // whole[0])
        before, after = left * columns // whole[1], -(-(left + width) * columns // whole[1])
        return {'logits': logits[..., above:below, before:after]}

    def loss(self, images: torch.Tensor, label: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return ``{'cross_entropy': ()}``, the mean over the pixels that are not ignored; 0 where there are none."""
        self.check_label(label, len(images), str(self))
        self.check_label_size(label, images)
        label = label.long().to(images.device)
        values = F.cross_entropy(self.pixel_logits(images), label, ignore_index=IGNORED, reduction='sum')
        return {'cross_entropy': values / (label != IGNORED).sum().clamp_min(1)}

    @torch.no_grad()
    def predict(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        with judging():
            return {'masks': self.pixel_logits(images).argmax(1)}

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the output of ``feature_layer``; by default the input of the layer that classifies."""
        layer = self.feature_layer or self._head
        if layer is None:
            raise ValueError(f'{self}: no layer to take features from. Name one: feature_layer.')
        prepared, _ = self._padded(images)
        with self.autocast(images):
            return widened(captured(unwrapped(self.model), layer, prepared, str(self), not self.feature_layer))

    def call_layers(self, images: torch.Tensor) -> Any:
        prepared, _ = self._padded(images)
        with self.autocast(images):
            return unwrapped(self.model)(prepared)


def _resized(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    if tuple(logits.shape[-2:]) == size:
        return logits
    return F.interpolate(logits, size, mode='bilinear', align_corners=False)
