"""Command line, config and runner of the programs that run a config."""
import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.runner import Runner

from ra_plugin.shipped.find import find
from ra_plugin.utils.optional import require

_LIBRARIES = ('mmdet', 'mmseg')


def command_line(description: str) -> argparse.ArgumentParser:
    """Return a parser with the arguments common to all programs."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', help='mmdet or mmseg config; it is a Python program and is run: trust it')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints; default: work_dirs/NAME_OF_CONFIG')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE',
                        help='change single values, e.g. train_dataloader.batch_size=4 model.backbone.depth=18')
    return parser


def read_config(args: argparse.Namespace, phase: str) -> Config:
    """Read the config of the command line, with the changes given there.

    Args:
        args: Result of :func:`command_line`'s parser.
        phase: ``'train'`` | ``'test'``; the config needs data for it.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: The config's library is not installed.
        ValueError: The config is for another library, has no data for the phase, or would predict boxes at another
            image size than that of the annotations.
    """
    file = find(args.config, Path())
    if not file or not file.is_file():
        raise FileNotFoundError(f'no config {args.config}')
    config = Config.fromfile(file)
    config.merge_from_dict(args.cfg_options)
    scope = config.get('default_scope')
    if scope not in _LIBRARIES:
        raise ValueError(f'{args.config}: expected default_scope {" or ".join(_LIBRARIES)}, got {scope!r}. '
                         "Build on one of the library's configs, or on its default_runtime.py.")
    if not config.get(f'{phase}_dataloader'):
        raise ValueError(f'{args.config}: no {phase}_dataloader. Use a config with data to {phase} on.')
    for key in ('val_dataloader', 'test_dataloader') if scope == 'mmdet' else ():
        for pipeline in _pipelines(config.get(key)):
            _check_grid(pipeline, f'{args.config}: {key}')
    require(f'{scope}.utils', args.config).register_all_modules(init_default_scope=False)
    config.work_dir = args.work_dir or config.get('work_dir') or str(Path('work_dirs') / Path(args.config).stem)
    return config


def _pipelines(node: Any) -> Iterator[list]:
    if isinstance(node, Mapping):
        if isinstance(node.get('pipeline'), list):
            yield node['pipeline']
        node = list(node.values())
    for value in node if isinstance(node, list) else ():
        yield from _pipelines(value)


def _check_grid(pipeline: list, where: str) -> None:
    """Check that boxes are predicted at the image size of the annotations; otherwise scores would be low."""
    blocks = {getattr(block['type'], '__name__', block['type']): block for block in pipeline}
    if 'RestoreImage' in blocks:
        off_grid = blocks['RestoreImage'].get('keep_ori_shape', False)
    else:
        off_grid = 'DegradeImage' in blocks
    if off_grid and 'ScaleToOriShape' not in blocks:
        cause = "RestoreImage's keep_ori_shape" if 'RestoreImage' in blocks else 'DegradeImage without RestoreImage'
        raise ValueError(f"{where}: {cause} needs dict(type='ScaleToOriShape') directly after Resize; otherwise boxes "
                         'are predicted at another image size than that of the annotations.')


def build_runner(config: Config) -> Runner:
    """Build mmengine's runner, of the config's ``runner_type`` if it has one."""
    if 'runner_type' not in config:
        return Runner.from_cfg(config)
    return require('mmengine.registry', 'runner_type').RUNNERS.build(config)
