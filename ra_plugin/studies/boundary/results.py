"""Results of a boundary study, the content of ``boundary.json``."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ra_plugin.results import Estimate

SCHEMA = 'ra_plugin.boundary/1'
RANDOM, RA = 'random', 'RA'  # the directions


@dataclass(frozen=True)
class Record:
    """One image that the source recognizer reads wrong after restoration without recognition loss.

    Attributes:
        index: Number in the data set.
        name: Name of the file.
        truth: The right label.
        answer: The wrong one.
        step: L2 distance from the plain to the RA image.
        distance: Direction -> recognizer -> its boundary distance, maybe infinite. There are the source recognizer and
            those that read the same wrong label.
        after: Direction -> recognizer -> the first other label.
    """

    index: int
    name: str
    truth: int
    answer: int
    step: float
    distance: Mapping[str, Mapping[str, float]]
    after: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class DirectionScores:
    """Distances along one direction; keys are ``source``, ``target``, ``ibd`` and ``chance``.

    Attributes:
        found: Share of images whose boundary was found.
        right: Share of images whose first other label is the right one.
        median: Median distance; a boundary that was not found is infinitely far.
        both_found: Images on which both boundaries were found.
        mean: Mean over these; empty for fewer than two.
        ibd_minus: IBD minus another distance on these images; empty for fewer than two.
    """

    found: Mapping[str, Estimate]
    right: Mapping[str, Estimate]
    median: Mapping[str, Estimate]
    both_found: int
    mean: Mapping[str, Estimate]
    ibd_minus: Mapping[str, Estimate]


@dataclass(frozen=True)
class PairedDifference:
    """Mean difference on the same images.

    Attributes:
        n: Number of images.
        value, low, high: As in `Estimate`.
    """

    n: int
    value: float
    low: float
    high: float

    @property
    def estimate(self) -> Estimate:
        """The difference with its interval."""
        return Estimate(self.value, self.low, self.high)


@dataclass(frozen=True)
class PairScores:
    """Distances of the source and one target recognizer.

    Attributes:
        n: Images that both read as the same wrong class.
        directions: Direction -> distances.
        ra_minus_random: ``source`` or ``target`` -> difference of its distances; None where no image has both.
    """

    n: int
    directions: Mapping[str, DirectionScores]
    ra_minus_random: Mapping[str, PairedDifference | None]


@dataclass(frozen=True, kw_only=True)
class BoundaryResults:
    """Results of a boundary study.

    Attributes:
        command, schema, name, condition, seed, versions: Facts of the run.
        plain, RA: Names of the two restorers.
        source: Name of the source recognizer.
        seeds: Restorer -> number of its seeds, of which the first counts.
        n: Number of images.
        search: Fields of `Search`.
        classes: Names of the classes; None where nobody knows them.
        targets: Target recognizer -> distances; None without an image that both read as the same wrong class.
        images: Record of each image.
    """

    command: str
    schema: str
    name: str
    condition: str
    plain: str
    RA: str
    source: str
    seed: int
    seeds: Mapping[str, int] = field(default_factory=dict)
    n: int
    search: Mapping[str, float]
    classes: Sequence[str] | None
    versions: Mapping[str, str]
    targets: Mapping[str, PairScores | None]
    images: Sequence[Record]
