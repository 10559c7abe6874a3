"""Facts that networks of segmentation_models_pytorch have about themselves: normalization, sizes."""
from typing import Any

from torch import nn

from ra_plugin.library_errors import is_network_error
from ra_plugin.utils.optional import require

PACKAGE = 'segmentation_models_pytorch'


def is_smp(network: object) -> bool:
    """True for a network of the package, or of a class derived from one."""
    return isinstance(network, nn.Module) and any(
        base.__module__.partition('.')[0] == PACKAGE for base in type(network).__mro__)


def encoder_normalization(network: nn.Module, where: str) -> tuple[list[float], list[float]] | None:
    """Return mean and std that the weights of a network's encoder were trained with, RGB on the ``[0, 1]`` scale.

    Without ``encoder_weights`` they are those of its weights for ImageNet, which most trainings begin with. The package
    keeps them in files of its hub, but for the encoders of timm, ``tu-...``.

    Returns:
        None where the package has no record for the encoder, cannot fetch it, or it is on another scale.
    """
    arguments: dict[str, Any] = getattr(network, '_hub_mixin_config', None) or {}
    name, weights = arguments.get('encoder_name'), arguments.get('encoder_weights')
    if not isinstance(name, str):
        return None
    try:
        record = require(f'{PACKAGE}.encoders', where).get_preprocessing_params(name, weights or 'imagenet')
    except (ValueError, KeyError):  # no such encoder, or no such weights
        return None
    except Exception as error:
        if is_network_error(error):
            return None
        raise
    if record['input_space'] != 'RGB' or list(record['input_range']) != [0, 1]:
        return None
    return list(record['mean']), list(record['std'])


def size_divisor(network: nn.Module) -> int:
    """Return the number that height and width have to be multiples of."""
    network_: Any = network
    return int(network_.encoder.output_stride) if getattr(network, 'requires_divisible_input_shape', False) else 1
