"""The photographs of imagenet_sample: the selection, their classes, and rejection of other folders."""
import json
from pathlib import Path

import pytest

from ra_plugin.data import imagenet_sample
from ra_plugin.data.cifar10 import DataError

CHOICE = Path(__file__).parents[2] / 'options' / 'experiments' / 'imagenet_sample.json'


def test_a_photograph_has_the_class_of_its_place_by_name(tmp_path):
    source = tmp_path / 'source'
    source.mkdir()
    for number in reversed(range(1000)):
        (source / f'n{number:08d}_name.JPEG').write_text(str(number))
    (source / 'README.md').touch()
    out = imagenet_sample.prepare(tmp_path / 'out', source, CHOICE)
    lists = {split: json.loads((out / f'{split}.json').read_text()) for split in ('train', 'val')}
    assert len(lists['train']) == 400 and len(lists['val']) == 200
    assert not set(lists['train'].values()) & set(lists['val'].values())
    for split, labels in lists.items():
        assert all((out / path).read_text() == str(number) and path.startswith(split)
                   for path, number in labels.items())


def test_a_folder_with_other_images_is_refused(tmp_path):
    (tmp_path / 'n01440764_tench.JPEG').touch()
    with pytest.raises(DataError, match='expected the 1000 .JPEG files of imagenet-sample-images, got 1'):
        imagenet_sample.prepare(tmp_path / 'out', tmp_path, CHOICE)
    with pytest.raises(DataError, match='got 0'):
        imagenet_sample.prepare(tmp_path / 'out', tmp_path / 'nowhere', CHOICE)
    assert not (tmp_path / 'out').exists()
