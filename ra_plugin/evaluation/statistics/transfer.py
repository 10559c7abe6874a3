"""The transfer matrix: the score of every recognizer after every way of processing, with intervals."""
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ra_plugin.evaluation.records import ImageRecords
from ra_plugin.evaluation.statistics.bootstrap import Sampled, mean_over_trainings, sample, share
from ra_plugin.evaluation.statistics.families import family
from ra_plugin.evaluation.statistics.significance import images_to_tell, mcnemar, proportion
from ra_plugin.metrics.base import Metrics, TaskScore
from ra_plugin.metrics.classification import ClassificationScore
from ra_plugin.metrics.task_scores import build_score
from ra_plugin.recognizers.facts import RecognizerInfo
from ra_plugin.results import (
    CLEAN,
    LEAST_GAP,
    NONE,
    Change,
    ClassHarm,
    CleanInput,
    CleanInputEntry,
    Condition,
    DataGiven,
    Difference,
    Estimate,
    Harm,
    MetricFacts,
    Processing,
    Score,
    Seeds,
    main_metric,
)

T = TypeVar('T')

_GIVEN = DataGiven()
_LIMITS = {'nats': (0.0, math.inf), 'cosine': (-1.0, 1.0)}  # of scores that are no shares, by their unit
_FIRST_ANSWER = 'top1', 'top1_agreement'  # right or wrong, the same or another: what McNemar's test compares


@dataclass(frozen=True)
class JudgedProcessing:
    """Images of one way of processing under one view.

    Attributes:
        index: ``(N,)`` number of each image in the data set.
        values: Measure of image quality -> ``(N,)``.
        scores: Recognizer -> score of the images.
    """

    index: np.ndarray
    values: Mapping[str, np.ndarray]
    scores: Mapping[str, TaskScore]

    def right(self, recognizer: str) -> np.ndarray | None:
        """Return ``(N,)`` bool, True where a classifier's first answer is right; None for others, or without labels."""
        return self.scores[recognizer].per_image().get('top1')


def judged_processing(records: ImageRecords, infos: Mapping[str, RecognizerInfo], metrics: Mapping[str, Metrics],
                      index: np.ndarray | None = None, labels: bool = True, clean: bool = False) -> JudgedProcessing:
    """Build the scores of recorded images.

    Args:
        records: Records of the images.
        infos: Recognizer -> facts.
        metrics: Task -> metrics, as in `build_score`.
        index: Numbers of the images to take. Default: all.
        labels: True if the data set has labels.
        clean: True if it has clean images.
    """
    places = np.arange(len(records.index)) if index is None else np.flatnonzero(np.isin(records.index, index))
    scores = {}
    for name, of_images in records.scores.items():
        scores[name] = build_score(infos[name], metrics.get(infos[name].task), labels, clean)
        scores[name].add_records(of_images[place] for place in places.tolist())
    return JudgedProcessing(records.index[places], {key: values[places] for key, values in records.values.items()},
                            scores)


class Matrix:
    """Scores of all ways of processing, on the same images and the same resamples of them.

    Args:
        processings: (processing, number of the seed) -> its scores; all have the same images.
        seed: Seed of the bootstrap.
    """

    def __init__(self, processings: Mapping[tuple[str, int], JudgedProcessing], seed: int = 0):
        self.processings, self.seed = processings, seed
        self.names = list(dict.fromkeys(name for name, _ in processings))
        first = next(iter(processings.values()))
        self.index, self.n = first.index, len(first.index)
        columns, scores = {}, {}
        for key, judged in processings.items():
            if not np.array_equal(judged.index, first.index):
                raise ValueError(f'{key[0]}: judged on other images than {self.names[0]}.')
            columns.update({(*key, name): values for name, values in judged.values.items() if values.ndim == 1})
            for recognizer, score in judged.scores.items():
                per_image = score.per_image()
                columns.update({(*key, recognizer, name): values for name, values in per_image.items()})
                if len(per_image) < len(score.names):
                    scores[(*key, recognizer)] = score
        self.sampled = sample(columns, scores, self.n, seed)

    def seeds(self, name: str) -> list[int]:
        """Return the numbers of the seeds that a way of processing has."""
        return [seed for other, seed in self.processings if other == name]

    def by_seed(self, name: str, *column: str) -> list[Sampled]:
        """Return the score of each seed; ``column`` is one of `quality`, or a recognizer and its metric."""
        return [self.sampled[(name, seed, *column)] for seed in self.seeds(name)]

    def mean(self, name: str, *column: str) -> Sampled:
        """Return the mean over the seeds, with what other seeds would change."""
        return mean_over_trainings(name, self.by_seed(name, *column))

    def columns(self) -> list[tuple[str, str]]:
        """Return the recognizers that have judged all ways of processing, with their metrics."""
        first, *others = self.processings.values()
        return [(recognizer, metric) for recognizer, score in first.scores.items() for metric in score.names
                if all(recognizer in judged.scores for judged in others)]

    def main(self) -> dict[str, str]:
        """Return recognizer -> its `main_metric`."""
        key, facts = next(iter(self.processings)), self.facts()
        known: dict[str, dict[str, bool]] = {}
        for recognizer, metric in self.columns():
            value = self.sampled[(*key, recognizer, metric)].value
            known.setdefault(recognizer, {})[metric] = not math.isnan(value)
        return {recognizer: main_metric(of_metrics, facts) for recognizer, of_metrics in known.items()}

    def gain_metrics(self) -> dict[str, str]:
        """Return `main`, for the recognizers by whose main metric more is better: those that can be audited."""
        facts = self.facts()
        return {recognizer: metric for recognizer, metric in self.main().items() if facts[metric].better == 'higher'}

    def too_few(self) -> dict[str, dict[str, int]]:
        """Return recognizer -> class -> images that hold it, where these are too few for an interval."""
        found = {}
        for recognizer, metric in self.columns():
            name, seed = next(iter(self.processings))
            classes = self.sampled[name, seed, recognizer, metric].classes
            if classes is not None and (few := classes.too_few()).any():
                names = self.processings[name, seed].scores[recognizer].parts[0].classes
                found[recognizer] = {names[label]: int(classes.images[label]) for label in np.flatnonzero(few)}
        return found

    def quality(self) -> list[str]:
        """Return ``'psnr'``, ``'ssim'`` and the further measures of image quality."""
        return list(dict.fromkeys(name for judged in self.processings.values()
                                  for name, values in judged.values.items() if values.ndim == 1))

    def right(self, name: str, recognizer: str, metric: str = 'top1') -> list[np.ndarray] | None:
        """Return ``(N,)`` bool of each seed: right by ``'top1'``, or the same answer by ``'top1_agreement'``."""
        found = [self.processings[name, seed].scores[recognizer].per_image() for seed in self.seeds(name)]
        return [per_image[metric] for per_image in found] if metric in found[0] else None

    def answers(self, name: str, recognizer: str, metric: str) -> np.ndarray:
        """Return ``(N,)`` of the first seed: right by ``'top1'``, or the same answer by ``'top1_agreement'``."""
        return self.processings[name, self.seeds(name)[0]].scores[recognizer].per_image()[metric]

    def without_answer(self, name: str) -> dict[str, int]:
        """Return recognizer -> images whose answer is no number, of the seed with most; those that have any."""
        judged = [self.processings[name, seed].scores for seed in self.seeds(name)]
        found = {recognizer: max(scores[recognizer].without_answer() for scores in judged) for recognizer in judged[0]}
        return {recognizer: count for recognizer, count in found.items() if count}

    def facts(self) -> dict[str, MetricFacts]:
        """Return metric -> facts."""
        first = next(iter(self.processings.values()))
        return {metric: MetricFacts(**facts) for score in first.scores.values()
                for metric, facts in score.facts().items()}

    def labels(self) -> np.ndarray | None:
        """Return the ``(N,)`` class of each image, where a classifier is held against labels."""
        parts = (part for score in next(iter(self.processings.values())).scores.values() for part in score.parts)
        return next((part.labels() for part in parts if isinstance(part, ClassificationScore)), None)


def summary(matrix: Matrix, baseline: str, given: DataGiven = _GIVEN) -> Condition:
    """Return the scores of every way of processing, and the differences to the baseline on the same images.

    Args:
        matrix: Has ``baseline``, `NONE` to compare with that, too, and `CLEAN` where there are clean images.
        baseline: Name of the way of processing that others are compared with.
        given: Parts that the data set has.
    """
    restorers = [name for name in matrix.names if name not in (CLEAN, NONE)]
    others = [name for name in restorers if name != baseline]
    has_another = baseline != NONE and NONE in matrix.names
    against_none = {name: _difference(matrix, name, NONE) for name in restorers} if has_another else {}
    pairs = {second: {first: _difference(matrix, second, first) for first in restorers[:place]}
             for place, second in enumerate(restorers) if place} if baseline == NONE else {}
    return Condition(
        given=given, n=matrix.n, too_few_images=matrix.too_few(),
        processings={name: _processing(matrix, name) for name in matrix.names},
        differences={name: _difference(matrix, name, baseline) for name in others},
        differences_from_no_processing=against_none, pairs=pairs)


def _processing(matrix: Matrix, name: str) -> Processing:
    exact, undefined = left_out(matrix, name)
    return Processing({column: mean_quality(matrix, name, column) for column in matrix.quality()}, exact, undefined,
                      _by_recognizer(matrix, lambda *column: _score(matrix, name, *column)),
                      matrix.without_answer(name) or None)


def _by_recognizer(matrix: Matrix, make: Callable[[str, str], T]) -> dict[str, dict[str, T]]:
    found: dict[str, dict[str, T]] = {}
    for recognizer, metric in matrix.columns():
        found.setdefault(recognizer, {})[metric] = make(recognizer, metric)
    return found


def _score(matrix: Matrix, name: str, recognizer: str, metric: str) -> Score:
    parts = matrix.by_seed(name, recognizer, metric)
    per_image = matrix.processings[name, matrix.seeds(name)[0]].scores[recognizer].per_image().get(metric)
    if per_image is not None and per_image.dtype == bool and len(parts) == 1:
        estimate = proportion(per_image)
    elif (unit := matrix.facts()[metric].unit) == 'share':
        estimate = matrix.mean(name, recognizer, metric).share_estimate()
    else:
        estimate = matrix.mean(name, recognizer, metric).estimate()
        low, high = _LIMITS[unit]
        estimate = Estimate(estimate.value, max(estimate.low, low), min(estimate.high, high))
    return Score(**vars(estimate.finite()), seeds=_spread([part.value for part in parts]))


def _spread(values: Sequence[float]) -> Seeds | None:
    """Return the mean and standard deviation over the seeds, where there are several."""
    if len(values) == 1:
        return None
    return Seeds(list(values), float(np.mean(values)), float(np.std(values, ddof=1)))


def _difference(matrix: Matrix, name: str, baseline: str) -> Difference:
    def difference_in(*column: str) -> Sampled:
        return matrix.mean(name, *column) - matrix.mean(baseline, *column)

    def entry(recognizer: str, metric: str) -> Change:
        difference = difference_in(recognizer, metric)
        gap, sign = None, -1 if matrix.facts()[metric].better == 'lower' else 1
        if CLEAN in matrix.names:
            gap = matrix.mean(CLEAN, recognizer, metric) - matrix.mean(baseline, recognizer, metric)
        ours, theirs = (matrix.right(who, recognizer, metric) if metric in _FIRST_ANSWER else None
                        for who in (name, baseline))
        p_values = images_for_one_point = None
        if ours is not None and theirs is not None:
            images_for_one_point = images_to_tell(np.mean(ours, 0) - np.mean(theirs, 0))
            if len(ours) == len(theirs):
                p_values = [mcnemar(a, b) for a, b in zip(ours, theirs, strict=True)]
        recovered = gap and share(difference.scaled(sign), gap.scaled(sign), LEAST_GAP)
        return Change(
            **vars(difference.estimate().finite()), gap=math.nan if gap is None else gap.value,
            gap_recovered=recovered.finite() if recovered else None,
            mcnemar_p=p_values, images_for_one_point=images_for_one_point)

    def gain(recognizer: str, metric: str) -> Sampled:
        return difference_in(recognizer, metric).scaled(-1 if matrix.facts()[metric].better == 'lower' else 1)

    return Difference({column: difference_of_quality(matrix, name, baseline, column) for column in matrix.quality()},
                      _by_recognizer(matrix, entry),
                      family({recognizer: gain(recognizer, metric) for recognizer, metric in matrix.main().items()}))


def _known(matrix: Matrix, names: Collection[str], column: str) -> Matrix | None:
    """Return the images with a finite value of one measure after each of these ways, and that measure alone.

    An image that is restored exactly has an infinite PSNR, and some measures are not defined for small images: a mean
    over all would be no number, so it is one over the others.
    """
    chosen = {key: judged for key, judged in matrix.processings.items() if key[0] in names}
    if any(column not in judged.values for judged in chosen.values()):
        return None
    kept = np.all([np.isfinite(judged.values[column]) for judged in chosen.values()], 0)
    if kept.all():
        return matrix
    return Matrix({key: JudgedProcessing(judged.index[kept], {column: judged.values[column][kept]}, {})
                   for key, judged in chosen.items()}, matrix.seed) if kept.any() else None


def mean_quality(matrix: Matrix, name: str, column: str) -> float:
    """Return the mean of a measure of quality, over the seeds and the images that have it; NaN where none has."""
    known = _known(matrix, [name], column)
    return math.nan if known is None else known.mean(name, column).value


def difference_of_quality(matrix: Matrix, name: str, baseline: str, column: str) -> Estimate:
    """Return `mean_quality` minus that of the baseline, on the images that have both; NaN where none has."""
    known = _known(matrix, [name, baseline], column)
    if known is None:
        return Estimate(math.nan, math.nan, math.nan)
    return (known.mean(name, column) - known.mean(baseline, column)).estimate().finite()


def left_out(matrix: Matrix, name: str) -> tuple[int, dict[str, int]] | tuple[None, None]:
    """Return the numbers of images that the means of quality leave out: restored exactly, and undefined by measure."""
    seeds = [matrix.processings[name, seed].values for seed in matrix.seeds(name)]
    if 'psnr' not in seeds[0]:
        return None, None
    exact = int(np.any([np.isposinf(values['psnr']) for values in seeds], 0).sum())
    missing = {column: int(np.any([~np.isfinite(values[column]) for values in seeds], 0).sum())
               for column in matrix.quality() if column != 'psnr' and column in seeds[0]}
    return exact, {column: count for column, count in missing.items() if count}


def harm(matrix: Matrix, classes: Iterable[str] | None, labels: np.ndarray
         ) -> dict[str, dict[str, Harm]]:
    """Count the images that a classifier reads right before restoration and wrong after it, and the reverse.

    Args:
        matrix: Has `NONE`; of several seeds the shares are means.
        classes: Names of the classes. Default: their numbers.
        labels: ``(N,)`` class of each image.

    Returns:
        Restorer -> classifier -> shares of all images, and of the images of each class.
    """
    names = list(classes or map(str, range(int(labels.max()) + 1)))
    found: dict[str, dict[str, Harm]] = {}
    for name in matrix.names:
        for recognizer in matrix.processings[matrix.names[0], 0].scores if name not in (CLEAN, NONE) else ():
            before, after = matrix.right(NONE, recognizer), matrix.right(name, recognizer)
            if before is None or after is None:
                continue
            hurt = [before[0] & ~right for right in after]
            helped = [right & ~before[0] for right in after]
            shares = {'hurt': hurt, 'helped': helped}
            found.setdefault(name, {})[recognizer] = Harm(
                **{kind: _share_of_images(matrix, name, by_seed) for kind, by_seed in shares.items()},
                by_class={names[label]: ClassHarm(int(np.sum(labels == label)),
                                                  **{kind: float(np.mean(by_seed, 0)[labels == label].mean())
                                                     for kind, by_seed in shares.items()})
                          for label in np.unique(labels)})
    return found


def _share_of_images(matrix: Matrix, name: str, by_seed: Sequence[np.ndarray]) -> Estimate:
    """Return the share of True, its mean where there are several seeds."""
    if len(by_seed) == 1:
        return proportion(by_seed[0])
    drawn = sample(dict(enumerate(by_seed)), {}, matrix.n, matrix.seed)
    return mean_over_trainings(name, drawn.values()).share_estimate()


def clean_input(processings: Mapping[tuple[str, int], JudgedProcessing], clean: JudgedProcessing, seed: int = 0
                ) -> CleanInput:
    """Compare clean images after restorers with the clean images: score minus that of the clean image.

    Args:
        processings: (restorer, number of the seed) -> its output for clean images; of several seeds the mean counts.
        clean: The same images themselves.
        seed: Seed of the bootstrap.
    """
    matrix = Matrix({(CLEAN, 0): clean, **processings}, seed)

    def entry(name: str) -> CleanInputEntry:
        exact, undefined = left_out(matrix, name)
        return CleanInputEntry(mean_quality(matrix, name, 'psnr'), exact, undefined, _by_recognizer(
            matrix, lambda *column: (matrix.mean(name, *column) - matrix.mean(CLEAN, *column)).estimate().finite()))

    return CleanInput(matrix.n, {name: entry(name) for name in matrix.names if name != CLEAN})
