"""The contract of segmenters, of any library."""
from typing import Any

import torch

from ra_plugin.recognizers.base import Recognizer
from ra_plugin.recognizers.facts import IGNORED, Outputs
from ra_plugin.utils.text import how_many


class SegmentationRecognizer(Recognizer):
    """A network that gives each pixel a class.

    A label batch is ``(N, H, W)``, whole numbers in ``[0, num_classes)``; 255 is ignored. It has the size of the images
    as they come; the recognizer resizes both.
    """

    task = 'segmentation'

    def loss(self, images: torch.Tensor, label: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the segmenter's own training loss, term by term, each a scalar over the batch.

        Raises:
            ValueError: As `check_label` and `check_label_size`.
        """
        self._has_no('loss')

    def outputs(self, images: torch.Tensor, reference: Outputs | None = None) -> Outputs:
        """Return ``{'logits': (N, C, h, w)}`` at any resolution; a single class as two, itself and the background."""
        self._has_no('outputs')

    def predict(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return ``{'masks': (N, H, W) long}``, the class of each pixel of the images as they come; no gradient."""
        self._has_no('predict')

    def check_label(self, label: Any, count: int, where: str) -> None:
        if not isinstance(label, torch.Tensor) or label.dim() != 3 or label.is_floating_point():
            got = tuple(label.shape) if isinstance(label, torch.Tensor) else type(label).__name__
            raise ValueError(f'{where}: expected label maps (N, H, W) of whole numbers, got {got}. '
                             'Use a SegmentationDataset.')
        if len(label) != count:
            raise ValueError(f'{where}: expected labels of {how_many(count, "image")}, got {len(label)}.')
        if label.device.type == 'cpu':
            used = label[label != IGNORED]
            if used.numel() and not 0 <= int(used.min()) <= int(used.max()) < self.info.num_classes:
                raise ValueError(f'{where}: expected labels in 0..{self.info.num_classes - 1}, or {IGNORED} (ignored), '
                                 f'got {int(used.min())}..{int(used.max())}. Are these the classes it was trained on?')

    def check_label_size(self, label: torch.Tensor, images: torch.Tensor) -> None:
        """Check that label maps have the size of the images.

        Raises:
            ValueError: They have another one.
        """
        if label.shape[-2:] != images.shape[-2:]:
            raise ValueError(f'{self}: expected labels of the size of the images, {tuple(images.shape[-2:])}, got '
                             f'{tuple(label.shape[-2:])}.')
