"""Try the models of an installed zoo as frozen losses, with random weights: loss, gradient, repeatability, predictions.

The restorers of spandrel are tuned by one step, written and loaded back.

Example:
    python -m dev.zoo_check mmdet --sample 60 --seed 0 --out docs/zoo_mmdet.md
"""
import argparse
import sys
from pathlib import Path

from ra_plugin.cli.start import loading


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('library', choices=['doctr', 'mmdet', 'mmseg', 'open_clip', 'spandrel', 'timm', 'torchvision',
                                            'transformers', 'ultralytics'])
    parser.add_argument('names', nargs='*', help='models to check; default: all installed ones')
    parser.add_argument('--sample', type=int, help='number to draw at random, not counting models of another task')
    parser.add_argument('--seed', type=int, default=0, help='seed of the draw')
    parser.add_argument('--workers', type=int, default=2, help='models at a time, each in a process with one thread')
    parser.add_argument('--out', type=Path, help='write the table to this Markdown file')
    args = parser.parse_args()

    with loading():
        from dev import zoo
        from ra_plugin.utils.command_line import run

    command = f'python -m dev.zoo_check {args.library}'
    command += f' --sample {args.sample} --seed {args.seed}' if args.sample else ''
    findings = []

    def check() -> None:
        for finding in zoo.check_zoo(args.library, args.names or zoo.model_names(args.library), args.sample, args.seed,
                                     args.workers):
            findings.append(finding)
            print(f'{finding.name}: {finding.outcome} {finding.reason} ({finding.seconds} s)', flush=True)
            if args.out:  # after each model, because a zoo takes long
                args.out.write_text(zoo.to_markdown(args.library, command, findings))
        print(zoo.summary(findings))

    return run(check, 'zoo_check', 'the table has the models listed so far; the same command starts again')


if __name__ == '__main__':
    sys.exit(main())
