"""Check each recognizer of an option file on real images before a run; exit status 1 if one is broken.

Example:
    ra-plugin doctor -opt options/demo/ra_srresnet_x2_cifar10.yml --expect resnet=0.856
"""
import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from ra_plugin.cli.flags import add_basicsr_flags, basicsr_arguments
from ra_plugin.cli.start import loading, run_here


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    add_basicsr_flags(parser, 'option file of a training or a test')
    parser.add_argument('-k', type=int, default=100, help='clean images to check with. Default: 100')
    parser.add_argument('--expect', nargs='+', default=[], metavar='NAME=SHARE', type=_named_share,
                        help='score that a recognizer should have on them, e.g. resnet=0.856')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the findings to this file')


def run(args: argparse.Namespace) -> int:
    """Check; return the exit status."""
    sys.argv[1:] = basicsr_arguments(args)
    with loading():
        from ra_plugin.studies.doctor.checks import BROKEN
        from ra_plugin.studies.doctor.report import to_markdown
        from ra_plugin.studies.doctor.run import examine, read_options
        from ra_plugin.utils.out_folder import check_out_folder, say_written
    findings = []

    def pipeline(root: Path) -> None:
        if args.json:
            check_out_folder(args.json.parent, '--json')
        findings.extend(examine(read_options(root, str(args.opt)), args.k, dict(args.expect)))
        print(to_markdown(findings))
        if args.json:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            args.json.write_text(json.dumps([asdict(finding) for finding in findings], indent=1))
            say_written(args.json)

    status = run_here(pipeline, 'nothing is written; the same command starts over')
    return status or int(any(finding.verdict == BROKEN for finding in findings))


def _named_share(text: str) -> tuple[str, float]:
    name, _, share = text.rpartition('=')
    try:
        is_share = 0 <= float(share) <= 1
    except ValueError:
        is_share = False
    if not name or not is_share:
        raise argparse.ArgumentTypeError(f'expected NAME=SHARE with a share from 0 to 1, got {text!r}')
    return name, float(share)
