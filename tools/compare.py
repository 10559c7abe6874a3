"""Compare finished runs on the validation set of their option file, with intervals: PSNR, SSIM and every recognizer.

Example:
    python tools/compare.py plain=options/small/plain_srresnet_noise0.1_bccd.yml \\
        RA=options/small/ra_srresnet_noise0.1_bccd_fcos.yml --source fcos --out results/bccd
"""
import argparse
import shlex
import sys
from pathlib import Path

from ra_plugin.engine.comparison import compare_runs
from ra_plugin.engine.runs import run
from ra_plugin.report.comparison import to_markdown


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('runs', nargs='+', metavar='NAME=FILE', help='option files of finished runs; one is plain')
    parser.add_argument('--source', required=True, help='the one of val.recognizers that served as the loss')
    parser.add_argument('--out', type=Path, required=True, help='folder for results.json, table.md and images.png')
    args = parser.parse_args()
    if not all('=' in item for item in args.runs):
        parser.error('expected NAME=FILE for each run')
    files = {name: Path(file) for name, _, file in (item.partition('=') for item in args.runs)}
    command = f'python tools/compare.py {shlex.join(args.runs)} --source {args.source} --out {args.out}'

    def pipeline(root: Path) -> None:
        print(to_markdown(compare_runs(root, files, args.source, args.out, command)))

    return run(pipeline, Path(__file__).resolve().parents[1])


if __name__ == '__main__':
    sys.exit(main())
