"""Any classifier of timm (Wightman, PyTorch Image Models)."""
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch

from ra_plugin.checkpoint import load_weights
from ra_plugin.recognizers.base import RecognizerInfo
from ra_plugin.recognizers.classification import ClassificationRecognizer, Fit, InputSize, resolve_input_size
from ra_plugin.recognizers.timm_models import create_model, short_name, weights_of
from ra_plugin.registry import RECOGNIZER_REGISTRY
from ra_plugin.utils.optional import require


@RECOGNIZER_REGISTRY.register
class TimmRecognizer(ClassificationRecognizer):
    """A timm classifier with timm's own record of mean, std, size and interpolation.

    Args:
        model_name: As in ``timm.list_models()``, with or without a tag: ``resnet18.a1_in1k``; ``hf-hub:OWNER/NAME``, or
            ``local-dir:FOLDER`` with a ``config.json``, which brings class names, mean and std.
        pretrained: Take timm's weights (downloaded once by timm). ``False`` without a checkpoint: random weights.
        checkpoint: File with the weights, ``.safetensors`` or a torch file of tensors.
        input_size: ``'model'``: the size in timm's record; ``~``: images as they come; a number or ``[height, width]``.
        fit: ``'crop'`` | ``'stretch'``, see `Recognizer`.
        model_kwargs: Further arguments of ``timm.create_model``, e.g. ``{num_classes: 100}``.

    Raises:
        ImportError: timm is not installed.
        ValueError: Unknown model, no weights chosen, or a checkpoint that does not fit.
    """

    def __init__(self, model_name: str, pretrained: bool | None = None, checkpoint: str | None = None,
                 input_size: InputSize = 'model', fit: Fit = 'crop', model_kwargs: Mapping[str, Any] | None = None):
        where = f'TimmRecognizer({model_name})'
        timm = require('timm', where)
        if pretrained is None and checkpoint is None:
            raise ValueError(f'{where}: no weights. Set pretrained: true, or checkpoint: FILE.')
        if pretrained and checkpoint:
            raise ValueError(f'{where}: both pretrained and checkpoint are set. Keep one.')
        model = create_model(timm, model_name, bool(pretrained), model_kwargs or {}, where)
        if checkpoint:
            load_weights(model, checkpoint, where)
        config = timm.data.resolve_data_config(model=model)
        mode = config['interpolation'] if config['interpolation'] in ('bilinear', 'bicubic') else 'bilinear'
        super().__init__(model, RecognizerInfo(
            name=short_name(model_name), task='classification',
            classes=None if 'num_classes' in (model_kwargs or {}) else _class_names(timm, model.pretrained_cfg),
            mean=tuple(config['mean']), std=tuple(config['std']),
            input_size=resolve_input_size(input_size, tuple(config['input_size'][1:]), where),
            interpolation=mode,
            source=checkpoint or (weights_of(model, model_name) if pretrained else 'random weights')), fit)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """timm's ``forward_features``: ``(N, C, H, W)``, ``(N, H, W, C)`` or ``(N, L, C)``, as the model has it."""
        return self.model.forward_features(self.prepare(images))


def _class_names(timm: ModuleType, config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The names in timm's record; where it has none and 1000 classes, ImageNet's, the first of each class."""
    if config.get('label_names'):
        return tuple(config['label_names'])
    if config.get('num_classes') != 1000:
        return None
    return tuple(name.partition(',')[0] for name in timm.data.ImageNetInfo().label_descriptions())
