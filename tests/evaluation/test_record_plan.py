"""An image's records hold as long as all that its item is made of is the same, in every data set."""
import os
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

import ra_plugin.basicsr  # noqa: F401  (registers)
from ra_plugin.builders.loaders import build_dataset
from ra_plugin.evaluation.record_plan import RecordPlans
from ra_plugin.option_types import FilePath

XML = ('<annotation><object><name>cat</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>1</ymin>'
       '<xmax>{}</xmax><ymax>5</ymax></bndbox></object></annotation>')


def image(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (8, 8), (value,) * 3).save(path)


def mask(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(path)


def voc(root):
    for i in range(3):
        image(root / f'JPEGImages/{i}.png', i)
        (root / 'Annotations').mkdir(exist_ok=True)
        (root / f'Annotations/{i}.xml').write_text(XML.format(5))
    (root / 'ImageSets/Main').mkdir(parents=True)
    (root / 'ImageSets/Main/test.txt').write_text('0\n1\n2\n')
    return {'type': 'DetectionDataset', 'dataroot_gt': str(root), 'split': 'test'}


def masks(root):
    for i in range(3):
        image(root / f'images/{i}.png', i)
        mask(root / f'masks/{i}.png', 0)
    return {'type': 'SegmentationDataset', 'dataroot_gt': str(root / 'images'), 'dataroot_mask': str(root / 'masks'),
            'num_classes': 2}


def pairs(root):
    for i in range(3):
        image(root / f'gt/{i}.png', i)
        image(root / f'lq/{i}.png', i)
    (root / 'labels.csv').write_text('0.png,0\n1.png,1\n2.png,1\n')
    return {'type': 'PairedImageDataset', 'dataroot_gt': str(root / 'gt'), 'dataroot_lq': str(root / 'lq'), 'scale': 1,
            'io_backend': {'type': 'disk'}, 'labels': str(root / 'labels.csv')}


def folders(root):
    for i in range(3):
        image(root / f'{"ab"[i % 2]}/{i}.png', i)
    return {'type': 'LabeledImageDataset', 'dataroot_gt': str(root)}


def words(root):
    for i in range(3):
        image(root / f'images/{i}.png', i)
    (root / 'words.csv').write_text('0.png,no\n1.png,way\n2.png,out\n')
    return {'type': 'TextDataset', 'dataroot_gt': str(root / 'images'), 'label_file': str(root / 'words.csv')}


def digests(block):
    block = {'phase': 'test', 'name': 'd', **block}
    dataset = build_dataset(dict(block))
    return list(RecordPlans({}, {}).images(dataset, block, range(len(dataset))))


def names(block):
    return [str(path) for path in build_dataset({'phase': 'test', 'name': 'd', **block}).paths]


@pytest.mark.parametrize('make, change', [
    (voc, lambda root: (root / 'Annotations/1.xml').write_text(XML.format(6))),
    (voc, lambda root: image(root / 'JPEGImages/1.png', 9)),
    (masks, lambda root: mask(root / 'masks/1.png', 1)), (masks, lambda root: image(root / 'images/1.png', 9)),
    (pairs, lambda root: image(root / 'lq/1.png', 9)), (pairs, lambda root: image(root / 'gt/1.png', 9)),
    (folders, lambda root: image(root / 'b/1.png', 9)),
    (words, lambda root: (root / 'words.csv').write_text('0.png,no\n1.png,exit\n2.png,out\n')),
    (words, lambda root: image(root / 'images/1.png', 9)),
])
def test_a_change_of_one_image_or_label_is_one_of_that_image(tmp_path, make, change):
    block = make(tmp_path)
    before = digests(block)
    assert digests(block) == before and len(set(before)) == 3
    assert digests({**block, 'name': 'another', 'num_worker_per_gpu': 4}) == before
    change(tmp_path)
    after = digests(block)
    place = next(i for i, path in enumerate(names(block)) if '1.png' in path)
    assert [a != b for a, b in zip(after, before, strict=True)] == [i == place for i in range(3)]


@pytest.mark.parametrize('make, more', [
    (voc, {'crop_size': 4}), (masks, {'label_map': {0: 1}}),
    (folders, {'degradation': {'type': 'GaussianNoise', 'sigma': 0.5}}),
    (folders, {'seed': 1}), (pairs, {'labels': 'other'})])
def test_options_that_change_images_count_for_all(tmp_path, make, more):
    block = make(tmp_path)
    before = digests(block)
    if 'labels' in more:
        (tmp_path / 'other.csv').write_text('0.png,1\n1.png,0\n2.png,1\n')
        more = {'labels': str(tmp_path / 'other.csv')}
    assert not set(digests({**block, **more})) & set(before)


def test_paths_count_by_what_they_lead_to(tmp_path, monkeypatch):
    block = folders(tmp_path / 'images')
    before = digests(block)
    (tmp_path / 'link').symlink_to(tmp_path / 'images')
    monkeypatch.chdir(tmp_path)
    for root in ('images', './link', str(tmp_path / 'link'), 'images/../images/'):
        assert digests({**block, 'dataroot_gt': root}) == before


@pytest.mark.slow
def test_a_data_set_of_ones_own_counts_with_all_that_it_names(tmp_path, monkeypatch):
    from basicsr.utils.registry import DATASET_REGISTRY

    from ra_plugin.data import LabeledImageDataset

    @dataclass(frozen=True, kw_only=True)
    class OwnOptions(LabeledImageDataset.options_type):
        secrets: FilePath

    class OwnDataset(LabeledImageDataset):
        """Reads something that nobody else knows of."""

        options_type = OwnOptions

    monkeypatch.setattr(DATASET_REGISTRY, '_obj_map', {**DATASET_REGISTRY._obj_map, 'OwnDataset': OwnDataset})
    (tmp_path / 'secrets').mkdir()
    (tmp_path / 'secrets/a.txt').write_text('a')
    block = {**folders(tmp_path / 'images'), 'type': 'OwnDataset', 'secrets': str(tmp_path / 'secrets')}
    before = digests(block)
    assert digests(block) == before
    (tmp_path / 'secrets/a.txt').write_text('b')
    assert not set(digests(block)) & set(before)
    image(tmp_path / 'images/a/0.png', 9)  # those that it lists count one by one all the same
    again = digests(block)
    os.utime(tmp_path / 'images/a/0.png')
    assert [a == b for a, b in zip(digests(block), again, strict=True)] == [False, True, True]
