"""Images read wrong after the baseline and right after all others, drawn at random: the figures 3 and 5."""
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import numpy as np
import torch

from ra_plugin.evaluation.judging import Batch
from ra_plugin.evaluation.run import Evaluation, PreparedCondition
from ra_plugin.evaluation.statistics.transfer import JudgedProcessing, Matrix
from ra_plugin.metrics.psnr_ssim import to_uint8
from ra_plugin.options import OptionError, check_least
from ra_plugin.paper.figure_page import Figure, Restored, Row
from ra_plugin.recognizers.class_names import class_word
from ra_plugin.utils.tensors import pixels


def figure(evaluation: Evaluation, matrices: Mapping[str, Matrix], number: int) -> list[Figure]:
    """Return `changed_images` of every condition.

    Args:
        evaluation: Evaluation that has run.
        matrices: Condition -> scores, see `Evaluation.run`.
        number: Images to draw for each condition.
    """
    return [changed_images(evaluation, matrices[condition.name], condition, number)
            for condition in evaluation.conditions]


def changed_images(evaluation: Evaluation, matrix: Matrix, condition: PreparedCondition, number: int) -> Figure:
    """Draw images that are read wrong after the baseline and right after every other restorer, and count them.

    The first seed of each restorer counts. Answers, PSNR and SSIM are those of the evaluation's records.

    Args:
        evaluation: Evaluation that has run.
        matrix: Scores of the condition.
        condition: One of its conditions.
        number: Images to draw, at random by the seed of the evaluation, from those that fit.

    Raises:
        OptionError: No restorer was trained with a classifier that judges the condition; or no image is asked for.
    """
    check_least(number, 1, 'images of a figure')
    condition.check_given('images of a figure')
    baseline, seed = evaluation.options.compared_with, evaluation.options.seed
    others = [restorer for restorer in condition.restorers if restorer.name != baseline]
    cells = {name: matrix.processings[name, 0] for name in (baseline, *(restorer.name for restorer in others))}
    used = list(dict.fromkeys(name for restorer in others for name in restorer.options.used or ()))
    judge = next((name for name in used if name in condition.recognizers
                  and cells[baseline].right(name) is not None), None)
    if judge is None:
        raise OptionError(f'{condition.name}: expected a restorer trained with a classifier that judges it by top1, '
                          f'got {", ".join(used) or "none"}. Name the classifier in used of restorers.')
    before, *after = (matrix.answers(name, judge, 'top1') for name in cells)
    fits = np.flatnonzero(~before & np.all(after, 0))
    places = np.sort(np.random.default_rng(seed).permutation(fits)[:number])
    numbers = cells[baseline].index[places].tolist()
    batches = chain.from_iterable(evaluation.batches(condition, numbers, 1))
    changes = {restorer.name: (int(np.sum(~before & right)), int(np.sum(before & ~right)))
               for restorer, right in zip(others, after, strict=True)}
    return Figure(
        condition=condition.name, recognizer=judge, baseline=baseline, seed=seed, asked=number, n=matrix.n,
        fits=len(fits), opposite=int(np.sum(before & ~np.any(after, 0))), changes=changes,
        rows=_rows(evaluation, condition, cells, judge, places.tolist(), batches))


@torch.no_grad()
def _rows(evaluation: Evaluation, condition: PreparedCondition, cells: Mapping[str, JudgedProcessing], judge: str,
          places: Sequence[int], batches: Iterable[Batch]) -> list[Row]:
    processings = evaluation.judging(condition).processings
    # one list for the truth and the answers: a data set may have other words for the same classes
    names = condition.recognizers[judge].info.classes or getattr(condition.dataset, 'classes', None)
    answers = {name: np.asarray(cell.scores[judge].records())[:, :2] for name, cell in cells.items()}
    rows = []
    for place, batch in zip(places, batches, strict=True):
        restored = {}
        for name, cell in cells.items():
            label, answer = answers[name][place].tolist()
            restored[name] = Restored(
                pixels(to_uint8(processings[name, 0](batch))), float(cell.values['psnr'][place]),
                float(cell.values['ssim'][place]), class_word(answer, names), answer == label)
        rows.append(Row(batch.index[0], batch.names[0], class_word(int(batch.label[0]), names),
                        pixels(to_uint8(batch.clean_images)), pixels(to_uint8(batch.lq)), restored))
    return rows
