"""Judge images batch by batch: each is restored once, and then read by every recognizer."""
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
import torch.nn.functional as F

from ra_plugin.evaluation.records import Column, Records, Table
from ra_plugin.evaluation.statistics.perturbations import FLOAT, SAVED, SPECTRUM, VIEWS, spectrum
from ra_plugin.metrics.base import Metrics, TaskScore
from ra_plugin.metrics.psnr_ssim import psnr, ssim, to_uint8
from ra_plugin.metrics.pyiqa_metrics import QualityMetric
from ra_plugin.metrics.task_scores import build_score
from ra_plugin.recognizers import Recognizer
from ra_plugin.recognizers.frozen.resizing import shared_resizes
from ra_plugin.results import CLEAN, NONE

CLEAN_INPUT = 'clean input'  # a view: what the restorer makes of the clean image
_IMAGES_IN_FILE = 512
_SSIM_WINDOW = 11


@dataclass(frozen=True)
class Batch:
    """Images of one size.

    Attributes:
        lq: ``(N, 3, h, w)`` in ``[0, 1]``.
        gt: ``(N, 3, H, W)`` in ``[0, 1]``; None where the data set has no clean images.
        label: Labels in the form of the recognizers' task; None where the data set has none.
        index: Number of each image in the data set.
        names: Path of each clean image, or without these of each degraded one, below its data set's folder.
        scale: Upscaling factor of restored images, where there are no clean ones.
    """

    lq: torch.Tensor
    gt: torch.Tensor | None
    label: Any
    index: list[int]
    names: list[str]
    scale: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images to judge."""
        images, factor = (self.lq, self.scale) if self.gt is None else (self.gt, 1)
        height, width = images.shape[-2:]
        return factor * height, factor * width

    @property
    def clean_images(self) -> torch.Tensor:
        """``gt``, where the data set is known to have clean images.

        Raises:
            ValueError: It has none.
        """
        if self.gt is None:
            raise ValueError('judging: expected clean images, got none. Give the data set some: dataroot_gt.')
        return self.gt

    def select(self, places: Sequence[int]) -> 'Batch':
        """Return the batch of some of its images."""
        label = self.label
        if label is not None:
            label = label[places] if isinstance(label, torch.Tensor) else [label[i] for i in places]
        return Batch(self.lq[places], None if self.gt is None else self.gt[places], label,
                     [self.index[i] for i in places], [self.names[i] for i in places], self.scale)


class Keeper(Protocol):
    """Keeper of images that are to be shown, see `ShownImages`."""

    def see(self, name: str, batch: Batch, images: torch.Tensor, answers: Mapping[str, Any]) -> None:
        """Take images after one way of processing, ``(N, 3, H, W)`` uint8, and the answers to them."""

    def settle(self, table: Table) -> None:
        """Take the complete records of a batch."""

    def save(self) -> None:
        """Write what is kept."""


# makes the images to judge of a batch, (N, 3, H, W) in [0, 1]; networks look at lq alone
Processing = Callable[[Batch], torch.Tensor]


def clean(batch: Batch) -> torch.Tensor:
    """Return the clean images, the result of a perfect restoration."""
    return batch.clean_images


def no_processing(batch: Batch) -> torch.Tensor:
    """Return the degraded images, by bicubic interpolation where they are smaller than the clean ones."""
    return fitted(batch.lq, batch.size)


def fitted(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return images in a size, ``(height, width)``; bicubic where they have another."""
    return images if tuple(images.shape[-2:]) == tuple(size) else F.interpolate(images, size, mode='bicubic',
                                                                                antialias=True)


@dataclass(frozen=True, kw_only=True)
class Judging:
    """Ways of processing the images of a data set, and the recognizers that judge them.

    Attributes:
        processings: (name, number of the seed) -> way of processing.
        recognizers: Name -> recognizer; costly ones are left out of the audit.
        metrics: Task -> metrics, see `build_score`.
        baseline: Name of the restorer that others are compared with.
        audited: Numbers of the images that are judged under every view, too, and whose clean image is restored; for
            every seed.
        networks: Names of the restorers that can be given another image, as the clean one.
        quality_metrics: Name -> metric, beside PSNR and SSIM.
        keeper: Keeper of the images to show, those of the first seed.
    """

    processings: Mapping[tuple[str, int], Processing]
    recognizers: Mapping[str, Recognizer]
    metrics: Mapping[str, Metrics]
    baseline: str
    audited: Collection[int] = ()
    networks: Collection[str] = ()
    quality_metrics: Mapping[str, QualityMetric] = field(default_factory=dict)
    keeper: Keeper | None = None

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Table:
        """Return the records of the images of one batch."""
        gt8 = None if batch.gt is None else to_uint8(batch.gt)
        on_clean: dict[str, Any] = {}  # answers to the clean images, asked once
        table: Table = {}
        places = [place for place, number in enumerate(batch.index) if number in self.audited]
        audited: dict[tuple[str, int], tuple[torch.Tensor, torch.Tensor]] = {}  # audited images: as made, and as saved
        for (name, seed), process in sorted(self.processings.items(), key=lambda item: item[0][0] != CLEAN):
            images = process(batch)
            if tuple(images.shape) != (len(batch.index), 3, *batch.size):
                sized = 'the clean ones\' size' if batch.gt is not None else f'{batch.scale} times the size of theirs'
                raise ValueError(f'{name}: expected restored images of {sized}, {(len(batch.index), 3, *batch.size)}, '
                                 f'got {tuple(images.shape)}. Is it a network of another scale?'
                                 + (' Give the data set the network\'s: scale.' if batch.gt is None else ''))
            saved = to_uint8(images)
            reference = None if name == CLEAN else gt8
            heard: dict[str, Any] = {}
            column = table[name, seed, SAVED] = self._column(saved, batch, self.recognizers, on_clean, reference, heard)
            if self.keeper is not None and seed == 0:
                self.keeper.see(name, batch, saved, heard)
            column.values.update(self._quality(saved, reference))
            if places and (name == self.baseline or name != NONE):
                audited[name, seed] = images[places], saved[places]
        if audited:
            part = batch.select(places)
            answers = {judge: chosen_answers(answer, places) for judge, answer in on_clean.items()}
            for key, (images, saved) in audited.items():
                table.update(self._audit(key, images, saved, self._compared(key, audited), part, answers))
        return table

    def _compared(self, key: tuple[str, int], audited: Mapping[tuple[str, int], tuple[torch.Tensor, torch.Tensor]]
                  ) -> list[torch.Tensor]:
        """Return the baseline's images to compare with: those of the same seed, or else of all its seeds."""
        same = (self.baseline, key[1])
        if key[0] != CLEAN and same in audited:
            return [audited[same][1]]
        return [saved for (name, _), (_, saved) in audited.items() if name == self.baseline]

    def _quality(self, saved: torch.Tensor, reference: torch.Tensor | None) -> dict[str, list[np.ndarray]]:
        """Return the further measures of uint8 images; without clean images, those that need none."""
        images, clean_images = saved.float() / 255, None if reference is None else reference.float() / 255
        return {name: list(metric(images, clean_images)) for name, metric in self.quality_metrics.items()
                if clean_images is not None or not metric.needs_reference}

    def _audit(self, key: tuple[str, int], images: torch.Tensor, saved: torch.Tensor,
               baseline: Sequence[torch.Tensor], batch: Batch, on_clean: dict[str, Any]) -> Table:
        """Return the records for the audit: every view, the spectrum of the change, and clean images as input."""
        judges = {judge: recognizer for judge, recognizer in self.recognizers.items() if not recognizer.costly}
        table = {(*key, FLOAT): self._column(images, batch, judges, on_clean)}
        spectra = torch.stack([spectrum((saved.float() - other.float()) / 255) for other in baseline])
        table[(*key, FLOAT)].values[SPECTRUM] = list(spectra.mean(0).cpu().numpy())
        for view, change in VIEWS.items():
            table[(*key, view)] = self._column(change(saved), batch, judges, on_clean)
        if key[0] in self.networks:
            from_clean = self.processings[key](replace(batch, lq=batch.clean_images))
            table[(*key, CLEAN_INPUT)] = self._column(to_uint8(fitted(from_clean, batch.size)), batch, judges,
                                                      on_clean, to_uint8(batch.clean_images))
        return table

    @torch.no_grad()
    def show(self, batch: Batch, keeper: Keeper) -> None:
        """Let a keeper see a batch after every way of processing of the first seed, with nothing recorded."""
        for (name, seed), process in self.processings.items():
            if seed == 0:
                saved = to_uint8(process(batch))
                keeper.see(name, batch, saved, {judge: recognizer.predict(saved.to(batch.lq.dtype) / 255)
                                                for judge, recognizer in self.recognizers.items()})

    def score(self, recognizer: Recognizer, batch: Batch) -> TaskScore:
        """Return an empty score of a recognizer for the images of a batch."""
        info = recognizer.info
        return build_score(info, self.metrics.get(info.task), batch.label is not None, batch.gt is not None)

    def _column(self, images: torch.Tensor, batch: Batch, recognizers: Mapping[str, Recognizer],
                on_clean: dict[str, Any], gt8: torch.Tensor | None = None, heard: dict[str, Any] | None = None
                ) -> Column:
        """Return the records of images, uint8 or float in ``[0, 1]``, with PSNR and SSIM where clean ones are given.

        ``on_clean`` has the answers to the clean images, which are judged first; ``heard`` gets those to these images.
        """
        values = {}
        if gt8 is not None:
            values['psnr'] = list(psnr(images, gt8).cpu().numpy())
            is_defined = min(images.shape[-2:]) >= _SSIM_WINDOW
            values['ssim'] = list(ssim(images, gt8).cpu().numpy() if is_defined else np.full(len(images), np.nan))
        shown = images.to(batch.lq.dtype) / 255 if images.dtype == torch.uint8 else images
        scores = {}
        with shared_resizes():
            for name, recognizer in recognizers.items():
                score = self.score(recognizer, batch)
                answers = recognizer.predict(shown)
                if heard is not None:
                    heard[name] = answers
                if score.needs_clean:
                    on_clean.setdefault(name, answers)
                score.add(answers, batch.label, on_clean.get(name))
                scores[name] = list(score.records())
        return Column(list(batch.index), values, scores)


def chosen_answers(answers: Any, places: Sequence[int]) -> Any:
    """Return those of a recognizer's answers to a batch that are to some of its images."""
    if isinstance(answers, Mapping):
        return {key: values[places] for key, values in answers.items()}
    return [answers[place] for place in places]


class Numbered(Protocol):
    """Images by their numbers in the data set: a `Batch`, or images that need not be read."""

    @property
    def index(self) -> list[int]:
        """Number of each image."""
        ...


Images = TypeVar('Images', bound=Numbered)


def judge_all(loaded: Iterable[Sequence[Images]], judging: Callable[[Images], Table], records: Records, first: int,
              keeper: Keeper | None = None) -> None:
    """Judge the images of an evaluation from the ``first``-th on; after an error, finished batches are kept.

    Args:
        loaded: Batches that together have the next images, without a gap.
        judging: Gives the records of a batch, as `Judging` does.
        records: Records to add to.
        first: Number of images that are judged already.
        keeper: Keeper of the images to show.
    """
    table: Table = {}
    after = first

    def write() -> None:
        records.write(first, after - 1, table)
        if keeper is not None:
            keeper.save()

    try:
        for batches in loaded:
            part: Table = {}
            for batch in batches:
                found = judging(batch)
                if keeper is not None:
                    keeper.settle(found)
                for key, column in found.items():
                    part.setdefault(key, Column()).add(column)
            for key, column in part.items():
                table.setdefault(key, Column()).add(column)
            after += sum(len(batch.index) for batch in batches)
            if after - first >= _IMAGES_IN_FILE:
                write()
                first, table = after, {}
    finally:
        if after > first:
            write()
