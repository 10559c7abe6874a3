"""The batches of a training run, any of which can be the first: what is in one follows from its number alone.

BasicSR's loaders begin each epoch at its start, and what is random in an image depends on the worker that reads it. A
run that is resumed then sees other images than one that was never stopped. Here the seed of each image is made of the
run's seed, its epoch and its place in it: the same for any number of workers, and, taken together, of processes.
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
from torch.utils.data import DataLoader, Dataset, Sampler

from ra_plugin.builders.crop_check import crop_problem
from ra_plugin.data.files import UnsettledFileError
from ra_plugin.options import OptionError, check_type
from ra_plugin.utils.random_streams import kept_random_streams
from ra_plugin.utils.text import one_line

_DEAD_WORKER = re.compile(r'DataLoader worker \(pid')
_SIGNAL_AT_DEATH_OF_PARENT = 1  # PR_SET_PDEATHSIG
_MOST_DEATHS = 3  # of workers, without a batch in between
_MOST_SKIPPED = 100  # images in a row

Place = tuple[int, int, int]  # index in the data set, epoch, place in the epoch


class PlaceSampler(Sampler[Place]):
    """The images of an epoch in random order, every ``world_size``-th for this process, each with its place."""

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


class PlacedItems(Dataset):
    """A data set whose items are asked for by their place, and are reproducible whatever they draw from."""

    def __init__(self, dataset: Dataset, seed: int, on_bad_image: Literal['raise', 'skip'], where: str):
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
            except Exception as error:  # a data set can fail in any way; all of them are about this image
                problem = self._named(index, error)
                if not self.skips or isinstance(error, UnsettledFileError):
                    raise ValueError(problem) from error
                logging.getLogger('basicsr').warning(f'{problem} Skipped; the next image takes its place.')
        raise ValueError(f'{self.where}: {_MOST_SKIPPED} images in a row cannot be read, the last one: {problem}')

    def _named(self, index: int, error: Exception) -> str:
        """What is wrong with which file, in one line."""
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
    """The batches of a run's training set.

    Args:
        dataset: As BasicSR built it.
        opt: The parsed option file.

    Attributes:
        per_epoch: Batches in an epoch.

    Raises:
        OptionError: Fewer images than one batch takes: BasicSR would drop them all and never begin.
    """

    def __init__(self, dataset: Dataset, opt: Mapping[str, Any]):
        options = opt['datasets']['train']
        devices = 1 if opt['dist'] else max(opt['num_gpu'], 1)  # DataParallel splits a batch among them
        workers = options['num_worker_per_gpu'] * devices
        if options.get('prefetch_mode') == 'cpu':
            workers = max(workers, 1)  # reading ahead is what worker processes do
        check_type(options.get('on_bad_image'), Literal['raise', 'skip'] | None, 'datasets.train.on_bad_image')
        self.opt, self.dataset = opt, dataset
        self.sampler = PlaceSampler(len(dataset), options.get('dataset_enlarge_ratio', 1), opt['world_size'],
                                    opt['rank'], opt['manual_seed'])
        self.loader = DataLoader(
            PlacedItems(dataset, opt['manual_seed'], options.get('on_bad_image') or 'raise', 'datasets.train'),
            batch_size=options['batch_size_per_gpu'] * devices, sampler=self.sampler, drop_last=True,
            num_workers=workers, collate_fn=getattr(dataset, 'collate_fn', None), worker_init_fn=_begin_worker,
            pin_memory=bool(options.get('pin_memory')) and torch.cuda.is_available(),
            persistent_workers=bool(options.get('persistent_workers')) and workers > 0,
            generator=torch.Generator())  # of the workers' seeds, which no item uses: the run's own stream stays
        self.per_epoch = len(self.loader)
        if not self.per_epoch:
            raise OptionError(f'datasets.train: {len(dataset)} images are fewer than one batch on all devices. '
                              'Lower batch_size_per_gpu, or raise dataset_enlarge_ratio.')

    def starting_at(self, number: int) -> Iterator[dict[str, Any]]:
        """Batches without end, from the one with that number, counted from 0 over all epochs.

        A worker that dies is replaced, and the batch that it was making is made again.
        """
        deaths = 0
        while True:
            self.sampler.epoch, done = divmod(number, self.per_epoch)
            self.sampler.skipped = done * self.loader.batch_size
            try:
                for batch in self._rest_of_epoch():
                    yield batch
                    number, deaths = number + 1, 0
            except RuntimeError as error:
                if 'stack expects each tensor to be equal size' in str(error):
                    raise ValueError('datasets.train: images of different sizes cannot share a batch. Crop them '
                                     '(crop_size, gt_size), or set batch_size_per_gpu: 1.') from error
                if not _DEAD_WORKER.search(str(error)):
                    raise
                deaths += 1
                reason = str(error).splitlines()[0]
                if deaths > _MOST_DEATHS:
                    raise ValueError(f'datasets.train: {reason} It is number {deaths} in a row. Lower '
                                     'num_worker_per_gpu if memory ran out, or enlarge /dev/shm.') from error
                logging.getLogger('basicsr').warning(f'datasets.train: {reason} New workers take over.')
                self.loader._iterator = None  # else workers that persist would be waited for

    def _rest_of_epoch(self) -> Iterator[dict[str, Any]]:
        batches = iter(self.loader)
        if self.loader.num_workers and signal.getsignal(signal.SIGCHLD) not in (signal.SIG_DFL, signal.SIG_IGN, None):
            # torch would raise the news of a dead worker wherever the run is, also halfway through a step; waiting for
            # the next batch it notices, too
            with contextlib.suppress(ValueError):  # not in the main thread: nothing is raised there
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        yield from batches


def _begin_worker(worker: int) -> None:
    """Ctrl-C reaches workers, too; the run decides what to do about it, and needs them to end its step.

    Where the run itself is killed, they end with it. torch has them look now and then for the process that was their
    parent when they began; one that began in that moment has another.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == 'linux' and multiprocessing.get_start_method() == 'fork':
        ctypes.CDLL(None).prctl(_SIGNAL_AT_DEATH_OF_PARENT, signal.SIGKILL)
        if os.getppid() != multiprocessing.parent_process().pid:  # too late for the signal
            os._exit(1)


@contextlib.contextmanager
def _seeded(key: tuple[int, ...]) -> Iterator[None]:
    """All random streams set from ``key``; in the process of the run they go on afterwards as if nothing had been."""
    in_worker = torch.utils.data.get_worker_info() is not None
    with contextlib.nullcontext() if in_worker else kept_random_streams():
        words = np.random.SeedSequence(key).generate_state(4)
        random.seed(int(words[0]))
        np.random.seed(words[1])
        torch.default_generator.manual_seed(int(words[2]) << 32 | int(words[3]))
        yield
