"""Train the model of an mmdet or mmseg config: python -m ra_plugin.mm.train CONFIG [--work-dir DIR] [--out FILE] ..."""
import shutil
import sys
from pathlib import Path
from typing import Any

from mmengine.runner import find_latest_checkpoint

from ra_plugin.mm.program import build_runner, command_line, read_config
from ra_plugin.utils.atomic import written_aside
from ra_plugin.utils.command_line import run


def main() -> None:
    """Train the model of the config on the command line."""
    parser = command_line(__doc__ or '')
    parser.add_argument('--seed', type=int,
                        help="seed of weights, order and augmentation; default: the config's, or random")
    parser.add_argument('--out', type=Path, help='copy the last checkpoint to this file, e.g. weights/detector.pth')
    parser.add_argument('--data', help="folder that replaces 'datasets' at the start of the config's data_root")
    args = parser.parse_args()
    config = read_config(args, 'train')
    if args.out and config.get('default_hooks', {}).get('checkpoint', 'the default') is None:
        raise ValueError(f'--out: {args.config} saves no checkpoint. Remove default_hooks.checkpoint.')
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader') if args.data else ():
        _take_data_from(args.data, config.get(loader) or {})
    if args.seed is not None:
        config.randomness = {**config.get('randomness', {}), 'seed': args.seed}
    build_runner(config).train()
    if args.out:
        file = find_latest_checkpoint(config.work_dir)
        if file is None:
            raise ValueError(f'--out: no checkpoint in {config.work_dir}. Check that default_hooks.checkpoint of '
                             f'{args.config} saves there, at the end.')
        args.out.parent.mkdir(parents=True, exist_ok=True)
        with open(file, 'rb') as last, written_aside(args.out) as copy:
            shutil.copyfileobj(last, copy)


def _take_data_from(folder: str, node: Any) -> None:
    for key, value in list(node.items()) if isinstance(node, dict) else enumerate(node):
        if key == 'data_root' and isinstance(value, str) and Path(value).parts[:1] == ('datasets',):
            node[key] = str(Path(folder, *Path(value).parts[1:]))
        elif isinstance(value, (dict, list)):
            _take_data_from(folder, value)


if __name__ == '__main__':
    sys.exit(run(main, 'ra_plugin.mm.train'))
