"""A network in a TFLite file, run by LiteRT: a judge."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

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
from ra_plugin.registry import RECOGNIZER_REGISTRY
from ra_plugin.utils.optional import require
from ra_plugin.utils.text import one_line


@RECOGNIZER_REGISTRY.register
class TFLiteRecognizer(ByTask, FileRecognizer):
    """A TFLite file with one input, the images, and one output, float or quantized: a judge, but no loss.

    The output are logits, or the vectors of an embedding network.

    Args:
        file: The ``.tflite`` file.
        mean, std: Normalization of its input before quantization, RGB on the ``[0, 1]`` scale.
        classes: Class names in the order of the ids, as a list or a text file with one name per line.
        input_size: ``'model'``: the size in the file; a number or ``[height, width]`` where it takes any.
        fit: ``'crop'``: resize the shorter side, crop the center; ``'stretch'``: resize both sides; ``'border'``:
            resize the longer side, pad with the mean color.
        probabilities: The file ends in a softmax, so that its answers are probabilities, and not logits.
        keep_classes: Names or ids of the classes that count, as a list or a text file with one a line, for data with
            fewer classes. Labels are then their places in this list. Default: all.
        task: ``'classification'`` | ``'embedding'``. Nothing in a file tells logits from vectors.
        channel_order: ``bgr`` for networks trained on what OpenCV reads.

    Raises:
        ImportError: ai-edge-litert is not installed.
        ValueError: Neither logits nor vectors.
    """

    @classmethod
    def task_of(cls, *args: Any, task: Any = 'classification', **kwargs: Any) -> str:
        return checked_task(task, cls.__name__)

    def __init__(self, file: FilePath, mean: Sequence[float], std: Sequence[float],
                 classes: ClassNames | None = None, input_size: InputSize = 'model', fit: Fit = 'crop',
                 probabilities: bool = False, keep_classes: KeepClasses | None = None,
                 task: FileTask = 'classification', channel_order: ChannelOrder = 'rgb'):
        where = f'{self.users_name()}({Path(file).name})'
        runtime = TFLiteRuntime(file, where)
        self.set_up(runtime, FileOptions(file, mean, std, fit, classes, probabilities, keep_classes, channel_order),
                    resolve_input_size(input_size, runtime.size, where), 1, False, task)


class TFLiteClassifier(TFLiteRecognizer, FileClassifier):
    """A classifier in a TFLite file; arguments as in `TFLiteRecognizer`."""


class TFLiteEmbedder(TFLiteRecognizer, FileEmbedder):
    """An embedding network in a TFLite file; arguments as in `TFLiteRecognizer`."""


class TFLiteRuntime(Runtime):
    """A TFLite model in LiteRT, one image at a time.

    Attributes:
        size: (height, width) of its input.
    """

    def __init__(self, file: FilePath, where: str):
        super().__init__()
        interpreter = require('ai_edge_litert.interpreter', where).Interpreter
        if not Path(file).is_file():
            raise FileNotFoundError(f'{where}: no file {file}')
        try:
            self.interpreter = interpreter(model_path=str(file))
            self.interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise ValueError(f'{where}: LiteRT cannot take {file} ({one_line(error, 200)}).') from None
        inputs, outputs = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        shape = tuple(map(int, inputs[0]['shape'])) if len(inputs) == 1 else ()
        if len(shape) != 4 or shape[0] != 1 or shape[3] != 3 or len(outputs) != 1:
            raise ValueError(f'{where}: expected one input (1, H, W, 3) and one output, got '
                             f"{[value['shape'].tolist() for value in inputs]} and {len(outputs)}.")
        self.size = shape[1:3]
        self._input, self._output = inputs[0], outputs[0]

    def run(self, images: np.ndarray) -> np.ndarray:
        values = _quantized(images.transpose(0, 2, 3, 1), self._input)
        try:
            self.interpreter.set_tensor(self._input['index'], values)
            self.interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise ValueError(one_line(error, 200)) from None
        scale, zero_point = self._output['quantization']
        answers = self.interpreter.get_tensor(self._output['index']).astype(np.float32)
        return (answers - zero_point) * np.float32(scale) if scale else answers


def _quantized(values: np.ndarray, details: dict) -> np.ndarray:
    """Quantize numbers in steps of ``scale`` around ``zero_point``, unless ``scale`` is 0."""
    scale, zero_point = details['quantization']
    if scale:
        limits = np.iinfo(details['dtype'])
        values = np.clip(np.round(values / scale) + zero_point, limits.min, limits.max)
    return np.ascontiguousarray(values.astype(details['dtype']))
