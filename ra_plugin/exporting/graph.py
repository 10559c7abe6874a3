"""A network with all that belongs to it, in operations whose trace holds for images of other sizes."""
import torch
from torch import nn

from ra_plugin.archs import SpandrelNetwork
from ra_plugin.builders.fitted_network import FittedNetwork
from ra_plugin.builders.run_networks import stages
from ra_plugin.utils.tensors import denormalized, normalized


class Graph(nn.Module):
    """Module that gives what a `FittedNetwork` gives; normalization, extension and cut are operations of it.

    A trace keeps the branches and the numbers of Python that the traced image led to. Here sizes are computed with
    tensors, without branches; within the network they are its author's.

    Args:
        fitted: The network.
        fixed: The trace is for images of one size: sizes are constants, which some operations of ONNX ask for.

    Shape:
        ``(N, 3, H, W)``, RGB, ``[0, 1]``, to ``(N, 3, s * H, s * W)``, not limited to ``[0, 1]``.
    """

    def __init__(self, fitted: FittedNetwork, fixed: bool = False):
        super().__init__()
        self.stages, self.fixed = nn.ModuleList(stages(fitted.network)), fixed
        self.multiple_of, self.mean, self.std = fitted.multiple_of, fitted.mean, fitted.std

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = normalized(images, self.mean, self.std)
        height, width = images.shape[-2:]
        extended = images
        if self.multiple_of > 1:
            rows, columns = (_up(side, self.multiple_of) for side in (height, width))
            extended = self._places(images, rows, columns, again=True)
        restored = extended
        for stage in self.stages:
            restored = self._run(stage, restored)
        scale = restored.shape[-1] // extended.shape[-1]
        return denormalized(restored[..., :scale * height, :scale * width], self.mean, self.std)

    def _run(self, stage: nn.Module, images: torch.Tensor) -> torch.Tensor:
        """Return what a network makes of images, extended as `SpandrelNetwork` extends them."""
        if not isinstance(stage, SpandrelNetwork):
            return stage(images)
        sizes, extended = stage.sizes, images.clone()  # some networks change their input in place
        height, width = images.shape[-2:]
        if not sizes.none:
            rows, columns = (_up(side, sizes.multiple_of).clamp(min=sizes.minimum) for side in (height, width))
            if sizes.square:
                rows = columns = torch.maximum(rows, columns)
            extended = self._places(extended, rows, columns)
        return stage.run(extended)[..., :stage.scale * height, :stage.scale * width]

    def _places(self, images: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor,
                again: bool = False) -> torch.Tensor:
        height, width = images.shape[-2:]
        places = [_mirrored(int(side), int(extended), again) if self.fixed else _mirrored(side, extended, again)
                  for side, extended in ((height, rows), (width, columns))]
        return images[..., places[0], :][..., places[1]]


def _up(side: int | torch.Tensor, multiple_of: int) -> torch.Tensor:
    return (torch.as_tensor(side) + multiple_of - 1) // multiple_of * multiple_of


def _mirrored(side: int | torch.Tensor, extended: int | torch.Tensor, again: bool) -> torch.Tensor:
    """Return the places of a side that is mirrored at its end; then again and again, or with its first one repeated."""
    places, side = torch.arange(extended), torch.as_tensor(side)  # type: ignore[arg-type]
    if again:
        places = places % (2 * side - 2).clamp(min=1)
    return torch.where(places < side, places, (2 * side - 2 - places).clamp(min=0))
