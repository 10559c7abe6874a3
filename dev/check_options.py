"""Try BasicSR's option files with a recognition loss: train, validate, save and resume; exit status 1 if one fails.

Example:
    python -m dev.check_options BasicSR/options/train --source "BasicSR's options/train" --out docs/OPTION_FILES.md
"""
import argparse
import sys
from pathlib import Path

from ra_plugin.cli.start import loading


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='folder of the *.yml files to try, at any depth')
    parser.add_argument('--workers', type=int, default=2, help='files at a time, each in a process with one thread')
    parser.add_argument('--out', type=Path, help='write the table to this Markdown file')
    parser.add_argument('--source', help='source of the files, for the table; default: the folder')
    args = parser.parse_args()

    with loading():
        from dev import option_check
        from ra_plugin.utils.command_line import run

    if not option_check.option_files(args.folder):
        print(f'check_options.py: {args.folder}: no *.yml below it.', file=sys.stderr)
        return 2

    findings = []

    def check() -> None:
        for finding in option_check.check_files(args.folder, args.workers):
            findings.append(finding)
            print(f'{finding.file}: {finding.outcome} {finding.reason} ({finding.seconds} s)', flush=True)
        print(option_check.summary(findings))
        if args.out:
            command = f'python -m dev.check_options {args.folder}'
            args.out.write_text(option_check.to_markdown(command, args.source or str(args.folder), findings))

    status = run(check, 'check_options', 'nothing is written; the same command starts again')
    return status or int(any(finding.outcome == option_check.FAIL for finding in findings))


if __name__ == '__main__':
    sys.exit(main())
