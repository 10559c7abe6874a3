"""Compare rules that take the restored image or the given one, for denoisers and JPEG restorers of CIFAR-10.

A restorer is given clean images and images with half, once and twice the degradation that it was trained for. Each rule
restores an image where its number is above a threshold. Printed are, for the classifier that the rules may ask and for
the mean of the others: the accuracy of given and restored images, and for each rule the accuracy, the share of the harm
on clean images that it takes away and that of the gain on degraded images that it keeps, with paired 95 % intervals.

Example:
    python -m dev.gate_rules unsupervised_srresnet_jpeg10_cifar10_resnet
"""
import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ra_plugin.basicsr  # noqa: F401  (registers)
from ra_plugin.builders.loaders import build_dataset, evenly_spaced
from ra_plugin.metrics.gate import THRESHOLDS, Gate
from ra_plugin.metrics.psnr_ssim import to_uint8
from ra_plugin.recognizers import ClassificationRecognizer, build_recognizer
from ra_plugin.restoring.run_network import named_network, named_weights
from ra_plugin.shipped.find import option_file
from ra_plugin.utils.yaml_file import read_yaml

NINE_OF_TEN = 'nine of ten clean'  # the threshold that so many clean validation images stay below
_BATCH = 50
_RESAMPLES = 2000


@dataclass
class Answers:
    """Numbers of the images of one input, given and restored.

    Attributes:
        given, restored: Classifier -> ``(N, classes)``, its probabilities.
        change: ``(N,)``, root mean square of restored minus given.
        level: ``(N,)``, the estimate of the degradation.
        label: ``(N,)``.
    """

    given: Mapping[str, np.ndarray]
    restored: Mapping[str, np.ndarray]
    change: np.ndarray
    level: np.ndarray
    label: np.ndarray

    def right(self, which: str, names: list[str]) -> np.ndarray:
        """Return for each image, ``'given'`` or ``'restored'``, the share of classifiers that read it right."""
        return np.mean([getattr(self, which)[name].argmax(1) == self.label for name in names], 0)


def certainty(answers: Answers, asked: str) -> np.ndarray:
    """Return by how much the largest probability of the classifier asked grows."""
    return answers.restored[asked].max(1) - answers.given[asked].max(1)


def entropy(answers: Answers, asked: str) -> np.ndarray:
    """Return by how much the entropy of the classifier asked falls, in nats."""
    before, after = (-(p * np.log(np.maximum(p, 1e-12))).sum(1)
                     for p in (answers.given[asked], answers.restored[asked]))
    return before - after


def oracle(answers: Answers, asked: str) -> np.ndarray:
    """Return 0 where restoring makes the classifier asked wrong, else 1: it knows the labels."""
    return 1.0 - (answers.right('given', [asked]) > answers.right('restored', [asked]))


def rules(kind: str) -> dict[str, tuple[Callable[[Answers, str], np.ndarray], float | str]]:
    """Return the rules: name -> number of an image, and the threshold; ``kind``: of the estimate."""
    return {'certainty': (certainty, 0.0), 'entropy': (entropy, 0.0),
            'change': (lambda answers, asked: answers.change, NINE_OF_TEN),
            kind: (lambda answers, asked: answers.level, NINE_OF_TEN),
            f'{kind}:{THRESHOLDS[kind]}': (lambda answers, asked: answers.level, THRESHOLDS[kind]),
            'oracle': (oracle, 0.5)}


def inputs(degradation: Mapping[str, Any]) -> tuple[str, dict[str, Mapping[str, Any]]]:
    """Return the kind of estimate for a degradation, and half, once and twice of it; JPEG by its quality."""
    if degradation['type'] == 'GaussianNoise':
        key, kind, factors = 'sigma', 'noise', (0.5, 1, 2)
    else:
        key, kind, factors = 'quality', 'jpeg', (2, 1, 0.5)
    values = [type(degradation[key])(degradation[key] * factor) for factor in factors]
    return kind, {f'{name}, {key} {value}': {**degradation, key: value}
                  for name, value in zip(('half', 'trained', 'twice'), values, strict=True)}


def share(part: np.ndarray, whole: np.ndarray, seed: int = 0) -> str:
    """Return the ratio of two means over the same images in %, with its interval; where the whole is surely above 0."""
    counts = np.random.default_rng(seed).multinomial(len(part), np.full(len(part), 1 / len(part)), _RESAMPLES)
    parts, wholes = counts @ part, counts @ whole
    if np.quantile(wholes, 0.025) <= 0:
        return 'none to speak of'
    low, high = np.quantile(parts / wholes, [0.025, 0.975])
    return f'{100 * part.mean() / whole.mean():.0f} [{100 * low:.0f}, {100 * high:.0f}]'


def table(validation: Mapping[str, Answers], test: Mapping[str, Answers], kind: str, asked: str, names: list[str]
          ) -> Iterator[str]:
    """Yield a Markdown table; the first input is clean, the third the degradation of the training."""
    keys = list(test)
    right = {which: {key: test[key].right(which, names) for key in keys} for which in ('given', 'restored')}
    yield f'| {" | ".join(["", *keys, "half clean"])} |'
    yield '|---' * (len(keys) + 2) + '|'
    for which, found in right.items():
        scores = [found[key].mean() for key in keys]
        yield f'| {which} | {" | ".join(f"{100 * score:.1f}" for score in (*scores, (scores[0] + scores[2]) / 2))} |'
    for name, (number, threshold) in rules(kind).items():
        least = np.quantile(number(validation[keys[0]], asked), 0.9) if threshold == NINE_OF_TEN else float(threshold)
        cells, scores = [], []
        for key in keys:
            before, after = right['given'][key], right['restored'][key]
            gated = np.where(number(test[key], asked) >= least, after, before)
            scores.append(gated.mean())
            part, whole = (gated - after, before - after) if key == keys[0] else (gated - before, after - before)
            cells.append(f'{100 * scores[-1]:.1f}: {share(part, whole)}')
        yield f'| {name} (from {least:.3g}) | {" | ".join(cells)} | {50 * (scores[0] + scores[2]):.1f} |'


@torch.no_grad()
def answers(network: Callable[[torch.Tensor], torch.Tensor], recognizers: Mapping[str, ClassificationRecognizer],
            gate: Gate, block: Mapping[str, Any], count: int) -> Answers:
    """Restore the images of a data set, and ask all recognizers about given and restored ones."""
    dataset = build_dataset(block)
    found: dict[str, list] = {'change': [], 'level': [], 'label': []}
    asked = {(which, name): [] for which in ('given', 'restored') for name in recognizers}
    numbers = evenly_spaced(len(dataset), count)
    for start in range(0, len(numbers), _BATCH):
        items = [dataset[number] for number in numbers[start:start + _BATCH]]
        given = to_uint8(torch.stack([item['lq'] for item in items])).float() / 255
        restored = to_uint8(network(given)).float() / 255
        found['change'] += [(restored - given).square().mean((1, 2, 3)).sqrt().numpy()]
        found['level'] += [gate.level(given).numpy()]
        found['label'] += [np.array([int(item['label']) for item in items])]
        for which, images in (('given', given), ('restored', restored)):
            for name, recognizer in recognizers.items():
                asked[which, name].append(recognizer.probabilities(images).numpy())
    joined = {key: np.concatenate(values) for key, values in {**found, **asked}.items()}
    return Answers({name: joined['given', name] for name in recognizers},
                   {name: joined['restored', name] for name in recognizers},
                   joined['change'], joined['level'], joined['label'])


def compare(run: str, root: Path, images: int, held_out: int, asked: str) -> Iterator[str]:
    """Yield the tables of a finished training, by its name below ``root/experiments``."""
    options = named_weights(run, root).run
    assert options is not None
    train = options['datasets']['train']
    kind, degradations = inputs(train['degradation'])
    network, gate = named_network(run, root), Gate.named(kind, kind)
    small = read_yaml(option_file('experiments/small'), 'small.yml')
    recognizers = {name: build_recognizer({**block, 'checkpoint': str(option_file(block['checkpoint']))}, name)
                   for name, block in small['classification']['recognizers'].items()}
    found: dict[str, dict[str, Answers]] = {}
    for part, count in (('val', held_out), ('test', images)):
        folder = {'name': part, 'type': train['type'], 'phase': 'test',
                  'dataroot_gt': str(Path(train['dataroot_gt']).with_name(part))}
        wanted = {'clean': {'type': 'Compose', 'steps': []}, **(degradations if part == 'test' else {})}
        found[part] = {key: answers(network, recognizers, gate, {**folder, 'degradation': block}, count)
                       for key, block in wanted.items()}
    for title, names in ((f'{asked}, asked', [asked]), ('the others', [name for name in recognizers if name != asked])):
        yield f'\n{run}: {title}; {images} test images, {held_out} of the validation part\n'
        yield from table(found['val'], found['test'], kind, asked, names)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('runs', nargs='+', metavar='RUN', help='trainings in experiments/')
    parser.add_argument('--images', type=int, default=1500, help='of the test part. Default: %(default)s')
    parser.add_argument('--held-out', type=int, default=500, help='of the validation part. Default: %(default)s')
    parser.add_argument('--asked', default='resnet', help='classifier that the rules may ask. Default: %(default)s')
    args = parser.parse_args()
    for run in args.runs:
        for line in compare(run, Path.cwd(), args.images, args.held_out, args.asked):
            print(line, flush=True)


if __name__ == '__main__':
    main()
