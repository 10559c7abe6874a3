"""The preprocessing of the libraries that readers of words come from, of 8-bit pictures, for comparison with ours."""
import math

import numpy as np
import torch
from PIL import Image

from ra_plugin.recognizers.own_preprocessing import OwnPreprocessing
from ra_plugin.utils.optional import require

_HALF = (0.5, 0.5, 0.5)  # mean and std of both libraries
_PADDLE_WIDTH = 320  # pixels: the least width of PaddleOCR's readers


def of_easyocr(width: int | None, where: str) -> OwnPreprocessing:
    """Return EasyOCR's preprocessing of a word.

    Args:
        width: Width of the network's input; None: as wide as the word. EasyOCR takes that of the longest word of a
            page.
        where: Name of the caller, for messages.
    """
    height = require('easyocr.config', where).imgH

    def transform(picture: Image.Image) -> torch.Tensor:
        own = math.ceil(height * (picture.width / picture.height))
        collate = require('easyocr.recognition', where).AlignCollate(imgH=height, imgW=width or own,
                                                                     keep_ratio_with_pad=True)
        return collate([picture.convert('L')])

    return OwnPreprocessing(_HALF, _HALF, transform)


def of_paddleocr(height: int) -> OwnPreprocessing:
    """Return PaddleOCR's preprocessing of a word, for a network of the given height.

    OpenCV resizes the word, in BGR, by its bilinear interpolation; black after normalization is gray: 0 is right of it.
    """
    import cv2  # half a second, for a check

    def transform(picture: Image.Image) -> torch.Tensor:
        ratio = picture.width / picture.height
        whole = int(height * max(_PADDLE_WIDTH / height, ratio))
        own = min(math.ceil(height * ratio), whole)
        pixels = cv2.resize(np.ascontiguousarray(np.asarray(picture)[..., ::-1]), (own, height))
        prepared = torch.zeros(1, 3, height, whole)
        prepared[..., :own] = (torch.from_numpy(pixels).permute(2, 0, 1) / 255 - 0.5) / 0.5
        return prepared

    return OwnPreprocessing(_HALF, _HALF, transform)
