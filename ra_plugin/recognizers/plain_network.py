"""A network of your own as a recognizer: a classifier with the mean and std that are given for it."""
from collections.abc import Sequence

from torch import nn

from ra_plugin.options import OptionError
from ra_plugin.recognizers.base import Recognizer
from ra_plugin.recognizers.module_recognizer import ModuleRecognizer
from ra_plugin.recognizers.networks import unwrapped

# Prefix of a module's name -> recognizer for the networks defined there.
_OF_OTHER_TASKS = {
    'mmdet.': 'MMDetRecognizer', 'torchvision.models.detection.': 'MMDetRecognizer', 'ultralytics.': 'MMDetRecognizer',
    'effdet.': 'MMDetRecognizer', 'mmseg.': 'MMSegRecognizer', 'torchvision.models.segmentation.': 'MMSegRecognizer',
    'segmentation_models_pytorch.': 'MMSegRecognizer', 'transformers.': 'TransformersRecognizer',
}
_KEYS = {'TransformersRecognizer': 'model: FOLDER that save_pretrained() wrote'}


def as_recognizer(network: nn.Module, where: str, mean: Sequence[float] | None,
                  std: Sequence[float] | None) -> Recognizer:
    """Return a recognizer with a copy of a caller's classifier.

    Args:
        network: Gives logits ``(N, num_classes)``. It stays as it is.
        where: Place in the options, for messages.
        mean, std: Normalization that it was trained with, RGB on the ``[0, 1]`` scale.

    Raises:
        OptionError: It is for another task, or mean and std are missing.
        ValueError: It gives no logits.
    """
    network = unwrapped(network)
    name = type(network).__name__
    for base in type(network).__mro__:
        kind = next((kind for start, kind in _OF_OTHER_TASKS.items() if f'{base.__module__}.'.startswith(start)), None)
        if kind:
            raise OptionError(f'{where}: expected a classifier, got {name}. Others are built from a '
                              f'config. Give {{type: {kind}, {_KEYS.get(kind, "config: ..., checkpoint: ...")}}}.')
    if mean is None or std is None:
        raise OptionError(f'{where}: mean and std of {name} are not known. Give those it was trained with, RGB on the '
                          '[0, 1] scale: mean=[...], std=[...] ([0, 0, 0] and [1, 1, 1] for none), or a block: '
                          "{'type': 'ModuleRecognizer', 'module': network, 'mean': [...], 'std': [...]}.")
    return ModuleRecognizer(network, mean=mean, std=std)
