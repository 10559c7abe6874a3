"""``labels`` adds labels to data sets of BasicSR: the label belongs to the image that was read."""
import json
import pickle
import random

import numpy as np
import pytest
import torch
from basicsr.utils.lmdb_util import make_lmdb_from_imgs
from PIL import Image

import ra_plugin.basicsr  # noqa: F401  (registers)
from ra_plugin.builders.file_check import check_file
from ra_plugin.builders.loaders import build_dataset, build_val_loaders
from ra_plugin.builders.option_paths import resolve_paths
from ra_plugin.data.class_check import check_classes
from ra_plugin.options import OptionError
from ra_plugin.recognizers import build_recognizer
from ra_plugin.training.resumable_batches import TrainingBatches

CLASSES = {'cat': 2, 'ant': 0, 'bee': 1}  # number of each name, sorted
REALESRGAN = {
    'blur_kernel_size': 21, 'kernel_list': ['iso'], 'kernel_prob': [1.0], 'sinc_prob': 0.1, 'blur_sigma': [0.2, 3],
    'betag_range': [0.5, 4], 'betap_range': [1, 2], 'blur_kernel_size2': 21, 'kernel_list2': ['iso'],
    'kernel_prob2': [1.0], 'sinc_prob2': 0.1, 'blur_sigma2': [0.2, 1.5], 'betag_range2': [0.5, 4],
    'betap_range2': [1, 2], 'final_sinc_prob': 0.8, 'gt_size': 16, 'use_hflip': True, 'use_rot': False}


@pytest.fixture
def root(tmp_path):
    """Write images of gray value 60 * class in class folders, degraded ones in one folder, and lists of them."""
    for i, (name, number) in enumerate([*CLASSES.items()] * 3):
        image = Image.new('RGB', (16, 16), (60 * number, ) * 3)
        for folder, size in ((f'gt/{name}', 16), ('flat', 16), ('lq', 8)):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            image.resize((size, size)).save(tmp_path / folder / f'{i}.png')
    names = [f'{name}/{i}.png' for i, name in enumerate([*CLASSES] * 3)]
    (tmp_path / 'list.txt').write_text(''.join(f'{name} (16,16,3)\n' for name in names))
    (tmp_path / 'names.csv').write_text('path,label\n' + ''.join(f'./{name},{name[:3]}\n' for name in names))
    flat = {f'{i}.png': CLASSES[name] for i, name in enumerate([*CLASSES] * 3)}
    (tmp_path / 'flat.json').write_text(json.dumps({**flat, 'one that is not here.png': 1}))
    keys = [name[:-4] for name in names]
    make_lmdb_from_imgs(str(tmp_path / 'gt'), str(tmp_path / 'gt.lmdb'), names, keys, map_size=2 ** 20)
    make_lmdb_from_imgs(str(tmp_path / 'lq'), str(tmp_path / 'lq.lmdb'), [f'{i}.png' for i in range(9)], keys,
                        map_size=2 ** 20)
    return tmp_path


def blocks(root):
    disk, lmdb = {'type': 'disk'}, {'type': 'lmdb'}
    paired = {'type': 'PairedImageDataset', 'dataroot_lq': f'{root}/lq', 'io_backend': disk, 'gt_size': 8,
              'use_hflip': True, 'use_rot': False}
    real = {'type': 'RealESRGANDataset', 'dataroot_gt': f'{root}/gt', 'io_backend': disk,
            'meta_info': f'{root}/list.txt', **REALESRGAN}
    return {
        'flat, file': {**paired, 'dataroot_gt': f'{root}/flat', 'labels': f'{root}/flat.json'},
        'list, folders': {**paired, 'dataroot_gt': f'{root}/gt', 'meta_info_file': f'{root}/list.txt',
                          'labels': 'folders'},
        'list, file': {**paired, 'dataroot_gt': f'{root}/gt', 'meta_info_file': f'{root}/list.txt',
                       'labels': f'{root}/names.csv'},
        'lmdb, folders': {**paired, 'dataroot_gt': f'{root}/gt.lmdb', 'dataroot_lq': f'{root}/lq.lmdb',
                          'io_backend': lmdb, 'labels': 'folders'},
        'lmdb, file': {**paired, 'dataroot_gt': f'{root}/gt.lmdb', 'dataroot_lq': f'{root}/lq.lmdb',
                       'io_backend': lmdb, 'labels': f'{root}/names.csv'},
        'Real-ESRGAN, folders': {**real, 'labels': 'folders'},
        'Real-ESRGAN, lmdb, file': {**real, 'dataroot_gt': f'{root}/gt.lmdb', 'io_backend': lmdb,
                                    'labels': f'{root}/names.csv'},
        'no clean images': {'type': 'SingleImageDataset', 'dataroot_lq': f'{root}/flat', 'io_backend': disk,
                            'labels': f'{root}/flat.json'},
    }


KINDS = ['flat, file', 'list, folders', 'list, file', 'lmdb, folders', 'lmdb, file', 'Real-ESRGAN, folders',
         'Real-ESRGAN, lmdb, file', 'no clean images']


def train_loader(block, workers=0):
    opt = {'datasets': {'train': {
        'name': 't', 'phase': 'train', 'scale': 2, 'batch_size_per_gpu': 3, 'num_worker_per_gpu': workers, **block}},
        'world_size': 1, 'rank': 0, 'num_gpu': 0, 'dist': False, 'manual_seed': 0}
    return TrainingBatches(build_dataset(opt['datasets']['train']), opt).loader


def seed():
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


@pytest.mark.parametrize('kind', KINDS)
def test_each_image_has_its_label_and_the_rest_is_as_it_was(root, kind):
    block = blocks(root)[kind]
    loader = train_loader(block)
    plain = train_loader({key: value for key, value in block.items() if key != 'labels'})
    assert pickle.loads(pickle.dumps(loader.dataset)).dataset.num_classes == loader.dataset.dataset.num_classes == 3
    seed()
    ours = list(loader)
    seed()
    count = 0
    for batch, theirs in zip(ours, plain, strict=True):
        label = batch.pop('label')
        gray = (batch['gt' if 'gt' in batch else 'lq'].amax((1, 2, 3)) * 255 / 60).round().long()
        assert label.dtype == torch.long and torch.equal(label, gray)
        assert batch.keys() == theirs.keys()
        for key, value in batch.items():
            assert torch.equal(value, theirs[key]) if isinstance(value, torch.Tensor) else value == theirs[key]
        count += len(label)
    assert count == len(loader.dataset) == 9


@pytest.mark.slow
def test_workers_and_validation_give_labels_too(root):
    block = blocks(root)['lmdb, folders']
    assert sorted(label for batch in train_loader(block, workers=2) for label in batch['label'].tolist()) == [
        0, 0, 0, 1, 1, 1, 2, 2, 2]
    opt = {'model_type': 'RecogAwareModel',
           'datasets': {'val': {'name': 'v', 'phase': 'val', 'scale': 2, 'batch_size_per_gpu': 4, **block}}}
    loader, = build_val_loaders(opt)
    assert [label for batch in loader for label in batch['label'].tolist()] == [
        CLASSES[path.split('/')[0]] for path in (item['gt_path'] for item in loader.dataset.dataset.paths)]
    assert loader.dataset.opt['name'] == 'v'


def test_classes_are_those_of_the_whole_list_and_are_checked(root):
    (root / 'few').mkdir()
    (root / 'few/0.png').write_bytes((root / 'flat/0.png').read_bytes())
    (root / 'few.csv').write_text('0.png,cat\nelsewhere.png,bee\nelsewhere2.png,ant\n')
    block = {'type': 'SingleImageDataset', 'dataroot_lq': f'{root}/few', 'io_backend': {'type': 'disk'},
             'labels': f'{root}/few.csv', 'batch_size_per_gpu': 1}
    dataset = train_loader(block).dataset.dataset
    assert dataset.classes == ('ant', 'bee', 'cat') and dataset[0]['label'] == 2
    dataset = train_loader({**block, 'classes': ['cat', 'bee', 'ant']}).dataset.dataset
    assert dataset.classes == ('cat', 'bee', 'ant') and dataset[0]['label'] == 0
    recognizer = build_recognizer({'type': 'ModuleRecognizer', 'mean': [0.5] * 3, 'std': [0.2] * 3, 'input_size': 32,
                                   'module': 'ra_plugin.recognizers.tiny_nets.TinyVGG'})
    with pytest.raises(OptionError, match='x: 3 classes, but .* tells 10 apart'):
        check_classes(dataset, [recognizer], 'x')


@pytest.mark.parametrize('kind, changes, message', [
    ('flat, file', {'labels': '{root}/short.json'},
     "PairedImageDataset(t).labels: expected a label for each image, got none for '2.png' (7 of 9 images) in "
     "'{root}/short.json'. Paths in it are relative to '{root}/flat'."),
    ('flat, file', {'labels': 'folders'}, "PairedImageDataset(t).labels: expected one folder per class in "
     "'{root}/flat', got the image '"),  # whichever the disk lists first
    ('flat, file', {'labels': 'folder'}, "PairedImageDataset(t).labels: no file 'folder'."),
    ('flat, file', {'labels': '{root}/list.txt'}, 'PairedImageDataset(t).labels: expected a .json or .csv file'),
    ('flat, file', {'labels': '{root}/empty.json'}, "labels: expected paths and labels in '{root}/empty.json', got"),
    ('flat, file', {'labels': '{root}/minus.json'}, "(t).labels: expected a label >= 0, got -1 for '0.png'"),
    ('flat, file', {'classes': ['ant']}, '(t).labels: expected a label from 0 to 0 (1 class), got 2'),
    ('list, file', {'classes': ['ant', 'bee']}, "(t).classes: expected the class of 'cat/0.png', got no 'cat'"),
    ('flat, file', {'keep_classes': ['ant']}, 'datasets: t: keep_classes has no effect in PairedImageDataset. Use Lab'),
])
def test_what_cannot_be_meant_is_one_line_when_the_set_is_built(root, kind, changes, message):
    for name, content in (('short', {'0.png': 1, '1.png': 0}), ('empty', {}), ('minus', {'0.png': -1})):
        (root / f'{name}.json').write_text(json.dumps(content))
    changes = {key: value.format(root=root) if isinstance(value, str) else value for key, value in changes.items()}
    with pytest.raises(OptionError) as caught:
        train_loader({**blocks(root)[kind], **changes})
    assert message.format(root=root) in str(caught.value) and '\n' not in str(caught.value)


def test_option_file_knows_that_the_set_has_gained_labels(root):
    recognizer = {'type': 'ModuleRecognizer', 'module': 'x.Y', 'mean': [0.5] * 3, 'std': [0.2] * 3}
    block = {'name': 't', **blocks(root)['flat, file']}
    opt = {'name': 'run', 'model_type': 'SRModel', 'is_train': False, 'scale': 1,
           'datasets': {'train': block, 'val': dict(block)},
           'network_g': {'type': 'SRResNet'}, 'path': {}, 'val': {'recognizers': {'x': recognizer}},
           'train': {'recog_opt': {'type': 'RecogLoss', 'recognizer': recognizer}}}
    check_file(opt)
    opt['datasets']['val'].pop('labels')
    check_file(opt)  # judged by what the recognizer answers to clean images
    for phase, message in (('val', r'val\.recognizers: datasets\.val: evaluation needs labels or clean images'),
                           ('train', r'train\.recog_opt: RecogLoss needs labels, but PairedImageDataset has none')):
        kept = dict(opt['datasets'][phase])
        opt['datasets'][phase].pop('labels', None)
        if phase == 'val':
            opt['datasets'][phase]['type'] = 'SingleImageDataset'
        with pytest.raises(OptionError, match=f'{message}.*Add labels: folders, or labels: FILE'):
            check_file(opt)
        opt['datasets'][phase] = kept
    opt['datasets']['train']['labels'] = True
    with pytest.raises(OptionError, match=r'datasets\.train\.labels: expected text'):
        check_file(opt)


def test_paths_of_lists_are_found_from_any_folder_and_folders_is_no_path(tmp_path):
    opt = {phase: {'type': 'PairedImageDataset', 'labels': labels}
           for phase, labels in (('train', 'labels.csv'), ('val', 'folders'))}
    resolve_paths(opt, tmp_path)
    assert [opt[phase]['labels'] for phase in ('train', 'val')] == [str(tmp_path / 'labels.csv'), 'folders']


# Class folders, which BasicSR itself does not look into

@pytest.fixture
def nested(root):
    """Write clean and degraded images in the same class folders, at two depths, with spaces in names."""
    for i, (name, number) in enumerate([*CLASSES.items()] * 3):
        image = Image.new('RGB', (16, 16), (60 * number, ) * 3)
        for folder, size in (('nested', 16), ('nested_lq', 8)):
            path = root / folder / name / ('' if i < 6 else 'more of it') / f'no. {i}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            image.resize((size, size)).save(path)
    names = sorted(str(path.relative_to(root / 'nested')) for path in (root / 'nested').rglob('*.png'))
    (root / 'nested.txt').write_text(''.join(f'{name} (16,16,3)\n' for name in names))
    (root / 'bare.txt').write_text(''.join(f'{name}\n' for name in names))
    (root / 'pairs.txt').write_text(''.join(f'{name}, {name}\n' for name in names))
    (root / 'nested.csv').write_text(''.join(f'{name},{name[:3]}\n' for name in names))
    (root / 'side').mkdir()
    for path in (root / 'nested_lq').rglob('*.png'):
        (root / 'side' / path.name).write_bytes(path.read_bytes())
    return root


@pytest.mark.parametrize('kind, changes', [
    ('PairedImageDataset', {}), ('PairedImageDataset', {'meta_info_file': '{root}/nested.txt'}),
    ('PairedImageDataset', {'meta_info_file': '{root}/bare.txt', 'labels': '{root}/nested.csv'}),
    ('PairedImageDataset', {'labels': '{root}/nested.csv'}), ('PairedImageDataset', {'dataroot_lq': '{root}/side'}),
    ('PairedImageDataset', {'dataroot_lq': '{root}/side', 'meta_info_file': '{root}/nested.txt'}),
    ('RealESRGANPairedDataset', {}), ('RealESRGANPairedDataset', {'meta_info': '{root}/pairs.txt'}),
    ('RealESRGANDataset', {}), ('RealESRGANDataset', {'meta_info': '{root}/nested.txt'}),
    ('SingleImageDataset', {}), ('SingleImageDataset', {'meta_info_file': '{root}/nested.txt'})])
def test_images_in_class_folders_are_found_with_their_degraded_ones(nested, kind, changes):
    block = {'type': kind, 'io_backend': {'type': 'disk'}, 'labels': 'folders', 'gt_size': 8, 'use_hflip': True,
             'use_rot': False, 'dataroot_gt': f'{nested}/nested', 'dataroot_lq': f'{nested}/nested_lq'}
    if kind == 'RealESRGANDataset':
        block |= REALESRGAN
    if kind == 'SingleImageDataset':
        del block['dataroot_gt']
    block |= {key: value.format(root=nested) for key, value in changes.items()}
    loader = train_loader(block)
    assert loader.dataset.dataset.classes == ('ant', 'bee', 'cat') and len(loader.dataset.dataset) == 9
    assert loader.dataset.dataset.opt is loader.dataset.dataset.dataset.opt
    seen = []
    for batch in loader:
        key = 'gt' if 'gt' in batch else 'lq'
        gray = (batch[key].amax((1, 2, 3)) * 255 / 60).round().long()
        assert torch.equal(batch['label'], gray)
        if 'lq' in batch and 'gt' in batch:
            assert torch.equal(batch['lq'].amax((1, 2, 3)), batch['gt'].amax((1, 2, 3)))
        seen += batch[f'{key}_path']
    assert len(set(seen)) == 9


@pytest.mark.parametrize('changes, message', [
    ({'dataroot_lq': '{root}/lq'}, "(t).dataroot_lq: expected the degraded image of 'ant/more of it/no. 7.png' as 'ant/"
                                   "more of it/no. 7.png' in '{root}/lq', got none. Use the same folders as in"),
    ({'filename_tmpl': '{{}}x4'}, "as 'ant/more of it/no. 7x4.png' in"),
    ({'dataroot_lq': '/no/such'}, "(t).dataroot_lq: no folder '/no/such'"),
    ({'meta_info_file': '{root}/gone.txt'}, "(t).meta_info_file: '{root}/gone.txt' lists 'cat/gone 1.png', which"),
    ({'meta_info_file': '{root}/gbk.txt'}, "(t).meta_info_file: expected UTF-8 text in '{root}/gbk.txt'"),
    ({'dataroot_gt': '{root}/twins', 'dataroot_lq': '{root}/side'},
     "one degraded image per clean image, got '{root}/side/no. 0.png' for '{root}/twins/ant/no. 0.png' and '"),
])
def test_class_folders_that_do_not_fit_are_one_line(nested, changes, message):
    (nested / 'gone.txt').write_text('cat/gone 1.png (16,16,3)\n')
    (nested / 'gbk.txt').write_bytes('\u732b\u72d7/1.png\n'.encode('gbk'))
    for name in ('ant', 'bee'):
        (nested / 'twins' / name).mkdir(parents=True)
        (nested / 'twins' / name / 'no. 0.png').write_bytes((nested / 'side/no. 0.png').read_bytes())
    block = {'type': 'PairedImageDataset', 'io_backend': {'type': 'disk'}, 'labels': 'folders', 'gt_size': 8,
             'use_hflip': True, 'use_rot': False, 'dataroot_gt': f'{nested}/nested',
             'dataroot_lq': f'{nested}/nested_lq'}
    with pytest.raises(OptionError) as caught:
        train_loader({**block, **{key: value.format(root=nested) for key, value in changes.items()}})
    assert message.format(root=nested) in str(caught.value) and '\n' not in str(caught.value)


def test_a_list_is_named_where_it_is_not_utf8(root):
    (root / 'gbk.txt').write_bytes('\u732b\u72d7/1.png\n'.encode('gbk'))
    block = {**blocks(root)['flat, file'], 'meta_info_file': f'{root}/gbk.txt', 'name': 't', 'phase': 'val',
             'scale': 2}
    del block['labels']
    with pytest.raises(OptionError, match=r"\(t\)\.meta_info_file: expected UTF-8 text in '.*gbk\.txt'"):
        build_dataset(block)


def test_class_order_holds_for_folders_of_basicsrs_sets(root):
    for name in ('2', '10'):
        (root / 'numbers' / name).mkdir(parents=True)
        (root / 'numbers' / name / '1.png').write_bytes((root / 'flat/0.png').read_bytes())
    block = {'type': 'SingleImageDataset', 'dataroot_lq': f'{root}/numbers', 'io_backend': {'type': 'disk'},
             'labels': 'folders', 'name': 't', 'phase': 'val', 'scale': 1}
    with pytest.raises(OptionError, match=r'SingleImageDataset\(t\)\.class_order: the names of the classes are'):
        build_dataset(block)
    assert build_dataset({**block, 'class_order': 'natural'}).classes == ('2', '10')
