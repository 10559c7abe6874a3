"""The input of a reader: words of any size resized to one height, and what is at their right."""
import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

from ra_plugin.recognizers.frozen.padding import repeat_edge
from ra_plugin.recognizers.frozen.resizing import resize

Fill = Literal['zero', 'edge']
Interpolation = Literal['bicubic', 'bilinear', 'opencv']
SQUEEZED = 1.25  # times as narrow as it should be: a word that is harder to read


@dataclass(frozen=True)
class WordInput:
    """Size of a reader's input, in pixels, and how a word is brought to it.

    Args:
        height: Height of the input and of the resized word.
        width: Width of the input, into which wider words are squeezed; None: as wide as the word.
        min_width: Without ``width``: the least width of the input.
        fill: What is right of a word that is narrower than the input: zeros, or its last column.
        interpolation: ``'bicubic'`` or ``'bilinear'``, as Pillow has them, or ``'opencv'``: OpenCV's bilinear one.
    """

    height: int
    width: int | None = None
    min_width: int | None = None
    fill: Fill = 'zero'
    interpolation: Interpolation = 'bicubic'

    def widths(self, height: int, width: int) -> tuple[int, int]:
        """Return the widths of an image's resized word and of the input that it is part of.

        They are rounded as EasyOCR and PaddleOCR do it, also where that is by the last bit of a quotient.
        """
        exact = self.height * (width / height)
        own = max(math.ceil(exact), 1)
        if self.width is not None:
            return min(own, self.width), self.width
        if self.min_width is None:
            return own, own
        whole = max(self.min_width, int(exact))
        return min(own, whole), whole

    def squeezes(self, height: int, width: int) -> bool:
        """True if the letters of an image's word become much narrower."""
        return self.widths(height, width)[0] * SQUEEZED < self.height * width / height

    def resized(self, images: torch.Tensor) -> torch.Tensor:
        """Return images ``(N, C, H, W)`` resized, without what is at their right; differentiable."""
        rows, columns = images.shape[-2:]
        size = self.height, self.widths(rows, columns)[0]
        return images if size == (rows, columns) else resize(images, size, 'stretch', self.interpolation)

    def filled(self, prepared: torch.Tensor, width: int) -> torch.Tensor:
        """Return normalized images, filled at the right up to a width; differentiable."""
        missing = width - prepared.shape[-1]
        return repeat_edge(prepared, 0, missing) if self.fill == 'edge' else F.pad(prepared, (0, missing, 0, 0))

    def __str__(self) -> str:
        limit = (f', {self.width} wide at most' if self.width else
                 f', the input {self.min_width} wide at least' if self.min_width else '')
        return f'words resized to a height of {self.height} pixels{limit}'
