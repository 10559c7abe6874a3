"""A network in an ONNX file: a loss function by way of onnx2torch, or a judge in onnxruntime."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ra_plugin.option_types import ClassNames, FilePath
from ra_plugin.recognizers.by_task import ByTask
from ra_plugin.recognizers.class_names import KeepClasses
from ra_plugin.recognizers.classification import Fit, InputSize, resolve_input_size
from ra_plugin.recognizers.file.base import (
    ChannelOrder,
    FileClassifier,
    FileEmbedder,
    FileOptions,
    FileRecognizer,
    FileTask,
    Runtime,
    checked_task,
)
from ra_plugin.recognizers.file.onnx_conversion import check_conversion, converted
from ra_plugin.registry import RECOGNIZER_REGISTRY
from ra_plugin.utils.optional import require
from ra_plugin.utils.text import one_line


@RECOGNIZER_REGISTRY.register
class OnnxRecognizer(ByTask, FileRecognizer):
    """An ONNX file with one float input, the images, and one output: logits, or the vectors of an embedding network.

    As a loss it becomes a torch network, whose answers and gradient are checked against onnxruntime when it is built
    (`check_conversion` has the tolerances). A file whose batch size is fixed sees the images one after the other.

    Args:
        file: The ``.onnx`` file. Weights in files beside it are taken from its own folder alone.
        mean, std: Normalization of its input, RGB on the ``[0, 1]`` scale; an input in 0..255 has a std of 1/255.
            Networks for faces are mostly given (x - 127.5) / 127.5, a mean and std of 0.5, or (x - 127.5) / 128, a std
            of 0.502, of faces that are aligned and fill the picture.
        classes: Class names in the order of the ids, as a list or a text file with one name per line.
        input_size: ``'model'``: the size in the file; ``~``: images as they come; a number or ``[height, width]``.
        fit: ``'crop'``: resize the shorter side, crop the center; ``'stretch'``: resize both sides; ``'border'``:
            resize the longer side, pad with the mean color.
        probabilities: The file ends in a softmax, so that its answers are probabilities, and not logits.
        differentiable: ``false``: it judges, in onnxruntime alone, and need not be convertible.
        feature_layer: Node whose output is compared by the feature loss: operator and place in the file, ``Relu_3``.
            Default: the input of the layer that classifies.
        keep_classes: Names or ids of the classes that count, as a list or a text file with one a line, for data with
            fewer classes. Labels are then their places in this list. Default: all.
        task: ``'classification'`` | ``'embedding'``. Nothing in a file tells logits from vectors.
        channel_order: ``bgr`` for networks trained on what OpenCV reads.

    Raises:
        ImportError: onnx, onnxruntime or onnx2torch is not installed.
        ValueError: Neither logits nor vectors, no conversion, or another answer or gradient than onnxruntime's.
    """

    @classmethod
    def task_of(cls, *args: Any, task: Any = 'classification', **kwargs: Any) -> str:
        return checked_task(task, cls.__name__)

    def __init__(self, file: FilePath, mean: Sequence[float], std: Sequence[float],
                 classes: ClassNames | None = None, input_size: InputSize = 'model', fit: Fit = 'crop',
                 probabilities: bool = False, differentiable: bool = True, feature_layer: str | None = None,
                 keep_classes: KeepClasses | None = None, task: FileTask = 'classification',
                 channel_order: ChannelOrder = 'rgb'):
        where = f'{self.users_name()}({Path(file).name})'
        model = load_model(file, where)
        judge = OnnxRuntime(model, where)
        height, width = judge.size
        network: nn.Module = judge
        if differentiable:
            network = converted(model, where)
            network = (ChannelsLast(network) if judge.channels_last else network).requires_grad_(False).eval()
        recorded = (height, width) if isinstance(height, int) and isinstance(width, int) else None
        self.set_up(network, FileOptions(file, mean, std, fit, classes, probabilities, keep_classes, channel_order,
                                         feature_layer),
                    resolve_input_size(input_size, recorded, where), judge.batch, differentiable, task, judge.channels)
        if differentiable:
            size = self.info.input_size or (64, 64)
            images = torch.rand(judge.batch or 2, 3, *size, generator=torch.Generator().manual_seed(0))
            check_conversion(network, judge, self.prepare(images), where)


class OnnxClassifier(OnnxRecognizer, FileClassifier):
    """A classifier in an ONNX file; arguments as in `OnnxRecognizer`."""


class OnnxEmbedder(OnnxRecognizer, FileEmbedder):
    """An embedding network in an ONNX file; arguments as in `OnnxRecognizer`."""


class ChannelsLast(nn.Module):
    """A network that takes ``(N, H, W, C)``, as TensorFlow has it."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images.permute(0, 2, 3, 1))


class OnnxRuntime(Runtime):
    """An ONNX model in onnxruntime, on the CPU.

    Attributes:
        batch: Number of images that it takes at once, or None: any.
        size: (height, width) of its input; None or a name where it takes any.
        channels: 3, or 1.
        channels_last: True if its input is ``(N, H, W, C)``.
    """

    def __init__(self, model, where: str):
        super().__init__()
        runtime = require('onnxruntime', where)
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # errors; those are raised, too
        try:
            self.session = runtime.InferenceSession(model.SerializeToString(), options, ['CPUExecutionProvider'])
        except Exception as error:  # onnxruntime has exceptions of its own
            raise ValueError(f'{where}: onnxruntime cannot take it ({one_line(error, 200)}).') from None
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        shape = inputs[0].shape if len(inputs) == 1 else ()
        places = [place for channels in (3, 1) for place in (1, 3) if shape[place:place + 1] == [channels]]
        if len(shape) != 4 or not places or len(outputs) != 1 or inputs[0].type != 'tensor(float)':
            raise ValueError(
                f'{where}: expected one float input (N, C, H, W) or (N, H, W, C) of three channels or one, and one '
                f'output, got {[(value.type, value.shape) for value in inputs]} and {len(outputs)}. Cut the network '
                'out with onnx.utils.extract_model.')
        self.name = inputs[0].name
        self.channels, self.channels_last = shape[places[0]], places[0] == 3
        self.batch = shape[0] if isinstance(shape[0], int) else None
        self.size = tuple(shape[1:3] if self.channels_last else shape[2:])
        if self.batch not in (None, 1):
            raise ValueError(f'{where}: it takes {self.batch} images at once. Export it for one, or for any number.')

    def run(self, images: np.ndarray) -> np.ndarray:
        if self.channels_last:
            images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        try:
            return self.session.run(None, {self.name: images})[0]
        except Exception as error:
            raise ValueError(one_line(error, 200)) from None


def load_model(file: str, where: str):
    """Load the ``onnx.ModelProto`` in a file, with the weights stored beside it.

    Raises:
        FileNotFoundError: No such file.
        ValueError: No ONNX file, or one that wants weights from outside of its folder.
    """
    onnx = require('onnx', where)
    if not Path(file).is_file():
        raise FileNotFoundError(f'{where}: no file {file}')
    try:
        return onnx.load(file)  # checks the paths of external data
    except Exception as error:  # protobuf's and onnx's own
        raise ValueError(f'{where}: {file} is damaged, or no ONNX file ({one_line(error, 200)}).') from None
