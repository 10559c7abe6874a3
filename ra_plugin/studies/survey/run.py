"""A survey of two restorers of an evaluation: images on which a recognizer answers them differently."""
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from ra_plugin.data.image_dataset import ImageDataset
from ra_plugin.evaluation.judging import Batch, Processing
from ra_plugin.evaluation.options import read_options
from ra_plugin.evaluation.run import Evaluation
from ra_plugin.metrics.psnr_ssim import to_uint8
from ra_plugin.options import OptionError, check_least, suggestion
from ra_plugin.recognizers import Recognizer
from ra_plugin.shipped.find import shown_path
from ra_plugin.studies.survey.report import SurveyItem, build_survey, check_free
from ra_plugin.utils.out_folder import check_out_folder
from ra_plugin.utils.progress import progress

T = TypeVar('T')
Answer = Callable[[torch.Tensor], Sequence[str]]  # images (N, 3, H, W) in [0, 1] -> what each shows, in words


def survey(root: Path, file: Path, names: Sequence[str], judge: str, out: Path, number: int = 100,
           num_images: int | None = None, seed: int = 0, force_yml: Sequence[str] | None = None) -> dict[str, Any]:
    """Write a survey of images on which the judge answers differently after two restorers of an evaluation.

    Args:
        root: Folder of ``experiments`` and ``results``; relative paths are looked up below it.
        file: The evaluation's option file; its first condition is asked about.
        names: The two restorers, of which the first seeds count.
        judge: The one of its recognizers whose answers are asked about, e.g. a black box.
        out: Folder for ``survey.html`` and ``key.json``.
        number: Questions; fewer where there are fewer such images.
        num_images: Images of the evaluation to judge, drawn at random. Default: all.
        seed: Seed of the images; the order of A and B does not follow from it.
        force_yml: Changes of the evaluation's options, see `forced`.

    Returns:
        What ``key.json`` holds.

    Raises:
        OptionError: Not two restorers, no such judge, or one that is no classifier with named classes.
        FileExistsError: The folder has a survey already.
        ValueError: The answers differ nowhere.
    """
    if len(names) != 2:
        raise OptionError(f'survey: expected two restorers, got {len(names)}.')
    for option, value, least in (('number', number, 1), ('num_images', num_images, 1), ('seed', seed, 0)):
        check_least(value, least, f'survey: {option}')
    check_out_folder(out)
    check_free(out)  # before the judge is asked, which may cost hours or money
    evaluation = Evaluation(root, read_options(file, force_yml))
    condition = evaluation.conditions[0]
    condition.check_given('survey', labels=False)
    for kind, known, wanted in (('recognizer', condition.recognizers, (judge,)),
                                ('restorer', evaluation.restorers, names)):
        for name in wanted:
            if name not in known:
                raise OptionError(f"survey: no {kind} '{name}'.{suggestion(name, known)} Known: {', '.join(known)}")
    answer, classes = _answering(condition.recognizers[judge], condition.dataset)
    processings = [evaluation.restorers[name].processings[0] for name in names]

    rng = np.random.default_rng(seed)
    images = len(condition.chosen) if num_images is None else min(num_images, len(condition.chosen))
    chosen = [condition.chosen[place] for place in sorted(rng.choice(len(condition.chosen), images, replace=False))]
    batches = progress(evaluation.batches(condition, chosen), 'Restoring and judging', unit='batch')
    differing = disagreements(chain.from_iterable(batches), processings, answer, classes)
    items, count = reservoir(differing, number, rng)
    settings = {'option_file': shown_path(file, root), **({'force_yml': list(force_yml)} if force_yml else {}),
                'condition': condition.name, 'judge': judge, 'seed': seed,
                'images': images, 'images_that_differ': count,
                'seeds': [len(evaluation.restorers[name].processings) for name in names]}
    return build_survey(items, out, (names[0], names[1]), settings)


@torch.no_grad()
def disagreements(batches: Iterable[Batch], processings: Sequence[Processing], answer: Answer,
                  classes: Sequence[str] | None = None) -> Iterator[SurveyItem]:
    """Yield the images with different answers after two ways of processing; all are rounded to 8 bits before.

    Args:
        batches: Images of one size each.
        processings: Two of them.
        answer: The judge.
        classes: Names of the classes, where they are known.
    """
    for batch in batches:
        truth = batch.clean_images
        answers = [answer(to_uint8(process(batch)).to(truth.dtype) / 255) for process in processings]
        targets = to_uint8(truth).permute(0, 2, 3, 1).cpu().numpy()
        labels = [classes[label] for label in batch.label.tolist()] if classes and batch.label is not None else (
            [None] * len(targets))
        for name, target, label, first, second in zip(batch.names, targets, labels, *answers, strict=True):
            if first != second:
                yield SurveyItem(name, target.copy(), (first, second), label)  # a view would keep the whole batch


def reservoir(items: Iterable[T], number: int, rng: np.random.Generator) -> tuple[list[T], int]:
    """Return ``number`` random items and the number of all items; no more than ``number`` are held at a time."""
    kept: list[T] = []
    seen = 0
    for seen, item in enumerate(items, 1):
        if len(kept) < number:
            kept.append(item)
        elif (place := int(rng.integers(seen))) < number:
            kept[place] = item
    return kept, seen


def _answering(recognizer: Recognizer, dataset: ImageDataset) -> tuple[Answer, Sequence[str] | None]:
    """Return a function of the likeliest class in words, and the words for labels, where there are."""
    classes = getattr(dataset, 'classes', None)
    if recognizer.has_own_words:
        return recognizer.own_words, classes
    if not recognizer.is_classifier:
        raise OptionError(f'{recognizer}: expected a classifier for the survey, got {recognizer.info.task}.')
    names = recognizer.info.classes or classes
    if not names or len(names) != recognizer.info.num_classes:
        raise OptionError(f'{recognizer}: its {recognizer.info.num_classes} classes have no names to ask people about. '
                          'Give the data set the list of them: classes.')
    return lambda images: [names[label] for label in recognizer.predict(images)['labels'][:, 0].tolist()], names
