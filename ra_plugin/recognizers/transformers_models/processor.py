"""A model's own image processor, run on float tensors so that the gradient reaches the images.

The processor resizes, crops, pads and orders the channels. The normalization comes before it, in the type of the
weights: resizing keeps the mean, and processors pad normalized images with zeros.
"""
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image

from ra_plugin.recognizers.classification import InputSize, resolve_input_size
from ra_plugin.recognizers.facts import IGNORED
from ra_plugin.recognizers.frozen.resizing import clamped_if_judging, resize

_PLAIN = {'do_rescale': False, 'do_normalize': False, 'return_tensors': 'pt', 'input_data_format': 'channels_first'}
_AS_THEY_COME = ('do_resize', 'do_center_crop', 'do_pad', 'do_split_image')
_NORMALIZES = 'include_top'  # of EfficientNet's: it normalizes once more, whatever do_normalize says
_INTERPOLATIONS = {2: 'bilinear', 3: 'bicubic'}  # by PIL's number
_NEAREST = 0
_PROBE = 64  # pixels


class FloatProcessor:
    """An image processor of transformers for batches of float tensors.

    Args:
        processor: The library's, in its torch version.
        task: Of the model. A classifier is shown what `TimmRecognizer` shows one: the margin that processors cut off is
            left out, since how much of a file an image shows is the data set's to say. Others are shown whole images:
            what is cut off would have no answer.
        input_size: ``'model'``: as the processor; ``~``: as images come; else (height, width), a classifier's images
            cropped to its shape, others stretched.
        where: Place in the options, for messages.

    Attributes:
        mean: Normalization, RGB, on the ``[0, 1]`` scale.
        std: Its deviation.
        size: (height, width) that all images are resized to; None where it depends on theirs.
    """

    def __init__(self, processor: Any, task: str, input_size: InputSize, where: str):
        self.processor = processor
        self.own = input_size == 'model'
        self._given = None if self.own else resolve_input_size(input_size, None, where)
        self._fit = 'crop' if task in ('classification', 'embedding') else 'stretch'
        self._arguments = (_whole(processor, task) if self.own else
                           {name: False for name in _AS_THEY_COME if getattr(processor, name, None)})
        self.interpolation = _INTERPOLATIONS.get(int(getattr(processor, 'resample', None) or 2), 'bilinear')
        self._plain = {**_PLAIN, **({_NORMALIZES: False} if hasattr(processor, _NORMALIZES) else {})}
        self.mean, self.std = self._normalization(where)
        self._known: dict[tuple[int, int], tuple[int, int]] = {}
        sizes = {self.resized(*shape) for shape in ((_PROBE, _PROBE), (_PROBE, 2 * _PROBE))}
        plain = _central(self._processed(torch.full((1, 3, _PROBE, _PROBE), 0.25))['pixel_values'])
        if not torch.allclose(plain, torch.full((3,), 0.25), atol=1e-5):
            raise ValueError(f'{where}: {type(processor).__name__} changes colors in a way of its own, which cannot be '
                             'followed. Choose a model with another image processor.')
        self.size = self._given or (sizes.pop() if len(sizes) == 1 else None)

    def __call__(self, images: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return what the model is given for ``(N, 3, H, W)`` images: ``pixel_values`` and further keys.

        Args:
            images: RGB, ``[0, 1]``.
            mean: That of the normalization, ``(1, 3, 1, 1)``.
            std: Its deviation.
        """
        if self._given:
            images = resize(images, self._given, self._fit, self.interpolation)
        inputs = self._processed((images - mean) / std)
        low, high = (self._reordered((color - mean) / std, 1) for color in (0, 1))
        return {**inputs, 'pixel_values': clamped_if_judging(inputs['pixel_values'], low, high)}

    def fit_labels(self, label: torch.Tensor) -> torch.Tensor:
        """Return label maps ``(N, H, W)`` as the images are resized and padded, to the nearest pixel; padding is 255.
        """
        counted = torch.where(label == IGNORED, 0, label.long() + 1)[:, None].float()  # what is padded with is 0
        if self._given:
            counted = F.interpolate(counted, self._given, mode='nearest-exact')
        resample = {'resample': _NEAREST} if getattr(self.processor, 'do_resize', None) else {}
        maps = self._processed(counted.expand(-1, 3, -1, -1), **resample)['pixel_values'][:, 0].long()
        return torch.where(maps == 0, IGNORED, maps - 1)

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) to which images of a size are resized, without padding."""
        key = (height, width)
        if key not in self._known:
            unpadded = {'do_pad': False} if getattr(self.processor, 'do_pad', None) else {}
            shape = self._processed(torch.zeros(1, 3, *(self._given or key)), **unpadded)['pixel_values'].shape
            self._known[key] = shape[-2], shape[-1]
        return self._known[key]

    def of_picture(self, picture: Image.Image) -> torch.Tensor:
        """Return the library's own processing of an RGB picture, ``(1, 3, h, w)``."""
        return self.processor(picture, return_tensors='pt', **self._arguments)['pixel_values']

    def _processed(self, images: torch.Tensor, **arguments: Any) -> dict[str, Any]:
        """Return images as the processor resizes, crops and pads them, with its further answers."""
        return dict(self.processor(list(images), **{**self._plain, **self._arguments, **arguments}))

    def _reordered(self, values: torch.Tensor, channels: int = 0) -> torch.Tensor:
        return values.flip(channels) if getattr(self.processor, 'do_flip_channel_order', None) else values

    def _normalization(self, where: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and std as recorded; if the processor does something else, as a black and a white picture tell.
        """
        values = []
        for color in ('black', 'white'):
            picture = Image.new('RGB', (_PROBE, _PROBE), color)
            values.append(_central(self.processor(picture, return_tensors='pt')['pixel_values']).double())
        if values[0].shape != (3,):
            raise ValueError(f'{where}: expected a processor that gives images of 3 channels, got {len(values[0])}.')
        std = self._reordered(1 / (values[1] - values[0]))
        mean = 0 - self._reordered(values[0]) * std  # 0.0, not -0.0
        measured = tuple(mean.round(decimals=6).tolist()), tuple(std.round(decimals=6).tolist())
        recorded = recorded_normalization(self.processor)
        is_right = recorded is not None and torch.allclose(torch.tensor(recorded), torch.tensor(measured), atol=1e-5)
        return recorded if recorded and is_right else measured


def _central(inputs: torch.Tensor) -> torch.Tensor:
    """Return the color in the middle of the first image, where none is padded."""
    return inputs[0, :, inputs.shape[2] // 2, inputs.shape[3] // 2]


def recorded_normalization(processor: Any) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return mean and std in a processor's record; None where it has none."""
    mean, std = getattr(processor, 'image_mean', None), getattr(processor, 'image_std', None)
    is_used = getattr(processor, 'do_normalize', None)
    if not is_used or not isinstance(mean, (list, tuple)) or not isinstance(std, (list, tuple)):
        return None
    return tuple(map(float, mean)), tuple(map(float, std))


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
