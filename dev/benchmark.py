"""Benchmark of the cost of recognition losses; cases are timed in turns, so compare ratios, not seconds.

Example:
    python -m dev.benchmark steps evaluation data
    python -m dev.benchmark own -opt options/ra_srresnet_x4_resnet18.yml
    python -m dev.benchmark steps --networks SRResNet --recognizers ResNet-18 --rounds 9
"""
import argparse
import itertools
import json
import os
import sys
from pathlib import Path

from ra_plugin.cli.start import loading

PARTS = ('steps', 'evaluation', 'data', 'own')
# names as in dev.benchmarks.steps, whose import takes seconds, also for --help
NETWORK_NAMES = ('SRResNet', 'RDN', 'SwinIR')
RECOGNIZER_NAMES = ('ResNet-18', 'ResNet-50', 'VGG-16', 'Faster R-CNN', 'FCN')


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('parts', nargs='+', choices=PARTS, metavar='PART', help=', '.join(PARTS))
    parser.add_argument('--rounds', type=int, default=3, help='measurements per case. Default: 3')
    parser.add_argument('--networks', nargs='+', choices=NETWORK_NAMES, metavar='NETWORK',
                        help=f'steps: with --recognizers, only pairs of these: {", ".join(NETWORK_NAMES)}')
    parser.add_argument('--recognizers', nargs='+', choices=RECOGNIZER_NAMES, metavar='RECOGNIZER',
                        help=', '.join(RECOGNIZER_NAMES))
    parser.add_argument('--batch-size', type=int, metavar='N', help='steps: images per step. Default: 4; RDN, SwinIR 1')
    parser.add_argument('--compile', action='store_true',
                        help='steps, own: also with train.compile, which takes minutes')
    parser.add_argument('-opt', type=Path, metavar='FILE',
                        help='own: option file of a training, whose step is measured on its own device')
    parser.add_argument('--device', choices=['cpu', 'cuda'], help='Default: a GPU if there is one')
    parser.add_argument('--out', type=Path, help='Default: results/benchmark')
    args = parser.parse_args()
    if bool(args.networks) != bool(args.recognizers):
        parser.error('expected --networks and --recognizers, or neither')
    if bool(args.opt) != ('own' in args.parts):
        parser.error('expected -opt only with the part own')

    with loading():
        import torch

        from dev.benchmarks.data import data_benchmark
        from dev.benchmarks.evaluation import evaluation_benchmark
        from dev.benchmarks.own_steps import own_steps_benchmark
        from dev.benchmarks.steps import PAIRS, steps_benchmark
        from ra_plugin.training.pipeline import run
        from ra_plugin.utils.allocator import keep_freed_memory
        from ra_plugin.utils.atomic import atomic_write
        from ra_plugin.utils.out_folder import say_written
        from ra_plugin.version import __version__

    def pipeline(root: Path) -> None:
        device = torch.device(args.device or ('cuda' if torch.cuda.is_available() else 'cpu'))
        machine = torch.cuda.get_device_name(device) if device.type == 'cuda' else f'{os.cpu_count()} CPU cores'
        results = {'device': machine, 'threads': torch.get_num_threads(), 'rounds': args.rounds,
                   'memory_kept': keep_freed_memory(),
                   'versions': {'ra_plugin': __version__, 'torch': torch.__version__}}
        tables = []
        pairs = list(itertools.product(args.networks, args.recognizers)) if args.networks else PAIRS
        calls = {
            'steps': lambda: steps_benchmark(root, device, args.rounds, pairs=pairs, compiled=args.compile,
                                             batch_size=args.batch_size),
            'evaluation': lambda: evaluation_benchmark(root, device, args.rounds),
            'data': lambda: data_benchmark(root, device, args.rounds),
            'own': lambda: own_steps_benchmark(root, args.opt, args.rounds, args.compile)}
        for part in args.parts:
            results[part], table = calls[part]()
            tables.append(f'## {part}\n\n{table}\n')
        out = args.out or root / 'results' / 'benchmark'
        out.mkdir(parents=True, exist_ok=True)
        atomic_write(json.dumps(results, indent=2) + '\n', out / 'benchmark.json')
        atomic_write('\n'.join(tables), out / 'benchmark.md')
        print('\n'.join(tables))
        if args.parts != ['own']:
            print(f'{machine}, {torch.get_num_threads()} threads.')
        say_written(out, 'benchmark.json', 'benchmark.md')

    return run(pipeline, Path(__file__).resolve().parents[1], 'nothing is written; the same command starts again')


if __name__ == '__main__':
    sys.exit(main())
