"""What the blocks of BasicSR's data sets name and is not there: one line with the block and the key."""
import numpy as np
import pytest
from PIL import Image

from ra_plugin.builders.dataset_paths import check_paths
from ra_plugin.builders.loaders import build_dataset
from ra_plugin.options import OptionError


@pytest.fixture
def block(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ('gt', 'lq'):
        (tmp_path / folder).mkdir()
        for i in range(2):
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / folder / f'{i}.png')
    (tmp_path / 'list.txt').write_text('0.png (8,8,3)\n9.png (8,8,3)\n')
    return {'name': 'n', 'phase': 'train', 'type': 'PairedImageDataset', 'dataroot_gt': 'gt', 'dataroot_lq': 'lq',
            'scale': 1, 'io_backend': {'type': 'disk'}, 'use_hflip': True, 'use_rot': False, 'gt_size': 8}


@pytest.mark.slow
@pytest.mark.parametrize('changed, message', [
    ({'dataroot_gt': 'nope'}, r"dataroot_gt: no folder 'nope'"), ({'dataroot_lq': 'nope'}, r"dataroot_lq: no folder"),
    ({'dataroot_gt': 'gt/0.png'}, 'dataroot_gt: no folder'), ({'dataroot_gt': 5}, 'dataroot_gt: expected text, got 5'),
    ({'meta_info_file': 'nope.txt'}, "meta_info_file: no file 'nope.txt'"),
    ({'meta_info_file': 'list.txt'}, "meta_info_file: 'list.txt' lists '9.png', which is not in 'gt'"),
    ({'filename_tmpl': 'x'}, "filename_tmpl: expected a text with one {} .*got 'x'"),
    ({'filename_tmpl': '{}x{}'}, "filename_tmpl: expected a text with one {} .*got '{}x{}'"),
    ({'filename_tmpl': 5}, 'filename_tmpl: expected text or nothing .*, got 5'),
    ({'io_backend': {'type': 'lmdb'}}, "dataroot_gt: no file 'gt/meta_info.txt'"),
    ({'type': 'SingleImageDataset', 'dataroot_lq': 'nope'}, 'dataroot_lq: no folder'),
    ({'type': 'FFHQDataset', 'mean': [0.5] * 3, 'std': [0.5] * 3, 'dataroot_gt': 'nope'}, 'dataroot_gt: no folder'),
    ({'type': 'FFHQDataset', 'mean': [0.5] * 3, 'std': [0.5] * 3}, 'dataroot_gt: no file gt/00000000.png'),
    ({'type': 'LabeledImageDataset', 'dataroot_gt': 'nope', 'degradation': {'type': 'Compose', 'steps': []}},
     "dataroot_gt: no folder 'nope'"),
    ({'labels': {'type': 'x'}}, 'labels: expected text'),
    ({'type': 'pairedimagedataset'}, "type: no data set 'pairedimagedataset'. Did you mean 'PairedImageDataset'")])
def test_what_is_missing_has_its_key_and_block(block, changed, message):
    opt = {**block, **changed}
    if changed.get('type') == 'LabeledImageDataset':
        opt = {key: opt[key] for key in ('name', 'phase', 'type', 'dataroot_gt', 'degradation')}
    with pytest.raises(OptionError, match=rf'^datasets\.train\.{message}'):
        build_dataset(opt, 'datasets.train')


def test_pairs_that_do_not_match_have_a_remedy(block, tmp_path):
    assert len(build_dataset(block, 'datasets.train')) == 2
    with pytest.raises(OptionError, match=r'^datasets\.train: 0x2\.png is not in lq_paths\. filename_tmpl'):
        build_dataset({**block, 'filename_tmpl': '{}x2'}, 'datasets.train')
    (tmp_path / 'lq' / '0.png').unlink()
    with pytest.raises(OptionError, match=r'^datasets\.train: .*different number of images: 1, 2\. dataroot_gt and'):
        build_dataset(block, 'datasets.train')


@pytest.mark.parametrize('template', ['{}x2', '{0}x2', '{:s}x2', '{!s}x2'])
def test_any_template_that_gives_the_names_is_taken(block, tmp_path, template):
    for i in range(2):
        (tmp_path / 'lq' / f'{i}.png').rename(tmp_path / 'lq' / f'{i}x2.png')
    assert build_dataset({**block, 'filename_tmpl': template}, 'datasets.train').paths[1]['lq_path'] == 'lq/1x2.png'


def test_templates_of_video_frames_are_left_to_their_data_sets(block):
    check_paths({**block, 'type': 'REDSRecurrentDataset', 'filename_tmpl': '08d'}, 'datasets.train')
