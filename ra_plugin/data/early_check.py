"""Files that cannot be read, found before anything is judged: by their heads and ends, which takes 0.1 ms a file.

Decoding every image takes ten times as long. A file that ends too early, or is none of an image, shows in its first and
last bytes; only what looks wrong there is decoded, so that no sound file is refused.
"""
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch.utils.data import Dataset

from ra_plugin.data.degraded_image_dataset import DegradedImageDataset
from ra_plugin.data.image_file import open_image

_TAIL = 4096  # bytes in which the end of an image is looked for: programs append things of their own
_ENDS = {'JPEG': b'\xff\xd9', 'PNG': b'IEND'}
_USUAL = ('RGB', 'L', '1', 'CMYK', 'YCbCr')  # without transparency, of 8 bits a channel
_THREADS = 8  # for file systems that take their time
_SHOWN = 3


@dataclass(frozen=True)
class Head:
    """First bytes of a file: its size, and if it may be unusable as it is."""

    size: tuple[int, int] = (0, 0)
    is_doubtful: bool = True
    is_usual: bool = False


def read_head(path: str) -> Head:
    """Return what the head and the end of an image file say."""
    try:
        with open(path, 'rb') as file:
            image = Image.open(file)
            size, end = image.size, _ENDS.get(image.format or '')
            is_usual = image.mode in _USUAL and not image.has_transparency_data
            if end is None:  # a format whose end has no mark
                return Head(size, True, is_usual)
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            return Head(size, end not in file.read(), is_usual)
    except Exception:  # what PIL raises depends on the format; decoding will tell
        return Head()


def check_images(dataset: Dataset, numbers: Sequence[int], files_of: Callable[[Dataset, int], Sequence[str]],
                 more: Iterable[str] = ()) -> None:
    """Check that the files of images can be read.

    Args:
        dataset: A data set that lists its files.
        numbers: The items that will be read.
        files_of: Gives the files of an item; what is no file is passed over.
        more: Further files, as restored images.

    Raises:
        ValueError: Files that cannot be read: the first ones and their number, each with the reason.
    """
    of_number = {number: [file for file in files_of(dataset, number) if os.path.isfile(file)] for number in numbers}
    files = list(dict.fromkeys([*(file for found in of_number.values() for file in found), *more]))
    with ThreadPoolExecutor(_THREADS) as pool:
        heads = dict(zip(files, pool.map(read_head, files)))
    problems = {file: problem for file in files if heads[file].is_doubtful and (problem := _problem(file))}
    if not problems and isinstance(dataset, DegradedImageDataset):
        for number in _to_try(of_number, heads):
            try:
                dataset[number]
            except ValueError as error:
                problems[dataset.paths[number]] = str(error)
    if problems:
        shown = list(problems.values())[:_SHOWN]
        count = f' ({len(problems)} such files, {len(files)} in all)' if len(problems) > 1 else ''
        raise ValueError(f'{" ".join(shown)}{count}')


def _problem(file: str) -> str:
    """Why a file cannot be decoded; nothing where it can."""
    try:
        open_image(Path(file).read_bytes(), file)
    except (ValueError, OSError) as error:
        return str(error)
    return ''


def _to_try(of_number: dict[int, list[str]], heads: dict[str, Head]) -> list[int]:
    """Items whose first file is of an unusual kind, and those of the smallest width and height."""
    first = {number: heads[files[0]] for number, files in of_number.items() if files}
    if not first:
        return []
    smallest = [min(first, key=lambda number: first[number].size[side]) for side in (0, 1)]
    return sorted({*smallest, *(number for number, head in first.items() if not head.is_usual)})
