"""The normalization of an image processor: what its record says, if it does that, else as pictures tell."""
from typing import Any

import torch
from PIL import Image

PROBE = 64  # pixels
_MODES = {1: 'L', 3: 'RGB'}  # of pictures, by the number of channels

Normalization = tuple[tuple[float, ...], tuple[float, ...]]


def picture_mode(channels: int) -> str:
    """Return PIL's mode of pictures of 1 or 3 channels."""
    return _MODES[channels]


def normalization(processor: Any, channels: int, where: str) -> Normalization:
    """Return mean and std as recorded; if the processor does something else, as a black and a white picture tell.

    Raises:
        ValueError: It gives no images, or ones of another number of channels than the model takes.
    """
    recorded = recorded_normalization(processor)
    if recorded and len(recorded[0]) != channels:
        raise ValueError(_other_channels(channels, len(recorded[0]), where))
    unpadded = {'do_pad': False} if getattr(processor, 'do_pad', None) else {}
    values = []
    for level in (0, 255):
        picture = Image.new('L', (PROBE, PROBE), level).convert(picture_mode(channels))
        inputs = processor(picture, return_tensors='pt', **unpadded)['pixel_values']
        if inputs.dim() != 4:
            raise ValueError(f'{where}: {type(processor).__name__} gives patches in place of images, in the shape '
                             f'{tuple(inputs.shape)}. Choose a model with another image processor.')
        values.append(central(inputs).double())
    if values[0].shape != (channels,):
        raise ValueError(_other_channels(channels, len(values[0]), where))
    flips = [0] if getattr(processor, 'do_flip_channel_order', None) else []
    std = (1 / (values[1] - values[0])).flip(flips)
    mean = 0 - values[0].flip(flips) * std  # 0.0, not -0.0
    measured = tuple(mean.round(decimals=6).tolist()), tuple(std.round(decimals=6).tolist())
    is_right = recorded is not None and torch.allclose(torch.tensor(recorded), torch.tensor(measured), atol=1e-5)
    return recorded if recorded and is_right else measured


def _other_channels(expected: int, got: int, where: str) -> str:
    return (f'{where}: expected a processor of images of {expected} channel{"s" * (expected > 1)}, as the model takes, '
            f'got {got}. Save the image processor that the model was trained with.')


def recorded_normalization(processor: Any) -> Normalization | None:
    """Return mean and std in a processor's record; None where it has none."""
    mean, std = getattr(processor, 'image_mean', None), getattr(processor, 'image_std', None)
    is_used = getattr(processor, 'do_normalize', None)
    if not is_used or not isinstance(mean, (list, tuple)) or not isinstance(std, (list, tuple)):
        return None
    return tuple(map(float, mean)), tuple(map(float, std))


def central(inputs: torch.Tensor) -> torch.Tensor:
    """Return the color in the middle of the first image."""
    return inputs[0, :, inputs.shape[2] // 2, inputs.shape[3] // 2]
