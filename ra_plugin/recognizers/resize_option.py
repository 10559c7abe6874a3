"""The option ``resize`` of detectors and segmenters, whose own preprocessing is made for whole images."""
import contextlib
import math
from collections.abc import Iterator
from typing import Literal

from ra_plugin.type_hints import fits

# 'model': as the library prepares whole images; a number: factor on height and width; ~: images as they come.
Resize = Literal['model'] | float | None


def check_resize(resize: Resize, where: str) -> None:
    """Check the option.

    Raises:
        ValueError: It is not ``'model'``, a positive number or None.
    """
    if resize not in ('model', None) and not (fits(resize, float) and 0 < resize < math.inf):
        raise ValueError(f"{where}: resize: expected 'model', a factor > 0 or ~, got {resize!r}.")


def scaled(height: int, width: int, factor: float | None) -> tuple[int, int]:
    """Return height and width times a factor, at least 1, rounded as OpenMMLab does it; None is a factor of 1."""
    return max(1, int(height * (factor or 1) + 0.5)), max(1, int(width * (factor or 1) + 0.5))


class HasResize:
    """Mixin of recognizers with the option: what they tell of it, and how it is set aside."""

    resize: Resize
    own_resizing: str  # of 'model', in words

    @property
    def resizes_as_whole_images(self) -> bool:
        return self.resize == 'model'

    def resizing(self) -> str:
        if self.resize == 'model':
            return self.own_resizing
        return 'images as they come' if self.resize is None else f'images resized by {self.resize:g}'

    @contextlib.contextmanager
    def _images_as_they_come(self) -> Iterator[None]:
        kept, self.resize = self.resize, None
        try:
            yield
        finally:
            self.resize = kept
