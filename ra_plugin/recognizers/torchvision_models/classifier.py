"""Any classifier of torchvision."""
from typing import Any

import torch

from ra_plugin.recognizers.class_names import KeepClasses
from ra_plugin.recognizers.classification import ClassificationRecognizer, Fit, InputSize, resolve_input_size
from ra_plugin.recognizers.facts import RecognizerInfo
from ra_plugin.recognizers.own_preprocessing import OwnPreprocessing, one_image
from ra_plugin.recognizers.torchvision_models.base import TorchvisionRecognizer
from ra_plugin.recognizers.torchvision_models.loading import LoadedNetwork
from ra_plugin.utils.optional import require

_TRANSFORM_INPUT = (
    'the checkpoint does not say how it takes images. Set model_kwargs: {transform_input: true} if it was trained from '
    "torchvision's own weights, {transform_input: false} if from none (weights=None).")


class TorchvisionClassifier(TorchvisionRecognizer, ClassificationRecognizer):
    """A torchvision classifier with the mean, std and size of its weights' own transforms."""

    takes = ('input_size', 'fit', 'feature_layer', 'keep_classes')

    def start(self, network: LoadedNetwork, name: str, where: str, input_size: InputSize = 'model', fit: Fit = 'crop',
              feature_layer: str | None = None, keep_classes: KeepClasses | None = None) -> None:
        model = network.model
        if network.is_checkpoint and hasattr(model, 'transform_input') and 'transform_input' not in network.arguments:
            if network.published is None:
                raise ValueError(f'{where}: {_TRANSFORM_INPUT}')
            model.transform_input = True  # as torchvision sets it with its own weights
        transforms = network.record.transforms()
        categories = tuple(network.record.meta['categories'])
        other_head = network.arguments.get('num_classes', len(categories)) != len(categories)
        crop = transforms.crop_size[0]
        ClassificationRecognizer.__init__(self, model, RecognizerInfo(
            name=name, task='classification', classes=None if other_head else categories,
            mean=tuple(transforms.mean), std=tuple(transforms.std),
            input_size=resolve_input_size(input_size, (crop, crop), where),
            interpolation=transforms.interpolation.value, source=network.source), fit, feature_layer,
            keep_classes)

    def own_preprocessing(self) -> OwnPreprocessing:
        known = require('torchvision', str(self)).models.get_model_weights(self.info.name)
        name = self.published or self.info.source.removeprefix('torchvision ')
        is_published = name in known.__members__
        record = known[name if is_published else 'DEFAULT']
        transform = record.transforms(resize_size=record.transforms().crop_size[0])
        measured = record.meta['_metrics'].get('ImageNet-1K', {}).get('acc@1') if is_published else None
        return OwnPreprocessing(tuple(transform.mean), tuple(transform.std),
                                one_image(transform, self.info.channels) if self.info.input_size else None,
                                measured and measured / 100)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        output: Any = super().logits(images)
        return output if isinstance(output, torch.Tensor) else output.logits  # Inception and GoogLeNet with extra heads
