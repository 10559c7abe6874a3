"""From a table of layers, as ultralytics keeps it in yaml files and checkpoints, to a network.

The library looks names of layers up among everything that it has imported, and evaluates the text of an activation.
Tables also come from checkpoints, so both are checked first: layers by a list, the activation by its form.
"""
import copy
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from torch import nn

from ra_plugin.options import suggestion
from ra_plugin.recognizers.facts import TaskError
from ra_plugin.recognizers.ultralytics_models.library import library, quiet
from ra_plugin.utils.text import first_line
from ra_plugin.utils.yaml_file import read_yaml

# Last layer -> class of ultralytics.nn.tasks that computes its loss.
_HEADS = {'Detect': 'DetectionModel', 'v10Detect': 'DetectionModel', 'Segment': 'SegmentationModel',
          'Segment26': 'SegmentationModel', 'Classify': 'ClassificationModel'}
_OTHERS = {
    'Pose': 'key points', 'Pose26': 'key points', 'OBB': 'rotated boxes', 'OBB26': 'rotated boxes',
    'WorldDetect': 'text', 'YOLOEDetect': 'text', 'YOLOESegment': 'text', 'YOLOESegment26': 'text',
    'SemanticSegment': 'label maps', 'Depth': 'depth maps', 'RTDETRDecoder': 'denoising queries, which are random'}
_LAYERS = frozenset((
    *_HEADS, *_OTHERS, 'A2C2f', 'AConv', 'ADown', 'AIFI', 'Bottleneck', 'BottleneckCSP', 'C1', 'C2', 'C2PSA', 'C2f',
    'C2fAttn', 'C2fCIB', 'C2fPSA', 'C3', 'C3Ghost', 'C3TR', 'C3k2', 'C3x', 'CBFuse', 'CBLinear', 'Concat', 'Conv',
    'ConvTranspose', 'DWConv', 'DWConvTranspose2d', 'ELAN1', 'Focus', 'GhostBottleneck', 'GhostConv', 'HGBlock',
    'HGStem', 'ImagePoolingAttn', 'Index', 'PSA', 'RepC3', 'RepConv', 'RepNCSPELAN4', 'ResNetLayer', 'SCDown', 'SPP',
    'SPPELAN', 'SPPF', 'Silence', 'nn.BatchNorm2d', 'nn.ConvTranspose2d', 'nn.Identity', 'nn.MaxPool2d', 'nn.Upsample',
    'nn.ZeroPad2d'))
_NUMBER = r'(True|False|-?[\d.]+(e-?\d+)?)'
_ACTIVATION = re.compile(rf'(torch\.)?nn\.\w+\(((\w+=)?{_NUMBER}(, *(\w+=)?{_NUMBER})*)?\)')
_SCALED = re.compile(r'(\d+)([nslmx])(?=\D|$)')  # yolov8n-seg is yolov8-seg of scale n


def read_layers(name: str, where: str) -> dict[str, Any]:
    """Return the table of a yaml file, or of one that the installed library brings: ``yolov8n.yaml``.

    Raises:
        ValueError: There is none of this name.
    """
    path = Path(name)
    shipped = _shipped(library('ultralytics', where).__file__ or '')
    if not path.is_file():
        scaled = _SCALED.search(path.stem)
        plain = _SCALED.sub(r'\1', path.stem, count=1)
        found = shipped.get(path.stem) or (shipped.get(plain) if scaled else None)
        if found is None or path.name != name:
            known = [f'{stem}.yaml' for stem in shipped] + [f'{_of_scale_n(stem)}.yaml' for stem in shipped]
            raise ValueError(f'{where}: model: no file {name}, and ultralytics brings none of this name.'
                             f'{suggestion(name, known)} Known: {", ".join(f"{stem}.yaml" for stem in shipped)}')
        path = found
    scaled, table = _SCALED.search(Path(name).stem), read_yaml(path, where)
    return {**table, 'scale': scaled[2] if scaled else '', 'yaml_file': name} if isinstance(table, dict) else {}


def smallest_tables(where: str) -> list[str]:
    """Return names of all yaml files that ultralytics brings, at the scale n where they have several."""
    shipped = _shipped(library('ultralytics', where).__file__ or '')
    return [f'{_of_scale_n(stem) if "n" in (read_yaml(path, where).get("scales") or ()) else stem}.yaml'
            for stem, path in shipped.items()]


def _of_scale_n(stem: str) -> str:
    return stem if _SCALED.search(stem) else re.sub(r'(\d+)', r'\1n', stem, count=1)


@cache
def _shipped(package: str) -> dict[str, Path]:
    """Return the yaml files that come with the package in a file, by name."""
    return {path.stem: path for path in sorted((Path(package).parent / 'cfg/models').rglob('*.yaml'))}


def task_of(table: Mapping[str, Any], where: str) -> str:
    """Check a table of layers, and return the task of its network.

    Raises:
        ValueError: It is no such table, or has layers that are not known.
        TaskError: Its network is for another task than detection, with masks or without, or classification.
    """
    try:
        layers = [row[2] for row in (*table['backbone'], *table['head'])]
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{where}: expected a table of layers [from, repeats, layer, arguments] under 'backbone' and "
                         "'head', as in ultralytics' yaml files.") from error
    if 'TorchVision' in layers:
        raise ValueError(f'{where}: its layer TorchVision downloads weights when it is built. Choose another network; '
                         'for a classifier of torchvision: TorchvisionRecognizer.')
    unknown = [layer for layer in layers if not isinstance(layer, str) or layer not in _LAYERS]
    if unknown:
        raise ValueError(f'{where}: its layer {unknown[0]!r} is none of those that are known here: '
                         f'{", ".join(sorted(_LAYERS))}.')
    activation = table.get('activation')
    if activation and not (isinstance(activation, str) and _ACTIVATION.fullmatch(activation)):
        raise ValueError(f'{where}: activation: expected a class of torch.nn with numbers, such as nn.LeakyReLU(0.1), '
                         f'got {activation!r}.')
    if table.get('channels', 3) != 3:
        raise ValueError(f'{where}: its first layer takes {table["channels"]} channels; expected 3 (RGB).')
    head = layers[-1]
    if head in _OTHERS:
        raise TaskError(f'{where}: the loss of {head} needs {_OTHERS[head]}. Choose a network for detection, instance '
                        'segmentation (-seg) or classification (-cls).')
    if head not in _HEADS:
        raise ValueError(f'{where}: its last layer is {head}; expected one of {", ".join(_HEADS)}.')
    return 'classification' if head == 'Classify' else 'detection'


def build_network(table: Mapping[str, Any], where: str) -> nn.Module:
    """Build the network of a table that `task_of` has checked, with random weights.

    Raises:
        ValueError: Its layers do not fit together.
    """
    tasks = library('ultralytics.nn.tasks', where)
    try:
        with quiet():
            return getattr(tasks, _HEADS[table['head'][-1][2]])(copy.deepcopy(dict(table)), ch=3, verbose=False)
    except Exception as error:  # of whichever layer
        raise ValueError(f'{where}: its table of layers makes no network ({type(error).__name__}: '
                         f'{first_line(error)}).') from error
