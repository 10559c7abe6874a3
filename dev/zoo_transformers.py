"""The models of transformers: each class with a small config, random weights and its family's image processor."""
import tempfile
from collections.abc import Iterator

import torch
from torch import nn

from ra_plugin.recognizers import Recognizer, TransformersRecognizer
from ra_plugin.recognizers.facts import TaskError
from ra_plugin.utils.optional import require

_PARTS = ('IMAGE_CLASSIFICATION', 'OBJECT_DETECTION', 'SEMANTIC_SEGMENTATION', 'UNIVERSAL_SEGMENTATION')
_PROCESSORS = {  # of published models of families for which transformers lists none, or one for another task
    'Dinov2WithRegisters': 'BitImageProcessor', 'HGNetV2': 'ConvNextImageProcessor', 'DFine': 'RTDetrImageProcessor',
    'DabDetr': 'ConditionalDetrImageProcessor', 'RTDetrV2': 'RTDetrImageProcessor',
    'DonutSwin': 'ViTImageProcessor',  # Swin's: Donut's makes pages of 2560x1920 pixels, which it does not classify
}
_LAYERS = 4  # of classifiers, at most: all of them are alike
_BEIT = {'num_hidden_layers': 4, 'out_indices': [1, 2, 3, 4]}  # the default has no output for a segmenter
_EOMT = {'num_hidden_layers': 6, 'image_size': 160}
_B0 = {'width_coefficient': 1.0, 'depth_coefficient': 1.0, 'hidden_dim': 1280, 'image_size': 224}  # the default is B7
_SETTINGS: dict[str, dict] = {
    'BeitForSemanticSegmentation': _BEIT, 'Data2VecVisionForSemanticSegmentation': _BEIT,
    'EfficientNetForImageClassification': _B0,
    'EomtDinov3ForUniversalSegmentation': _EOMT, 'EomtForUniversalSegmentation': _EOMT,
    'LwDetrForObjectDetection': {'projector_scale_factors': [1.0]},  # none by default
    'Sapiens2ForSemanticSegmentation': {  # no layers of a head by default
        'num_hidden_layers': 4, 'head_config': {'upsample_out_channels': [64, 64], 'conv_out_channels': [64]}},
}


def model_names() -> list[str]:
    """Return the names of the classes of classifiers, detectors and segmenters."""
    return sorted(cls.__name__ for cls in _classes())


def build(name: str) -> Recognizer:
    """Build a recognizer of a class; detectors and segmenters take images as they come, which are small here.

    Raises:
        TaskError: The class is no recognizer of images.
    """
    transformers = require('transformers', 'zoo')
    cls = next(cls for cls in _classes() if cls.__name__ == name)
    own = transformers.IMAGE_PROCESSOR_MAPPING.get(cls.config_class, None) or {}
    chosen = _PROCESSORS.get(name.partition('For')[0])
    processor = getattr(transformers, chosen) if chosen else own.get('torchvision')
    if processor is None:
        raise TaskError(f'zoo({name}): transformers has no image processor in torch for it.')
    is_classifier = 'ForImageClassification' in name
    settings = _SETTINGS.get(name, {})
    config = cls.config_class(**settings)
    if is_classifier and not settings and isinstance(getattr(config, 'num_hidden_layers', None), int):
        config = cls.config_class(num_hidden_layers=min(config.num_hidden_layers, _LAYERS))
    tower = getattr(config, 'vision_config', None)
    if tower is not None:
        tower.num_hidden_layers = min(tower.num_hidden_layers, _LAYERS)
    config.architectures = [name]
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        processor().save_pretrained(folder)
        recognizer = TransformersRecognizer(folder, pretrained=False, **({} if is_classifier else {'resize': None}))
    for module in recognizer.model.modules():
        if isinstance(module, nn.Conv2d):  # with transformers' initial values answers vanish after many of them
            nn.init.kaiming_normal_(module.weight, nonlinearity='linear')
    if is_classifier:
        _measure_batch_norm(recognizer)
    return recognizer


@torch.no_grad()
def _measure_batch_norm(recognizer: Recognizer) -> None:
    """Give batch norm the statistics of a random batch, as a trained one has those of its data, and a weight of 1.

    With transformers' initial values, a mean of 0 and a variance of 1 that nobody measured, numbers shrink from layer
    to layer, by 50 in EfficientNet with its weights of 0.02 at random, so that no answer depends on the image.
    """
    norms = [module for module in recognizer.model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_parameters()
        norm.momentum = 1.0
        norm.train()
    if norms:
        recognizer.outputs(torch.rand(2, 3, *(recognizer.info.input_size or (224, 224))))
    for norm in norms:
        norm.eval()


def _classes() -> Iterator[type]:
    transformers = require('transformers', 'zoo')
    for part in _PARTS:
        for found in getattr(transformers, f'MODEL_FOR_{part}_MAPPING').values():
            yield from found if isinstance(found, (list, tuple)) else (found,)
