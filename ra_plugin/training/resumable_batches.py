"""Training batches that depend only on their number, so that a run can be resumed at any batch.

BasicSR's loaders start at the beginning of an epoch, and random transforms depend on the worker that reads an image. A
resumed run therefore sees other images than an uninterrupted one. Here the seed of an image consists of the run's seed,
the epoch and the position in it: the same for any number of workers and, over all processes together, of processes.
"""
import contextlib
import ctypes
import logging
import math
import multiprocessing
import os
import random
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from ra_plugin.builders.crop_check import crop_problem
from ra_plugin.data.files import UnsettledFileError
from ra_plugin.data.image_dataset import ImageDataset
from ra_plugin.options import OptionError, check_type
from ra_plugin.utils.random_streams import kept_random_streams
from ra_plugin.utils.text import how_many, one_line

_DEAD_WORKER = re.compile(r'DataLoader worker \(pid')
_SIGNAL_AT_DEATH_OF_PARENT = 1  # PR_SET_PDEATHSIG
_MOST_DEATHS = 3  # deaths of workers without a batch in between
_MOST_SKIPPED = 100  # consecutive images

Place = tuple[int, int, int]  # index in the data set, epoch, position in the epoch


class PlaceSampler(Sampler[Place]):
    """Sampler of an epoch's images in random order, every ``world_size``-th for this process, with their places."""

    def __init__(self, count: int, ratio: float, world_size: int, rank: int, seed: int):
        self.count, self.world_size, self.rank, self.seed = count, world_size, rank, seed
        self.per_process = math.ceil(count * ratio / world_size)
        self.epoch, self.skipped = 0, 0

    def __iter__(self) -> Iterator[Place]:
        total = self.per_process * self.world_size
        order = np.random.default_rng((self.seed, self.epoch)).permutation(total) % self.count
        for place in range(self.rank + self.skipped * self.world_size, total, self.world_size):
            yield int(order[place]), self.epoch, place

    def __len__(self) -> int:
        return self.per_process


class PlacedItems(ImageDataset):
    """Wrapper of a data set whose items are accessed by place, with all random states seeded by it."""

    def __init__(self, dataset: ImageDataset, seed: int, on_bad_image: Literal['raise', 'skip'], where: str):
        self.dataset, self.seed, self.where = dataset, seed, where
        self.skips = on_bad_image == 'skip'

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, place: Place) -> dict[str, Any]:
        index, *rest = place
        with _seeded((self.seed, *rest)):
            return self._read(index)

    def _read(self, index: int) -> dict[str, Any]:
        for step in range(_MOST_SKIPPED):
            index = (index + bool(step)) % len(self)
            try:
                return self.dataset[index]
            except Exception as error:  # a data set may raise any error, which then concerns this image
                problem = self._named(index, error)
                if not self.skips or isinstance(error, UnsettledFileError):
                    raise ValueError(problem) from error
                logging.getLogger('basicsr').warning(f'{problem} Skipped; the next image is used instead.')
        raise ValueError(f'{self.where}: {_MOST_SKIPPED} images in a row cannot be read, the last one: {problem}')

    def _named(self, index: int, error: Exception) -> str:
        """Return one line with the file and the error."""
        if problem := crop_problem(self.dataset, index, self.where):
            return problem
        text = one_line(error) or 'no message'
        paths = getattr(self.dataset, 'paths', None)
        path = paths[index] if paths is not None and index < len(paths) else f'image {index} of {self.where}'
        if isinstance(path, Mapping):  # BasicSR's pairs
            path = ' or '.join(str(value) for key, value in path.items() if key.endswith('path'))
        path = one_line(path)
        if isinstance(error, (ValueError, OSError)) and path in text:
            return text
        return f'{path}: cannot be read ({type(error).__name__}: {text}).'


class TrainingBatches:
    """Batches of a run's training set.

    Args:
        dataset: Data set built by BasicSR.
        opt: The parsed option file.

    Attributes:
        per_epoch: Number of batches per epoch.

    Raises:
        OptionError: There are fewer images than in one batch; BasicSR would drop them all and never start.
    """

    def __init__(self, dataset: ImageDataset, opt: Mapping[str, Any]):
        options = opt['datasets']['train']
        devices = 1 if opt['dist'] else max(opt['num_gpu'], 1)  # DataParallel splits a batch over them
        workers = options['num_worker_per_gpu'] * devices
        if options.get('prefetch_mode') == 'cpu':
            workers = max(workers, 1)  # worker processes do the prefetching
        check_type(options.get('on_bad_image'), Literal['raise', 'skip'] | None, 'datasets.train.on_bad_image')
        self.opt, self.dataset = opt, dataset
        self.sampler = PlaceSampler(len(dataset), options.get('dataset_enlarge_ratio', 1), opt['world_size'],
                                    opt['rank'], opt['manual_seed'])
        self._batch_size = options['batch_size_per_gpu'] * devices
        self.loader = DataLoader(
            PlacedItems(dataset, opt['manual_seed'], options.get('on_bad_image') or 'raise', 'datasets.train'),
            batch_size=self._batch_size, sampler=self.sampler, drop_last=True,
            num_workers=workers, collate_fn=getattr(dataset, 'collate_fn', None), worker_init_fn=_begin_worker,
            pin_memory=bool(options.get('pin_memory')) and torch.cuda.is_available(),
            persistent_workers=bool(options.get('persistent_workers')) and workers > 0,
            generator=torch.Generator())  # for the workers' seeds, which no item uses, so the run's state is kept
        self.per_epoch = len(self.loader)
        if not self.per_epoch:
            raise OptionError(f'datasets.train: {how_many(len(dataset), "image")}: fewer than one batch on all '
                              'devices. Lower batch_size_per_gpu, or raise dataset_enlarge_ratio.')

    def starting_at(self, number: int) -> Iterator[dict[str, Any]]:
        """Yield batches without end, starting at batch ``number``, counted from 0 over all epochs.

        A worker that dies is replaced, and its batch is read again.
        """
        deaths = 0
        while True:
            self.sampler.epoch, done = divmod(number, self.per_epoch)
            self.sampler.skipped = done * self._batch_size
            try:
                for batch in self._rest_of_epoch():
                    yield batch
                    number, deaths = number + 1, 0
            except RuntimeError as error:
                if 'stack expects each tensor to be equal size' in str(error):
                    raise ValueError('datasets.train: expected images of the same size in a batch. Crop them '
                                     '(crop_size, gt_size), or set batch_size_per_gpu: 1.') from error
                if not _DEAD_WORKER.search(str(error)):
                    raise
                deaths += 1
                reason = str(error).splitlines()[0]
                if deaths > _MOST_DEATHS:
                    raise ValueError(f'datasets.train: {reason} It is number {deaths} in a row. Lower '
                                     'num_worker_per_gpu if memory ran out, or enlarge /dev/shm.') from error
                logging.getLogger('basicsr').warning(f'datasets.train: {reason} New workers are started.')
                self.loader._iterator = None  # otherwise the loader waits for the old persistent workers

    def _rest_of_epoch(self) -> Iterator[dict[str, Any]]:
        batches = iter(self.loader)
        if self.loader.num_workers and signal.getsignal(signal.SIGCHLD) not in (signal.SIG_DFL, signal.SIG_IGN, None):
            # torch's handler would raise for a dead worker at any point, even within a step; without it, the error is
            # raised when the next batch is read
            with contextlib.suppress(ValueError):  # outside the main thread, where the handler raises nothing
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        yield from batches


def _begin_worker(worker: int) -> None:
    """Initialize a worker: ignore Ctrl-C, which the run handles, and end if the run is killed.

    The run needs its workers to finish a step after Ctrl-C. torch's workers only check occasionally for the parent that
    they had at their start, which is wrong for a worker that started when the run was killed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == 'linux' and multiprocessing.get_start_method() == 'fork':
        ctypes.CDLL(None).prctl(_SIGNAL_AT_DEATH_OF_PARENT, signal.SIGKILL)
        parent = multiprocessing.parent_process()
        if parent is not None and os.getppid() != parent.pid:  # the parent died before prctl took effect
            os._exit(1)


@contextlib.contextmanager
def _seeded(key: tuple[int, ...]) -> Iterator[None]:
    """Seed all random states from ``key`` within the block; in the process of the run, restore them at its end."""
    in_worker = torch.utils.data.get_worker_info() is not None
    with contextlib.nullcontext() if in_worker else kept_random_streams():
        words = np.random.SeedSequence(key).generate_state(4)
        random.seed(int(words[0]))
        np.random.seed(words[1])
        torch.default_generator.manual_seed(int(words[2]) << 32 | int(words[3]))
        yield
