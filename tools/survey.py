"""Ask people which of a recognizer's answers fit, after two ways of processing: the paper's cloud experiment.

The first form writes OUT/survey.html, to be given to people, and OUT/key.json, to be kept from them: it alone says
which answer is whose. The second scores the files that the page saved.

Example:
    python tools/survey.py plain RA -opt options/eval/cifar10.yml --judge vgg --out results/survey
    python tools/survey.py --score results/survey/key.json answers/*.json --out results/survey
"""
import argparse
import json
import sys
from pathlib import Path

from ra_plugin.cli.basicsr_flags import add_force_yml
from ra_plugin.cli.start import loading


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('inputs', nargs='+', metavar='NAME|ANSWERS',
                        help='two restorers; with --score files of answers')
    parser.add_argument('-opt', type=Path, help='option file of an evaluation, see options/eval')
    parser.add_argument('--judge', help='the one of its recognizers that is asked about')
    parser.add_argument('--out', type=Path, help='folder for survey.html and key.json; with --score for scores.json')
    parser.add_argument('--number', type=int, default=100, help='questions (default: 100)')
    parser.add_argument('--num-images', type=int, help='images to judge, drawn at random (default: all)')
    parser.add_argument('--seed', type=int, default=0, help='of the images that are drawn (default: 0)')
    parser.add_argument('--score', type=Path, metavar='KEY', help='score answers with this key.json')
    add_force_yml(parser)
    args = parser.parse_args()
    if not args.score and not (args.opt and args.judge and args.out):
        parser.error('expected two restorers, -opt, --judge and --out; or --score KEY and files of answers')

    with loading():
        from ra_plugin.results import to_plain
        from ra_plugin.studies.survey.run import survey
        from ra_plugin.studies.survey.scores import read_answers, read_key, score_survey
        from ra_plugin.studies.survey.table import survey_markdown
        from ra_plugin.training.pipeline import run

    def ask(root: Path) -> None:
        key = survey(root, args.opt, args.inputs, args.judge, args.out, args.number, args.num_images, args.seed,
                     args.force_yml)
        print(f'Written to {args.out}: survey.html with {len(key["questions"])} questions, and key.json. '
              f'{key["images_that_differ"]} of {key["images"]} images have different answers.'
              + (' Of several seeds of a restorer, the first is asked about.' if max(key['seeds']) > 1 else ''))

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

    return run(score if args.score else ask, Path(__file__).resolve().parents[1],
               'nothing is written before the end; the same command begins anew')


if __name__ == '__main__':
    sys.exit(main())
