"""Decision boundaries of an evaluation's recognizers around its restored images: the paper's table 6 and figure 4."""
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ra_plugin.builders.forced_options import as_arguments
from ra_plugin.builders.loaders import evenly_spaced
from ra_plugin.evaluation.judging import Batch, Processing
from ra_plugin.evaluation.options import read_options
from ra_plugin.evaluation.run import Evaluation, PreparedCondition
from ra_plugin.metrics.psnr_ssim import to_uint8
from ra_plugin.options import OptionError, check_least, suggestion
from ra_plugin.recognizers import Recognizer
from ra_plugin.results import to_plain
from ra_plugin.shipped.find import shown_path
from ra_plugin.studies.boundary.maps import DecisionMap
from ra_plugin.studies.boundary.measure import (
    Predict,
    Search,
    decision_map,
    find_boundaries,
    orthogonal,
    random_directions,
    unit,
)
from ra_plugin.studies.boundary.report import boundary_markdown, write_boundary_page
from ra_plugin.studies.boundary.results import RA, RANDOM, SCHEMA, BoundaryResults, Record
from ra_plugin.studies.boundary.scores import pair_scores
from ra_plugin.utils.atomic import atomic_write
from ra_plugin.utils.out_folder import check_out_folder
from ra_plugin.utils.progress import progress
from ra_plugin.utils.tensors import pixels
from ra_plugin.utils.text import how_many
from ra_plugin.version import __version__

_POINTS = 51  # of a map along either direction; odd, so that the image itself is one of them


@dataclass(frozen=True, kw_only=True)
class BoundaryOptions:
    """Options of a boundary study, which takes the first condition of an evaluation.

    Attributes:
        names: The plain and the RA restorer, of which the first seeds count.
        source: The recognizer Rs. Default: the first that the RA restorer was trained with.
        targets: The recognizers Rt. Default: all others.
        num_images: Images to restore, evenly spaced over the evaluation's. Default: all of them.
        maps: Images to draw maps of.
        seed: Seed of the random directions, the images with maps, and the bootstrap.
        search: Search for the boundaries.
        batch_size: Images at a time.
        force_yml: Changes of the evaluation's options, see `forced`.
    """

    names: Sequence[str]
    source: str | None = None
    targets: Sequence[str] | None = None
    num_images: int | None = None
    maps: int = 4
    seed: int = 0
    search: Search = Search()
    batch_size: int = 256
    force_yml: Sequence[str] | None = None


def run_boundary(root: Path, file: Path, out: Path | None, options: BoundaryOptions, device: str | None = None
                 ) -> tuple[str, Path]:
    """Write ``boundary.json``, ``boundary.md`` and ``boundary.html``; return the tables and the folder.

    Args:
        root: Folder of ``experiments`` and ``results``; relative paths are looked up below it.
        file: The evaluation's option file.
        out: Folder. Default: ``results/NAME_boundary`` below ``root``.
        options: Restorers, recognizers and the search.
        device: Device of torch. Default: a GPU where there is one.

    Raises:
        OptionError: Not two restorers, no such recognizer, or one that is no classifier or costs money.
    """
    opt = read_options(file, options.force_yml)
    check_out_folder(out or root / 'results')
    evaluation = Evaluation(root, opt, device)
    study = BoundaryStudy(evaluation, options)
    records = study.records()
    results = study.results(records, _command(shown_path(file, root), options))
    tables = boundary_markdown(results)
    out = out or root / 'results' / f'{evaluation.options.name}_boundary'
    out.mkdir(parents=True, exist_ok=True)
    atomic_write(json.dumps(to_plain(results)), out / 'boundary.json')
    atomic_write(tables, out / 'boundary.md')
    write_boundary_page(results, study.maps(records), out / 'boundary.html')
    return tables, out


class BoundaryStudy:
    """Boundaries around the images of an evaluation's first condition.

    Raises:
        OptionError: See `run_boundary`.
    """

    def __init__(self, evaluation: Evaluation, options: BoundaryOptions):
        _check(evaluation, options)
        self.evaluation, self.options = evaluation, options
        self.condition: PreparedCondition = evaluation.conditions[0]
        judges = self.condition.recognizers
        self.processings: list[Processing] = [evaluation.restorers[name].processings[0] for name in options.names]
        used = evaluation.restorers[options.names[1]].options.used or ()
        self.source = options.source or next(name for name in used if name in judges)
        self.targets = [name for name in options.targets or judges if name != self.source]
        self.predict: dict[str, Predict] = {name: _predict(judges[name], name)
                                            for name in (self.source, *self.targets)}
        if not self.targets:
            raise OptionError('boundary: expected a recognizer beside the source to compare it with, got none.')
        chosen = self.condition.chosen
        self.numbers = [chosen[place] for place in evenly_spaced(len(chosen), options.num_images)]

    def records(self) -> list[Record]:
        """Return the images that the source and a target read as the same wrong label after plain restoration."""
        batches = self.evaluation.batches(self.condition, self.numbers, self.options.batch_size)
        print(f'{self.condition.name}: searching boundaries around {how_many(len(self.numbers), "image")} for '
              f'{how_many(len(self.predict), "recognizer")}.', file=sys.stderr, flush=True)
        with progress(desc='Searching boundaries', total=len(self.numbers) * len(self.predict), unit='search') as bar:
            return [record for batch in chain.from_iterable(batches)
                    for record in self._batch_records(batch, bar.update)]

    @torch.no_grad()
    def _batch_records(self, batch: Batch, done: Callable[[int], Any]) -> Iterator[Record]:
        """Yield the records of a batch; ``done`` is called with the number of images after each recognizer."""
        plain, restored = self._restored(batch)
        answers = {name: predict(plain) for name, predict in self.predict.items()}
        same = {name: (answers[self.source] != batch.label) & (answer == answers[self.source])
                for name, answer in answers.items()}
        same[self.source] = torch.stack([same[name] for name in self.targets]).any(0)
        directions = {RANDOM: random_directions(batch.index, plain, self.options.seed), RA: unit(restored - plain)}
        steps = (restored - plain).flatten(1).norm(dim=1).tolist()
        distance, after = ({place: {direction: {} for direction in directions}
                            for place in same[self.source].nonzero()[:, 0].tolist()} for _ in range(2))
        for name, chosen in same.items():
            places = chosen.nonzero()[:, 0]
            rays = torch.cat([places] * len(directions))
            found = find_boundaries(
                self.predict[name], plain[rays], torch.cat([lines[places] for lines in directions.values()]),
                answers[name][rays], self.options.search, self.options.batch_size)
            ends = zip([direction for direction in directions for _ in places], rays.tolist(),
                       found.distance.tolist(), found.label.tolist(), strict=True)
            for direction, place, length, label in ends:
                distance[place][direction][name], after[place][direction][name] = length, label
            done(len(batch.index))
        for place in distance:
            yield Record(batch.index[place], batch.names[place], int(batch.label[place]),
                         int(answers[self.source][place]), steps[place], distance[place], after[place])

    def _restored(self, batch: Batch) -> list[torch.Tensor]:
        """Return the images of the plain and of the RA restorer."""
        images = [process(batch) for process in self.processings]
        if images[0].shape != images[1].shape:
            raise ValueError(f'{" and ".join(self.options.names)}: expected restored images of one size, got '
                             f'{" and ".join(str(tuple(image.shape[-2:])) for image in images)}.')
        return images

    def results(self, records: Sequence[Record], command: str = '') -> BoundaryResults:
        """Return the distances over some records."""
        options = self.options
        return BoundaryResults(
            command=command, schema=SCHEMA, name=self.evaluation.options.name, condition=self.condition.name,
            plain=options.names[0], RA=options.names[1], source=self.source, seed=options.seed,
            seeds={name: len(self.evaluation.restorers[name].processings) for name in options.names},
            n=len(self.numbers), search=asdict(options.search), classes=self._classes(),
            versions={'ra_plugin': __version__, 'torch': torch.__version__},
            targets={target: pair_scores(records, self.source, target, options.seed) for target in self.targets},
            images=records)

    def _classes(self) -> list[str] | None:
        infos = [self.condition.recognizers[name].info for name in self.predict]
        names = next((i.classes for i in infos if i.classes), None) or getattr(self.condition.dataset, 'classes', None)
        return None if names is None else list(names)

    def maps(self, records: Sequence[Record]) -> list[DecisionMap]:
        """Return maps of images drawn by the seed from those that all recognizers read as the same wrong label."""
        common = [record for record in records if len(record.distance[RA]) == len(self.predict) and record.step]
        drawn = np.random.default_rng(self.options.seed).permutation(len(common))[:self.options.maps]
        chosen = [common[place] for place in sorted(drawn.tolist())]
        batches = self.evaluation.batches(self.condition, [record.index for record in chosen], 1)
        shown = progress(zip(chosen, chain.from_iterable(batches), strict=True), 'Drawing maps', len(chosen), 'image')
        return [self._map(record, batch) for record, batch in shown]

    @torch.no_grad()
    def _map(self, record: Record, batch: Batch) -> DecisionMap:
        plain, restored = self._restored(batch)
        horizontal = unit(restored - plain)
        vertical = orthogonal(random_directions(batch.index, plain, self.options.seed), horizontal)
        extent = _extent(record)
        places = np.linspace(-extent, extent, _POINTS)
        labels = {name: decision_map(predict, plain, horizontal, vertical, places, self.options.batch_size)
                  for name, predict in self.predict.items()}
        pictures = {'clean': batch.gt, self.options.names[0]: plain, self.options.names[1]: restored}
        return DecisionMap(record, extent, labels, {name: pixels(to_uint8(image))
                                                    for name, image in pictures.items()})


def _extent(record: Record) -> float:
    """Return half the side of a map; the RA image and most boundaries in its direction are well within."""
    found = [length for length in record.distance[RA].values() if np.isfinite(length)]
    return max(2 * record.step, 1.5 * float(np.median(found)) if found else 0.0)


def _command(file: str, options: BoundaryOptions) -> str:
    """Return the command that gives the same results; folder and device are left out."""
    words = ['ra-plugin', 'boundary', *options.names, '-opt', file]
    for name, value in (('source', options.source), ('num_images', options.num_images), ('maps', options.maps),
                        ('seed', options.seed), ('factor', options.search.factor)):
        if value not in (None, getattr(BoundaryOptions, name, Search.factor)):
            words += [f'--{name.replace("_", "-")}', str(value)]
    return shlex.join([*words, *(['--targets', *options.targets] if options.targets else ()),
                       *as_arguments(options.force_yml)])


def _predict(recognizer: Recognizer, name: str) -> Predict:
    if not recognizer.is_classifier or recognizer.costly:
        raise OptionError(f'boundary: {name}: expected a classifier that may be asked dozens of times for each image, '
                          f'got {recognizer}. Leave it out of --targets.')
    return lambda images: recognizer.predict(images)['labels'][:, 0]


def _check(evaluation: Evaluation, options: BoundaryOptions) -> None:
    if len(set(options.names)) != 2:
        raise OptionError(f'boundary: expected two restorers, plain and RA, got {" and ".join(options.names)}.')
    for key, least in (('num_images', 1), ('maps', 0), ('batch_size', 1), ('seed', 0)):
        check_least(getattr(options, key), least, f'boundary: {key}')
    evaluation.conditions[0].check_given('boundary')
    sources, judges = [options.source] if options.source else [], evaluation.conditions[0].recognizers
    for kind, known, wanted in (('recognizer', judges, (*sources, *(options.targets or ()))),
                                ('restorer', evaluation.restorers, options.names)):
        for name in wanted:
            if name not in known:
                raise OptionError(f"boundary: no {kind} '{name}'.{suggestion(name, known)} Known: {', '.join(known)}")
    if not sources and judges.keys().isdisjoint(evaluation.restorers[options.names[1]].options.used or ()):
        raise OptionError(f'boundary: {options.names[1]} says of no recognizer that it was trained with it. Name one: '
                          '--source.')
