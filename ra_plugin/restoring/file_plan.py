"""Files to restore and files to write, settled before anything is written."""
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ra_plugin.data.files import IMAGE_SUFFIXES, files_below
from ra_plugin.options import OptionError
from ra_plugin.restoring.image_formats import FORMATS
from ra_plugin.utils.out_folder import check_out_folder

_SHOWN = 3  # names in a message


@dataclass(frozen=True)
class Job:
    """File to restore.

    Attributes:
        name: Its path below the folder, for messages.
        source: The file.
        target: The file to write.
    """

    name: str
    source: Path
    target: Path


def planned(given: Path, out: Path, kind: str | None, on_error: Callable[[OSError], object]) -> list[Job]:
    """Return a job for each image file at any depth below a folder, or for a single file; nothing is written.

    Args:
        given: Folder, or one file.
        out: Folder of the results; the same folders come below it.
        kind: Format to write, of `FORMATS`; None: each file's own.
        on_error: Called for a subfolder that cannot be read.

    Raises:
        OptionError: There are no images, a file would be written twice or over an original, or ``out`` cannot be.
    """
    if not given.exists():
        raise OptionError(f"FOLDER: no folder or file '{given}'.")
    folder = given if given.is_dir() else given.parent
    if not os.access(given, os.R_OK | (os.X_OK if given.is_dir() else 0)):
        raise OptionError(f"FOLDER: '{given}' cannot be read. Change its permissions.")
    check_out_folder(out)
    if given.is_dir():
        _check_apart(given, out)
        names = sorted(files_below(str(given), IMAGE_SUFFIXES, on_error=on_error))
        if not names:
            raise OptionError(f"FOLDER: no images in '{given}'. Files with these endings are looked for: "
                              f'{", ".join(IMAGE_SUFFIXES)}.')
    else:
        names = [given.name]
        if not given.name.lower().endswith(IMAGE_SUFFIXES):
            raise OptionError(f"FOLDER: expected a folder, or a file that ends in one of {', '.join(IMAGE_SUFFIXES)}, "
                              f"got '{given}'.")
    jobs = [Job(name, folder / name, out / _written_name(name, kind)) for name in names]
    _check_targets(jobs, out)
    return jobs


def without_existing(jobs: list[Job], skip: bool, overwrite: bool) -> list[Job]:
    """Return the jobs without those whose file is there already, if they are to be skipped.

    Raises:
        OptionError: Some are there, and neither skipping nor overwriting was asked for.
    """
    there = [job for job in jobs if job.target.exists()]
    if there and not skip and not overwrite:
        raise OptionError(f'--out: {len(there)} of {len(jobs)} files are there already, {_listed(there)}. Go on after '
                          'them with --skip-existing, or replace them with --overwrite.')
    return [job for job in jobs if job not in set(there)] if skip else jobs


def _written_name(name: str, kind: str | None) -> str:
    stem, suffix = os.path.splitext(name)
    return name if kind is None or suffix.lower() in FORMATS[kind].suffixes else stem + FORMATS[kind].suffixes[0]


def _check_apart(folder: Path, out: Path) -> None:
    one, other = folder.resolve(), out.resolve()
    if one == other or other in one.parents or one in other.parents:
        how = 'is the folder of the originals' if one == other else (
            'has the folder of the originals in it' if other in one.parents else 'is in the folder of the originals')
        raise OptionError(f"--out: expected a folder apart from the originals, got '{out}', which {how}. Choose one "
                          'beside it.')


def _check_targets(jobs: list[Job], out: Path) -> None:
    """Check that each file is written once, below ``out``, and over no original and no folder."""
    found: dict[Path, Job] = {}
    places: dict[Path, Path] = {}
    for job in jobs:
        first = found.setdefault(job.target, job)
        if first is not job:
            raise OptionError(f"--out: '{first.name}' and '{job.name}' would both be written to '{job.target}'. Rename "
                              'one of them, or leave out --format.')
        place = places.setdefault(job.target.parent, job.target.parent.resolve())
        if not place.is_relative_to(out.resolve()):
            raise OptionError(f"--out: '{job.target}' leads out of the folder, to '{place}'. Remove that link.")
        if job.target.is_dir():
            raise OptionError(f"--out: '{job.target}' is a folder, and a file has to be written there.")
        if job.target.exists() and job.target.samefile(job.source):
            raise OptionError(f"--out: '{job.target}' is the original. Choose another folder.")


def _listed(jobs: list[Job]) -> str:
    names = ', '.join(f"'{job.name}'" for job in jobs[:_SHOWN])
    return f'{names} among them' if len(jobs) > _SHOWN else names
