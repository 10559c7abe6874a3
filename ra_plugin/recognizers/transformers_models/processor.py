"""A model's own image processor, run on float tensors so that the gradient reaches the images.

The processor resizes, crops, pads and orders the channels. The normalization comes before it, in the type of the
weights: resizing keeps the mean, and processors pad normalized images with zeros.
"""
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from ra_plugin.recognizers.classification import InputSize, resolve_input_size
from ra_plugin.recognizers.facts import IGNORED
from ra_plugin.recognizers.frozen.resizing import clamped_if_judging, resize
from ra_plugin.recognizers.resize_option import Resize, scaled
from ra_plugin.recognizers.transformers_models.normalization import PROBE, central, normalization

_PLAIN = {'do_rescale': False, 'do_normalize': False, 'return_tensors': 'pt', 'input_data_format': 'channels_first'}
_AS_THEY_COME = ('do_resize', 'do_center_crop', 'do_pad', 'do_split_image')
_NORMALIZES = 'include_top'  # of EfficientNet's: it normalizes once more, whatever do_normalize says
_INTERPOLATIONS = {2: 'bilinear', 3: 'bicubic'}  # by PIL's number
_NEAREST = 0


class FloatProcessor:
    """An image processor of transformers for batches of float tensors.

    Args:
        processor: The library's, in its torch version.
        task: Of the model. A classifier is shown what `TimmRecognizer` shows one: the margin that processors cut off is
            left out, since how much of a file an image shows is the data set's to say. Others are shown whole images:
            what is cut off would have no answer.
        channels: Those of the model's input: 3 or 1.
        where: Place in the options, for messages.
        input_size: Of a classifier or tower. ``'model'``: as the processor; ``~``: as images come; else (height,
            width), to whose shape images are cropped.
        resize: Of others. ``'model'``: as the processor; ``~``: as images come; else a factor on height and width.

    Attributes:
        mean: Normalization, on the ``[0, 1]`` scale, as long as there are channels.
        std: Its deviation.
        size: (height, width) that all images are resized to; None where it depends on theirs.
    """

    def __init__(self, processor: Any, task: str, channels: int, where: str, input_size: InputSize = 'model',
                 resize: Resize = 'model'):
        self.processor = processor
        self.channels = channels
        self.resize: Resize = resize
        self._given = resolve_input_size(input_size, None, where)
        self._as_they_come = input_size is None
        self._whole = _whole(processor, task)
        self.interpolation = _INTERPOLATIONS.get(int(getattr(processor, 'resample', None) or 2), 'bilinear')
        self._plain = {**_PLAIN, **({_NORMALIZES: False} if hasattr(processor, _NORMALIZES) else {})}
        self.mean, self.std = normalization(processor, channels, where)
        self._known: dict[tuple[Any, ...], tuple[int, int]] = {}
        gray = 0.25
        plain = central(self._processed([torch.full((channels, PROBE, PROBE), gray)], pads=False)['pixel_values'])
        if not torch.allclose(plain, torch.full((channels,), gray), atol=1e-5):
            raise ValueError(f'{where}: {type(processor).__name__} changes colors in a way of its own, which cannot be '
                             'followed. Choose a model with another image processor.')
        sizes = {self.resized(*shape) for shape in ((PROBE, PROBE), (PROBE, 2 * PROBE))}
        self.size = self._given or (sizes.pop() if len(sizes) == 1 else None)

    @property
    def is_own(self) -> bool:
        """True if images are resized as the processor resizes them."""
        return self.resize == 'model' and not self._as_they_come and self._given is None

    @property
    def pads(self) -> bool:
        """True if the processor pads the images of a batch to one size."""
        return bool(getattr(self.processor, 'do_pad', None))

    def __call__(self, images: torch.Tensor | Sequence[torch.Tensor], mean: torch.Tensor,
                 std: torch.Tensor) -> dict[str, Any]:
        """Return what the model is given for images: ``pixel_values`` and further keys.

        Args:
            images: ``(N, C, H, W)``, or a list of ``(C, H, W)`` of any sizes, which are padded as the processor pads
                them; ``[0, 1]``.
            mean: That of the normalization, ``(1, C, 1, 1)``.
            std: Its deviation.
        """
        if isinstance(images, torch.Tensor):
            normalized = list((self._resized_before(images) - mean) / std)
        else:
            normalized = [((self._resized_before(image[None]) - mean) / std)[0] for image in images]
        differ = len({image.shape for image in normalized}) > 1
        inputs = self._processed(normalized, pads=True if differ and not self.is_own else None)
        low, high = (self._reordered((color - mean) / std, 1) for color in (0, 1))
        return {**inputs, 'pixel_values': clamped_if_judging(inputs['pixel_values'], low, high)}

    def fit_labels(self, label: torch.Tensor) -> torch.Tensor:
        """Return label maps ``(N, H, W)`` as the images are resized and padded, to the nearest pixel; padding is 255.
        """
        counted = torch.where(label == IGNORED, 0, label.long() + 1)[:, None].float()  # what is padded with is 0
        size = self._size_before(*label.shape[-2:])
        if size != tuple(label.shape[-2:]):
            counted = F.interpolate(counted, size, mode='nearest-exact')
        resample: dict[str, Any] = {'resample': _NEAREST} if getattr(self.processor, 'do_resize', None) else {}
        maps = self._processed(list(counted.expand(-1, self.channels, -1, -1)), **resample)['pixel_values']
        maps = maps[:, 0].long()
        return torch.where(maps == 0, IGNORED, maps - 1)

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) to which images of a size are resized, without padding."""
        key = (self.resize, height, width)
        if key not in self._known:
            zeros = torch.zeros(self.channels, *self._size_before(height, width))
            shape = self._processed([zeros], pads=False)['pixel_values'].shape
            self._known[key] = shape[-2], shape[-1]
        return self._known[key]

    def of_picture(self, picture: Any) -> torch.Tensor:
        """Return the library's own processing of a picture in the model's channels, ``(1, C, h, w)``."""
        return self.processor(picture, return_tensors='pt', **self._arguments())['pixel_values']

    def _size_before(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) to which images are resized before the processor has them."""
        if self._given:
            return self._given
        return scaled(height, width, None if self.resize == 'model' else self.resize)

    def _resized_before(self, images: torch.Tensor) -> torch.Tensor:
        size = self._size_before(images.shape[-2], images.shape[-1])
        if size == tuple(images.shape[-2:]):
            return images
        return resize(images, size, 'crop' if self._given else 'stretch', self.interpolation)

    def _arguments(self, pads: bool | None = None) -> dict[str, Any]:
        """Return the processor's arguments; ``pads`` says if it pads, None: if it would."""
        found: dict[str, Any] = dict(self._whole) if self.is_own else {
            name: False for name in _AS_THEY_COME if getattr(self.processor, name, None)}
        if pads is not None and self.pads:
            found['do_pad'] = pads
        if pads and not self.is_own and getattr(self.processor, 'pad_size', None):
            found['pad_size'] = None  # which is for whole images: to the largest of the batch instead
        return found

    def _processed(self, images: Sequence[torch.Tensor], pads: bool | None = None,
                   **arguments: Any) -> dict[str, Any]:
        """Return images as the processor resizes, crops and pads them, with its further answers."""
        return dict(self.processor(list(images), **{**self._plain, **self._arguments(pads), **arguments}))

    def _reordered(self, values: torch.Tensor, channels: int = 0) -> torch.Tensor:
        return values.flip(channels) if getattr(self.processor, 'do_flip_channel_order', None) else values


def _whole(processor: Any, task: str) -> Mapping[str, Any]:
    """Return the arguments with which a processor leaves no margin out."""
    found: dict[str, Any] = {}
    if getattr(processor, 'crop_pct', None):
        found['crop_pct'] = 1.0
    if not (getattr(processor, 'do_center_crop', None) and getattr(processor, 'do_resize', None)):
        return found
    height, width = processor.crop_size['height'], processor.crop_size['width']
    if height != width or not processor.size.get('shortest_edge'):
        found['size'] = {'height': height, 'width': width}
    else:  # one of them enlarges what it is given
        probe = processor.resize(torch.zeros(1, 3, height, height), size=type(processor.size)(shortest_edge=height))
        found['size'] = {'shortest_edge': round(height * height / probe.shape[-1])}
    if task not in ('classification', 'embedding'):
        found['do_center_crop'] = False
    return found
