"""A network of your own as a recognizer, with the mean and std that are given for it."""
from collections.abc import Sequence
from typing import Any

from torch import nn

from ra_plugin.options import OptionError
from ra_plugin.recognizers.base import Recognizer
from ra_plugin.recognizers.module_recognizer import ModuleRecognizer, ModuleTask
from ra_plugin.recognizers.networks import unwrapped
from ra_plugin.recognizers.smp_networks import is_smp

# Prefix of a module's name -> block of the recognizer for the networks defined there.
_OF_OTHER_TASKS = {
    'mmdet.': '{type: MMDetRecognizer, config: ..., checkpoint: ...}',
    'mmseg.': '{type: MMSegRecognizer, config: ..., checkpoint: ...}',
    'torchvision.models.detection.': '{type: TorchvisionRecognizer, model_name: ..., checkpoint: ...}',
    'torchvision.models.segmentation.': '{type: TorchvisionRecognizer, model_name: ..., checkpoint: ...}',
    'ultralytics.': '{type: UltralyticsRecognizer, model: ...}',
    'transformers.': '{type: TransformersRecognizer, model: ...}',
    'open_clip.': '{type: OpenClipRecognizer, model: ..., pretrained: ..., classes: [...]}',
}
_OF_SMP = ("task='segmentation', or {type: ModuleRecognizer, module: segmentation_models_pytorch.NAME, "
           'task: segmentation, ...}')


def as_recognizer(network: nn.Module, where: str, mean: Sequence[float] | None, std: Sequence[float] | None,
                  task: ModuleTask | None = None, output: str | int | None = None) -> Recognizer:
    """Return a recognizer with a copy of a caller's network.

    Args:
        network: Gives what `ModuleRecognizer` takes for the task. It stays as it is.
        where: Place in the options, for messages.
        mean: Mean of the normalization that it was trained with, RGB on the ``[0, 1]`` scale.
        std: Standard deviation of that, likewise.
        task: As for `ModuleRecognizer`. Default: a classifier.
        output: As for `ModuleRecognizer`.

    Raises:
        OptionError: It is for another task, or mean and std are missing.
        ValueError: It gives no such answer.
    """
    network = unwrapped(network)
    name = type(network).__name__
    block = None if task else _OF_SMP if is_smp(network) else _block_of(network)
    if block:
        raise OptionError(f'{where}: expected a classifier, got {name}. Give {block}.')
    if (mean is None or std is None) and not is_smp(network):
        raise OptionError(f'{where}: mean and std of {name} are not known. Give those it was trained with, RGB on the '
                          '[0, 1] scale: mean=[...], std=[...] ([0, 0, 0] and [1, 1, 1] for none), or a block: '
                          "{'type': 'ModuleRecognizer', 'module': network, 'mean': [...], 'std': [...]}.")
    given: dict[str, Any] = {'task': task} if task else {}
    return ModuleRecognizer(network, mean=mean, std=std, output=output, **given)


def _block_of(network: nn.Module) -> str | None:
    """Return the block of the recognizer for a network of another task."""
    return next((block for base in type(network).__mro__ for start, block in _OF_OTHER_TASKS.items()
                 if f'{base.__module__}.'.startswith(start)), None)
