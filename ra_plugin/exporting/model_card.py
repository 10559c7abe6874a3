"""Model cards, in the form of Hugging Face's: tags for programs, then facts for people; facts alone that are known."""
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ra_plugin.builders.fitted_network import FittedNetwork
from ra_plugin.builders.identity import without_secrets
from ra_plugin.builders.run_networks import architectures, folder_of
from ra_plugin.evaluation.used_recognizers import not_among, trained_with
from ra_plugin.exporting.card_examples import EXAMPLES
from ra_plugin.exporting.onnx_check import TOLERANCE
from ra_plugin.exporting.onnx_file import OPSET, OnnxFile
from ra_plugin.exporting.safetensors_file import WeightsFile
from ra_plugin.restoring.run_network import NamedWeights
from ra_plugin.version import __version__


def model_card(out: Path, made: OnnxFile | WeightsFile, fitted: FittedNetwork, weights: NamedWeights,
               root: Path) -> str:
    """Return the text of the card.

    Args:
        out: The file.
        made: Its content, and what was found of it.
        fitted: The network.
        weights: Those it was made from.
        root: Folder of ``experiments``.
    """
    names = architectures(fitted.network)
    parameters = sum(parameter.numel() for parameter in fitted.network.parameters())
    kind = 'onnx' if isinstance(made, OnnxFile) else 'spandrel' if made.opens_in_spandrel else 'basicsr'
    rows = {'file': f'`{out.name}`, {len(made.content) / 2 ** 20:.2f} MiB, SHA-256 '
                    f'`{hashlib.sha256(made.content).hexdigest()}`',
            'architecture': ' and then '.join(names), 'parameters': f'{parameters:,}',
            'scale': str(made.scale), **_images(made, fitted), **_check(made)}
    parts = [f'---\n{yaml.safe_dump(_head(kind, made.scale, weights), sort_keys=False)}---', f'# {out.stem}',
             _purpose(made.scale, len(names)),
             '\n'.join(['| | |', '|---|---|', *(f'| {name} | {value} |' for name, value in rows.items())]),
             '## Where it comes from', _origin(weights, root), '## Run it', _example(kind, out, fitted, weights),
             f'Written by ra_plugin {__version__}.']
    return '\n\n'.join(parts) + '\n'


def _head(kind: str, scale: int, weights: NamedWeights) -> dict[str, Any]:
    tags = ['image-restoration', *(['super-resolution'] if scale > 1 else []),
            *(['recognition-aware'] if _training(weights) else []), *(['onnx'] if kind == 'onnx' else [])]
    return {'library_name': {'onnx': 'onnx', 'spandrel': 'spandrel', 'basicsr': 'pytorch'}[kind],
            'pipeline_tag': 'image-to-image', 'tags': tags}


def _purpose(scale: int, count: int) -> str:
    sizes = f'{scale} times as large' if scale > 1 else 'of the same size'
    readers = ' The second network, a transformer, makes its images for recognizers rather than people.' if (
        count > 1) else ''
    return f'A network that restores color images; the results are {sizes}.{readers}'


def _images(made: OnnxFile | WeightsFile, fitted: FittedNetwork) -> dict[str, str]:
    if isinstance(made, OnnxFile):
        count, *sides = made.shapes[0]
        n, scale = 'N' if 'N' in made.free else count, made.scale
        given = ['H', 'W'] if 'H' in made.free else sides
        large = ([f'{scale} H', f'{scale} W'] if scale > 1 else given) if 'H' in made.free else [
            scale * side for side in sides]
        return {'input': f'`input`, ({n}, 3, {given[0]}, {given[1]}), float32, RGB in [0, 1]',
                'output': f'`output`, ({n}, 3, {large[0]}, {large[1]}), float32, RGB; values may lie outside [0, 1]: '
                          'clip them',
                'opset': str(OPSET)}
    rows = {'input': 'RGB in [0, 1]', 'output': 'RGB; values may lie outside [0, 1]: clip them',
            'weights': ', '.join(made.dtypes)}
    if fitted.mean is not None and fitted.std is not None:
        rows['input'] += (f', then normalized with mean {list(fitted.mean)} and std {list(fitted.std)}; results are '
                          'normalized alike')
    if fitted.multiple_of > 1:
        rows['input'] += f'; sides that {fitted.multiple_of} divides'
    return rows


def _check(made: OnnxFile | WeightsFile) -> dict[str, str]:
    if isinstance(made, OnnxFile):
        shapes = ', '.join('x'.join(map(str, (count, 3, height, width))) for count, height, width in made.shapes)
        return {'check': f'run by onnxruntime on noise of {shapes}: differs from PyTorch by at most '
                         f'{made.difference:.1e} (at most {TOLERANCE:.0e} is taken for rounding)'}
    reader = 'by spandrel' if made.opens_in_spandrel else 'into the same architecture'
    return {'check': f'read back {reader}: what it makes of noise differs by at most {made.difference:.1e}'}


def _training(weights: NamedWeights) -> dict[str, Any]:
    """Return the keys of the training that are about recognition, without folders and secrets."""
    train = (weights.run or {}).get('train') or {}
    return {key: _without_folders(without_secrets(train[key])) for key in ('recog_opt', 'recog_budget')
            if train.get(key)}


def _origin(weights: NamedWeights, root: Path) -> str:
    lines = [f'- weights: `{weights.file.name}`']
    if weights.run is None or weights.option_file is None:
        lines.append('- training: unknown to the program that wrote this card')
    else:
        run = weights.run
        lines.append(f'- training: `{run["name"]}`, option file `{weights.option_file.name}`')
        total = (run.get('train') or {}).get('total_iter')
        saved = weights.file.stem.removeprefix('net_g_')
        if saved.isdecimal():
            lines.append(f'- iteration: {saved}' + (f' of {total}' if total else ''))
        elif total:
            lines.append(f'- iterations, by the option file: {total}')
        begun = (run.get('path') or {}).get('pretrain_network_g') or run['network_g'].get('checkpoint')
        lines += [f'- begun from: `{Path(str(begun)).name}`'] if begun else []
        used = not_among(trained_with(run, folder_of(run, root), root), {})
        lines += [f'- recognizers in its losses: {"; ".join(used)}'] if used else []
    lines.append('- licence: that of the weights it was made from; look at it before you pass this file on')
    block = _training(weights)
    return '\n'.join(lines) + (f'\n\n```yaml\n{yaml.safe_dump(block, sort_keys=False)}```' if block else '')


def _example(kind: str, out: Path, fitted: FittedNetwork, weights: NamedWeights) -> str:
    block = without_secrets(dict(weights.run['network_g'])) if weights.run else {}
    return f'```python\n{EXAMPLES[kind].format(name=out.name, block=block)}```'


def _without_folders(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_folders(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(item) for item in value]
    return Path(value).name if isinstance(value, str) and value.startswith(('/', '~')) else value
