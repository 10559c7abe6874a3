"""The demo's data: only the complete, unmodified CIFAR-10 is accepted, from any source."""
import json

import numpy as np
import pytest
from PIL import Image

from ra_plugin.data import cifar10


def write_npm(folder, images, labels, test_images, test_labels):
    for i, part in enumerate(np.split(images, 5), 1):
        Image.fromarray(part.reshape(len(part), 1024, 3)).save(folder / f'data_batch_{i}.png')
    Image.fromarray(test_images.reshape(len(test_images), 1024, 3)).save(folder / 'test_batch.png')
    (folder / 'train_lables.json').write_text(json.dumps(labels.tolist()))
    (folder / 'test_lables.json').write_text(json.dumps(test_labels.tolist()))


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Replace the data set by 40 and 10 images, with matching checksums and counts."""
    rng = np.random.default_rng(0)
    train, test = rng.integers(0, 256, (40, 32, 32, 3), np.uint8), rng.integers(0, 256, (10, 32, 32, 3), np.uint8)
    labels, test_labels = np.arange(40, dtype=np.uint8) % 10, np.arange(10, dtype=np.uint8)
    monkeypatch.setattr(cifar10, '_COUNT', {'train': 40, 'test': 10})
    monkeypatch.setattr(cifar10, '_VAL_START', 30)
    monkeypatch.setattr(cifar10, 'SHA256', {'train': cifar10.checksum(train, labels),
                                            'test': cifar10.checksum(test, test_labels)})
    source = tmp_path / 'package'
    source.mkdir()
    write_npm(source, train, labels, test, test_labels)
    return tmp_path, train, test


def test_class_folders_hold_the_pixels_and_the_split(small):
    folder, train, test = small
    out = cifar10.prepare(folder / 'out', folder)
    assert sorted(p.name for p in (out / 'train').iterdir()) == sorted(cifar10.CLASSES)
    counts = {s: len(list((out / s).rglob('*.png'))) for s in ('train', 'val', 'test')}
    assert counts == {'train': 30, 'val': 10, 'test': 10}
    assert np.array_equal(np.asarray(Image.open(out / 'val' / cifar10.CLASSES[5] / '00035.png')), train[35])
    assert np.array_equal(np.asarray(Image.open(out / 'test' / cifar10.CLASSES[3] / '00003.png')), test[3])


def test_a_second_call_does_nothing(small):
    folder = small[0]
    out = cifar10.prepare(folder / 'out', folder)
    (out / 'test' / 'marker').touch()
    cifar10.prepare(out, folder / 'nowhere')
    assert (out / 'test' / 'marker').exists()


def test_an_interrupted_copy_is_made_anew(small):
    folder = small[0]
    (folder / 'out' / 'train').mkdir(parents=True)  # without the file `complete`

    def stop(jobs):
        for i, job in enumerate(jobs):
            if i == 20:
                raise KeyboardInterrupt
            yield job

    with pytest.raises(KeyboardInterrupt):
        cifar10.prepare(folder / 'out', folder, stop)
    assert sorted(p.name for p in folder.iterdir()) == ['out', 'package']  # nothing half-made is left
    assert len(list(cifar10.prepare(folder / 'out', folder).rglob('*.png'))) == 50


def test_a_folder_with_other_files_is_left_alone(small):
    folder = small[0]
    with pytest.raises(cifar10.DataError, match='contains other files .*package'):
        cifar10.prepare(folder, folder / 'package')
    assert (folder / 'package' / 'test_batch.png').is_file()


def test_another_data_set_is_refused(small):
    folder, train, test = small
    labels = np.arange(40, dtype=np.uint8) % 10
    write_npm(folder / 'package', train[::-1], labels, test, np.arange(10, dtype=np.uint8))
    with pytest.raises(cifar10.DataError, match='CIFAR-10 train: checksum'):
        cifar10.prepare(folder / 'out', folder)
    assert not (folder / 'out').exists()


def test_a_folder_without_it_says_what_was_expected(tmp_path):
    with pytest.raises(cifar10.DataError, match='expected cifar-10-batches-py'):
        cifar10.prepare(tmp_path / 'out', tmp_path)
    with pytest.raises(cifar10.DataError, match='no such folder'):
        cifar10.prepare(tmp_path / 'out', tmp_path / 'nowhere')


def test_no_source_names_every_reason_and_the_remedy(tmp_path, monkeypatch):
    def refuse(folder):
        raise OSError('unreachable')

    monkeypatch.setattr(cifar10, '_from_torchvision_download', refuse)
    monkeypatch.setattr(cifar10.shutil, 'which', lambda name: None)
    with pytest.raises(cifar10.DataError,
                       match='(?s)torchvision: OSError: unreachable.*npm is not installed.*--source FOLDER'):
        cifar10.prepare(tmp_path / 'out')
