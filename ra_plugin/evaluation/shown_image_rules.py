"""Rules that choose which images a report shows, at random from those that fit.

Every image has its place in a random order of each rule before anything is judged. A rule takes the first images in its
order that fit and that no earlier rule has taken. So an image that is not drawn from those judged so far is never drawn
later: of a rule's free images, those before it in the order stay free or taken by this rule.
"""
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ra_plugin.data.given import Given
from ra_plugin.evaluation.restorers import Restorer
from ra_plugin.metrics.base import Metrics
from ra_plugin.metrics.task_scores import build_score
from ra_plugin.recognizers import Recognizer
from ra_plugin.results import CLEAN, NONE

_MOST_RESTORERS = 4  # of a condition; more would make the page heavy
_HELPED, _HURT, _ANY = 4, 3, 3  # images of each rule

# (way of processing, recognizer, metric) -> (N,) bool, right or the same answer
Answers = Callable[[str, str, str], np.ndarray]


@dataclass(frozen=True)
class Rule:
    """Rule by which images are drawn.

    Attributes:
        text: The rule in words.
        kind: Kind of its images.
        count: Number of images to draw.
        restorer, recognizer: Names that the rule is about; empty for any image.
        metric: ``'top1'`` or ``'top1_agreement'``.
        wanted: Way of processing -> True where its answer has to be right, False where wrong.
    """

    text: str
    kind: Literal['helped', 'hurt', 'any']
    count: int
    restorer: str = ''
    recognizer: str = ''
    metric: str = ''
    wanted: tuple[tuple[str, bool], ...] = ()

    def fits(self, answers: Answers, count: int) -> np.ndarray:
        """Return ``(count,)`` bool, True for the images that the rule fits."""
        found = np.ones(count, bool)
        for processing, right in self.wanted:
            found &= answers(processing, self.recognizer, self.metric).astype(bool) == right
        return found


def rules_for(restorers: Sequence[Restorer], recognizers: Mapping[str, Recognizer], metrics: Mapping[str, Metrics],
              given: Given, baseline: str) -> list[Rule]:
    """Return the rules of a condition, those of its first restorers before that of any image.

    Args:
        restorers: Restorers of the condition, in the order of the file.
        recognizers: Name -> recognizer that judges the condition.
        metrics: Task -> metrics, as in `build_score`.
        given: Parts that the data set has.
        baseline: Name of the way of processing that others are compared with.
    """
    classifiers = [name for name, judge in recognizers.items() if judge.is_classifier]
    rules = []
    for restorer in [one for one in restorers if one.name != baseline][:_MOST_RESTORERS] if classifiers else ():
        name = restorer.name
        judge = next((used for used in restorer.options.used or () if used in classifiers), classifiers[0])
        info = recognizers[judge].info
        known = build_score(info, metrics.get(info.task), given.labels, given.clean).names
        if 'top1' in known:
            rules += [Rule(f'{baseline} wrong, {name} right', 'helped', _HELPED, name, judge, 'top1',
                           ((baseline, False), (name, True))),
                      Rule(f'{NONE} right, {name} wrong', 'hurt', _HURT, name, judge, 'top1',
                           ((NONE, True), (name, False)))]
        elif 'top1_agreement' in known:
            rules.append(Rule(f'{baseline} another answer than {CLEAN}, {name} the same', 'helped', _HELPED, name,
                              judge, 'top1_agreement', ((baseline, False), (name, True))))
    return [*rules, Rule('any image', 'any', _ANY)]


class Draw:
    """Random order of each rule.

    Args:
        rules: The rules, the first of which draws first.
        numbers: Numbers of all images that are judged.
        seed: Seed of the orders.
    """

    def __init__(self, rules: Sequence[Rule], numbers: Sequence[int], seed: int):
        self.rules = rules
        self._place = {number: place for place, number in enumerate(numbers)}
        self._orders = [np.random.default_rng([seed, i]).permutation(len(numbers)) for i in range(len(rules))]

    def chosen(self, fitting: Iterable[tuple[int, Sequence[bool]]]) -> list[tuple[int, Rule]]:
        """Return the images that are drawn, none twice.

        Args:
            fitting: Number of each image, and whether each rule fits it.
        """
        images = list(fitting)
        taken: dict[int, Rule] = {}
        for i, (rule, order) in enumerate(zip(self.rules, self._orders, strict=True)):
            free = [number for number, fits in images if fits[i] and number not in taken]
            drawn = sorted(free, key=lambda number: order[self._place[number]])[:rule.count]
            taken.update(dict.fromkeys(drawn, rule))
        return list(taken.items())

    def limits(self, drawn: Sequence[tuple[int, Rule]]) -> list[float]:
        """Return, for each rule, the place in its order from which on it draws no more images."""
        places = [[order[self._place[number]] for number, its in drawn if its is rule]
                  for rule, order in zip(self.rules, self._orders, strict=True)]
        return [max(found) if len(found) == rule.count else np.inf
                for rule, found in zip(self.rules, places, strict=True)]

    def could_be_drawn(self, number: int, limits: Sequence[float]) -> bool:
        """Return True for an image that some rule would draw if it fitted."""
        place = self._place[number]
        return any(order[place] < limit for order, limit in zip(self._orders, limits, strict=True))


def fits_of(rules: Sequence[Rule], answers: Answers, numbers: Sequence[int] | np.ndarray
            ) -> list[tuple[int, tuple[bool, ...]]]:
    """Return, for each image, its number and whether each rule fits it."""
    columns = [rule.fits(answers, len(numbers)).tolist() for rule in rules]
    return list(zip(map(int, numbers), zip(*columns, strict=True), strict=True))
