"""Split the classes of a data set in two halves, at random by a seed: half_a.txt and half_b.txt, a class a line.

An option file names them: keep_classes: datasets/imagenet/half_a.txt

Example:
    python tools/split_classes.py datasets/imagenet/train --out datasets/imagenet
"""
import argparse
import sys
from pathlib import Path

from ra_plugin.cli.start import loading


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', type=Path, help='folder with a folder for each class')
    parser.add_argument('--out', type=Path, required=True, help='folder of the two lists')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()

    with loading():
        from ra_plugin.data.class_split import split_classes
        from ra_plugin.utils.command_line import run

    def split() -> None:
        names = [path.name for path in args.data.iterdir() if path.is_dir() and not path.name.startswith('.')]
        args.out.mkdir(parents=True, exist_ok=True)
        for letter, half in zip('ab', split_classes(names, args.seed)):
            file = args.out / f'half_{letter}.txt'
            file.write_text('\n'.join(half) + '\n', encoding='utf-8')
            print(f'{file}: {len(half)} classes')

    return run(split, 'split_classes')


if __name__ == '__main__':
    sys.exit(main())
