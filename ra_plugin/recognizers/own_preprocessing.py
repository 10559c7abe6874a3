"""The makers' record of a recognizer's weights: normalization, preprocessing, accuracy."""
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from ra_plugin.checkpoint import read_record

_LOGGED = re.compile(r'test top-1 of the stored weights: (0\.\d+)')  # as ra-plugin train-recognizer writes it


@dataclass(frozen=True)
class OwnPreprocessing:
    """The record of a recognizer's weights; None for what is not recorded.

    Attributes:
        mean, std: RGB, on the ``[0, 1]`` scale.
        transform: The library's own test transform, from an RGB picture to what the network takes, ``(1, 3, h, w)``,
            without the margin that it cuts off: how much of a file an image shows is for the data set to say
            (``resize``, ``crop_size``). None where images are taken in the size that they come in.
        score: Top-1 accuracy on the test images of the weights' own data set, in ``[0, 1]``.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    transform: Callable[[Image.Image], torch.Tensor] | None = None
    score: float | None = None


def one_image(transform: Callable[[Image.Image], torch.Tensor], channels: int) -> Callable:
    """Turn a library's transform of a picture into one that takes color pictures and returns a batch of one.

    Args:
        transform: Takes a picture of one or three channels and gives ``(channels, h, w)``.
        channels: 1 or 3.
    """
    mode = 'L' if channels == 1 else 'RGB'
    return lambda picture: transform(picture.convert(mode))[None]


def recorded_beside(checkpoint: str) -> OwnPreprocessing:
    """Read the metadata of a checkpoint file, and the score in the log of its training where that lies beside it."""
    path = Path(checkpoint)
    record = read_record(path) if path.is_file() else {}
    log = path.with_suffix('.log')
    logged = _LOGGED.search(log.read_text(errors='replace')) if record and log.is_file() else None
    return OwnPreprocessing(record.get('mean') and tuple(record['mean']), record.get('std') and tuple(record['std']),
                            score=float(logged[1]) if logged else None)
