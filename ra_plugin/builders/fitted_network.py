"""A network that takes images of any size, in [0, 1]: it is fed as in its training, and its errors are in words."""
from collections.abc import Sequence

import torch
from torch import nn

from ra_plugin.builders.size_rules import SIZE_ERRORS, explained
from ra_plugin.models.channels import check_channels
from ra_plugin.utils.tensors import denormalized, extended, normalized


class FittedNetwork:
    """Callable that runs a network on images ``(N, 3, h, w)``, RGB, ``[0, 1]``, and returns ``(N, 3, s * h, s * w)``.

    Args:
        network: ``(N, 3, h, w)`` to ``(N, 3, s * h, s * w)``.
        multiple_of: The network takes sides that this number divides; images are extended, and the result is cut.
        mean, std: The network takes and makes images normalized with them; None: in ``[0, 1]``.
        where: Place in the options, for messages.

    Raises:
        ValueError: When called: the network does not take images of this size; with a ``multiple_of`` that it takes.
    """

    def __init__(self, network: nn.Module, multiple_of: int = 1, mean: Sequence[float] | None = None,
                 std: Sequence[float] | None = None, where: str = 'network'):
        self.network, self.multiple_of, self.mean, self.std, self.where = network, multiple_of, mean, std, where

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        images = normalized(images, self.mean, self.std)
        try:
            restored = self._extended(images)
        except SIZE_ERRORS as error:
            raise ValueError(explained(self.run, images, self.multiple_of, error, self.where)) from error
        check_channels(restored, images.shape, self.where)
        return denormalized(restored, self.mean, self.std)

    def run(self, images: torch.Tensor) -> torch.Tensor:
        """Return what the network makes of images that are fed as they are.

        Raises:
            ValueError: The sides are not a whole number of times those of the images; also what the network raises.
        """
        restored = self.network(images)
        (height, width), sides = images.shape[-2:], restored.shape[-2:]
        scale = max(sides[-1] // width, 1)
        if sides != (scale * height, scale * width):
            raise ValueError(f'it gives {sides[-1]}x{sides[-2]} pixels')
        return restored

    def _extended(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[-2:]
        padded = extended(images, self.multiple_of)
        restored = self.run(padded)
        scale = restored.shape[-1] // padded.shape[-1]
        return restored[..., :scale * height, :scale * width]
