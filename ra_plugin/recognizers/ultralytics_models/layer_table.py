"""Check of a table of layers, as ultralytics keeps it in yaml files and checkpoints, before a network is built of it.

The library looks names of layers up among everything that it has imported, evaluates the text of an activation, and
takes texts among arguments for names of its own variables. Tables come from files of others, so that only a copy
reaches it: exact types of plain values, with layers, activations and texts that are on a list here.
"""
import re
from collections.abc import Callable, Mapping
from typing import Any

from ra_plugin.recognizers.facts import TaskError
from ra_plugin.utils.text import shown

# Last layer -> class of ultralytics.nn.tasks that computes its loss.
HEADS = {'Detect': 'DetectionModel', 'v10Detect': 'DetectionModel', 'Segment': 'SegmentationModel',
         'Segment26': 'SegmentationModel', 'Classify': 'ClassificationModel'}
_OTHERS = {
    'Pose': 'key points', 'Pose26': 'key points', 'OBB': 'rotated boxes', 'OBB26': 'rotated boxes',
    'WorldDetect': 'text', 'YOLOEDetect': 'text', 'YOLOESegment': 'text', 'YOLOESegment26': 'text',
    'SemanticSegment': 'label maps', 'Depth': 'depth maps', 'RTDETRDecoder': 'denoising queries, which are random'}
_LAYERS = frozenset((
    *HEADS, *_OTHERS, 'A2C2f', 'AConv', 'ADown', 'AIFI', 'Bottleneck', 'BottleneckCSP', 'C1', 'C2', 'C2PSA', 'C2f',
    'C2fAttn', 'C2fCIB', 'C2fPSA', 'C3', 'C3Ghost', 'C3TR', 'C3k2', 'C3x', 'CBFuse', 'CBLinear', 'Concat', 'Conv',
    'ConvTranspose', 'DWConv', 'DWConvTranspose2d', 'ELAN1', 'Focus', 'GhostBottleneck', 'GhostConv', 'HGBlock',
    'HGStem', 'ImagePoolingAttn', 'Index', 'PSA', 'RepC3', 'RepConv', 'RepNCSPELAN4', 'ResNetLayer', 'SCDown', 'SPP',
    'SPPELAN', 'SPPF', 'Silence', 'nn.BatchNorm2d', 'nn.ConvTranspose2d', 'nn.Identity', 'nn.MaxPool2d', 'nn.Upsample',
    'nn.ZeroPad2d'))
_FUNCTIONS = ('CELU|ELU|GELU|Hardshrink|Hardsigmoid|Hardswish|Hardtanh|Identity|LeakyReLU|LogSigmoid|Mish|PReLU|RReLU|'
              'ReLU|ReLU6|SELU|SiLU|Sigmoid|Softplus|Softshrink|Softsign|Tanh|Tanhshrink')
_VALUE = r'([a-z][a-z_]*=)?(True|False|-?(\d+(\.\d*)?|\.\d+)(e-?\d+)?)'
_ACTIVATION = re.compile(rf'(torch\.)?nn\.({_FUNCTIONS})\(({_VALUE}(, *{_VALUE})*)?\)', re.ASCII)
# Texts among arguments: two numbers of the table, literals, and ways to enlarge.
_TEXTS = frozenset(('nc', 'kpt_shape', 'None', 'True', 'False', 'nearest', 'nearest-exact', 'bilinear', 'bicubic'))
_PLAIN = (int, float, bool, type(None))
_MOST = 1000  # rows, and numbers in one: aliases in a yaml file let a short text stand for endless ones


def plain_table(table: Any, where: str) -> dict[str, Any]:
    """Return a checked copy of a table of layers that has nothing of the object that was read.

    Raises:
        ValueError: It is no such table, or has layers or values that are not known.
    """
    if type(table) is not dict or any(type(table.get(part)) is not list for part in ('backbone', 'head')):
        raise _no_table(where)
    if not table['backbone'] or not table['head'] or len(table['backbone']) + len(table['head']) > _MOST:
        raise _no_table(where)
    copied = {part: [_plain_row(row, where) for row in table[part]] for part in ('backbone', 'head')}
    if table.get('channels', 3) != 3:
        raise ValueError(f'{where}: its first layer takes {shown(table["channels"])} channels; expected 3 (RGB).')
    return {**copied, **{name: _plain_entry(name, table[name], where) for name in _ENTRIES
                         if table.get(name) is not None}}


def task_of(table: Mapping[str, Any], where: str) -> str:
    """Check a table of layers, and return the task of its network.

    Raises:
        ValueError: It is no such table, or has layers or values that are not known.
        TaskError: Its network is for another task than detection, with masks or without, or classification.
    """
    head = plain_table(table, where)['head'][-1][2]
    if head in _OTHERS:
        raise TaskError(f'{where}: the loss of {head} needs {_OTHERS[head]}. Choose a network for detection, instance '
                        'segmentation (-seg) or classification (-cls).')
    if head not in HEADS:
        raise ValueError(f'{where}: its last layer is {head}; expected one of {", ".join(HEADS)}.')
    return 'classification' if head == 'Classify' else 'detection'


def _no_table(where: str) -> ValueError:
    return ValueError(f"{where}: expected a table of layers [from, repeats, layer, arguments] under 'backbone' and "
                      "'head', as in ultralytics' yaml files.")


def _plain_row(row: Any, where: str) -> list[Any]:
    if type(row) not in (list, tuple) or len(row) != 4:
        raise _no_table(where)
    source, repeats, layer, arguments = row
    if layer == 'TorchVision':
        raise ValueError(f'{where}: its layer TorchVision downloads weights when it is built. Choose another network; '
                         'for a classifier of torchvision: TorchvisionRecognizer.')
    if type(layer) is not str or layer not in _LAYERS:
        raise ValueError(f'{where}: its layer {shown(layer)} is none of those that are known here: '
                         f'{", ".join(sorted(_LAYERS))}.')
    sources = source if type(source) in (list, tuple) else [source]
    if (len(sources) > _MOST or any(type(i) is not int for i in sources) or type(repeats) not in (int, float)
            or type(arguments) not in (list, tuple)):
        raise _no_table(where)
    left = [_MOST]
    copied = [_plain_argument(value, left, f'{where}: an argument of its layer {layer}') for value in arguments]
    return [list(sources) if sources is source else source, repeats, layer, copied]


def _plain_argument(value: Any, left: list[int], where: str, depth: int = 0) -> Any:
    """Return a copy; ``left`` has the number of values that may still come."""
    left[0] -= 1
    if left[0] >= 0:
        if type(value) in _PLAIN or type(value) is str and value in _TEXTS:
            return value
        if type(value) in (list, tuple) and depth < 4:
            return [_plain_argument(item, left, where, depth + 1) for item in value]
    raise ValueError(f'{where}: expected numbers, lists of them or one of {", ".join(sorted(_TEXTS))}, got '
                     f'{type(value).__name__ if depth or type(value) not in (*_PLAIN, str) else shown(value, 80)}.')


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and value == value


def _is_list(value: Any, is_item: Callable[[Any], bool]) -> bool:
    return type(value) in (list, tuple) and len(value) <= _MOST and all(map(is_item, value))


def _is_integer(value: Any) -> bool:
    return type(value) is int


def _are_scales(value: Any) -> bool:
    return type(value) is dict and len(value) <= _MOST and all(
        type(scale) is str and _is_list(factors, _is_number) and len(factors) == 3 for scale, factors in value.items())


def _is_activation(value: Any) -> bool:
    return type(value) is str and (not value or _ACTIVATION.fullmatch(value) is not None)


_INTEGER, _NUMBER, _SWITCH = (_is_integer, 'an integer'), (_is_number, 'a number'), (
    lambda value: type(value) is bool, 'true or false')
# Further entries that the library reads: it does not look at others.
_ENTRIES: dict[str, tuple[Callable[[Any], bool], str]] = {
    'nc': _INTEGER, 'reg_max': _INTEGER, 'depth_multiple': _NUMBER, 'width_multiple': _NUMBER, 'end2end': _SWITCH,
    'inplace': _SWITCH, 'scale': (lambda value: type(value) is str, 'a letter'),
    'activation': (_is_activation, 'a class of torch.nn with numbers, an activation such as nn.LeakyReLU(0.1)'),
    'kpt_shape': (lambda value: _is_list(value, _is_integer), 'a list of integers'),
    'scales': (_are_scales, '[depth, width, most channels] by letter')}


def _plain_entry(name: str, value: Any, where: str) -> Any:
    is_right, meant = _ENTRIES[name]
    if not is_right(value):
        got = shown(value, 80) if type(value) in (*_PLAIN, str) else f'a {type(value).__name__}'
        raise ValueError(f'{where}: {name}: expected {meant}, got {got}.')
    if name == 'scales':
        return {scale: list(factors) for scale, factors in value.items()}
    return list(value) if name == 'kpt_shape' else value
