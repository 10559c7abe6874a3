"""Storage of the images that a report shows, with the answers to them; `shown_image_rules` chooses the images.

The images that the rules draw from those judged so far are kept, a few dozen of a condition: memory does not grow with
the data set. They are on the disk beside the records. Each piece, an image or an answer to one, is named by a digest of
all that it depends on: after a change the pieces that still hold are found again, and others are missing.
"""
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ra_plugin.builders.identity import digest
from ra_plugin.data.given import Given
from ra_plugin.evaluation.answers_in_words import answer_in_words, label_in_words
from ra_plugin.evaluation.judging import Batch, Judging, chosen_answers
from ra_plugin.evaluation.records import SHOWN, Table
from ra_plugin.evaluation.reuse import BASIC, Plan, score_unit
from ra_plugin.evaluation.shown_image_rules import Answers, Draw, Rule, fits_of
from ra_plugin.evaluation.statistics.perturbations import SAVED
from ra_plugin.metrics.task_scores import build_score
from ra_plugin.results import CLEAN, Answer
from ra_plugin.utils.atomic import atomic_save, is_intact

Pieces = dict[str, Any]  # digest -> image (H, W, 3) uint8, answer, or label and name


class ShownImages:
    """Images of a condition for its page.

    Args:
        draw: Rules and their orders.
        judging: How images are judged.
        plan: All that the records depend on.
        given: Parts that the data set has.
        class_names: Names of the data set's classes.
        folder: Folder of the records.
        earlier: Folders of earlier records.
    """

    def __init__(self, draw: Draw, judging: Judging, plan: Plan, given: Given, class_names: Sequence[str] | None,
                 folder: Path, earlier: Iterable[Path] = ()):
        self.draw, self._judging, self._plan, self._given = draw, judging, plan, given
        self._names, self._folder = class_names, folder
        self._places = {number: place for place, number in enumerate(plan.numbers)}
        self._known: Pieces = {}
        for path in (*earlier, folder):
            if is_intact(path / SHOWN):
                self._known.update(torch.load(path / SHOWN, weights_only=True))
        self._new: dict[int, Pieces] = {}  # number of the image -> its pieces
        self._seen: list[tuple[str, Batch, torch.Tensor, dict[str, Any]]] = []  # of the batch that is being judged
        self._fits: dict[int, tuple[bool, ...]] = {}  # of the images that are drawn
        self.drawn: list[tuple[int, Rule]] = []
        self._limits = draw.limits(self.drawn)

    def see(self, name: str, batch: Batch, images: torch.Tensor, answers: Mapping[str, Any]) -> None:
        """Take the images of a batch after one way of processing, and the answers of recognizers to them.

        Args:
            name: The way of processing, of the first seed.
            batch: The batch.
            images: ``(N, 3, H, W)`` uint8.
            answers: Recognizer -> what it predicts.
        """
        places = [place for place, number in enumerate(batch.index)
                  if number in self._fits or self.draw.could_be_drawn(number, self._limits)]
        if places:
            self._seen.append((name, batch.select(places), images[places],
                               {judge: chosen_answers(answer, places) for judge, answer in answers.items()}))

    def _pieces(self, name: str, number: int, batch: Batch, image: torch.Tensor, answers: Mapping[str, Any],
                on_clean: Mapping[str, Any]) -> Pieces:
        task = next(iter(self._judging.recognizers.values())).info.task
        label = batch.label
        found: Pieces = {
            self._key(number, name, BASIC): image[0].permute(1, 2, 0).cpu().contiguous(),
            self._key(number): ((label is not None and label_in_words(task, label, self._names)) or batch.names[0],
                                batch.names[0])}
        for judge, predicted in answers.items():
            info = self._judging.recognizers[judge].info
            answer = answer_in_words(info, image, predicted, label, self._names, on_clean.get(judge))
            overlay = None if answer.overlay is None else torch.from_numpy(answer.overlay.copy())
            found[self._key(number, name, score_unit(judge))] = (answer.text, answer.right, overlay)
        return found

    def settle(self, table: Table) -> None:
        """Draw again with the complete records of the images of a batch, and drop images that are not drawn."""
        columns = {key[0]: column for key, column in table.items() if key[1:] == (0, SAVED)}
        numbers = next(iter(columns.values())).index

        @functools.cache
        def per_image(name: str, judge: str) -> Mapping[str, np.ndarray]:
            info = self._judging.recognizers[judge].info
            score = build_score(info, self._judging.metrics.get(info.task), self._given.labels, self._given.clean)
            score.add_records(columns[name].scores[judge])
            return score.per_image()

        def answers(name: str, judge: str, metric: str) -> np.ndarray:
            return per_image(name, judge)[metric]

        self._draw([*self._fits.items(), *fits_of(self.draw.rules, answers, numbers)])

    def settle_all(self, answers: Answers, numbers: Sequence[int] | np.ndarray) -> None:
        """Draw from the images of all records, with these numbers."""
        self._draw(fits_of(self.draw.rules, answers, numbers))

    def _draw(self, fitting: Sequence[tuple[int, tuple[bool, ...]]]) -> None:
        fits = dict(fitting)
        self.drawn = self.draw.chosen(fits.items())
        self._limits = self.draw.limits(self.drawn)
        self._fits = {number: fits[number] for number, _ in self.drawn}
        self._new = {number: pieces for number, pieces in self._new.items() if number in self._fits}
        self._keep_seen()

    def _keep_seen(self) -> None:
        on_clean: dict[int, dict[str, Any]] = {}  # answers to the clean version of each image
        for name, batch, images, answers in sorted(self._seen, key=lambda seen: seen[0] != CLEAN):
            for place, number in enumerate(batch.index):
                if number in self._fits:
                    one = {judge: chosen_answers(answer, [place]) for judge, answer in answers.items()}
                    if name == CLEAN:
                        on_clean.setdefault(number, {}).update(one)
                    self._new.setdefault(number, {}).update(
                        self._pieces(name, number, batch.select([place]), images[place:place + 1], one,
                                     on_clean.get(number, {})))
        self._seen.clear()

    def save(self) -> None:
        """Write the pieces of the images that are drawn."""
        kept = {key: piece for number, _ in self.drawn for key in self._keys(number)
                if (piece := self._piece(number, key)) is not None}
        atomic_save(kept, self._folder / SHOWN)

    def missing(self) -> list[int]:
        """Return the numbers of drawn images of which a piece is not there."""
        return [number for number, _ in self.drawn
                if any(self._piece(number, key) is None for key in self._keys(number))]

    def make_missing(self, load: Callable[[Sequence[int]], Iterable[Sequence[Batch]]]) -> None:
        """Restore and judge the images again of which a piece is not there.

        Args:
            load: Gives the images of these numbers as batches.
        """
        missing = self.missing()
        for batches in load(missing) if missing else ():
            for batch in batches:
                self._judging.show(batch, self)
                self._keep_seen()
        if missing:
            self.save()

    def image(self, number: int, name: str) -> torch.Tensor:
        """Return a drawn image after a way of processing, ``(H, W, 3)`` uint8."""
        return self._piece(number, self._key(number, name, BASIC))

    def answer(self, number: int, name: str, judge: str) -> Answer:
        """Return the answer of a recognizer to a drawn image after a way of processing."""
        text, right, overlay = self._piece(number, self._key(number, name, score_unit(judge)))
        return Answer(text, right, None if overlay is None else overlay.numpy())

    def label_and_name(self, number: int) -> tuple[str, str]:
        """Return the label of a drawn image in words, and its path below the data set's folder."""
        return self._piece(number, self._key(number))

    def _piece(self, number: int, key: str) -> Any:
        return self._new.get(number, {}).get(key, self._known.get(key))

    def _keys(self, number: int) -> list[str]:
        names = [name for name, seed in self._judging.processings if seed == 0]
        whats = (BASIC, *map(score_unit, self._judging.recognizers))
        return [self._key(number), *(self._key(number, name, what) for name in names for what in whats)]

    def _key(self, number: int, name: str = '', what: str = '') -> str:
        place = self._places[number]
        if not name:
            return digest('label', self._plan.images[place])
        restored = self._plan.restored.get((name, 0))
        return digest(self._plan.units[name, 0, what], self._plan.images[place], restored[place] if restored else '')
