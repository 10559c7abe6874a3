"""What the scores of all tasks share: batches in, shares in [0, 1] out, over all images or over resamples of them."""
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from ra_plugin.options import OptionError, suggestion

Metrics = str | Sequence[str] | None  # one name, several, or the default
LABELS, CLEAN_ANSWERS = 'labels', 'clean answers'  # what predictions are held against


class TaskScore:
    """Scores of one recognizer. One that the images leave open, as no class is in them, is NaN.

    Args:
        metrics: What to compute, of ``known``. Default: ``default``.
        num_classes: C.
        classes: Their names, for `per_class`. Default: their numbers.

    Attributes:
        against: What predictions are held against: `LABELS`, or `CLEAN_ANSWERS`, those on the clean images.
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

    @property
    def names(self) -> list[str]:
        """Keys of what `compute` gives."""
        return self.metrics

    def __len__(self) -> int:
        """Number of images so far."""
        raise NotImplementedError(f'{type(self).__name__} has no __len__().')

    @property
    def parts(self) -> Sequence['TaskScore']:
        """The scores that it is made of: itself, unless it joins several."""
        return [self]

    @property
    def needs_clean(self) -> bool:
        """Return whether the recognizer has to be asked about the clean images, too."""
        return any(part.against == CLEAN_ANSWERS for part in self.parts)

    def add(self, predictions: Any, labels: Any = None, clean: Any = None) -> None:
        """Add a batch: what ``predict`` gave of the restored images, the labels, and what it gave of the clean ones."""
        for part in self.parts:
            part.update(predictions, clean if part.against == CLEAN_ANSWERS else labels)

    def update(self, predictions: Any, labels: Any) -> None:
        """Add a batch: what the recognizer's ``predict`` gave, and what it is held against."""
        raise NotImplementedError(f'{type(self).__name__} has no update().')

    def facts(self) -> dict[str, dict[str, str]]:
        """Metric -> ``better`` (``'higher'`` or ``'lower'``), ``unit`` (``'share'`` or another), ``against``."""
        return {name: {'better': 'lower' if name in part.lower_is_better else 'higher',
                       'unit': part.units.get(name, 'share'), 'against': part.against}
                for part in self.parts for name in part.names}

    def per_image(self) -> dict[str, np.ndarray]:
        """Metric -> ``(N,)``, for those that are the mean of a value of each image."""
        return {}

    def records(self) -> list:
        """Return what is known of each image, in order: plain data, which another process may add to its own."""
        raise NotImplementedError(f'{type(self).__name__} has no records().')

    def add_records(self, records: Iterable) -> None:
        """Add images that another score of the same kind has seen."""
        raise NotImplementedError(f'{type(self).__name__} has no add_records().')

    def compute(self) -> dict[str, float]:
        """The scores over all images."""
        return {name: float(values[0]) for name, values in self.resampled(np.ones((1, len(self)), int)).items()}

    def resampled(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """The scores ``(R,)`` over R resamples; ``counts (R, N)`` says how often each has each of the N images."""
        raise NotImplementedError(f'{type(self).__name__} has no resampled().')

    def by_class_resampled(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """As `resampled`; scores that are a mean over the classes as ``(R, C)``, NaN where a class has no image."""
        return self.resampled(counts)

    def images_of_classes(self) -> np.ndarray:
        """Return ``(C,)``, the number of images whose label holds each class, for scores that are a mean over them."""
        raise NotImplementedError(f'{type(self).__name__} has no images_of_classes().')

    def check_labels(self, labels: np.ndarray) -> None:
        """Raise ValueError where a label is no class."""
        if labels.size and not 0 <= labels.min() <= labels.max() < self.num_classes:
            raise ValueError(f'{type(self).__name__}: expected labels in 0..{self.num_classes - 1}, '
                             f'got {labels.min()}..{labels.max()}. Are these the classes of the recognizer?')

    def by_class(self, values: Iterable[float]) -> dict[str, float]:
        """``(C,)`` with the names of the classes."""
        return dict(zip(self.classes, map(float, values)))


def mean_over_classes(values: np.ndarray) -> np.ndarray:
    """Mean over the last dimension without its NaN; NaN where nothing else is left."""
    counted = ~np.isnan(values)
    with np.errstate(invalid='ignore'):
        return np.where(counted, values, 0).sum(-1) / counted.sum(-1)
