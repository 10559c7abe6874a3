"""Mask files whose pixels are class numbers."""
from pathlib import Path

import numpy as np

from ra_plugin.data.image_file import open_image


def read_mask(path: str) -> np.ndarray:
    """The values of an 8-bit gray or palette image as they are in the file: uint8 ``(H, W)``.

    Raises:
        ValueError: The file is damaged, or its pixels are no single 8-bit number.
    """
    mask = open_image(Path(path).read_bytes(), path)
    if mask.mode not in ('L', 'P'):
        raise ValueError(f'{path}: expected a mask with an 8-bit class number a pixel (mode L or P), got mode '
                         f'{mask.mode}. Replace colors by class numbers, and save it as 8-bit gray PNG.')
    return np.array(mask)
