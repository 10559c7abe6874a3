"""Folders of restored images: every image has a file of its own, or it is said which has not."""
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ra_plugin.data.labeled_image_dataset import LabeledImageDataset
from ra_plugin.evaluation.judging import Batch
from ra_plugin.evaluation.record_plan import image_name, image_names
from ra_plugin.evaluation.restored_folder import FolderOfImages
from ra_plugin.options import OptionError


def save(root, *names):
    """Images, each of its own gray."""
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (4, 4), (i, i, i)).save(root / name)
    return root


def found(folder, names, suffix=None, all_names=()):
    images = FolderOfImages(folder, suffix)
    images.prepare(names, all_names)
    return [str(Path(images.file(name)).relative_to(folder)) for name in names]


@pytest.mark.parametrize('files, names, expected', [
    (['a/0.png', 'b/0.png'], ['a/0.jpg', 'b/0.JPG'], ['a/0.png', 'b/0.png']),
    (['0.png', '1.png'], ['a/0.jpg', 'b/1.jpg'], ['0.png', '1.png']),  # names that differ may be in one folder
    (['a/0.png', 'b/0.png', '0.png'], ['a/0.png', 'b/0.png'], ['a/0.png', 'b/0.png']),
    (['a/x.y.png'], ['a/x.y.jpg'], ['a/x.y.png']),
    (['a/x.png', 'a/x.jpg'], ['a/x.jpg', 'a/x.png'], ['a/x.jpg', 'a/x.png']),  # each by its whole name
    (['a/k0.png', 'b/k0.png'], ['a/k0', 'b/k0'], ['a/k0.png', 'b/k0.png']),  # keys of an lmdb
    (['a/v1.5.png'], ['a/v1.5'], ['a/v1.5.png']),
    (['a/0_out.png', 'a/01_out.png'], ['a/0.png', 'a/01.png'], ['a/0_out.png', 'a/01_out.png']),
    (['0x4.png', '1x4.png'], ['a/0.png', 'b/1.png'], ['0x4.png', '1x4.png']),
])
def test_each_image_has_its_own_file(tmp_path, files, names, expected):
    assert found(save(tmp_path, *files), names) == expected


def test_the_image_is_that_of_the_file(tmp_path):
    save(tmp_path, 'a/0_sr.png', 'b/0_sr.png')
    batch = Batch(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4), None, [0, 1], ['b/0.png', 'a/0.png'])
    images = FolderOfImages(tmp_path, '_sr')(batch)
    assert (images * 255).round()[:, 0, 0, 0].tolist() == [1, 0]


@pytest.mark.parametrize('files, names, all_names, message', [
    (['0.png', '1.png'], ['a/0.png', 'b/1.png', 'b/0.png'], [], "'a/0.png' and 'b/0.png' are two images, and '0.png'"),
    (['0.png', '1.png'], ['a/0.png', 'b/1.png'], ['b/0.png'], "'a/0.png' and 'b/0.png' are two images, and '0.png'"),
    (['a/0.png'], ['a/0.png', 'a/0.jpg'], [], "'a/0.png' and 'a/0.jpg' are two images, and 'a/0.png' would stand for"),
    (['a/0.png', 'a/0.bmp'], ['a/0.jpg'], [], "one restored image of 'a/0.jpg', got a/0.bmp and a/0.png. Remove"),
    (['0_x2.png', '0_x4.png'], ['0.png'], [], 'whose names end in _x2 and in _x4. Say which: suffix'),
])
def test_a_file_that_could_be_of_two_images_is_refused(tmp_path, files, names, all_names, message):
    with pytest.raises(OptionError, match=re.escape(message)):
        found(save(tmp_path, *files), names, all_names=all_names)


@pytest.mark.parametrize('files, suffix, message', [
    ([f'{i}.png' for i in range(5)], None,
     'no restored image of 5.png, 6.png, 7.png, ... (5 of 10 images). Files are looked up by the path'),
    ([f'{i}_out.png' for i in range(8)], None,
     "(10 of 10 images). There are files whose names end in '_out': say so with suffix"),
    ([f'{i}_out.png' for i in range(8)], '_out', "no restored image of 8.png, 9.png (2 of 10 images)"),
    ([], None, '(10 of 10 images)'),
])
def test_missing_files_are_counted(tmp_path, files, suffix, message):
    with pytest.raises(FileNotFoundError, match=re.escape(message)) as error:
        found(save(tmp_path, *files), [f'{i}.png' for i in range(10)], suffix)
    assert '\n' not in str(error.value)


def test_a_suffix_that_all_names_have_is_found_and_said(tmp_path, capsys):
    assert found(save(tmp_path, 'a_run.png', 'b_run.png'), ['c/a.png', 'd/b.png']) == ['a_run.png', 'b_run.png']
    assert "the names of its files end in '_run'" in capsys.readouterr().out


def test_names_are_those_below_the_data_sets_folder(tmp_path, monkeypatch):
    save(tmp_path / 'data', 'a/0.png', 'b/0.png')
    monkeypatch.chdir(tmp_path)
    for root in ('data', './data', str(tmp_path / 'data'), 'data/../data/'):
        block = {'phase': 'test', 'dataroot_gt': root}
        assert image_names(LabeledImageDataset(block), block) == ['a/0.png', 'b/0.png']
    assert image_name('a/k0', {'io_backend': {'type': 'lmdb'}, 'dataroot_gt': 'x.lmdb'}, 'gt') == 'a/k0'
    assert image_name('/elsewhere/x.png', {'dataroot_gt': 'data'}, 'gt') == 'x.png'


def test_an_lmdb_is_as_its_images_on_the_disk(tmp_path):
    lmdb = pytest.importorskip('lmdb')
    save(tmp_path / 'data', 'a/0.png', 'b/0.png')
    with lmdb.open(str(tmp_path / 'd.lmdb'), map_size=10 ** 7) as env, env.begin(write=True) as transaction:
        for key in ('a/0', 'b/0'):
            transaction.put(key.encode(), (tmp_path / 'data' / f'{key}.png').read_bytes())
    (tmp_path / 'd.lmdb/meta_info.txt').write_text('a/0.png (4,4,3) 1\nb/0.png (4,4,3) 1\n')
    block = {'phase': 'test', 'dataroot_gt': str(tmp_path / 'd.lmdb'), 'io_backend': {'type': 'lmdb'}}
    dataset = LabeledImageDataset(block)
    images = FolderOfImages(tmp_path / 'data')
    names = image_names(dataset, block)
    batch = Batch(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4), None, [0, 1], names)
    assert np.array_equal(images(batch), np.stack([item['gt'] for item in dataset]))
