"""Option blocks from what people type: ``resnet50``, ``yolo11n.pt``, ``microsoft/resnet-50``; ``noise:25/255``."""
import json
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from ra_plugin.options import OptionError
from ra_plugin.registry import DEGRADATION_REGISTRY, RECOGNIZER_REGISTRY
from ra_plugin.utils.optional import require
from ra_plugin.utils.suggestions import suggestion
from ra_plugin.utils.text import one_line
from ra_plugin.utils.yaml_file import read_yaml

_HOW = ('Name a model of timm or torchvision, OWNER/NAME of Hugging Face, FILE.pt of ultralytics, a folder of '
        'save_pretrained, or a block of an option file: "{type: ..., ...}" or FILE.yml.')
_REPOSITORY = re.compile(r'[\w.-]+/[\w.-]+')
_RECOGNIZERS: dict[str, Callable[[str], dict[str, Any]]] = {
    'timm': lambda name: {'type': 'TimmRecognizer', 'model_name': name, 'pretrained': True},
    'torchvision': lambda name: {'type': 'TorchvisionRecognizer', 'model_name': name, 'weights': 'DEFAULT'},
    'transformers': lambda name: {'type': 'TransformersRecognizer', 'model': name},
    'ultralytics': lambda name: {'type': 'UltralyticsRecognizer', 'model': name},
    'doctr': lambda name: {'type': 'DoctrRecognizer', 'model_name': name, 'pretrained': True},
}


def recognizer_block(named: str, where: str) -> dict[str, Any]:
    """Return the block of a recognizer that a command line names.

    Args:
        named: A block as YAML, ``{type: ..., ...}``, or a file with one; the name of a model of timm or torchvision,
            with its library before it where it is to be another one's, ``torchvision:resnet50``; ``OWNER/NAME`` of
            Hugging Face; ``FILE.pt`` of ultralytics; a folder of transformers or timm.
        where: Flag, for messages.

    Raises:
        OptionError: Nothing has that name, or the block is invalid.
    """
    if not named.strip():
        raise OptionError(f'{where}: expected a name, got nothing. {_HOW}')
    block = _block(named, where) or _of_file(named, where) or _of_library(named, where)
    RECOGNIZER_REGISTRY.check(block, where)
    return block


def degradation_block(named: str, scale: int, where: str) -> dict[str, Any]:
    """Return the block of a degradation that a command line names.

    Args:
        named: Steps with ``+`` between them: ``bicubic``, ``noise:25/255`` (standard deviation on the ``[0, 1]``
            scale), ``jpeg:10`` (quality), in the order in which they happen; ``real``: `HighOrderDegradation`; or a
            block as YAML, or a file with one. Where no step shrinks, bicubic downsampling comes first.
        scale: Scale of the restorer.
        where: Flag, for messages.

    Raises:
        OptionError: There is no such step, or its number is out of range.
    """
    block = _block(named, where)
    if block is None:
        steps = [_step(step.strip(), scale, where) for step in named.split('+')]
        if scale > 1 and not any(step.get('scale') for step in steps):
            steps.insert(0, {'type': 'BicubicDownsample', 'scale': scale})
        block = steps[0] if len(steps) == 1 else {'type': 'Compose', 'steps': steps}
    built = DEGRADATION_REGISTRY.build(block, where)
    if built.scale != scale:
        raise OptionError(f'{where}: expected a degradation that shrinks by {scale}, the scale of the restorer, got '
                          f'one by {built.scale}.')
    return block


def _step(step: str, scale: int, where: str) -> dict[str, Any]:
    name, _, value = step.partition(':')
    if name == 'bicubic' and not value:
        return {'type': 'BicubicDownsample', 'scale': scale}
    if name == 'real' and not value:
        return {'type': 'HighOrderDegradation', 'scale': scale}
    try:
        if name == 'noise':
            return {'type': 'GaussianNoise', 'sigma': float(Fraction(value.replace(' ', '')))}
        if name == 'jpeg':
            return {'type': 'JPEGCompression', 'quality': int(value)}
    except (ValueError, ZeroDivisionError):
        pass
    raise OptionError(f'{where}: expected bicubic, noise:SIGMA (e.g. noise:25/255), jpeg:QUALITY (e.g. jpeg:10) or '
                      f"real, with + between several, or a block, got '{step}'.")


def _block(named: str, where: str) -> dict[str, Any] | None:
    """Return the block that a text or a file has; None for a name."""
    if named.lstrip().startswith('{'):
        try:
            block = yaml.safe_load(named)
        except yaml.YAMLError as error:
            raise OptionError(f'{where}: expected a block as YAML, got {named} ({one_line(error)}).') from None
    elif named.endswith(('.yml', '.yaml')):
        if not Path(named).expanduser().is_file():
            raise OptionError(f"{where}: no file '{named}'.")
        block = read_yaml(Path(named).expanduser(), where)
    else:
        return None
    if not isinstance(block, Mapping) or 'type' not in block:
        raise OptionError(f'{where}: expected a block with a type in {named}. Write {{type: ..., ...}}.')
    return dict(block)


def _of_file(named: str, where: str) -> dict[str, Any] | None:
    """Return the block of a file or folder; None if the name is none."""
    path, suffix = Path(named).expanduser(), Path(named).suffix
    if path.is_dir():
        return _of_folder(path, where)
    if suffix == '.pt':
        return _RECOGNIZERS['ultralytics'](str(path))
    if suffix == '.onnx':
        raise OptionError(f'{where}: {named} does not say how images are normalized for it. Give its block: "{{type: '
                          f'OnnxRecognizer, file: {named}, mean: [...], std: [...]}}".')
    if suffix in ('.pth', '.safetensors', '.ckpt', '.bin') and path.is_file():
        raise OptionError(f'{where}: {named} has weights alone. Give the block of its network: "{{type: '
                          f'ModuleRecognizer, module: package.Name, checkpoint: {named}, mean: [...], std: [...]}}".')
    return None


def _of_folder(folder: Path, where: str) -> dict[str, Any]:
    try:
        config = json.loads((folder / 'config.json').read_text(encoding='utf-8'))
    except (OSError, ValueError):
        config = None
    if isinstance(config, Mapping) and 'model_type' in config:
        return _RECOGNIZERS['transformers'](str(folder))
    if isinstance(config, Mapping) and 'architecture' in config:
        return _RECOGNIZERS['timm'](f'local-dir:{folder}')
    raise OptionError(f'{where}: {folder} has no config.json of transformers or timm. {_HOW}')


def _of_library(named: str, where: str) -> dict[str, Any]:
    library, colon, name = named.partition(':')
    if colon and library in _RECOGNIZERS:
        return _RECOGNIZERS[library](name)
    if named.startswith(('hf-hub:', 'hf_hub:', 'local-dir:')):
        return _RECOGNIZERS['timm'](named)
    if _REPOSITORY.fullmatch(named):
        return _RECOGNIZERS['transformers'](named)
    timm, models = require('timm', where), require('torchvision.models', where)
    if timm.is_model(named.partition('.')[0]):
        return _RECOGNIZERS['timm'](named)
    if named in models.list_models():
        return _RECOGNIZERS['torchvision'](named)
    known = {*timm.list_models(), *models.list_models()}
    raise OptionError(f"{where}: no recognizer '{named}'.{suggestion(named, known)} {_HOW}")
