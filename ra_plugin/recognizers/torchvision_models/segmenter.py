"""Any semantic segmenter of torchvision."""
import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ra_plugin.options import OptionError
from ra_plugin.recognizers.base import Recognizer
from ra_plugin.recognizers.facts import IGNORED, Outputs, RecognizerInfo
from ra_plugin.recognizers.frozen.resizing import resize as resize_images
from ra_plugin.recognizers.networks import widened
from ra_plugin.recognizers.own_preprocessing import OwnPreprocessing, one_image
from ra_plugin.recognizers.resize_option import HasResize, Resize, check_resize, scaled
from ra_plugin.recognizers.segmentation import SegmentationRecognizer
from ra_plugin.recognizers.size_errors import about_size
from ra_plugin.recognizers.torchvision_models.base import TorchvisionRecognizer
from ra_plugin.recognizers.torchvision_models.loading import LoadedNetwork

_AUX_WEIGHT = 0.5  # of the auxiliary head in torchvision's training


class TorchvisionSegmenter(HasResize, TorchvisionRecognizer, SegmentationRecognizer):
    """A torchvision segmenter with the shorter side, mean and std of its weights' own transforms.

    With torchvision's own weights its classes have names: the background and 20 of VOC. Its loss is the criterion of
    torchvision's training: the cross-entropy, and half of that of the auxiliary head where there is one, at the
    resolution of the network's input, to which labels are brought by the nearest pixel.
    """

    can_learn = False
    takes = ('resize',)
    own_resizing = "images resized as its weights' transforms do"

    def start(self, network: LoadedNetwork, name: str, where: str, resize: Resize = 'model') -> None:
        check_resize(resize, where)
        model, transforms = network.model, network.record.transforms()
        count = [layer for layer in model.classifier.modules() if isinstance(layer, nn.Conv2d)][-1].out_channels
        if count < 2:
            raise OptionError(f'{where}: model_kwargs.num_classes: expected 2 or more, since one is the background, '
                              f'got {count}.')
        categories = [category.strip('_') for category in network.record.meta['categories']]
        has_record = network.published is not None and count == len(categories)
        Recognizer.__init__(self, model, RecognizerInfo(
            name=name, task='segmentation', num_classes=count, classes=tuple(categories) if has_record else None,
            mean=tuple(transforms.mean), std=tuple(transforms.std), interpolation=transforms.interpolation.value,
            source=network.source, reduce_zero_label=False if has_record else None))
        self.resize, self._shorter_side = resize, transforms.resize_size[0]

    # ------------------------------------------------------------ images
    def resized(self, height: int, width: int) -> tuple[int, int]:
        if self.resize != 'model':
            return scaled(height, width, self.resize)
        shorter, side = min(height, width), self._shorter_side  # rounded as torchvision's Resize does it
        return side * height // shorter, side * width // shorter

    def own_preprocessing(self) -> OwnPreprocessing:
        return OwnPreprocessing(self.info.mean, self.info.std,
                                one_image(self.record().transforms(), 3) if self.resize == 'model' else None)

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Resize images as `resized` says and normalize them, in the type of the weights; differentiable."""
        images = self.cast(images)
        size = self.resized(images.shape[-2], images.shape[-1])
        if size != tuple(images.shape[-2:]):
            images = resize_images(images, size, 'stretch', self.info.interpolation)
        return super().prepare(images)

    def _answers(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the logits of each head, ``(N, C, h, w)``, at the resolution of the network's input."""
        prepared = self.prepare(images)
        with self._calling(images):
            return widened(dict(self.model(prepared)))

    @contextlib.contextmanager
    def _calling(self, images: torch.Tensor) -> Iterator[None]:
        with about_size(images, str(self), ask=lambda blank: self.model(self.prepare(blank))), self.autocast(images):
            yield

    # ------------------------------------------------------------ answers
    def loss(self, images: torch.Tensor, label: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the cross-entropy ``out``, and half that of the auxiliary head, ``aux``; scalars over the batch.

        Without a pixel that counts they are 0.
        """
        self.check_label(label, len(images), str(self))
        self.check_label_size(label, images)
        answers = self._answers(images)
        size = answers['out'].shape[-2:]
        target = label.to(images.device)
        if target.shape[-2:] != size:  # as Pillow and thus the library's training resizes label maps
            target = F.interpolate(target[:, None].float(), size, mode='nearest-exact')[:, 0]
        target = target.long()
        count = (target != IGNORED).sum().clamp_min(1)
        weights = {'out': 1.0, 'aux': _AUX_WEIGHT}
        return {name: weights[name] * F.cross_entropy(logits, target, ignore_index=IGNORED, reduction='sum') / count
                for name, logits in answers.items()}

    def outputs(self, images: torch.Tensor, reference: Outputs | None = None) -> Outputs:
        """Return ``{'logits': (N, C, h, w)}`` at the resolution of the network's input."""
        return {'logits': self._answers(images)['out']}

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the last stage of the backbone, ``(N, C, h, w)``."""
        prepared = self.prepare(images)
        with self._calling(images):
            features: Any = self.model.backbone(prepared)
            return widened(list(features.values())[-1])

    @torch.no_grad()
    def predict(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return ``{'masks': (N, H, W)}``, the class of each pixel, of logits resized to the images."""
        logits = self._answers(images)['out']
        if logits.shape[-2:] != images.shape[-2:]:
            logits = F.interpolate(logits, images.shape[-2:], mode='bilinear', align_corners=False)
        return {'masks': logits.argmax(1)}
