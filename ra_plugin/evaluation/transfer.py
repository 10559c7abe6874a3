"""The transfer matrix: what every recognizer makes of every way of processing, and how certain the differences are."""
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ra_plugin.evaluation.bootstrap import Sampled, of_trainings, sample, share
from ra_plugin.evaluation.classification_score import ClassificationScore
from ra_plugin.evaluation.families import family
from ra_plugin.evaluation.judging import CLEAN, NONE
from ra_plugin.evaluation.records import Judged
from ra_plugin.evaluation.score_base import Metrics, TaskScore
from ra_plugin.evaluation.significance import Estimate, images_to_tell, mcnemar, proportion
from ra_plugin.evaluation.task_scores import build_score
from ra_plugin.recognizers.base import RecognizerInfo

LEAST_GAP = 0.05  # clean minus baseline; a smaller one is too uncertain to divide by


@dataclass(frozen=True)
class Cell:
    """One way of processing under one view: image quality ``(N,)`` where there is, and the recognizers' scores."""

    index: np.ndarray
    values: Mapping[str, np.ndarray]
    scores: Mapping[str, TaskScore]

    def right(self, recognizer: str) -> np.ndarray | None:
        """``(N,)`` bool: whether a classifier's first answer is right; None for recognizers of other tasks."""
        score = self.scores[recognizer]
        per_image = score.per_image() if isinstance(score, ClassificationScore) else {}
        return per_image.get('top1')


def cell_of(judged: Judged, infos: Mapping[str, RecognizerInfo], metrics: Mapping[str, Metrics],
            index: np.ndarray | None = None) -> Cell:
    """The scores of what was judged; with ``index``, of the images of these numbers alone."""
    places = np.arange(len(judged.index)) if index is None else np.flatnonzero(np.isin(judged.index, index))
    scores = {}
    for name, records in judged.scores.items():
        scores[name] = build_score(infos[name], metrics.get(infos[name].task))
        scores[name].add_records(records[place] for place in places)
    return Cell(judged.index[places], {key: values[places] for key, values in judged.values.items()}, scores)


class Matrix:
    """All scores of some cells on the same images, on the same resamples of them.

    Args:
        cells: (processing, number of the seed) -> its cell; all have the same images.
        seed: Of the bootstrap.
    """

    def __init__(self, cells: Mapping[tuple[str, int], Cell], seed: int = 0):
        self.cells, self.seed = cells, seed
        self.names = list(dict.fromkeys(name for name, _ in cells))
        first = next(iter(cells.values()))
        self.n = len(first.index)
        columns, scores = {}, {}
        for key, cell in cells.items():
            if not np.array_equal(cell.index, first.index):
                raise ValueError(f'{key[0]}: judged on other images than {self.names[0]}.')
            columns.update({(*key, name): values for name, values in cell.values.items() if values.ndim == 1})
            for recognizer, score in cell.scores.items():
                if isinstance(score, ClassificationScore):
                    columns.update({(*key, recognizer, name): right for name, right in score.per_image().items()})
                else:
                    scores[(*key, recognizer)] = score
        self.sampled = sample(columns, scores, self.n, seed)

    def seeds(self, name: str) -> list[int]:
        """Numbers of the seeds that a way of processing has."""
        return [seed for other, seed in self.cells if other == name]

    def of_seeds(self, name: str, *column: str) -> list[Sampled]:
        """``column`` is one of `quality`, or a recognizer and its metric."""
        return [self.sampled[(name, seed, *column)] for seed in self.seeds(name)]

    def mean(self, name: str, *column: str) -> Sampled:
        """The mean over the seeds, with what other seeds would change; the same way of training in every column."""
        return of_trainings(name, self.of_seeds(name, *column))

    def columns(self) -> list[tuple[str, str]]:
        """The recognizers that have judged all cells, with their metrics."""
        first, *others = self.cells.values()
        return [(recognizer, metric) for recognizer, score in first.scores.items() for metric in score.names
                if all(recognizer in cell.scores for cell in others)]

    def too_few(self) -> dict[str, dict[str, int]]:
        """Recognizer -> class -> images that hold it, where too few do for an interval of the mean over the classes."""
        found = {}
        for recognizer, metric in self.columns():
            name, seed = next(iter(self.cells))
            classes = self.sampled[name, seed, recognizer, metric].classes
            if classes is not None and (few := classes.too_few()).any():
                names = self.cells[name, seed].scores[recognizer].classes
                found[recognizer] = {names[label]: int(classes.images[label]) for label in np.flatnonzero(few)}
        return found

    def quality(self) -> list[str]:
        """``'psnr'``, ``'ssim'``, and what else measures image quality."""
        return list(dict.fromkeys(name for cell in self.cells.values() for name, values in cell.values.items()
                                  if values.ndim == 1))

    def right(self, name: str, recognizer: str) -> list[np.ndarray] | None:
        """``(N,)`` bool of each seed, see `Cell.right`."""
        found = [self.cells[name, seed].right(recognizer) for seed in self.seeds(name)]
        return None if found[0] is None else found


def summary(matrix: Matrix, baseline: str) -> dict[str, Any]:
    """Scores of every way of processing, and the differences of the restorers to the baseline on the same images.

    Args:
        matrix: Has `CLEAN`, `NONE` and ``baseline``.

    Returns:
        ``{'n', 'too_few_images', 'processings', 'differences'}``, as ``docs/EVALUATION.md`` describes them.
    """
    restorers = [name for name in matrix.names if name not in (CLEAN, NONE, baseline)]
    return {'n': matrix.n, 'too_few_images': matrix.too_few(),
            'processings': {name: _entry(matrix, name) for name in matrix.names},
            'differences': {name: _difference(matrix, name, baseline) for name in restorers}}


def _entry(matrix: Matrix, name: str) -> dict[str, Any]:
    measured = matrix.cells[name, matrix.seeds(name)[0]].values
    quality = {column: matrix.mean(name, column).value if column in measured else None for column in matrix.quality()}
    return {**quality, 'scores': _by_recognizer(matrix, lambda *column: _score(matrix, name, *column))}


def _by_recognizer(matrix: Matrix, make) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for recognizer, metric in matrix.columns():
        found.setdefault(recognizer, {})[metric] = make(recognizer, metric)
    return found


def _score(matrix: Matrix, name: str, recognizer: str, metric: str) -> dict[str, Any]:
    parts = matrix.of_seeds(name, recognizer, metric)
    score = matrix.cells[name, matrix.seeds(name)[0]].scores[recognizer]
    if isinstance(score, ClassificationScore) and len(parts) == 1:
        estimate = proportion(score.per_image()[metric])
    else:
        estimate = matrix.mean(name, recognizer, metric).of_share()
    return {**vars(estimate), 'seeds': _spread([part.value for part in parts])}


def _spread(values: Sequence[float]) -> dict[str, Any] | None:
    """Mean and standard deviation over the seeds, where there are several."""
    if len(values) == 1:
        return None
    return {'values': list(values), 'mean': float(np.mean(values)), 'std': float(np.std(values, ddof=1))}


def _difference(matrix: Matrix, name: str, baseline: str) -> dict[str, Any]:
    def of_column(*column: str) -> Sampled:
        return matrix.mean(name, *column) - matrix.mean(baseline, *column)

    def entry(recognizer: str, metric: str) -> dict[str, Any]:
        difference = of_column(recognizer, metric)
        gap = matrix.mean(CLEAN, recognizer, metric) - matrix.mean(baseline, recognizer, metric)
        ours, theirs = (matrix.right(who, recognizer) if metric == 'top1' else None for who in (name, baseline))
        pairs = ours is not None and len(ours) == len(theirs)
        recovered = share(difference, gap, LEAST_GAP)
        return {**vars(difference.estimate()),
                'gap': gap.value,
                'gap_recovered': vars(recovered) if recovered else None,
                'mcnemar_p': [mcnemar(a, b) for a, b in zip(ours, theirs)] if pairs else None,
                'images_for_one_point': None if ours is None else images_to_tell(
                    np.mean(ours, 0) - np.mean(theirs, 0))}

    main = {recognizer: metric for recognizer, metric in reversed(matrix.columns())}  # the first metric of each
    return {**{column: vars(of_column(column).estimate()) for column in matrix.quality()},
            'scores': _by_recognizer(matrix, entry),
            'family': family({recognizer: of_column(recognizer, metric) for recognizer, metric in main.items()})}


def harm(matrix: Matrix, classes: Iterable[str] | None, labels: np.ndarray) -> dict[str, Any]:
    """Images that a classifier reads right before restoration and wrong after it, and the other way round.

    Args:
        matrix: Has `NONE`; of several seeds the shares are means.
        classes: Names of the classes. Default: their numbers.
        labels: ``(N,)`` class of each image.

    Returns:
        Restorer -> classifier -> ``{'hurt', 'helped', 'by_class'}``: shares of all images with their intervals, and of
        the images of each class.
    """
    names = list(classes or map(str, range(int(labels.max()) + 1)))
    found: dict[str, Any] = {}
    for name in matrix.names:
        for recognizer in matrix.cells[matrix.names[0], 0].scores if name not in (CLEAN, NONE) else ():
            before, after = matrix.right(NONE, recognizer), matrix.right(name, recognizer)
            if before is None:
                continue
            hurt = [before[0] & ~right for right in after]
            helped = [right & ~before[0] for right in after]
            shares = {'hurt': hurt, 'helped': helped}
            found.setdefault(name, {})[recognizer] = {
                **{kind: vars(_share_of_images(matrix, name, of_seeds)) for kind, of_seeds in shares.items()},
                'by_class': {names[label]: {'n': int(np.sum(labels == label)),
                                            **{kind: float(np.mean(of_seeds, 0)[labels == label].mean())
                                               for kind, of_seeds in shares.items()}}
                             for label in np.unique(labels)}}
    return found


def _share_of_images(matrix: Matrix, name: str, of_seeds: Sequence[np.ndarray]) -> Estimate:
    """The share of True, its mean where there are several seeds."""
    if len(of_seeds) == 1:
        return proportion(of_seeds[0])
    drawn = sample(dict(enumerate(of_seeds)), {}, matrix.n, matrix.seed)
    return of_trainings(name, drawn.values()).of_share()


def clean_input(cells: Mapping[str, Cell], clean: Cell, seed: int = 0) -> dict[str, Any]:
    """What restorers make of images that are good already: score minus that of the clean image itself.

    Args:
        cells: Restorer -> what it made of the clean images.
        clean: The same images themselves.
    """
    matrix = Matrix({(CLEAN, 0): clean, **{(name, 0): cell for name, cell in cells.items()}}, seed)

    def entry(name: str) -> dict[str, Any]:
        return _by_recognizer(matrix, lambda *column: vars(
            (matrix.mean(name, *column) - matrix.mean(CLEAN, *column)).estimate()))

    return {'n': matrix.n, 'restorers': {
        name: {'psnr': matrix.mean(name, 'psnr').value, 'scores': entry(name)} for name in cells}}
