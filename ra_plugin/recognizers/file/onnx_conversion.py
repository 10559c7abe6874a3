"""Conversion of an ONNX graph to a torch network, checked for the answers and the gradient of the file."""
import math
import re
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from ra_plugin.utils.optional import require
from ra_plugin.utils.text import one_line

OPSET = 17  # the newest that onnx2torch knows well
ANSWER_TOLERANCE = 1e-3  # largest difference of an answer, relative to the largest answer
GRADIENT_TOLERANCE = 0.05  # of the slopes along random directions: norm of the difference, relative to their norm
_DIRECTIONS = 4
_POINTS = 8  # along each, where the gradient is taken
_WIDTHS = (1e-2, 3e-3, 3e-2, 1e-3)  # of the differences, relative to the images' standard deviation


def converted(model, where: str) -> nn.Module:
    """Convert an ONNX model (``onnx.ModelProto``, changed in place) to a torch network.

    Nodes get names of their operator and place, ``Relu_3``: torch makes code of the names, and those in the file are
    somebody else's.

    Raises:
        ValueError: An operator that onnx, or onnx2torch, cannot convert.
    """
    onnx2torch = require('onnx2torch', where)
    onnx = require('onnx', where)
    _constants_to_initializers(model.graph, onnx)
    _drop_identities(model.graph)
    try:
        opset = next(entry.version for entry in model.opset_import if entry.domain in ('', 'ai.onnx'))
        if opset > OPSET:
            model = require('onnx.version_converter', where).convert_version(model, OPSET)
        for i, node in enumerate(model.graph.node):
            node.name = f'{re.sub(r"[^A-Za-z0-9]", "_", node.op_type)}_{i}'
        return onnx2torch.convert(model)
    except Exception as error:  # of any type, from both packages
        reason = one_line(error, 150)
        raise ValueError(
            f'{where}: it cannot be converted to torch ({type(error).__name__}: {reason}). Export it with opset '
            f'{OPSET} or older, or use it to judge only: differentiable: false.') from None


def _constants_to_initializers(graph, onnx) -> None:
    """Turn the Constant nodes in which some exporters (Paddle's) keep weights into initializers, as onnx2torch asks."""
    for node in list(graph.node):
        if node.op_type != 'Constant' or node.domain not in ('', 'ai.onnx') or len(node.attribute) != 1:
            continue
        attribute = node.attribute[0]
        value = onnx.helper.get_attribute_value(attribute)
        if attribute.name == 'value':
            tensor = onnx.TensorProto()
            tensor.CopyFrom(value)
        elif attribute.name in ('value_float', 'value_floats'):
            tensor = onnx.numpy_helper.from_array(np.array(value, np.float32))
        elif attribute.name in ('value_int', 'value_ints'):
            tensor = onnx.numpy_helper.from_array(np.array(value, np.int64))
        else:  # texts, and sparse weights
            continue
        tensor.name = node.output[0]
        graph.initializer.append(tensor)
        graph.node.remove(node)


def _drop_identities(graph) -> None:
    """Remove Identity nodes through which exporters share equal weights: onnx2torch does not see weights behind them.
    """
    outputs = {value.name for value in graph.output}
    same: dict[str, str] = {}
    for node in list(graph.node):
        for i, name in enumerate(node.input):
            node.input[i] = same.get(name, name)
        if node.op_type == 'Identity' and node.domain in ('', 'ai.onnx') and node.output[0] not in outputs:
            same[node.output[0]] = node.input[0]
            graph.node.remove(node)


def check_conversion(network: nn.Module, judge: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor,
                     where: str) -> None:
    """Check a converted network against an engine that is independent of torch.

    Central finite differences of a random combination of the engine's answers, along random directions, are compared
    with the network's mean slope between the same two points. At one of several widths all have to agree: a wide one
    meets many kinks, a narrow one the rounding of float32.

    Args:
        network: The converted network, in torch.
        judge: The other engine.
        images: Normalized, ``(N, 3, H, W)``.
        where: Place in the options, for messages.

    Raises:
        ValueError: Answers differ by more than `ANSWER_TOLERANCE`, or slopes by more than `GRADIENT_TOLERANCE`.
    """
    remedy = 'Use it to judge only: differentiable: false.'
    random = torch.Generator().manual_seed(0)
    answers, expected = network(images.clone().requires_grad_()), judge(images)
    error = float((answers.detach() - expected).abs().max() / expected.abs().max()) \
        if answers.shape == expected.shape else math.inf
    if not error <= ANSWER_TOLERANCE:
        raise ValueError(f"{where}: the answers of its torch version differ from onnxruntime's by {error:.1%} of the "
                         f'largest; at most {ANSWER_TOLERANCE:.1%} is accepted. {remedy}')
    if not answers.requires_grad:
        raise ValueError(f'{where}: no gradient comes through, as it has an operator without one. {remedy}')
    error = _gradient_error(network, judge, images, torch.randn(answers.shape, generator=random), random)
    if math.isinf(error):
        raise ValueError(f'{where}: its gradient is zero, or not finite, on random images. {remedy}')
    if error > GRADIENT_TOLERANCE:
        raise ValueError(f'{where}: its gradient differs from finite differences by {error:.0%}; at most '
                         f'{GRADIENT_TOLERANCE:.0%} is accepted. An operator in it may have none. {remedy}')


def _gradient_error(network: nn.Module, judge: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor,
                    weights: torch.Tensor, random: torch.Generator) -> float:
    directions = torch.randn(_DIRECTIONS, *images.shape, generator=random)
    errors = []
    for width in _WIDTHS:
        steps = width * images.std() * directions
        slopes = torch.stack([_mean_slope(network, images, step, weights) for step in steps])
        numeric = torch.stack([((judge(images + step) - judge(images - step)) * weights).sum(dtype=torch.float64)
                               for step in steps])
        error = float((numeric - slopes).norm() / torch.maximum(numeric.norm(), slopes.norm()))
        errors.append(math.inf if math.isnan(error) else error)  # 0 / 0: a gradient of zero is of no use, either
        if errors[-1] <= GRADIENT_TOLERANCE:
            break
    return min(errors)


def _mean_slope(network: nn.Module, images: torch.Tensor, step: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the change from ``images - step`` to ``images + step`` by the gradient at points between; a kink weighs
    little.
    """
    total = torch.zeros((), dtype=torch.float64)
    for i in range(_POINTS):
        point = (images + ((2 * i + 1) / _POINTS - 1) * step).requires_grad_()
        gradient, = torch.autograd.grad((network(point) * weights).sum(), point)
        total += (gradient * step).sum(dtype=torch.float64)
    return 2 * total / _POINTS
