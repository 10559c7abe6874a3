"""Any restorer that spandrel knows, from its file alone, as a network that is trained."""
import contextlib
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ra_plugin.archs.restorer_file import read_restorer
from ra_plugin.option_types import WeightsPath
from ra_plugin.options import OptionError
from ra_plugin.utils.random_streams import seeded
from ra_plugin.utils.text import how_many

# which take one image in inference: they make one noise map, cut one image, choose one expert, or draw noise
_ONE_AT_A_TIME = ('DRUNet', 'IPT', 'SeemoRe', 'AuraSR')


class SpandrelNetwork(nn.Module):
    """The network in a file: ESRGAN, SwinIR, HAT, DAT, NAFNet, ..., with the weights in it.

    The architecture and its sizes are found by spandrel. The network itself is trained, in float32; images are
    extended to the sizes that it takes, and the result is cut; nothing is clamped. ``state_dict()`` has the names of
    spandrel's network, so that what BasicSR saves opens in spandrel, chaiNNer and ComfyUI as it is; ``save_restorer``
    writes a file like the given one.

    Args:
        checkpoint: The file: ``.safetensors``, ``.pth``, ``.pt`` or ``.ckpt``.

    Shape:
        ``(N, C, H, W)`` in ``[0, 1]`` to ``(N, C', scale * H, scale * W)``, not limited to ``[0, 1]``; C, C' and the
        scale are those of the network, in ``input_channels``, ``output_channels`` and ``scale``.

    Raises:
        ImportError: spandrel is not installed.
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, contains code or NaN, or no network that restores single images of any size.
    """

    def __init__(self, checkpoint: WeightsPath):
        super().__init__()
        self.checkpoint = str(checkpoint)
        descriptor, self.layout = read_restorer(Path(checkpoint), 'SpandrelNetwork.checkpoint')
        self.model: nn.Module = descriptor.model
        self.architecture: str = descriptor.architecture.name
        self.scale = int(descriptor.scale)
        self.input_channels, self.output_channels = int(descriptor.input_channels), int(descriptor.output_channels)
        self.sizes: Any = descriptor.size_requirements  # minimum, multiple_of, square
        # The descriptor's own call is for inference: it clamps, and stops the gradient. This is what it calls, the
        # network with its noise map or range of values.
        self._call: Any = descriptor._call_fn
        self._draws = descriptor.architecture.id == 'AuraSR'
        self._one_at_a_time = descriptor.architecture.id in _ONE_AT_A_TIME or 'FDnCNN' in descriptor.tags

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[1] != self.input_channels:
            raise OptionError(f'SpandrelNetwork({Path(self.checkpoint).name}): expected images of '
                              f'{how_many(self.input_channels, "channel")}, got {x.shape[1]}. {self.remedy}')
        height, width = (self.scale * side for side in x.shape[-2:])
        x = _padded(x.clone(), *self.sizes.get_padding(x.shape[-1], x.shape[-2]))  # RCAN changes its input in place
        parts = x.split(1) if self._one_at_a_time else [x]
        return torch.cat([self.run(part) for part in parts])[..., :height, :width]

    def run(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the network makes of images of a size that it takes, as they are."""
        # in inference the noise is that of a seed, so that an image is restored alike whenever it is
        with seeded(0, x.device) if self._draws and not self.training else contextlib.nullcontext():
            output = self._call(self.model, x)
        return output if isinstance(output, torch.Tensor) else next(
            part for part in output if isinstance(part, torch.Tensor) and part.dim() == 4)

    @property
    def remedy(self) -> str:
        """Remedy for images of other channels than the network takes."""
        return {1: 'It restores luminance: train it with a data set that has color: y, e.g. PairedImageDataset.',
                4: 'It takes color with transparency: use a network for RGB.'}.get(
                    self.input_channels, 'Use a network for them.')

    def extra_repr(self) -> str:
        return f'{self.architecture}, scale={self.scale}, checkpoint={self.checkpoint}'

    # ------------------------------------------------------------------------------------ names of the network within
    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Return the state of the network within, under its own names."""
        return self.model.state_dict(*args, **kwargs)

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        renamed = {f'{prefix}model.{name[len(prefix):]}': state_dict.pop(name)
                   for name in list(state_dict) if name.startswith(prefix)}
        state_dict.update(renamed)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _padded(images: torch.Tensor, right: int, bottom: int) -> torch.Tensor:
    """Return images ``(N, C, H, W)`` extended by their mirror image, and further by their last row and column."""
    mirrored = min(right, images.shape[-1] - 1), min(bottom, images.shape[-2] - 1)
    if any(mirrored):
        images = F.pad(images, (0, mirrored[0], 0, mirrored[1]), 'reflect')
    if mirrored != (right, bottom):
        images = F.pad(images, (0, right - mirrored[0], 0, bottom - mirrored[1]), 'replicate')
    return images
