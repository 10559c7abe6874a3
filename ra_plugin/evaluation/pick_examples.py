"""Images to show beside the results of an evaluation: drawn by rule, restored once more, with what is read in them."""
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch

from ra_plugin.evaluation.judging import Batch
from ra_plugin.evaluation.run import Evaluation, PreparedCondition
from ra_plugin.evaluation.statistics.transfer import Matrix
from ra_plugin.metrics.psnr_ssim import to_uint8
from ra_plugin.recognizers import Recognizer
from ra_plugin.recognizers.class_names import class_word
from ra_plugin.report.overlays import LEAST_SCORE, draw_boxes, draw_mask
from ra_plugin.results import CLEAN, NONE, Answer, Example
from ra_plugin.utils.tensors import pixels

_MOST_RESTORERS = 4  # of a condition; more would make the page heavy
_HELPED, _HURT, _ANY = 4, 3, 3
_SHOWN_CLASSES = 3  # of a mask

# number of the image, rule, kind, restorer, recognizer
Choice = tuple[int, str, str, str, str]


def examples(evaluation: Evaluation, matrices: Mapping[str, Matrix]) -> list[Example]:
    """Images of every condition.

    Args:
        matrices: Condition -> what was judged, see `Evaluation.run`.
    """
    found = []
    for condition in evaluation.conditions:
        chosen = choose(evaluation, condition, matrices[condition.name])
        batches = chain.from_iterable(evaluation.batches(condition, [choice[0] for choice in chosen], 1))
        found += [_example(evaluation, condition, choice, batch) for choice, batch in zip(chosen, batches)]
    return found


def choose(evaluation: Evaluation, condition: PreparedCondition, matrix: Matrix) -> list[Choice]:
    """Images drawn at random, by the seed of the evaluation, among those that each rule fits; none twice."""
    rng, baseline = np.random.default_rng(evaluation.options.seed), evaluation.options.baseline
    index = matrix.processings[NONE, 0].index
    taken: set[int] = set()

    def draw(fits: np.ndarray, count: int, *about: str) -> Iterator[Choice]:
        free = [number for number in index[fits].tolist() if number not in taken]
        for number in rng.permutation(free)[:count].astype(int).tolist():
            taken.add(number)
            yield (number, *about)

    chosen: list[Choice] = []
    classifiers = [name for name, judge in condition.recognizers.items() if judge.info.task == 'classification']
    restorers = [restorer for restorer in condition.restorers if restorer.name != baseline][:_MOST_RESTORERS]
    for restorer in restorers if classifiers else ():
        name = restorer.name
        judge = next((used for used in restorer.options.used or () if used in classifiers), classifiers[0])
        before, after, plain = (matrix.processings[who, 0].right(judge) for who in (NONE, name, baseline))
        if after is None:  # no labels
            after, plain = (matrix.processings[who, 0].scores[judge].per_image().get('top1_agreement')
                            for who in (name, baseline))
            if after is not None:
                chosen += draw(~plain & after, _HELPED, f'{baseline} another answer than {CLEAN}, {name} the same',
                               'helped', name, judge)
            continue
        chosen += draw(~plain & after, _HELPED, f'{baseline} wrong, {name} right', 'helped', name, judge)
        chosen += draw(before & ~after, _HURT, f'{NONE} right, {name} wrong', 'hurt', name, judge)
    chosen += draw(np.ones(len(index), bool), _ANY, 'any image', 'any', '', '')
    return chosen


@torch.no_grad()
def _example(evaluation: Evaluation, condition: PreparedCondition, choice: Choice, batch: Batch) -> Example:
    number, rule, kind, restorer, judge = choice
    processings = {name: process for (name, seed), process in evaluation.judging(condition).processings.items()
                   if seed == 0}
    images = {name: to_uint8(process(batch)) for name, process in processings.items()}
    names = getattr(condition.dataset, 'classes', None)
    answers = {name: {recognizer_name: _answer(recognizer, image, batch.label, names)
                      for recognizer_name, recognizer in condition.recognizers.items()}
               for name, image in images.items()}
    task = next(iter(condition.recognizers.values())).info.task
    truth = batch.names[0] if batch.label is None else _truth(task, batch.label, names)
    return Example(condition.name, number, rule, kind, restorer, judge, truth,
                   {name: pixels(image) for name, image in images.items()}, answers, batch.names[0])


def _answer(recognizer: Recognizer, image: torch.Tensor, label: Any, names: Sequence[str] | None) -> Answer:
    info = recognizer.info
    names = info.classes or names
    predicted = recognizer.predict(image.float() / 255)
    if info.task == 'detection':
        objects = {key: value.cpu() for key, value in predicted[0].items() if isinstance(value, torch.Tensor)}
        sure = objects['labels'][objects['scores'] >= LEAST_SCORE]
        return Answer(_counted(sure, names), None, draw_boxes(pixels(image), objects, names, info.num_classes))
    if info.task == 'segmentation':
        mask = predicted['masks'][0].cpu().numpy()
        return Answer(_shares(mask, names), None, draw_mask(pixels(image), mask, info.num_classes))
    answer = int(predicted['labels'][0, 0])
    return Answer(class_word(answer, names), None if label is None else answer == int(label[0]))


def _truth(task: str, label: Any, names: Sequence[str] | None) -> str:
    if task == 'detection':
        return _counted(label[0]['labels'].cpu(), names)
    if task == 'segmentation':
        return _shares(label[0].cpu().numpy(), names)
    return class_word(int(label[0]), names)


def _counted(labels: torch.Tensor, names: Sequence[str] | None) -> str:
    counts = Counter(labels.tolist()).most_common()
    return ', '.join(f'{count} {class_word(label, names)}' for label, count in counts) or 'nothing'


def _shares(mask: np.ndarray, names: Sequence[str] | None) -> str:
    labels, counts = np.unique(mask[mask != 255], return_counts=True)
    largest = np.argsort(-counts, kind='stable')[:_SHOWN_CLASSES]
    return ', '.join(f'{counts[i] / mask.size:.0%} {class_word(int(labels[i]), names)}' for i in largest) or 'nothing'
