"""Ask people which of a recognizer's answers fit after two ways of processing: the paper's cloud experiment.

The first form writes OUT/survey.html, to be given to people, and OUT/key.json, to be kept from them: it alone says
which answer is whose. The second scores the files that the page saved.

Example:
    ra-plugin survey plain RA -opt options/eval/cifar10.yml --judge vgg --out results/survey
    ra-plugin survey --score results/survey/key.json answers/*.json --out results/survey
"""
import argparse
import json
import sys
from pathlib import Path

from ra_plugin.cli.flags import UsageError, add_force_yml, add_opt
from ra_plugin.cli.start import loading, run_here


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    parser.add_argument('inputs', nargs='+', metavar='NAME|ANSWERS',
                        help='two restorers; with --score files of answers')
    add_opt(parser, 'option file of an evaluation', required=False)
    parser.add_argument('--judge', help='the one of its recognizers that is asked about')
    parser.add_argument('--out', type=Path, help='folder for survey.html and key.json; with --score for scores.json')
    parser.add_argument('--number', type=int, default=100, help='questions. Default: 100')
    parser.add_argument('--num-images', type=int, help='images to judge, drawn at random. Default: all')
    parser.add_argument('--seed', type=int, default=0, help='of the images that are drawn. Default: 0')
    parser.add_argument('--score', type=Path, metavar='KEY', help='score answers with this key.json')
    add_force_yml(parser)


def run(args: argparse.Namespace) -> int:
    """Write a survey, or score one; return the exit status."""
    if not args.score and not (args.opt and args.judge and args.out):
        raise UsageError('expected two restorers, -opt, --judge and --out; or --score KEY and files of answers')
    with loading():
        from ra_plugin.results import to_plain
        from ra_plugin.studies.survey.run import survey
        from ra_plugin.studies.survey.scores import read_answers, read_key, score_survey
        from ra_plugin.studies.survey.table import survey_markdown
        from ra_plugin.utils.out_folder import say_written

    def ask(root: Path) -> None:
        key = survey(root, args.opt, args.inputs, args.judge, args.out, args.number, args.num_images, args.seed,
                     args.force_yml)
        print(f'{key["images_that_differ"]} of {key["images"]} images have different answers; '
              f'{len(key["questions"])} questions.'
              + (' Of several seeds of a restorer, the first is asked about.' if max(key['seeds']) > 1 else ''))
        say_written(args.out, 'survey.html', 'key.json')

    def score(root: Path) -> None:
        key = read_key(args.score)
        answers, refused = read_answers(key, map(Path, args.inputs))
        for line in refused:
            print(line, file=sys.stderr)
        scores = score_survey(key, answers)
        print(survey_markdown(scores))
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
            (args.out / 'scores.json').write_text(json.dumps({**to_plain(scores), 'refused': refused}, indent=1))
            say_written(args.out, 'scores.json')

    return run_here(score if args.score else ask, 'nothing is written before the end; the same command starts over')
