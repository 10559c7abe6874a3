"""The transfer matrix: what every recognizer makes of every way of processing, and how certain the differences are."""
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ra_plugin.evaluation.judging import CLEAN, NONE
from ra_plugin.evaluation.records import Judged
from ra_plugin.evaluation.statistics.bootstrap import Sampled, of_trainings, sample, share
from ra_plugin.evaluation.statistics.families import family
from ra_plugin.evaluation.statistics.significance import Estimate, images_to_tell, mcnemar, proportion
from ra_plugin.metrics.base import LEAST_GAP, Metrics, TaskScore
from ra_plugin.metrics.classification import ClassificationScore
from ra_plugin.metrics.task_scores import build_score
from ra_plugin.recognizers.base import RecognizerInfo

_FIRST_ANSWER = 'top1', 'top1_agreement'  # right or wrong, the same or another: what McNemar's test compares


@dataclass(frozen=True)
class Cell:
    """One way of processing under one view: image quality ``(N,)`` where there is, and the recognizers' scores."""

    index: np.ndarray
    values: Mapping[str, np.ndarray]
    scores: Mapping[str, TaskScore]

    def right(self, recognizer: str) -> np.ndarray | None:
        """``(N,)`` bool: whether a classifier's first answer is right; None for other recognizers, without labels."""
        return self.scores[recognizer].per_image().get('top1')


def cell_of(judged: Judged, infos: Mapping[str, RecognizerInfo], metrics: Mapping[str, Metrics],
            index: np.ndarray | None = None, labels: bool = True, clean: bool = False) -> Cell:
    """The scores of what was judged; with ``index``, of the images of these numbers alone.

    ``labels``, ``clean``: what the data set gives, as in `build_score`.
    """
    places = np.arange(len(judged.index)) if index is None else np.flatnonzero(np.isin(judged.index, index))
    scores = {}
    for name, records in judged.scores.items():
        scores[name] = build_score(infos[name], metrics.get(infos[name].task), labels, clean)
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
                per_image = score.per_image()
                columns.update({(*key, recognizer, name): values for name, values in per_image.items()})
                if not per_image:
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
                names = self.cells[name, seed].scores[recognizer].parts[0].classes
                found[recognizer] = {names[label]: int(classes.images[label]) for label in np.flatnonzero(few)}
        return found

    def quality(self) -> list[str]:
        """``'psnr'``, ``'ssim'``, and what else measures image quality."""
        return list(dict.fromkeys(name for cell in self.cells.values() for name, values in cell.values.items()
                                  if values.ndim == 1))

    def right(self, name: str, recognizer: str, metric: str = 'top1') -> list[np.ndarray] | None:
        """``(N,)`` bool of each seed, see `Cell.right`; or whether answers are the same, for ``'top1_agreement'``."""
        found = [self.cells[name, seed].scores[recognizer].per_image().get(metric) for seed in self.seeds(name)]
        return None if found[0] is None else found

    def facts(self) -> dict[str, dict[str, str]]:
        """Metric -> what it is, see `TaskScore.facts`."""
        first = next(iter(self.cells.values()))
        return {metric: facts for score in first.scores.values() for metric, facts in score.facts().items()}

    def labels(self) -> np.ndarray | None:
        """``(N,)`` class of each image, where a classifier is held against labels."""
        parts = (part for score in next(iter(self.cells.values())).scores.values() for part in score.parts)
        return next((part.labels() for part in parts if isinstance(part, ClassificationScore)), None)


def summary(matrix: Matrix, baseline: str) -> dict[str, Any]:
    """Scores of every way of processing, and the differences of the restorers to the baseline on the same images.

    Args:
        matrix: Has ``baseline``, `NONE` to compare with that, too, and `CLEAN` where there are clean images.

    Returns:
        ``{'n', 'too_few_images', 'processings', 'differences', 'differences_from_no_processing', 'pairs'}``, as
        ``docs/EVALUATION.md`` describes them.
    """
    restorers = [name for name in matrix.names if name not in (CLEAN, NONE)]
    others = [name for name in restorers if name != baseline]
    has_another = baseline != NONE and NONE in matrix.names
    against_none = {name: _difference(matrix, name, NONE) for name in restorers} if has_another else {}
    pairs = {second: {first: _difference(matrix, second, first) for first in restorers[:place]}
             for place, second in enumerate(restorers) if place} if baseline == NONE else {}
    return {'n': matrix.n, 'too_few_images': matrix.too_few(),
            'processings': {name: _entry(matrix, name) for name in matrix.names},
            'differences': {name: _difference(matrix, name, baseline) for name in others},
            'differences_from_no_processing': against_none, 'pairs': pairs}


def _entry(matrix: Matrix, name: str) -> dict[str, Any]:
    return {**{column: mean_quality(matrix, name, column) for column in matrix.quality()},
            **left_out(matrix, name),
            'scores': _by_recognizer(matrix, lambda *column: _score(matrix, name, *column))}


def _by_recognizer(matrix: Matrix, make) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for recognizer, metric in matrix.columns():
        found.setdefault(recognizer, {})[metric] = make(recognizer, metric)
    return found


def _score(matrix: Matrix, name: str, recognizer: str, metric: str) -> dict[str, Any]:
    parts = matrix.of_seeds(name, recognizer, metric)
    per_image = matrix.cells[name, matrix.seeds(name)[0]].scores[recognizer].per_image().get(metric)
    if per_image is not None and per_image.dtype == bool and len(parts) == 1:
        estimate = proportion(per_image)
    elif matrix.facts()[metric]['unit'] == 'share':
        estimate = matrix.mean(name, recognizer, metric).of_share()
    else:  # nats: no share, but never below 0
        estimate = matrix.mean(name, recognizer, metric).estimate()
        estimate = replace(estimate, low=max(estimate.low, 0.0))
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
        gap, sign = None, -1 if matrix.facts()[metric]['better'] == 'lower' else 1
        if CLEAN in matrix.names:
            gap = matrix.mean(CLEAN, recognizer, metric) - matrix.mean(baseline, recognizer, metric)
        ours, theirs = (matrix.right(who, recognizer, metric) if metric in _FIRST_ANSWER else None
                        for who in (name, baseline))
        pairs = ours is not None and len(ours) == len(theirs)
        recovered = gap and share(difference.scaled(sign), gap.scaled(sign), LEAST_GAP)
        return {**vars(difference.estimate()),
                'gap': None if gap is None else gap.value,
                'gap_recovered': vars(recovered) if recovered else None,
                'mcnemar_p': [mcnemar(a, b) for a, b in zip(ours, theirs)] if pairs else None,
                'images_for_one_point': None if ours is None else images_to_tell(
                    np.mean(ours, 0) - np.mean(theirs, 0))}

    def gain(recognizer: str, metric: str) -> Sampled:
        return of_column(recognizer, metric).scaled(-1 if matrix.facts()[metric]['better'] == 'lower' else 1)

    main = {recognizer: metric for recognizer, metric in reversed(matrix.columns())}  # the first metric of each
    return {**{column: difference_of_quality(matrix, name, baseline, column) for column in matrix.quality()},
            'scores': _by_recognizer(matrix, entry),
            'family': family({recognizer: gain(recognizer, metric) for recognizer, metric in main.items()})}


def _known(matrix: Matrix, names: Collection[str], column: str) -> Matrix | None:
    """The images of which a measure of quality is a number after each of these ways, and that measure alone.

    An image that is restored exactly has an infinite PSNR, and some measures are not defined for small images: a mean
    over all would be no number, so it is one over the others.
    """
    cells = {key: cell for key, cell in matrix.cells.items() if key[0] in names}
    if any(column not in cell.values for cell in cells.values()):
        return None
    kept = np.all([np.isfinite(cell.values[column]) for cell in cells.values()], 0)
    if kept.all():
        return matrix
    return Matrix({key: Cell(cell.index[kept], {column: cell.values[column][kept]}, {}) for key, cell in cells.items()},
                  matrix.seed) if kept.any() else None


def mean_quality(matrix: Matrix, name: str, column: str) -> float | None:
    """The mean of a measure of quality, over the seeds and the images that have it; None where none has."""
    known = _known(matrix, [name], column)
    return None if known is None else known.mean(name, column).value


def difference_of_quality(matrix: Matrix, name: str, baseline: str, column: str) -> dict[str, float | None]:
    """`mean_quality` minus that of the baseline, on the images that have both; an estimate of None where none has."""
    known = _known(matrix, [name, baseline], column)
    if known is None:
        return {'value': None, 'low': None, 'high': None}
    return vars((known.mean(name, column) - known.mean(baseline, column)).estimate())


def left_out(matrix: Matrix, name: str) -> dict[str, Any]:
    """Return how many images the means of quality leave out: restored exactly, and not defined for."""
    cells = [matrix.cells[name, seed] for seed in matrix.seeds(name)]
    if 'psnr' not in cells[0].values:
        return {}
    exact = int(np.any([np.isposinf(cell.values['psnr']) for cell in cells], 0).sum())
    missing = {column: int(np.any([~np.isfinite(cell.values[column]) for cell in cells], 0).sum())
               for column in matrix.quality() if column != 'psnr' and column in cells[0].values}
    return {'exact': exact, 'undefined': {column: count for column, count in missing.items() if count}}


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


def clean_input(cells: Mapping[tuple[str, int], Cell], clean: Cell, seed: int = 0) -> dict[str, Any]:
    """Compare what restorers make of images that are good already with these: score minus that of the clean image.

    Args:
        cells: (restorer, number of the seed) -> what it made of the clean images; of several seeds the mean counts.
        clean: The same images themselves.
    """
    matrix = Matrix({(CLEAN, 0): clean, **cells}, seed)

    def entry(name: str) -> dict[str, Any]:
        return _by_recognizer(matrix, lambda *column: vars(
            (matrix.mean(name, *column) - matrix.mean(CLEAN, *column)).estimate()))

    return {'n': matrix.n, 'restorers': {
        name: {'psnr': mean_quality(matrix, name, 'psnr'), **left_out(matrix, name), 'scores': entry(name)}
        for name in matrix.names if name != CLEAN}}
