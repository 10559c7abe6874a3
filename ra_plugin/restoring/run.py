"""Restore the photographs of a folder: files are read, restored in batches of one size, written; broken ones named."""
import errno
import os
import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tqdm import tqdm

from ra_plugin.builders.fitted_network import FittedNetwork
from ra_plugin.metrics.gate import Gate
from ra_plugin.options import OptionError, check_number
from ra_plugin.restoring.file_plan import Job, planned, without_existing
from ra_plugin.restoring.image_formats import check_fits, write_photograph
from ra_plugin.restoring.kept_photographs import KeptPhotographs
from ra_plugin.restoring.memory import available
from ra_plugin.restoring.photograph import Header, Photograph, read_header, read_photograph
from ra_plugin.restoring.restorer import PhotographRestorer
from ra_plugin.restoring.tile_choice import Choice, chosen
from ra_plugin.utils.full_disk import FULL_DISK
from ra_plugin.utils.progress import progress
from ra_plugin.utils.text import how_many, one_line, printable

_FATAL = (*FULL_DISK, errno.EROFS)  # the next file would fail as well
_MOST_SHOWN = 20  # failures that are listed


@dataclass(frozen=True, kw_only=True)
class RestoringOptions:
    """Options of reading, restoring and writing photographs.

    Attributes:
        kind: Format, of `image_formats.FORMATS`; None: each file's own.
        quality: 1 to 100, of JPEG and WebP.
        bits: 8 or 16 bits per channel; None: each file's own.
        tile: Distance of tiles in pixels of the input; 0: whole images; None: chosen by the memory.
        skip_existing, overwrite: What to do with files that are there already; neither: they are an error.
        max_pixels: Most pixels of an image that is read; None: Pillow's limit, about 179 million.
        gate: Text of `Gate.named`: which images are taken as they are given; None: none is.
    """

    kind: str | None = None
    quality: int = 95
    bits: int | None = None
    tile: int | None = None
    skip_existing: bool = False
    overwrite: bool = False
    max_pixels: int | None = None
    gate: str | None = None

    def __post_init__(self):
        check_number(self.quality, '--quality', least=1, most=100, whole=True)
        if self.tile is not None:
            check_number(self.tile, '--tile', least=0, whole=True)
        if self.max_pixels is not None:
            check_number(self.max_pixels, '--max-pixels', least=1, whole=True)
        if self.gate is not None:
            Gate.named(self.gate, '--gate')


class Restoring:
    """Restoring of a folder.

    Args:
        network: Runs on the device.
        device: It.
        options: See there.

    Attributes:
        failures: Name of a file -> why it is not restored.
    """

    def __init__(self, network: FittedNetwork, device: torch.device, options: RestoringOptions):
        self.network, self.device, self.options = network, device, options
        self.failures: dict[str, str] = {}
        self._told: set[Job] = set()
        self._kept = KeptPhotographs(Gate.named(options.gate, '--gate'), options.bits) if options.gate else None

    def __call__(self, given: Path, out: Path) -> int:
        """Restore all photographs of a folder, or one file, and name those that fail; return the exit status.

        Raises:
            OptionError: The folders or options are invalid; nothing has been written.
            OSError: Nothing more can be written, e.g. for want of space.
        """
        jobs = planned(given, out, self.options.kind, lambda error: self._fail(str(error.filename), error))
        left = without_existing(jobs, self.options.skip_existing, self.options.overwrite)
        there = f', {len(jobs) - len(left)} of them restored already' if len(left) < len(jobs) else ''
        print(f'{how_many(len(jobs), "file")}{there}.', flush=True)
        with torch.inference_mode():
            headers = self._headers(left)
            choice = self._choice(headers)
            if choice:
                if self._kept and choice.scale > 1:
                    raise OptionError('--gate: expected a network of scale 1, as images are taken as they are given, '
                                      f'got one of scale {choice.scale}. Leave it out.')
                self._restore_all(headers, choice)
        return self._tell_failures(len(jobs))

    def _headers(self, jobs: Iterable[Job]) -> dict[Job, Header]:
        found = {}
        for job in jobs:
            try:
                found[job] = read_header(str(job.source), self.options.max_pixels)
            except (ValueError, OSError) as error:
                self._fail(job.name, error)
        return found

    def _choice(self, headers: dict[Job, Header]) -> Choice | None:
        """Return how images are cut, measured with the first that can be read; None where none can.

        Photographs that cannot be read before that one are taken out of ``headers``.
        """
        for job in list(headers):
            photograph = self._read(job)
            if photograph is None:
                del headers[job]
                continue
            written = [replace(header, bits=self.options.bits or header.bits) for header in headers.values()]
            choice = chosen(self.network, self.device, photograph.pixels, written, self.options.tile)
            for line in choice.in_words(job.name):
                print(line, flush=True)
            return choice
        return None

    def _restore_all(self, headers: dict[Job, Header], choice: Choice) -> None:
        restorer = PhotographRestorer(self.network, choice, self.options.bits)
        total = sum(header.pixels for header in headers.values())
        with progress(desc='restoring', total=total, unit='px', unit_scale=True) as bar:
            batch: list[tuple[Job, Photograph]] = []
            for job in sorted(headers, key=lambda job: (headers[job].size, job.name)):
                photograph = self._read(job) if self._fits(job, headers[job], choice) else None
                if photograph is None:
                    bar.update(headers[job].pixels)
                    continue
                if self._kept and self._kept.keeps(job.name, photograph):
                    self._write(job, self._kept.result(photograph))
                    bar.update(headers[job].pixels)
                    continue
                if batch and (batch[0][1].size != photograph.size or len(batch) >= choice.batch(photograph.size)):
                    self._restore(batch, restorer, bar)
                    batch = []
                batch.append((job, photograph))
            if batch:
                self._restore(batch, restorer, bar)
        if self._kept:
            print(printable(self._kept.in_words()), flush=True)

    def _fits(self, job: Job, header: Header, choice: Choice) -> bool:
        """Return True if there is memory for a photograph; else it is a failure."""
        needed, free = choice.needed(replace(header, bits=self.options.bits or header.bits)), available(
            torch.device('cpu'))
        if needed > free:
            self._fail(job.name, MemoryError(
                f'{header.size[0]}x{header.size[1]} pixels take {needed / 1e9:.1f} GB of memory, and '
                f'{free / 1e9:.1f} are free. Cut the image, or free memory.'))
        return needed <= free

    def _read(self, job: Job) -> Photograph | None:
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter('always')
                photograph = read_photograph(str(job.source), self.options.max_pixels)
            check_fits(photograph, job.target, self.options.bits)
        except (ValueError, OSError, MemoryError) as error:
            self._fail(job.name, error)
            return None
        for warning in said if job not in self._told else ():
            print(printable(one_line(warning.message)), file=sys.stderr)
        self._told.add(job)  # the first photograph is read twice
        return photograph

    def _restore(self, batch: list[tuple[Job, Photograph]], restorer: PhotographRestorer, bar: tqdm) -> None:
        """Restore photographs of one size, and write them."""
        photographs = [photograph for _, photograph in batch]
        total, before = sum(width * height for width, height in (one.size for one in photographs)), bar.n
        try:
            restored = restorer(photographs, lambda share: bar.update(share * total))
        except (ValueError, MemoryError) as error:
            for job, _ in batch:
                self._fail(job.name, error)
        else:
            for (job, _), photograph in zip(batch, restored, strict=True):
                self._write(job, photograph)
        bar.update(before + total - bar.n)

    def _write(self, job: Job, photograph: Photograph) -> None:
        try:
            job.target.parent.mkdir(parents=True, exist_ok=True)
            write_photograph(photograph, job.target, self.options.quality)
        except (OSError, ValueError, MemoryError) as error:
            if isinstance(error, OSError) and error.errno in _FATAL:
                raise OSError(f'{job.target}: {os.strerror(error.errno)}. What is finished is kept: make room, and go '
                              'on with --skip-existing.') from error
            self._fail(job.name, error)

    def _fail(self, name: str, error: BaseException) -> None:
        self.failures[name] = one_line(error) or type(error).__name__

    def _tell_failures(self, number: int) -> int:
        for name, reason in list(self.failures.items())[:_MOST_SHOWN]:
            print(printable(reason if name in reason else f'{name}: {reason}'), file=sys.stderr)
        if self.failures:
            first = f' for the first {_MOST_SHOWN}' if len(self.failures) > _MOST_SHOWN else ''
            print(f'{len(self.failures)} of {number} files are not restored: see above{first}.', file=sys.stderr,
                  flush=True)
        return int(bool(self.failures))
