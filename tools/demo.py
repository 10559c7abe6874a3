"""Train three networks on CIFAR-10 and compare how well recognizers read the images; some ten minutes on two cores."""
import argparse
import sys
from pathlib import Path

from ra_plugin.cli.start import loading


def main() -> int:
    root = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--num-images', type=int, default=4000, help='evenly spaced over the split. Default: 4000')
    parser.add_argument('--split', choices=['test', 'val'], default='test', help='val is for choosing settings')
    parser.add_argument('--skip-training', action='store_true', help='score the networks of the last run')
    parser.add_argument('--out', type=Path, default=root / 'results' / 'demo')
    args = parser.parse_args()

    with loading():
        from ra_plugin.demo.run import run_demo
        from ra_plugin.training.pipeline import run

    if not (root / 'datasets' / 'cifar10' / 'complete').is_file():
        print('demo: no data. Run: python tools/prepare_data.py cifar10', file=sys.stderr)
        return 2
    return run(lambda root: run_demo(root, args.out, args.seed, args.num_images, args.split,
                                     train=not args.skip_training), root,
               'what is trained is kept; the same command begins anew, with --skip-training after the last training')


if __name__ == '__main__':
    sys.exit(main())
