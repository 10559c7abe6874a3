"""Records of judged images on the disk: memory holds a few hundred images, and a stop loses only these.

Every file holds the images from one number to another, so that what is there says where to go on.
"""
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ra_plugin.options import OptionError
from ra_plugin.utils.atomic import atomic_save, atomic_write, is_intact
from ra_plugin.utils.folder_lock import lock_folder

PLAN = 'plan.json'
SHOWN = 'shown.pt'  # images for the page, see `ShownImages`
_EARLIER = 'earlier'


@dataclass
class Column:
    """Images of one way of processing under one view, with the records of each.

    Attributes:
        index: Number of each image in the data set.
        values: ``'psnr'``, ``'ssim'``, another metric, ``'spectrum'`` -> an array or a number for each image.
        scores: Recognizer -> the record of each image, see `TaskScore.records`.
    """

    index: list[int] = field(default_factory=list)
    values: dict[str, list[np.ndarray]] = field(default_factory=dict)
    scores: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, other: 'Column') -> None:
        """Append the images of another column."""
        self.index += other.index
        for mine, theirs in ((self.values, other.values), (self.scores, other.scores)):
            for name, values in theirs.items():
                mine.setdefault(name, []).extend(values)

    def ordered(self) -> 'Column':
        """Return the column in the order of the data set."""
        order = np.argsort(self.index, kind='stable')
        return Column([self.index[i] for i in order],
                      {name: [values[i] for i in order] for name, values in self.values.items()},
                      {name: [values[i] for i in order] for name, values in self.scores.items()})


Table = dict[tuple, Column]
PerImage = Sequence[Any] | np.ndarray  # an entry for each image


def record_files(folder: Path) -> list[Path]:
    """Return the files of a folder of records, in order; each is named by the places of its first and last image."""
    return sorted(folder.glob('[0-9]*-[0-9]*.pt'))


def _plain(text: str) -> Any:
    """Parse a plan; None where the file was cut off."""
    try:
        return json.loads(text)
    except ValueError:
        return None


class OtherRecords(OptionError):
    """Raised where the records in a folder are of another evaluation."""


class Records:
    """Folder of one evaluation's records.

    Args:
        folder: Path of the folder, which is made where it is missing.
        plan: All that the records depend on, plain data. Records of another plan are refused, or set aside.
        restart: Remove earlier records instead.
        useful: Tells if the records of an earlier plan hold partly under this one. Default: never.

    Attributes:
        earlier: Folders of records that were set aside, the latest first.

    Raises:
        OtherRecords: The folder has records of another plan.
        OptionError: Another process writes to it.
    """

    def __init__(self, folder: Path, plan: Mapping[str, Any], restart: bool = False,
                 useful: Callable[[Any], bool] = lambda plan: False):
        self.folder = folder
        self._lock = lock_folder(folder, f'{folder}: another process writes its records there. Wait for it, or give '
                                         'this one another folder (--out).')
        if restart:
            for path in (folder / PLAN, folder / SHOWN, *self._files()):
                path.unlink(missing_ok=True)
            shutil.rmtree(folder / _EARLIER, ignore_errors=True)
        plan_text = json.dumps(plan, indent=1, sort_keys=True, default=str)
        path = folder / PLAN
        if path.exists() and path.read_text() != plan_text:
            if not useful(_plain(path.read_text())):
                self.close()
                raise OtherRecords(f'{folder}: its records are of other options, weights or images than the file has '
                                   'now, or of another version. Start again with --restart, or give the evaluation '
                                   'another name.')
            self._set_aside()
        atomic_write(plan_text, path)
        self.earlier = sorted((folder / _EARLIER).glob('[0-9]*'), reverse=True)

    def close(self) -> None:
        """Unlock the folder."""
        self._lock.close()

    def _set_aside(self) -> None:
        """Move what is there to a folder below, the plan last: a stop in between is made good by the next start."""
        before = sorted((self.folder / _EARLIER).glob('[0-9]*'))
        is_half = before and not (before[-1] / PLAN).exists()
        aside = before[-1] if is_half else self.folder / _EARLIER / f'{int(before[-1].name) + 1 if before else 0:04d}'
        aside.mkdir(parents=True, exist_ok=True)
        shown = [path for path in (self.folder / SHOWN,) if path.exists()]
        for path in (*self._files(), *shown, self.folder / PLAN):
            path.replace(aside / path.name)

    def forget(self, folder: Path) -> None:
        """Remove earlier records, of which these have all."""
        shutil.rmtree(folder, ignore_errors=True)

    def _files(self) -> list[Path]:
        return record_files(self.folder)

    def done(self) -> int:
        """Number of images, from the first on, whose records are whole; damaged files and those after them go."""
        count = 0
        for path in self._files():
            first, last = (int(number) for number in path.stem.split('-'))
            if first == count and is_intact(path):
                count = last + 1
            else:
                path.unlink()
        return count

    def write(self, first: int, last: int, table: Table) -> None:
        """Add the ``first``-th to the ``last``-th image of the evaluation."""
        packed = {key: {'index': torch.tensor(column.index),
                        'values': {name: pack(values) for name, values in column.values.items()},
                        'scores': {name: pack(values) for name, values in column.scores.items()}}
                  for key, column in ((key, column.ordered()) for key, column in table.items())}
        atomic_save(packed, self.folder / f'{first:08d}-{last:08d}.pt')

    def read(self) -> dict[tuple, 'ImageRecords']:
        """Return the records of all images, in order."""
        parts: dict[tuple, list[Mapping]] = {}
        for path in self._files():
            for key, column in torch.load(path, weights_only=True).items():
                parts.setdefault(key, []).append(column)
        return {key: ImageRecords(
            np.concatenate([part['index'].numpy() for part in columns]),
            {name: np.concatenate([unpack(part['values'][name]) for part in columns]) for name in columns[0]['values']},
            {name: _joined([unpack(part['scores'][name]) for part in columns]) for name in columns[0]['scores']})
            for key, columns in parts.items()}


@dataclass(frozen=True)
class ImageRecords:
    """`Column` of all images, as it is read.

    Attributes:
        index: ``(N,)`` number of each image in the data set, ascending.
        values: ``'psnr'``, ``'ssim'``, another metric, ``'spectrum'`` -> ``(N, ...)``.
        scores: Recognizer -> the records of the images, for `TaskScore.add_records`.
    """

    index: np.ndarray
    values: dict[str, np.ndarray]
    scores: dict[str, PerImage]


def pack(values: Sequence[Any]) -> Any:
    """Pack arrays, or tuples of arrays, one for each image, as a few tensors; they may differ in the last dimension."""
    if values and isinstance(values[0], tuple):
        return tuple(pack(part) for part in zip(*values, strict=True))
    arrays = [np.atleast_1d(value) for value in values]
    lengths = [array.shape[-1] for array in arrays]
    joined = np.concatenate(arrays, axis=-1) if arrays else np.empty(0)
    return {'joined': torch.from_numpy(joined), 'lengths': torch.tensor(lengths), 'scalar': bool(
        values and np.ndim(values[0]) == 0)}


def unpack(packed: Any) -> PerImage:
    """Return the arrays that were packed; arrays of one size as one array, the images first."""
    if isinstance(packed, tuple):
        return list(zip(*(unpack(part) for part in packed), strict=True))
    joined, lengths = packed['joined'].numpy(), packed['lengths'].tolist()
    if len(set(lengths)) > 1:
        return np.split(joined, np.cumsum(lengths)[:-1], axis=-1)
    arrays = np.moveaxis(joined.reshape(*joined.shape[:-1], len(lengths), -1), -2, 0)
    return arrays[..., 0] if packed['scalar'] else arrays


def _joined(parts: Sequence[PerImage]) -> PerImage:
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if len(arrays) == len(parts) and len({array.shape[1:] for array in arrays}) == 1:
        return np.concatenate(arrays)
    return list(chain.from_iterable(parts))
