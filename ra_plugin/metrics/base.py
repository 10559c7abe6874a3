"""The base of task scores: batches in, shares in [0, 1] out, over all images or over resamples of them."""
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from ra_plugin.options import OptionError, suggestion
from ra_plugin.recognizers.facts import RecognizerInfo

Metrics = str | Sequence[str] | None  # one name, several, or the default
LABELS, CLEAN_ANSWERS = 'labels', 'clean answers'  # references of predictions


class TaskScore:
    """Scores of one recognizer; NaN where the images do not determine one, as without any image of a class.

    Args:
        metrics: Names of metrics, of ``known``. Default: ``default``.
        num_classes: C.
        classes: Names of the classes, for `per_class`. Default: their numbers.

    Attributes:
        against: Reference of the predictions: `LABELS`, or `CLEAN_ANSWERS`, the predictions on the clean images.
        lower_is_better: Metrics of which less is better; of all others more is.
        units: Metric -> its unit, where it is no share in [0, 1].

    Raises:
        OptionError: An unknown metric, or none.
    """

    known: Sequence[str] = ()
    default: Sequence[str] = ()
    against = LABELS
    lower_is_better: Sequence[str] = ()
    units: Mapping[str, str] = MappingProxyType({})

    def __init__(self, metrics: Metrics = None, num_classes: int = 0, classes: Sequence[str] | None = None):
        where = type(self).__name__
        self.metrics = [metrics] if isinstance(metrics, str) else list(self.default if metrics is None else metrics)
        for name in self.metrics:
            if name not in self.known:
                raise OptionError(f"{where}: unknown metric '{name}'.{suggestion(name, self.known)} "
                                  f"Known: {', '.join(self.known)}")
        if not self.metrics:
            raise OptionError(f"{where}: expected a metric, got none. Known: {', '.join(self.known)}")
        self.num_classes = num_classes
        self.classes = list(classes or map(str, range(num_classes)))

    @classmethod
    def from_info(cls, info: RecognizerInfo, metrics: Metrics = None) -> 'TaskScore':
        """Build the score of a recognizer with these facts."""
        return cls(metrics)

    @property
    def names(self) -> list[str]:
        """Keys of the result of `compute`."""
        return self.metrics

    def __len__(self) -> int:
        """Return the number of images so far."""
        raise NotImplementedError(f'{type(self).__name__} has no __len__().')

    @property
    def parts(self) -> Sequence['TaskScore']:
        """Single scores that this one consists of: itself, unless it joins several."""
        return [self]

    @property
    def needs_clean(self) -> bool:
        """True if predictions on the clean images are needed, too."""
        return any(part.against == CLEAN_ANSWERS for part in self.parts)

    def add(self, predictions: Any, labels: Any = None, clean: Any = None) -> None:
        """Add a batch: predictions on the restored images, the labels, and predictions on the clean images."""
        for part in self.parts:
            part.update(predictions, clean if part.against == CLEAN_ANSWERS else labels)

    def update(self, predictions: Any, labels: Any) -> None:
        """Add a batch: the recognizer's predictions, and the labels or clean predictions to compare them with."""
        raise NotImplementedError(f'{type(self).__name__} has no update().')

    def facts(self) -> dict[str, dict[str, str]]:
        """Map each metric to ``better`` (``'higher'`` or ``'lower'``), ``unit`` (``'share'`` or another) and
        ``against``; and to ``over`` where its resamples are not of single images, but e.g. of identities.
        """
        return {name: {'better': 'lower' if name in part.lower_is_better else 'higher',
                       'unit': part.units.get(name, 'share'), 'against': part.against,
                       **({'over': part.drawn} if isinstance(part, GroupedScore) else {})}
                for part in self.parts for name in part.names}

    def per_image(self) -> dict[str, np.ndarray]:
        """Map each metric that is a mean over images to its values ``(N,)``."""
        return {}

    def without_answer(self, of_clean: bool = False) -> int:
        """Return the number of images whose answer is no number; with ``of_clean``, that of the clean images."""
        return 0

    def is_determined(self, name: str) -> bool:
        """Return False where these images are too few for the metric of that name, so that it is NaN."""
        return True

    def records(self) -> list:
        """Return the data of each image, in order, in a form that another process may add to its own."""
        raise NotImplementedError(f'{type(self).__name__} has no records().')

    def add_records(self, records: Iterable) -> None:
        """Add images that another score of the same kind has seen."""
        raise NotImplementedError(f'{type(self).__name__} has no add_records().')

    def compute(self) -> dict[str, float]:
        """Return the scores over all images."""
        return {name: float(values[0]) for name, values in self.resampled(np.ones((1, len(self)), int)).items()}

    def resampled(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Return the scores ``(R,)`` over R resamples; ``counts (R, N)`` says how often each has each of the N images.
        """
        raise NotImplementedError(f'{type(self).__name__} has no resampled().')

    def by_class_resampled(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Return `resampled`, but ``(R, C)`` for means over the classes, with NaN where a class has no image."""
        return self.resampled(counts)

    def images_of_classes(self) -> np.ndarray:
        """Return the number of images whose label holds each class, ``(C,)``, for means over the classes."""
        raise NotImplementedError(f'{type(self).__name__} has no images_of_classes().')

    def check_labels(self, labels: np.ndarray) -> None:
        """Check that all labels are classes; a ValueError is raised otherwise."""
        if labels.size and not 0 <= labels.min() <= labels.max() < self.num_classes:
            raise ValueError(f'{type(self).__name__}: expected labels in 0..{self.num_classes - 1}, '
                             f'got {labels.min()}..{labels.max()}. Are these the classes of the recognizer?')

    def by_class(self, values: Iterable[float]) -> dict[str, float]:
        """Map the names of the classes to values ``(C,)``."""
        return dict(zip(self.classes, map(float, values), strict=True))


@dataclass(frozen=True)
class Groups:
    """Groups of images that are drawn as a whole, as those of one person.

    Attributes:
        number: Number of groups, G.
        counted: Metric -> number of equal groups that would vary as much, as some have more images than others.
        change: Metric -> change of the score that one image makes.
    """

    number: int
    counted: Mapping[str, int]
    change: Mapping[str, float]


class GroupedScore(TaskScore):
    """Scores whose images are not independent of each other: a resample draws whole groups of them.

    Attributes:
        drawn: The groups in a word, in the plural.
    """

    drawn: str

    def groups(self) -> Groups:
        """Return the groups of the images so far."""
        raise NotImplementedError(f'{type(self).__name__} has no groups().')

    def group_of_images(self) -> np.ndarray:
        """Return the group of each image, ``(N,)`` numbers 0 to G - 1."""
        raise NotImplementedError(f'{type(self).__name__} has no group_of_images().')

    def groups_resampled(self, times: np.ndarray) -> dict[str, np.ndarray]:
        """Return the scores ``(R,)`` over R resamples; ``times (R, G)`` says how often each has each group."""
        raise NotImplementedError(f'{type(self).__name__} has no groups_resampled().')

    def resampled(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Return the scores ``(R,)`` over R resamples ``(R, N)`` of whole groups.

        Raises:
            ValueError: A resample has an image of a group more often than another.
        """
        group = self.group_of_images()
        _, first = np.unique(group, return_index=True)
        times = counts[:, first]
        if not np.array_equal(times[:, group], counts):
            raise ValueError(f'{type(self).__name__}: expected resamples of whole groups, as of identities, got some '
                             'that have one image of a group more often than another. Draw groups: groups_resampled.')
        return self.groups_resampled(times)


def mean_over_classes(values: np.ndarray) -> np.ndarray:
    """Return the mean over the last dimension without its NaN; NaN where nothing else is left."""
    counted = ~np.isnan(values)
    with np.errstate(invalid='ignore'):
        return np.where(counted, values, 0).sum(-1) / counted.sum(-1)
