"""Results under one condition: a data set under one degradation."""
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ra_plugin.results.codec import flattened, left_out_if_none
from ra_plugin.results.comparison import Audit, CleanInput
from ra_plugin.results.estimate import Change, Estimate, Score

CLEAN, NONE = 'clean', 'no processing'  # ways of processing that are always there


@dataclass(frozen=True)
class DataGiven:
    """Parts that the items of the data set have.

    Attributes:
        labels: True if it has labels.
        clean: True if it has clean images.
    """

    labels: bool = True
    clean: bool = True


@dataclass(frozen=True)
class Processing:
    """Quality and scores of one way of processing.

    Attributes:
        quality: ``psnr``, ``ssim`` or another measure -> mean over the images; NaN where it is not defined.
        exact: Images that are restored exactly, by any seed; None without clean images.
        undefined: Measure -> images without a value.
        scores: Recognizer -> metric -> score.
        without_answer: Recognizer -> images whose answer is no number, of the seed with most; None: there are none.
    """

    quality: Mapping[str, float] = flattened()
    exact: int | None = left_out_if_none()
    undefined: Mapping[str, int] | None = left_out_if_none()
    scores: Mapping[str, Mapping[str, Score]] = field(default_factory=dict)
    without_answer: Mapping[str, int] | None = left_out_if_none()


@dataclass(frozen=True)
class Family:
    """Recognizers that a restorer surely makes better or worse, corrected for their number (Holm).

    Attributes:
        comparisons: Number of recognizers.
        up, down: Names of those that are surely better, and worse, by their main metric.
    """

    comparisons: int
    up: Sequence[str]
    down: Sequence[str]


@dataclass(frozen=True)
class Difference:
    """One way of processing minus another on the same images.

    Attributes:
        quality: Measure of image quality -> difference.
        scores: Recognizer -> metric -> difference.
        family: Corrected for the number of recognizers; None in files of early versions.
    """

    quality: Mapping[str, Estimate] = flattened()
    scores: Mapping[str, Mapping[str, Change]] = field(default_factory=dict)
    family: Family | None = left_out_if_none()


@dataclass(frozen=True)
class Chance:
    """Score of a recognizer beside that of the same answers in random order.

    Attributes:
        processing: Images that were read: clean ones where there are any, else those that it reads best.
        metric: Metric of both.
        score, chance: Score of the answers, and of the same answers in random order.
        at_chance: True where the first is not surely, or hardly, above the second.
    """

    processing: str
    metric: str
    score: float
    chance: float
    at_chance: bool


@dataclass(frozen=True)
class CommonestAnswer:
    """Commonest answer of a recognizer to the clean images.

    Attributes:
        answer: The answer in words; None: no box, or an embedding.
        of: ``'images'``, ``'pixels'``, or ``'pairs'`` of two images, whose embeddings are compared.
        share: Share of these that have it; of pairs, their mean cosine.
        metric: Metric of agreement.
        score: Agreement with the answers to the clean images.
        constant: Agreement that one answer for all images would have; NaN for boxes.
    """

    @property
    def remedy(self) -> str:
        """Sentence that names the parts to look at."""
        return f'Unless these images are like that, check its weights{" and classes" * (self.of != "pairs")}.'

    answer: str | None
    of: str
    share: float
    metric: str
    score: float
    constant: float

    @property
    def can_be_constant(self) -> bool:
        """True where agreement of a constant answer is defined."""
        return not math.isnan(self.constant)

    def sentence(self, recognizer: str) -> str:
        """Return how common it is, as a sentence without its full stop."""
        if self.of == 'pairs':
            return f'{recognizer} gives two different clean images a cosine of {self.share:.3f} on average'
        where = 'the clean images' if self.of == 'images' else 'the pixels of the clean images'
        answer = 'finds nothing' if self.answer is None else f'answers {self.answer}'
        return f'{recognizer} {answer} on {100 * self.share:.1f} % of {where}'


@dataclass(frozen=True)
class Variety(CommonestAnswer):
    """Commonest answer, for the images on which the recognizer agrees most with its answers to the clean ones.

    Attributes:
        processing: Way of processing of these images.
        little: True where agreement says little of restorers, since the answers hardly differ.
    """

    processing: str
    little: bool


@dataclass(frozen=True)
class ClassHarm:
    """Shares of the images of one class.

    Attributes:
        n: Images of the class.
        hurt, helped: As in `Harm`.
    """

    n: int | None = None
    hurt: float = math.nan
    helped: float = math.nan


@dataclass(frozen=True)
class Harm:
    """Shares of all images that a classifier reads otherwise after restoration.

    Attributes:
        hurt: Right without processing and wrong after it.
        helped: The reverse.
        by_class: Class -> the same shares.
    """

    hurt: Estimate
    helped: Estimate
    by_class: Mapping[str, ClassHarm] = field(default_factory=dict)


@dataclass(frozen=True)
class Condition:
    """Results under one condition.

    Attributes:
        given: Parts that the data set has.
        n: Number of images.
        too_few_images: Recognizer -> class -> images that hold it, where these are too few for an interval.
        processings: Way of processing -> quality and scores.
        differences: Restorer -> difference to the baseline.
        differences_from_no_processing: Restorer -> difference to no processing, where that is not the baseline.
        pairs: Restorer -> other restorer -> difference, where the baseline is no processing.
        chance: Recognizer -> comparison with chance; where there are labels.
        variety: Recognizer -> variety of its answers; where agreement is scored.
        harm: Restorer -> classifier -> images hurt and helped; None without labels.
        audit: Audit of the gains; None where there was none.
        clean_input: Clean images given to the restorers; None where there were none.
    """

    given: DataGiven = DataGiven()
    n: int = 0
    too_few_images: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    processings: Mapping[str, Processing] = field(default_factory=dict)
    differences: Mapping[str, Difference] = field(default_factory=dict)
    differences_from_no_processing: Mapping[str, Difference] = field(default_factory=dict)
    pairs: Mapping[str, Mapping[str, Difference]] = field(default_factory=dict)
    chance: Mapping[str, Chance] = field(default_factory=dict)
    variety: Mapping[str, Variety] = field(default_factory=dict)
    harm: Mapping[str, Mapping[str, Harm]] | None = left_out_if_none()
    audit: Audit | None = left_out_if_none()
    clean_input: CleanInput | None = left_out_if_none()
