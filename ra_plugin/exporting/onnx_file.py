"""ONNX files: traced, with free sizes where the network's operations hold for them, and run by onnxruntime."""
import re
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch.onnx.errors import UnsupportedOperatorError

from ra_plugin.builders.fitted_network import FittedNetwork
from ra_plugin.builders.size_rules import multiple_that_works
from ra_plugin.exporting.graph import Graph
from ra_plugin.exporting.onnx_check import Shape, checked_shapes, largest_difference, references, scale_of, traced_shape
from ra_plugin.options import OptionError
from ra_plugin.utils.optional import require
from ra_plugin.utils.quiet import quiet_output
from ra_plugin.utils.text import one_line

OPSET = 18  # onnxruntime 1.14 and later
_INPUT, _OUTPUT = 'input', 'output'


@dataclass(frozen=True)
class OnnxFile:
    """Content of a file, and what was found of it.

    Attributes:
        content: Of the file.
        free: Which of the sizes N, H and W are free; the others are those of ``shapes[0]``.
        shapes: Of the images that it was checked on: their number, height and width.
        difference: The largest one from PyTorch, of the range ``[0, 1]``.
        scale: How many times as large the results are.
    """

    content: bytes
    free: str
    shapes: list[Shape]
    difference: float
    scale: int


def onnx_file(fitted: FittedNetwork, size: tuple[int, int] | None, where: str) -> OnnxFile:
    """Export a network, and compare the file with it.

    Args:
        fitted: The network, on the CPU.
        size: Height and width of all images that the file is for; None: any.
        where: The network's name, for messages.

    Returns:
        A file for any number of images; for one at a time, where the network's operations hold for one alone.

    Raises:
        ImportError: onnx or onnxruntime is not installed.
        OptionError: It cannot be exported so: an operation is missing in ONNX, or its sizes are kept by the trace.
        ValueError: It does not take images of these sizes.
    """
    require('onnx', 'ra-plugin export')
    runtime = require('onnxruntime', 'ra-plugin export')
    fitted = _extending(fitted, traced_shape(fitted, size))
    graph, reason, is_missing = Graph(fitted, fixed=size is not None).eval(), '', False
    for free in ('N', '') if size else ('NHW', 'HW'):
        shapes = checked_shapes(fitted, size, batch=2 if 'N' in free else 1)
        expected = references(fitted, shapes)
        try:
            content = _traced(graph, expected[0][0], free)
            difference = largest_difference(_session(runtime, content), expected)
        except OSError:  # no disk
            raise
        except Exception as error:  # of the exporter's and onnxruntime's own classes
            reason = one_line(error, 200).partition('. ')[0].rstrip('.')
            is_missing = isinstance(error, UnsupportedOperatorError)
            continue
        return OnnxFile(content, free, shapes, difference, scale_of(expected))
    kind = f'of {size[0]}x{size[1]} pixels' if size else 'of any size'
    remedy = 'Write the weights instead: --out NAME.safetensors.' if size or is_missing else (
        'Write a file for one size, height and width: --size 256x256.')
    raise OptionError(f'{where}: no ONNX file for images {kind}: {reason}. {remedy}')


def _extending(fitted: FittedNetwork, shape: Shape) -> FittedNetwork:
    """Return the network as it is, or extending images to a multiple where it takes those alone."""
    images = torch.zeros(1, 3, *shape[1:])
    with torch.no_grad():
        try:
            fitted(images)
        except ValueError:
            number = multiple_that_works(fitted.run, images, fitted.multiple_of)
            if number is None:
                raise
            print(f'The network takes sides that {number} divides: the file extends images by their mirror image, and '
                  'cuts the result.', flush=True)
            return FittedNetwork(fitted.network, number, fitted.mean, fitted.std, fitted.where)
    return fitted


def _traced(graph: Graph, images: torch.Tensor, free: str) -> bytes:
    names = {axis: name for axis, name in {0: 'N', 2: 'H', 3: 'W'}.items() if name in free}
    axes = {_INPUT: names, _OUTPUT: {axis: f'{name}_out' if axis else name for axis, name in names.items()}}
    # the trace knows more networks than torch.export does, and needs no further package; it prints graphs and warns
    with torch.no_grad(), warnings.catch_warnings(), quiet_output(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter('ignore')
        file = Path(folder, 'net.onnx')
        torch.onnx.export(graph, (images,), file, dynamo=False, opset_version=OPSET,
                          input_names=[_INPUT], output_names=[_OUTPUT], dynamic_axes=axes)
        return file.read_bytes()


def _session(runtime: ModuleType, content: bytes) -> Callable[[torch.Tensor], torch.Tensor]:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # what it raises says the same
    session = runtime.InferenceSession(content, options, providers=['CPUExecutionProvider'])

    def run(images: torch.Tensor) -> torch.Tensor:
        try:
            return torch.from_numpy(np.asarray(session.run(None, {_INPUT: images.numpy()})[0]))
        except Exception as error:  # onnxruntime's own classes
            node = re.search(r'running (\w+) node', str(error))
            reason = f'a {node[1]} takes other sizes' if node else one_line(error, 150)
            raise ValueError(f'onnxruntime cannot run it on {"x".join(map(str, images.shape))}: {reason}') from error

    return run
