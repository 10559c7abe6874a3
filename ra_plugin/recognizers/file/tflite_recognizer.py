"""A classifier in a TFLite file, judged by LiteRT."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ra_plugin.option_types import ClassNames, FilePath
from ra_plugin.recognizers.class_names import KeepClasses
from ra_plugin.recognizers.classification import Fit, InputSize, resolve_input_size
from ra_plugin.recognizers.file.base import FileRecognizer, Runtime
from ra_plugin.registry import RECOGNIZER_REGISTRY
from ra_plugin.utils.optional import require
from ra_plugin.utils.text import one_line


@RECOGNIZER_REGISTRY.register
class TFLiteRecognizer(FileRecognizer):
    """A TFLite file with one input, the images, and one output, float or quantized: a judge, but no loss.

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

    Raises:
        ImportError: ai-edge-litert is not installed.
        ValueError: No classifier.
    """

    def __init__(self, file: FilePath, mean: Sequence[float], std: Sequence[float],
                 classes: ClassNames | None = None, input_size: InputSize = 'model', fit: Fit = 'crop',
                 probabilities: bool = False,
                 keep_classes: KeepClasses | None = None):
        where = f'{type(self).__name__}({Path(file).name})'
        runtime = TFLiteRuntime(file, where)
        super().__init__(runtime, file, mean, std, resolve_input_size(input_size, runtime.size, where), fit, classes,
                         probabilities, 1, differentiable=False, keep_classes=keep_classes)


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
