"""Score the model of an mmdet or mmseg config: python -m ra_plugin.mm.test CONFIG CHECKPOINT [--out FILE.json] ..."""
import json
import sys
from pathlib import Path

from ra_plugin.checkpoint import load_weights
from ra_plugin.mm.program import build_runner, command_line, read_config
from ra_plugin.utils.command_line import run


def main() -> None:
    """Score the checkpoint with the config's ``test_dataloader`` and ``test_evaluator``."""
    parser = command_line(__doc__ or '')
    parser.add_argument('checkpoint', help='weights of the model; read as data, all keys have to match')
    parser.add_argument('--out', type=Path, help='write the metrics to this JSON file')
    args = parser.parse_args()
    config = read_config(args, 'test')
    config.update(load_from=None, resume=False)  # use the checkpoint of the command line
    runner = build_runner(config)
    load_weights(runner.model, args.checkpoint, args.config)
    metrics = json.dumps(runner.test(), indent=1, default=float)  # converts NumPy's numbers
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(metrics + '\n')
    print(metrics)


if __name__ == '__main__':
    sys.exit(run(main, 'ra_plugin.mm.test'))
