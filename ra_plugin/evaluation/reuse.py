"""Reuse of earlier records: each image is judged again only where something it depends on has changed.

A record's *unit* is one way of processing as one recognizer, or one metric, sees it. It holds for an image as long as
the digests of both are the same, whatever has become of the other units and images.
"""
import json
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ra_plugin.evaluation.judging import Batch, Judging
from ra_plugin.evaluation.records import PLAN, Column, Table, record_files, unpack
from ra_plugin.evaluation.statistics.perturbations import SAVED
from ra_plugin.results import CLEAN, NONE
from ra_plugin.utils.atomic import is_intact

SCHEMA = 'ra_plugin.records/3'
BASIC = ''  # the unit of what no recognizer and no further metric gives: PSNR, SSIM, the spectrum
_CHUNK = 256  # images that are known, at a time
_OPEN = 4  # files of records that are held

Unit = tuple[str, int, str]  # name and seed of a processing; a recognizer, a metric, or `BASIC`
Pieces = dict[Unit, dict[str, tuple[dict[str, Any], dict[str, Any]]]]  # unit -> view -> values and scores of one image


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that the records of an evaluation depend on.

    Attributes:
        units: Unit -> digest of what makes the image and of what judges it.
        baseline: For each image, the digest of the baseline's image to compare with in the audit; `NONE` where
            that is the image without restoration.
        numbers: Numbers of the images, in order.
        images: Digest of each.
        audited: Numbers of the images that are audited.
        restored: (name, seed) of a processing that has a file of its own for each image -> digests of these files.
    """

    units: Mapping[Unit, str]
    baseline: Sequence[str]
    numbers: Sequence[int]
    images: Sequence[str]
    audited: frozenset[int]
    restored: Mapping[tuple[str, int], Sequence[str]]

    def plain(self) -> dict[str, Any]:
        """Return the plan as plain data."""
        return {'schema': SCHEMA, 'units': [[*unit, value] for unit, value in self.units.items()],
                'baseline': list(self.baseline), 'numbers': list(self.numbers), 'images': list(self.images),
                'audited': sorted(self.audited),
                'restored': [[*key, list(values)] for key, values in self.restored.items()]}

    def restored_file(self, processing: tuple[str, int], place: int) -> str | None:
        """Return the digest of the file of the image at a place; None of a processing without files of its own."""
        files = self.restored.get(processing)
        return None if files is None else files[place]

    @classmethod
    def from_plain(cls, plan: Any) -> 'Plan | None':
        """Build a plan from plain data; None for the plan of another version."""
        if not isinstance(plan, Mapping) or plan.get('schema') != SCHEMA:
            return None
        return cls(units={(name, seed, what): value for name, seed, what, value in plan['units']},
                   baseline=plan['baseline'], numbers=plan['numbers'], images=plan['images'],
                   audited=frozenset(plan['audited']),
                   restored={(name, seed): values for name, seed, values in plan['restored']})


class Earlier:
    """Records of one earlier plan.

    Args:
        folder: Folder of its files, which are left as they are.
        plan: Its plan.
        now: The present plan.
    """

    def __init__(self, folder: Path, plan: Plan, now: Plan):
        self.plan, self._now = plan, now
        same: dict[str, list[Unit]] = {}
        for unit, value in now.units.items():
            same.setdefault(value, []).append(unit)
        self._units = [(unit, new) for unit, value in plan.units.items() for new in same.get(value, ())]
        self._whats = {unit[2] for unit in plan.units}
        self._places = {number: place for place, number in enumerate(now.numbers)}
        self._files = {}  # place in its order -> file
        for path in record_files(folder):
            first, last = (int(number) for number in path.stem.split('-'))
            if is_intact(path):
                self._files.update(dict.fromkeys(range(first, last + 1), path))
        self._of_image = {plan.images[place]: place for place in self._files if place < len(plan.images)}
        self._open: OrderedDict[Path, dict] = OrderedDict()

    def known(self, number: int) -> list[tuple[Unit, Unit]]:
        """Return the units that hold for an image, each as it was called and as it is called."""
        place = self._places[number]
        before = self._of_image.get(self._now.images[place])
        if before is None:
            return []
        audited, was = number in self._now.audited, self.plan.numbers[before] in self.plan.audited
        if audited and not was:
            return []
        found = []
        for old, new in self._units:
            if self._now.restored_file(new[:2], place) != self.plan.restored_file(old[:2], before):
                continue
            then, now = self.plan.baseline[before], self._now.baseline[place]
            # the spectrum is that of the difference to the baseline, and without restoration only that has views
            if audited and (new[2] == BASIC and then != now or new[0] == NONE and (then == NONE) != (now == NONE)):
                continue
            found.append((old, new))
        return found

    def pieces(self, number: int) -> Pieces:
        """Return the records of an image that still hold."""
        units: dict[tuple, list[tuple[Unit, Unit]]] = {}
        for old, new in self.known(number):
            units.setdefault(old[:2], []).append((old, new))
        found: Pieces = {}
        if not units:
            return found
        before = self._of_image[self._now.images[self._places[number]]]
        for (*processing, view), (index, values, scores) in self._read(self._files[before]).items():
            place = index.get(self.plan.numbers[before])
            if place is None or view != SAVED and number not in self._now.audited:
                continue
            for old, new in units.get(tuple(processing), ()):
                parts = ({_renamed(name, old, new): held[place] for name, held in values.items()
                          if value_unit(name, self._whats) == old[2]},
                         {_renamed(name, old, new): held[place] for name, held in scores.items()
                          if score_unit(name) == old[2]})
                if any(parts):
                    found.setdefault(new, {})[view] = parts
        return found

    def _read(self, path: Path) -> dict:
        """Return, for each column, the places of the images, the values and the scores."""
        if path not in self._open:
            self._open[path] = {key: (
                {number: place for place, number in enumerate(column['index'].tolist())},
                {name: unpack(held) for name, held in column['values'].items()},
                {name: unpack(held) for name, held in column['scores'].items()})
                for key, column in torch.load(path, weights_only=True).items()}
        self._open.move_to_end(path)
        while len(self._open) > _OPEN:
            self._open.popitem(last=False)
        return self._open[path]


def score_unit(recognizer: str) -> str:
    """Return the last part of the unit that a recognizer's scores are of."""
    return f'score {recognizer}'


def metric_unit(name: str) -> str:
    """Return the last part of the unit that a further metric of image quality is of."""
    return f'metric {name}'


def value_unit(name: str, known: Collection[str]) -> str:
    """Return the last part of the unit that a value is of, one of ``known``."""
    return metric_unit(name) if metric_unit(name) in known else BASIC


def _renamed(name: str, old: Unit, new: Unit) -> str:
    """Return the present name of a value or recognizer, which the option file may have changed."""
    return name if old[2] == BASIC else new[2].partition(' ')[2]


@dataclass(frozen=True)
class KnownImages:
    """Images with complete records, in place of a batch: they need not be read."""

    index: list[int]


class Reusing:
    """`Judging` that takes what holds from earlier records, and judges the rest.

    Args:
        judging: How the rest is judged.
        plan: The present plan.
        earlier: The latest first.
    """

    def __init__(self, judging: Judging, plan: Plan, earlier: Sequence[Earlier]):
        self.judging, self.plan, self.earlier = judging, plan, earlier
        self._whats = {unit[2] for unit in plan.units}

    def missing(self, number: int) -> frozenset[Unit]:
        """Return the units of an image that are to be judged."""
        known = {new for records in self.earlier for _, new in records.known(number)}
        return frozenset(self.plan.units.keys() - known)

    def is_known(self, number: int) -> bool:
        return not self.missing(number)

    def __call__(self, batch: Batch | KnownImages) -> Table:
        """Return the complete records of the images of one batch."""
        pieces: dict[int, Pieces] = {}
        groups: dict[frozenset[Unit], list[int]] = {}
        for place, number in enumerate(batch.index):
            pieces[number] = {}
            for records in reversed(self.earlier):
                pieces[number].update(records.pieces(number))
            groups.setdefault(self.missing(number), []).append(place)
        if isinstance(batch, KnownImages):
            if any(groups):
                raise RuntimeError(f'images {batch.index[0]} to {batch.index[-1]}: expected complete earlier records, '
                                   'got a part. Start again: --restart.')
            return self._table(pieces)
        if len(groups) == 1 and self.plan.units.keys() == next(iter(groups)):
            return self.judging(batch)
        for missing, places in groups.items():
            if missing:
                for number, found in self._judge(batch.select(places), missing).items():
                    pieces[number].update(found)
        return self._table(pieces)

    def _judge(self, batch: Batch, missing: frozenset[Unit]) -> dict[int, Pieces]:
        """Judge the missing units of some images."""
        wanted: dict[frozenset[str], list[tuple[str, int]]] = {}
        for processing in self.judging.processings:
            parts = frozenset(what for *key, what in missing if tuple(key) == processing)
            if parts:
                wanted.setdefault(parts, []).append(processing)
        found: dict[int, Pieces] = {number: {} for number in batch.index}
        for parts, processings in wanted.items():
            # answers may be compared with those on the clean images, and images with the baseline's
            needed = [key for key in self.judging.processings
                      if key in processings or key[0] in (CLEAN, self.judging.baseline)]
            table = replace(
                self.judging, processings={key: self.judging.processings[key] for key in needed},
                recognizers={name: judge for name, judge in self.judging.recognizers.items()
                             if score_unit(name) in parts},
                quality_metrics={name: metric for name, metric in self.judging.quality_metrics.items()
                                 if metric_unit(name) in parts})(batch)
            for (name, seed, view), column in table.items():
                if (name, seed) in processings:
                    self._split(column, (name, seed), view, parts, found)
        return found

    def _split(self, column: Column, processing: tuple[str, int], view: str, parts: frozenset[str],
               found: dict[int, Pieces]) -> None:
        """Sort what a column holds by image and unit."""
        for kind, held in enumerate((column.values, column.scores)):
            for name, of_images in held.items():
                what = score_unit(name) if kind else value_unit(name, self._whats)
                for number, value in zip(column.index, of_images, strict=True):
                    if what in parts:
                        views = found[number].setdefault((*processing, what), {})
                        views.setdefault(view, ({}, {}))[kind][name] = value

    def _table(self, pieces: Mapping[int, Pieces]) -> Table:
        """Return the records of the images in columns, recognizers and metrics in their order."""
        order = [BASIC, *map(metric_unit, self.judging.quality_metrics), *map(score_unit, self.judging.recognizers)]
        table: Table = {}
        for number, of_image in pieces.items():
            columns: dict[tuple, tuple[dict, dict]] = {}
            for unit in sorted(of_image, key=lambda unit: order.index(unit[2])):
                for view, parts in of_image[unit].items():
                    column = columns.setdefault((*unit[:2], view), ({}, {}))
                    for whole, part in zip(column, parts, strict=True):
                        whole.update(part)
            for key, (values, scores) in columns.items():
                table.setdefault(key, Column()).add(Column(
                    [number], {name: [value] for name, value in values.items()},
                    {name: [value] for name, value in scores.items()}))
        for key, column in table.items():
            if any(len(held) != len(column.index) for held in (*column.values.values(), *column.scores.values())):
                raise RuntimeError(f'{key}: earlier records have not the same of all images. Start again: --restart.')
        return table


def interleaved(numbers: Sequence[int], is_known: Callable[[int], bool],
                load: Callable[[Sequence[int]], Iterable[Sequence[Batch]]]
                ) -> Iterator[Sequence[Batch | KnownImages]]:
    """Yield all images in order, together without a gap, as batches; those that are known are not loaded.

    Args:
        numbers: Numbers of the images.
        is_known: Tells if an image has complete records.
        load: Gives batches of images, in order.
    """
    waiting = [number for number in numbers if is_known(number)][::-1]

    def up_to(last: float) -> list[int]:
        found = []
        while waiting and waiting[-1] < last:
            found.append(waiting.pop())
        return found

    known = set(waiting)
    for batches in load([number for number in numbers if number not in known]):
        loaded = [number for batch in batches for number in batch.index]
        yield from _chunks(up_to(min(loaded)))
        between = up_to(max(loaded))
        yield [*batches, *([KnownImages(between)] if between else [])]
    yield from _chunks(up_to(float('inf')))


def _chunks(numbers: Sequence[int]) -> Iterator[list[KnownImages]]:
    for first in range(0, len(numbers), _CHUNK):
        yield [KnownImages(list(numbers[first:first + _CHUNK]))]


def shares(before: Any, now: Plan) -> bool:
    """Return True if records of one plan, plain data, hold partly under another."""
    plan = Plan.from_plain(before)
    return plan is not None and bool(
        set(plan.units.values()) & set(now.units.values()) and set(plan.images) & set(now.images))


def earlier_records(folders: Iterable[Path], now: Plan) -> list[Earlier]:
    """Return the records in folders that were set aside, in the same order."""
    plans = [(folder, read_plan(folder)) for folder in folders]
    return [Earlier(folder, plan, now) for folder, plan in plans if plan is not None]


def superseded(folders: Iterable[Path], now: Plan) -> list[Path]:
    """Return those of the folders whose records are all among the records of this plan, once these are complete."""
    plans = [(folder, read_plan(folder)) for folder in folders]
    return [folder for folder, plan in plans if plan is None or set(plan.units.values()) <= set(now.units.values())
            and set(plan.images) <= set(now.images)]


def read_plan(folder: Path) -> Plan | None:
    """Return the plan of a folder of records; None where there is none that this version understands."""
    try:
        return Plan.from_plain(json.loads((folder / PLAN).read_text()))
    except (OSError, ValueError):
        return None
