"""The network of a CTC reader, from a module or an ONNX file, and what the file says about it."""
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ra_plugin.recognizers.file.onnx_conversion import check_conversion, converted
from ra_plugin.recognizers.file.onnx_recognizer import ChannelsLast, OnnxRuntime, load_model
from ra_plugin.recognizers.module_network import built_network


@dataclass(frozen=True)
class ReaderNetwork:
    """A network of words.

    Attributes:
        model: The network.
        channels: Of its input, 3 or 1.
        characters: Those that an ONNX file records, one a line; None: it does not.
        batch: Number of images that it takes at once; None: any.
        height, width: Of its input where they are fixed, else None.
        judge: The file in onnxruntime, for a file whose network is in torch.
    """

    model: Any
    channels: int
    characters: str | None = None
    batch: int | None = None
    height: int | None = None
    width: int | None = None
    judge: OnnxRuntime | None = None

    def side(self, name: str, given: int | None, where: str) -> int | None:
        """Return the option ``height`` or ``width``, or that side of the input where it is fixed.

        Raises:
            ValueError: It is fixed, and another one is given.
        """
        fixed = getattr(self, name)
        if fixed and given not in (None, fixed):
            raise ValueError(f'{where}: {name}: expected {fixed}, which is fixed in the file, got {given}. Leave it '
                             'out.')
        return fixed or given

    def check(self, prepare: Callable[[torch.Tensor], torch.Tensor], height: int, where: str) -> None:
        """Check a file's network in torch against onnxruntime, see `check_conversion`; modules need none."""
        if self.judge is not None:
            images = torch.rand(self.batch or 2, 3, height, 4 * height, generator=torch.Generator().manual_seed(0))
            check_conversion(self.model, self.judge, prepare(images), where)


def of_file(file: str, differentiable: bool, where: str) -> ReaderNetwork:
    """Return the network of an ONNX file: in torch, or in onnxruntime where it need not be differentiable."""
    content = load_model(file, where)
    characters = next((entry.value for entry in content.metadata_props if entry.key == 'character'), None)
    judge = OnnxRuntime(content, where)
    height, width = (side if isinstance(side, int) else None for side in judge.size)
    facts = judge.channels, characters, judge.batch, height, width
    if not differentiable:
        return ReaderNetwork(judge, *facts)
    network = converted(content, where)
    return ReaderNetwork(ChannelsLast(network) if judge.channels_last else network, *facts, judge)


def of_module(module: Any, arguments: Mapping[str, Any], checkpoint: str | None, pretrained: bool | None,
              where: str) -> ReaderNetwork:
    """Return a network of Python code, see `built_network`."""
    model = built_network(module, arguments, checkpoint, pretrained, where)
    first = next((layer for layer in model.modules() if isinstance(layer, nn.Conv2d)), None)
    return ReaderNetwork(model, 1 if first is not None and first.in_channels == 1 else 3)
