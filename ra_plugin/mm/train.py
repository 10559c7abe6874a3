"""Train the model of an mmdet or mmseg config: python -m ra_plugin.mm.train CONFIG [--work-dir DIR] [--out FILE] ..."""
import shutil
import sys
from pathlib import Path

from mmengine.runner import find_latest_checkpoint

from ra_plugin.mm.program import build_runner, command_line, read_config
from ra_plugin.utils.atomic import written_aside
from ra_plugin.utils.command_line import run


def main() -> None:
    """Train as the command line and the config say."""
    parser = command_line(__doc__)
    parser.add_argument('--seed', type=int,
                        help="of weights, order and augmentation; default: the config's, or random")
    parser.add_argument('--out', type=Path, help='where to copy the last checkpoint to, e.g. weights/detector.pth')
    args = parser.parse_args()
    config = read_config(args, 'train')
    if args.seed is not None:
        config.randomness = {**config.get('randomness', {}), 'seed': args.seed}
    build_runner(config).train()
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        with open(find_latest_checkpoint(config.work_dir), 'rb') as last, written_aside(args.out) as copy:
            shutil.copyfileobj(last, copy)


if __name__ == '__main__':
    sys.exit(run(main, 'ra_plugin.mm.train'))
