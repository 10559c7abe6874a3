"""Sample of ImageNet: 600 of the 1000 photographs, one per class, of github.com/EliSchwartz/imagenet-sample-images.

The 600 classes, and their split into training and validation, are listed by number in
`options/experiments/imagenet_sample.json`; the number of a photograph is its index among the 1000 sorted by name.
"""
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from ra_plugin.data.cifar10 import DataError
from ra_plugin.utils.atomic import atomic_write

COUNT = 1000


def prepare(out: str | Path, source: str | Path, choice: str | Path, progress: Callable = iter) -> Path:
    """Copy the photographs to ``out/{train,val}``, and write their classes to ``out/train.json`` and ``out/val.json``.

    Args:
        out: Output folder; the lists are written last.
        source: Folder with the photographs, ``n01440764_tench.JPEG`` and so on.
        choice: JSON file with ``train`` and ``val``, lists of class numbers in ``[0, 1000)``.
        progress: Function that wraps the iterable of images, for a progress bar.

    Returns:
        The output folder.

    Raises:
        DataError: The folder does not exist, or does not have one photograph per class.
    """
    out, source = Path(out), Path(source)
    files = sorted(source.glob('*.JPEG')) if source.is_dir() else []
    if len(files) != COUNT:
        raise DataError(f'--source {source}: expected the {COUNT} .JPEG files of imagenet-sample-images, got '
                        f'{len(files)}.')
    chosen = json.loads(Path(choice).read_text())
    lists: dict[str, dict[str, int]] = {split: {} for split in chosen}
    for split, number in progress([(split, number) for split, numbers in chosen.items() for number in numbers]):
        path = f'{split}/{files[number].name}'
        (out / split).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(files[number], out / path)
        lists[split][path] = number
    for split, labels in lists.items():
        atomic_write(json.dumps(labels, indent=0), out / f'{split}.json')
    return out
