"""The option ``resize`` of detectors and segmenters of transformers."""
import contextlib
from collections.abc import Iterator
from typing import Any

from ra_plugin.recognizers.resize_option import HasResize, Resize
from ra_plugin.recognizers.transformers_models.processor import FloatProcessor


class HasProcessorResize(HasResize):
    """Mixin of recognizers whose image processor has the option."""

    processor: FloatProcessor
    own_resizing = 'images resized as its own image processor does'
    size_option = 'resize'
    _trained_size: tuple[int, int] | None

    @property
    def resize(self) -> Resize:
        return self.processor.resize

    @resize.setter
    def resize(self, value: Resize) -> None:
        self.processor.resize = value

    @property
    def resizes_as_whole_images(self) -> bool:
        return self.processor.is_own and bool(getattr(self.processor.processor, 'do_resize', None))

    @contextlib.contextmanager
    def _images_as_they_come(self) -> Iterator[None]:
        """Keep small images small within the context, where the model takes any size: large ones would take seconds."""
        base: Any = super()
        with contextlib.nullcontext() if self._trained_size else base._images_as_they_come():
            yield
