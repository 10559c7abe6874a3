"""Recognizers of libraries, model files, services or your own: one contract."""
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ra_plugin.options import OptionError
from ra_plugin.recognizers.base import Recognizer
from ra_plugin.recognizers.blackbox.blackbox_recognizer import BlackBoxRecognizer
from ra_plugin.recognizers.classification import ClassificationRecognizer
from ra_plugin.recognizers.ctc_recognizer import CTCRecognizer
from ra_plugin.recognizers.doctr_recognizer import DoctrRecognizer
from ra_plugin.recognizers.ensemble_recognizer import EnsembleRecognizer
from ra_plugin.recognizers.facts import RecognizerInfo
from ra_plugin.recognizers.file.onnx_recognizer import OnnxRecognizer
from ra_plugin.recognizers.file.tflite_recognizer import TFLiteRecognizer
from ra_plugin.recognizers.module_detector import ModuleDetector
from ra_plugin.recognizers.module_recognizer import ModuleRecognizer, ModuleTask
from ra_plugin.recognizers.open_clip_models.recognizer import OpenClipRecognizer
from ra_plugin.recognizers.openmmlab.mmdet_recognizer import MMDetRecognizer
from ra_plugin.recognizers.openmmlab.mmseg_recognizer import MMSegRecognizer
from ra_plugin.recognizers.plain_network import as_recognizer
from ra_plugin.recognizers.random_weights import build_frozen
from ra_plugin.recognizers.timm_recognizer import TimmRecognizer
from ra_plugin.recognizers.torchvision_models.base import TorchvisionRecognizer
from ra_plugin.recognizers.transformers_recognizer import TransformersRecognizer
from ra_plugin.recognizers.ultralytics_models.classifier import UltralyticsClassifier
from ra_plugin.recognizers.ultralytics_models.detector import UltralyticsDetector
from ra_plugin.recognizers.ultralytics_models.ultralytics_recognizer import UltralyticsRecognizer
from ra_plugin.registry import RECOGNIZER_REGISTRY

__all__ = [
    'BlackBoxRecognizer', 'CTCRecognizer', 'ClassificationRecognizer', 'DoctrRecognizer', 'EnsembleRecognizer',
    'MMDetRecognizer', 'MMSegRecognizer', 'ModuleDetector', 'ModuleRecognizer', 'OnnxRecognizer', 'OpenClipRecognizer',
    'Recognizer', 'RecognizerInfo', 'TFLiteRecognizer', 'TimmRecognizer', 'TorchvisionRecognizer',
    'TransformersRecognizer', 'UltralyticsClassifier', 'UltralyticsDetector', 'UltralyticsRecognizer',
    'build_recognizer'
]


def build_recognizer(opt: Mapping[str, Any] | Recognizer | nn.Module, where: str = 'recognizer',
                     fold_batch_norm: bool = True, mean: Sequence[float] | None = None,
                     std: Sequence[float] | None = None, learns: bool = False, task: ModuleTask | None = None,
                     output: str | int | None = None) -> Recognizer:
    """Build a frozen recognizer from its options; one that is built already is returned as it is.

    Building leaves the random streams as they were, so that a run with a recognizer starts from the weights, and draws
    the data, of the same run without one. Random weights are the same each time, see `build_frozen`.

    Args:
        opt: ``{'type': 'TimmRecognizer', 'model_name': 'resnet18', 'pretrained': True}``; or a network of your own,
            which is copied, with ``mean`` and ``std``, and ``task`` and ``output`` where it is no classifier.
        where: Place in the option file, for messages.
        fold_batch_norm: Make batch norm part of the convolutions: faster, and the same answers within rounding.
        mean: Mean that a network of your own was trained with, RGB on the ``[0, 1]`` scale.
        std: Its standard deviation, likewise.
        learns: Draw random weights from torch's random stream, as those of a network that is trained.
        task: Task of a network of your own, see `ModuleRecognizer`. Default: a classifier.
        output: The part of its answer that counts, see `ModuleRecognizer`.

    Raises:
        OptionError: Unknown type or key, missing key, value of the wrong type.
    """
    own = {'mean': mean, 'std': std, 'task': task, 'output': output}
    if isinstance(opt, Recognizer | Mapping) and any(value is not None for value in own.values()):
        names = 'mean and std' if task is None and output is None else 'mean, std, task and output'
        raise OptionError(f'{where}: {names} go with a network of your own. Set those of a recognizer in its block.')
    if isinstance(opt, Recognizer):
        return opt
    with torch.random.fork_rng(devices=[]):
        recognizer = (as_recognizer(opt, where, **own) if isinstance(opt, nn.Module) else
                      RECOGNIZER_REGISTRY.build(opt, where) if learns else build_frozen(opt, where))
    if fold_batch_norm:
        recognizer.fold_batch_norm()
    return recognizer
