"""Any classifier of torchvision."""
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ra_plugin.checkpoint import load_weights
from ra_plugin.library_errors import translated
from ra_plugin.option_types import WeightsPath
from ra_plugin.options import suggestion
from ra_plugin.recognizers.class_names import KeepClasses
from ra_plugin.recognizers.classification import ClassificationRecognizer, Fit, InputSize, resolve_input_size
from ra_plugin.recognizers.facts import RecognizerInfo
from ra_plugin.recognizers.further_arguments import built_with, check_annotated, check_further
from ra_plugin.recognizers.own_preprocessing import OwnPreprocessing, one_image
from ra_plugin.registry import RECOGNIZER_REGISTRY
from ra_plugin.utils.optional import require

_TRANSFORM_INPUT = (
    'the checkpoint does not say how it takes images. Set model_kwargs: {transform_input: true} if it was trained from '
    "torchvision's own weights, {transform_input: false} if from none (weights=None).")
_OWN: dict[str, str] = dict.fromkeys(
    ('weights', 'name'), "is the recognizer's own key. Set it there, beside model_kwargs.")


@RECOGNIZER_REGISTRY.register
class TorchvisionRecognizer(ClassificationRecognizer):
    """A torchvision classifier with the mean, std and size of its weights' own transforms.

    Args:
        model_name: As in ``torchvision.models.list_models()``, e.g. ``mobilenet_v2``.
        weights: Name in torchvision's weights enum, e.g. ``IMAGENET1K_V1`` or ``DEFAULT`` (downloaded once).
        checkpoint: File with the weights instead, ``.safetensors`` or a torch file of tensors.
        input_size: ``'model'``: the weights' crop size; ``~``: images as they come; a number or ``[height, width]``.
        fit: ``'crop'``: resize the shorter side, crop the center; ``'stretch'``: resize both sides; ``'border'``:
            resize the longer side, pad with the mean color.
        feature_layer: Dotted name of the layer whose output is compared by the feature loss. Default: the input of the
            layer that classifies.
        model_kwargs: Further arguments of the model, e.g. ``{num_classes: 100}``. Inception and GoogLeNet need
            ``transform_input`` with a checkpoint: ``true`` where it was trained from torchvision's weights, ``false``
            where from none; and ``aux_logits: false`` where it has no further heads.
        keep_classes: Names or ids of the classes that count, as a list or a text file with one a line, for data with
            fewer classes. Labels are then their places in this list. Default: all.

    Raises:
        ValueError: Unknown model or weights, none chosen, not a classifier, a checkpoint that does not fit, or whose
            ``transform_input`` is not known.

    Attributes:
        published: The name of torchvision's own weights that it has, also where they came as a checkpoint; else None.
    """

    def __init__(self, model_name: str, weights: str | None = None, checkpoint: WeightsPath | None = None,
                 input_size: InputSize = 'model', fit: Fit = 'crop', feature_layer: str | None = None,
                 model_kwargs: Mapping[str, Any] | None = None, keep_classes: KeepClasses | None = None):
        where = f'TorchvisionRecognizer({model_name})'
        models = require('torchvision', where).models
        known = models.list_models(module=models)  # the classifiers; detection and video live in submodules
        if model_name not in known:
            raise ValueError(f'{where}: torchvision has no such classifier.{suggestion(model_name, known)}')
        if (weights is None) == (checkpoint is None):
            raise ValueError(f'{where}: set one of weights (e.g. DEFAULT) and checkpoint: FILE.')
        enum = models.get_model_weights(model_name)
        weights = weights and weights.removeprefix(f'{enum.__name__}.')  # as torchvision's get_weight() has it
        if weights is not None and weights not in enum.__members__:
            raise ValueError(f'{where}: no weights {weights!r}. Known: {", ".join(enum.__members__)}')
        own = _published_as(checkpoint, enum) if checkpoint else None
        # of a checkpoint that is not torchvision's: as the architecture has it
        record = own or enum[weights or 'DEFAULT']
        place = f'{where}: model_kwargs'
        check_further(model_kwargs or {}, _OWN, place)
        with translated(where, f'{torch.hub.get_dir()}/checkpoints'), built_with(model_kwargs or {}, place):
            model = models.get_model(model_name, weights=record if weights else None, **(model_kwargs or {}))
            check_annotated(type(model), model_kwargs or {}, place)
        if checkpoint:
            load_weights(model, checkpoint, where)
            if hasattr(model, 'transform_input') and 'transform_input' not in (model_kwargs or {}):
                if own is None:
                    raise ValueError(f'{where}: {_TRANSFORM_INPUT}')
                model.transform_input = True  # as torchvision sets it with its own weights
        transforms = record.transforms()
        categories = tuple(record.meta['categories'])
        other_head = (model_kwargs or {}).get('num_classes', len(categories)) != len(categories)
        crop = transforms.crop_size[0]
        super().__init__(model, RecognizerInfo(
            name=model_name, task='classification', classes=None if other_head else categories,
            mean=tuple(transforms.mean), std=tuple(transforms.std),
            input_size=resolve_input_size(input_size, (crop, crop), where),
            interpolation=transforms.interpolation.value, source=checkpoint or f'torchvision {weights}'),
            fit, feature_layer, keep_classes)
        self.published = own.name if own else weights

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
        output = super().logits(images)
        return output if isinstance(output, torch.Tensor) else output.logits  # Inception and GoogLeNet with extra heads


def _published_as(checkpoint: str, enum: Any) -> Any:
    """Return torchvision's own weights that a file holds, by the hash in their addresses; None for any others."""
    if not Path(checkpoint).is_file():
        return None  # the loader says so
    digest = hashlib.sha256()
    with open(checkpoint, 'rb') as file:
        while part := file.read(2 ** 20):
            digest.update(part)
    named = {member: re.search(r'-([0-9a-f]{8,})\.pth$', member.url) for member in enum}
    return next((member for member, match in named.items() if match and digest.hexdigest().startswith(match[1])), None)
