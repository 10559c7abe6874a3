"""Folders of images restored by other programs: the file of each image, found before judging."""
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from ra_plugin.data.files import IMAGE_SUFFIXES, files_below
from ra_plugin.data.restored_file import read_restored
from ra_plugin.data.spellings import Spellings, normal_forms
from ra_plugin.evaluation.judging import Batch
from ra_plugin.options import OptionError
from ra_plugin.utils.text import how_many

_SHOWN = 3  # names in a message
_LOOKS_LIKE_SUFFIX = re.compile(r'[^0-9A-Za-z]|[xX][0-9]')  # how _out, -sr, x4 begin; '1_out' is of another image


class FolderOfImages:
    """Images restored by another program, found by the path of the clean image below its data set's folder.

    Where no image is found by its path, and the base names of the data set differ, by its base name. What the names of
    the files have before the dot (``_out``, ``_x4``) is ``suffix``, or found out where all files agree.

    Args:
        folder: The folder.
        suffix: End of the files' names before the dot. Default: none, or what all files have.
        where: Place in the options, for messages.
    """

    def __init__(self, folder: Path, suffix: str | None = None, where: str = ''):
        self.folder, self.suffix = folder, suffix
        self._where = f'{where}: {folder}' if where else f'{folder}'
        self._files: dict[str, str] = {}  # name of an image -> file below the folder

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        """Path before the dot -> the files of that name; the folder is listed once, when it is first asked."""
        found: dict[str, list[str]] = {}
        for file in sorted(files_below(str(self.folder), IMAGE_SUFFIXES)):
            found.setdefault(os.path.splitext(file)[0], []).append(file)
        return found

    @cached_property
    def _stems(self) -> Spellings:
        return Spellings(self._by_stem, self._where)

    def __call__(self, batch: Batch) -> torch.Tensor:
        files = [self.file(name) for name in batch.names]
        size = None if batch.gt is None else (batch.gt.shape[-1], batch.gt.shape[-2])
        scale = 1 if batch.gt is None else batch.gt.shape[-1] // batch.lq.shape[-1]
        arrays = np.stack([read_restored(file, size, scale) for file in files])
        return torch.from_numpy(arrays).permute(0, 3, 1, 2).to(batch.lq) / 255

    def file(self, name: str) -> str:
        """Return the path of the restored image of one of the data set's."""
        if name not in self._files:
            self.prepare([name])
        return str(self.folder / self._files[name])

    def prepare(self, names: Sequence[str], all_names: Iterable[str] = ()) -> None:
        """Find the files of images, once for all.

        Args:
            names: Paths of the images that are judged, below their data set's folder.
            all_names: Paths of all its images, judged or not.

        Raises:
            FileNotFoundError: Images without a file: their number, and the first of them.
            OptionError: One file would stand for two images, or two files for one.
        """
        paths = {name: os.path.normpath(name) for name in dict.fromkeys((*names, *all_names))}
        flat = {name: os.path.basename(path) for name, path in paths.items()}
        for keys in (paths, flat):
            suffix = self._found_suffix([keys[name] for name in names]) if self.suffix is None else self.suffix
            found = {name: file for name in names if (file := self._file(keys[name], suffix)) is not None}
            if found:
                break
        missing = [name for name in names if name not in found]
        if missing:
            raise FileNotFoundError(self._missing(missing, len(names), paths))
        self._check_distinct({name: self._file(keys[name], suffix) for name in paths}, keys)
        self._files.update(found)
        if suffix and self.suffix is None:
            print(f"{self._where}: the names of its files end in '{suffix}'.", flush=True)
        self.suffix = suffix

    def _file(self, key: str, suffix: str) -> str | None:
        stem, extension = os.path.splitext(key)
        if extension.lower() not in IMAGE_SUFFIXES:
            stem, extension = key, ''  # the key of an lmdb
        stem = self._stems.find(stem + suffix) or stem + suffix
        files = self._by_stem.get(stem, [])
        if len(files) > 1 and f'{stem}{extension}' not in files:
            raise OptionError(f"{self._where}: expected one restored image of '{key}', got {' and '.join(files[:2])}. "
                              'Remove one of them.')
        return f'{stem}{extension}' if len(files) > 1 else files[0] if files else None

    def _found_suffix(self, keys: Sequence[str]) -> str:
        """Return the common end of all files' names after the name of their image, or nothing.

        Raises:
            OptionError: Several would do.
        """
        if any(self._file(key, '') for key in keys):
            return ''
        fitting = self._suffixes(keys)
        whole = [suffix for suffix, count in fitting.items() if count == len(keys)]
        if len(whole) > 1:
            raise OptionError(f'{self._where}: expected one restored image of each, got several, whose names end in '
                              f'{" and in ".join(sorted(whole))}. Say which: suffix.')
        return whole[0] if whole else ''

    def _suffixes(self, keys: Sequence[str]) -> Counter:
        """Count, for each end of a file's name, the images whose name it follows."""
        by_folder: dict[str, list[str]] = {}
        for stem in self._by_stem:
            stem, = normal_forms([stem])
            by_folder.setdefault(os.path.dirname(stem), []).append(os.path.basename(stem))
        first, = normal_forms([_stem(keys[0])])
        start = os.path.basename(first)
        candidates = [stem[len(start):] for stem in by_folder.get(os.path.dirname(first), ())
                      if stem.startswith(start) and _LOOKS_LIKE_SUFFIX.match(stem[len(start):])]
        return Counter({suffix: sum(self._stems.find(_stem(key) + suffix) is not None for key in keys)
                        for suffix in candidates})

    def _missing(self, missing: Sequence[str], total: int, paths: Mapping[str, str]) -> str:
        names = ', '.join(missing[:_SHOWN]) + (', ...' if len(missing) > _SHOWN else '')
        known = (Counter() if self.suffix else self._suffixes([paths[missing[0]]])
                 + self._suffixes([os.path.basename(paths[missing[0]])]))
        ending = f" after their names ('{self.suffix}' before the dot)" if self.suffix else ''
        remedy = f"There are files whose names end in '{min(known)}': say so with suffix." if known else (
            f'Files are looked up by the path of the clean image below its folder{ending}, with any of '
            f'{", ".join(IMAGE_SUFFIXES)}.')
        return f'{self._where}: no restored image of {names} ({len(missing)} of {how_many(total, "image")}). {remedy}'

    def _check_distinct(self, files: Mapping[str, str | None], keys: Mapping[str, str]) -> None:
        first: dict[str, str] = {}
        for name, file in files.items():
            if file is not None and first.setdefault(file, name) != name:
                raise OptionError(f"{self._where}: '{first[file]}' and '{name}' are two images, and '{file}' would "
                                  'stand for both. Keep the folders of the data set below it, and one suffix a name.')


def _stem(key: str) -> str:
    stem, extension = os.path.splitext(key)
    return stem if extension.lower() in IMAGE_SUFFIXES else key
