"""Labeled images: torchvision's geometry, reproducible degradation, and clear errors of one line."""
import csv
import io
import json
import pickle

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from ra_plugin.data.labeled_image_dataset import LabeledImageDataset, LabeledImageOptions, decode_image
from ra_plugin.options import OptionError, build_block

NOISE = {'type': 'GaussianNoise', 'sigma': 0.1}
BICUBIC = {'type': 'BicubicDownsample', 'scale': 2}
NAMES = ['cat/a.png', 'cat/deep/a-1.png', 'dog/b.png', 'dog/c.png']


def make_array(height=8, width=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def save(path, height=8, width=8, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(make_array(height, width, seed)).save(path)


@pytest.fixture
def root(tmp_path):
    """Write two classes with two images of 8x8 each."""
    folder = tmp_path / 'images'
    for seed, name in enumerate(NAMES):
        save(folder / name, seed=seed)
    return folder


def build(root, phase='val', **opt):
    added_by_basicsr = {'name': 'Set', 'type': 'LabeledImageDataset', 'phase': phase}
    return LabeledImageDataset({**added_by_basicsr, 'dataroot_gt': str(root), **opt})


def write_meta_info(path, content):
    if path.suffix == '.csv':
        with open(path, 'w', newline='', encoding='utf-8') as file:
            csv.writer(file).writerows(content)
    else:
        path.write_text(json.dumps(content), encoding='utf-8')
    return str(path)


def relative(dataset, root):
    return [path[len(str(root)) + 1:] for path in dataset.paths]


def assert_items_equal(first, second):
    assert first.keys() == second.keys()
    for key, value in first.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(value, second[key], rtol=0, atol=0)
        elif not key.endswith('path'):
            assert value == second[key]


# What an item is

def test_item_has_lq_and_gt_in_rgb_from_0_to_1_with_label_and_paths(root):
    item = build(root, degradation=BICUBIC, scale=2)[2]
    assert set(item) == {'lq', 'gt', 'label', 'lq_path', 'gt_path'}
    assert item['gt_path'] == item['lq_path'] == str(root / 'dog/b.png')
    assert item['label'] == 1 and type(item['label']) is int
    image = make_array(seed=2)
    small = np.asarray(Image.fromarray(image).resize((4, 4), Image.BICUBIC))
    for key, pixels in (('gt', image), ('lq', small)):
        assert item[key].dtype == torch.float32 and item[key].is_contiguous()
        np.testing.assert_array_equal(item[key].numpy(), pixels.transpose(2, 0, 1).astype(np.float32) / 255)


def test_without_degradation_lq_equals_gt_and_shares_no_memory(root):
    item = build(root)[0]
    torch.testing.assert_close(item['lq'], item['gt'], rtol=0, atol=0)
    assert item['lq'].data_ptr() != item['gt'].data_ptr()


def test_batch_has_long_labels(root):
    batch = next(iter(torch.utils.data.DataLoader(build(root, degradation=BICUBIC), batch_size=4)))
    assert batch['lq'].shape == (4, 3, 4, 4) and batch['gt'].shape == (4, 3, 8, 8)
    assert batch['label'].dtype == torch.long and batch['label'].tolist() == [0, 0, 1, 1]


def test_negative_index_counts_from_the_end_with_the_same_noise_and_beyond_the_end_raises(root):
    dataset = build(root, degradation=NOISE)
    assert_items_equal(dataset[-1], dataset[3])
    with pytest.raises(IndexError):
        dataset[4]


def test_every_key_that_basicsr_reads_is_known(root):
    build(root, phase='train', scale=1, batch_size_per_gpu=2, num_worker_per_gpu=0, dataset_enlarge_ratio=1,
          use_shuffle=True, prefetch_mode=None, num_prefetch_queue=1, pin_memory=False, persistent_workers=False,
          io_backend={'type': 'disk'})


def test_options_are_left_as_they_are(root):
    opt = {'name': 'Set', 'phase': 'val', 'dataroot_gt': str(root), 'degradation': dict(BICUBIC),
           'io_backend': {'type': 'disk'}}
    before = json.dumps(opt)
    LabeledImageDataset(opt)[0]
    assert json.dumps(opt) == before


# Where images and labels come from

def test_class_folders_are_sorted_and_searched_at_any_depth(root):
    dataset = build(root)
    assert relative(dataset, root) == NAMES
    assert dataset.classes == ('cat', 'dog') and dataset.num_classes == 2 and dataset.labels == [0, 0, 1, 1]


def test_hidden_files_other_files_and_files_beside_the_folders_are_ignored(root):
    for name in ('.hidden.png', 'cat/.hidden.png', 'cat/.thumbnails/a.png', '.cache/a.png', 'beside.png'):
        save(root / name)
    (root / 'complete').touch()
    (root / 'cat/notes.txt').touch()
    assert relative(build(root), root) == NAMES


@pytest.mark.parametrize('suffix', ['jpg', 'JPEG', 'bmp', 'webp', 'PNG'])
def test_common_formats_are_found_whatever_their_case(root, suffix):
    save(root / f'dog/d.{suffix}')
    dataset = build(root)
    assert len(dataset) == 5 and dataset[4]['gt'].shape == (3, 8, 8)


def test_classes_give_the_order_and_may_have_no_images(root, tmp_path):
    listing = tmp_path / 'classes.txt'
    listing.write_text('dog\nbird\ncat\n')
    for classes in (['dog', 'bird', 'cat'], str(listing)):
        dataset = build(root, classes=classes)
        assert dataset.labels == [2, 2, 0, 0] and dataset.num_classes == 3
        assert dataset.classes == ('dog', 'bird', 'cat')


PAIRS = [['dog/b.png', 3], ['cat/a.png', 0]]


@pytest.mark.parametrize('name, content', [
    ('list.json', PAIRS),
    ('list.json', [{'path': path, 'label': label} for path, label in PAIRS]),
    ('list.json', dict(PAIRS)),
    ('list.csv', PAIRS),
    ('list.csv', [['path', 'label']] + PAIRS),
], ids=['pairs', 'objects', 'mapping', 'csv', 'csv with header'])
def test_each_form_of_meta_info_gives_the_same_numbers(root, tmp_path, name, content):
    dataset = build(root, meta_info=write_meta_info(tmp_path / name, content))
    assert relative(dataset, root) == ['dog/b.png', 'cat/a.png'] and dataset.labels == [3, 0]
    assert dataset.classes is None and dataset.num_classes == 4
    assert dataset[0]['label'] == 3


@pytest.mark.parametrize('name', ['labels.csv', 'labels.json'])
def test_an_image_has_one_label(root, tmp_path, name):
    with pytest.raises(OptionError, match="lists 'cat/a.png' with two labels, 1 and 0. Remove one"):
        build(root, meta_info=write_meta_info(tmp_path / name, [['cat/a.png', 1], ['dog/b.png', 1], ['cat/a.png', 0]]))
    twice = write_meta_info(tmp_path / name, [['cat/a.png', 1], ['cat/a.png', 1]])
    assert build(root, meta_info=twice).labels == [1, 1]


@pytest.mark.parametrize('name', ['list.json', 'list.csv'])
def test_class_names_in_meta_info_become_numbers(root, tmp_path, name):
    meta_info = write_meta_info(tmp_path / name, [['dog/b.png', 'hot dog'], ['cat/a.png', 'Cat']])
    dataset = build(root, meta_info=meta_info)
    assert dataset.classes == ('Cat', 'hot dog') and dataset.labels == [1, 0]
    assert build(root, meta_info=meta_info, classes=['hot dog', 'bun', 'Cat']).labels == [0, 2]


def test_classes_may_hold_a_name_twice_where_labels_are_numbers(root, tmp_path):
    meta_info = write_meta_info(tmp_path / 'list.json', PAIRS)
    assert build(root, meta_info=meta_info, classes=['crane', 'a', 'b', 'crane']).num_classes == 4


def test_halves_split_each_class_in_its_order(root, tmp_path):
    save(root / 'cat/z.png')  # the third of its class
    first, second = (build(root, half=half) for half in ('first', 'second'))
    assert relative(first, root) == ['cat/a.png', 'cat/deep/a-1.png', 'dog/b.png']
    assert relative(second, root) == ['cat/z.png', 'dog/c.png']
    assert (first.labels, second.labels) == ([0, 0, 1], [0, 1])
    listed = write_meta_info(tmp_path / 'labels.json', [['dog/c.png', 1], ['cat/z.png', 0], ['dog/b.png', 1]])
    second = build(root, half='second', meta_info=listed)
    assert relative(second, root) == ['dog/b.png'] and second.labels == [1] and second.num_classes == 2


def test_the_second_half_of_one_image_a_class_is_refused(root, tmp_path):
    listed = write_meta_info(tmp_path / 'labels.json', [['cat/a.png', 0], ['dog/b.png', 1]])
    assert len(build(root, half='first', meta_info=listed)) == 2
    with pytest.raises(OptionError, match=r'\.half: expected a class with two or more images, got one image per class'):
        build(root, half='second', meta_info=listed)


def test_kept_classes_are_numbered_in_the_order_given(root, tmp_path):
    for seed, name in enumerate(('bird/d.png', 'fish/e.png'), start=4):
        save(root / name, seed=seed)
    listing = tmp_path / 'half.txt'
    listing.write_text('fish\ncat\n')
    for kept in (['fish', 'cat'], str(listing)):
        dataset = build(root, keep_classes=kept)
        assert relative(dataset, root) == ['cat/a.png', 'cat/deep/a-1.png', 'fish/e.png']
        assert dataset.labels == [1, 1, 0] and [item['label'] for item in dataset] == [1, 1, 0]
        assert dataset.classes == ('fish', 'cat') and dataset.num_classes == 2
        np.testing.assert_array_equal((dataset[2]['gt'] * 255).round().numpy(), make_array(seed=5).transpose(2, 0, 1))


def test_kept_classes_of_a_list_are_those_its_labels_name(root, tmp_path):
    numbers = write_meta_info(tmp_path / 'numbers.json', PAIRS)
    dataset = build(root, meta_info=numbers, classes=['cat', 'bee', 'ape', 'dog'], keep_classes=['ape', 'dog'])
    assert relative(dataset, root) == ['dog/b.png'] and dataset.labels == [1] and dataset.num_classes == 2
    names = write_meta_info(tmp_path / 'names.json', [['dog/b.png', 'hot dog'], ['cat/a.png', 'Cat']])
    assert relative(build(root, meta_info=names, keep_classes=['Cat']), root) == ['cat/a.png']
    with pytest.raises(OptionError, match='keep_classes: expected classes with names, got numbers without names'):
        build(root, meta_info=numbers, keep_classes=['dog'])
    with pytest.raises(OptionError, match=r"one of the 4 classes, got 'crane', the name of 2\. Rename one\.$"):
        build(root, meta_info=numbers, classes=['crane', 'crane', 'ape', 'dog'], keep_classes=['crane'])


# Geometry

@pytest.mark.parametrize('size', [(13, 20), (20, 13), (10, 10), (9, 31)])
def test_validation_geometry_is_torchvisions(tmp_path, size):
    save(tmp_path / 'a/a.png', *size)
    with Image.open(tmp_path / 'a/a.png') as image:
        expected = transforms.Compose([transforms.Resize(10), transforms.CenterCrop(7), transforms.ToTensor()])(image)
    torch.testing.assert_close(build(tmp_path, resize=10, crop_size=7)[0]['gt'], expected, rtol=0, atol=0)


def test_train_crops_reach_every_place_and_flips_half_of_them(tmp_path):
    save(tmp_path / 'a/a.png', 4, 5)
    dataset = build(tmp_path, phase='train', crop_size=3, use_hflip=True)
    image = make_array(4, 5)
    places = {}
    for top in range(2):
        for left in range(3):
            crop = image[top:top + 3, left:left + 3]
            places[crop.tobytes()], places[crop[:, ::-1].tobytes()] = (top, left, False), (top, left, True)
    torch.manual_seed(0)
    drawn = [(dataset[0]['gt'].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy().tobytes() for _ in range(240)]
    seen = [places[crop] for crop in drawn]
    assert set(seen) == set(places.values())
    assert 90 < sum(flipped for *_, flipped in seen) < 150


def test_validation_neither_flips_nor_crops_at_random(root):
    dataset = build(root, crop_size=4, use_hflip=True)
    expected = make_array()[2:6, 2:6].transpose(2, 0, 1).astype(np.float32) / 255
    for _ in range(5):
        np.testing.assert_array_equal(dataset[0]['gt'].numpy(), expected)


# Randomness

def collect(dataset, workers, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    loader = torch.utils.data.DataLoader(dataset, num_workers=workers, generator=generator, **options)
    return torch.cat([batch['lq'] for batch in loader])


@pytest.mark.slow
def test_validation_degradation_is_the_same_for_any_number_of_workers_and_each_time(root):
    dataset = build(root, degradation=NOISE)
    alone = collect(dataset, 0)
    torch.testing.assert_close(collect(dataset, 2, seed=1), alone, rtol=0, atol=0)
    torch.testing.assert_close(collect(dataset, 0, batch_size=3), alone, rtol=0, atol=0)


def test_validation_noise_differs_between_images_and_seeds(tmp_path):
    for name in ('a/1.png', 'a/2.png'):
        save(tmp_path / name)
    first, second = collect(build(tmp_path, degradation=NOISE), 0)
    other = collect(build(tmp_path, degradation=NOISE, seed=1), 0)[0]
    assert (first != second).any() and (first != other).any()


def test_train_degradation_is_drawn_anew_and_follows_torchs_seed(root):
    dataset = build(root, phase='train', degradation=NOISE)
    torch.manual_seed(0)
    first, second = dataset[0]['lq'], dataset[0]['lq']
    assert (first != second).any()
    torch.manual_seed(0)
    torch.testing.assert_close(dataset[0]['lq'], first, rtol=0, atol=0)


@pytest.mark.slow
def test_train_degradation_in_workers_differs_by_worker_and_follows_the_loaders_seed(tmp_path):
    for name in ('a/1.png', 'a/2.png'):
        save(tmp_path / name)
    dataset = build(tmp_path, phase='train', degradation=NOISE)
    first = collect(dataset, 2)
    assert (first[0] != first[1]).any()
    torch.testing.assert_close(collect(dataset, 2), first, rtol=0, atol=0)
    assert (collect(dataset, 2, seed=1) != first).any()


# lmdb

@pytest.fixture
def lmdb(root, tmp_path):
    """Write the images of ``root`` to an lmdb, with keys ``class/name``."""
    pytest.importorskip('lmdb')
    from basicsr.utils.lmdb_util import make_lmdb_from_imgs

    path = tmp_path / 'images.lmdb'
    # the size that it would guess from one image is too small for so few
    make_lmdb_from_imgs(str(root), str(path), NAMES, [name[:-len('.png')] for name in NAMES], map_size=2 ** 20)
    return path


def test_lmdb_and_disk_give_equal_items(root, lmdb, tmp_path):
    for opt in ({'degradation': NOISE}, {'degradation': BICUBIC, 'crop_size': 4},
                {'keep_classes': ['dog']}, {'meta_info': write_meta_info(tmp_path / 'list.json', PAIRS)}):
        disk, stored = build(root, **opt), build(lmdb, io_backend={'type': 'lmdb'}, **opt)
        assert len(stored) == len(disk) > 0 and stored.labels == disk.labels and stored.classes == disk.classes
        for i in range(len(disk)):
            assert_items_equal(stored[i], disk[i])
    assert stored.paths == ['dog/b', 'cat/a']


def test_one_lmdb_serves_two_sets_and_workers_after_this_process_has_read_it(lmdb):
    first, second = (build(lmdb, io_backend={'type': 'lmdb'}, degradation=NOISE, seed=seed) for seed in (0, 1))
    expected = collect(first, 0)
    second[0]
    torch.testing.assert_close(collect(first, 2), expected, rtol=0, atol=0)
    torch.testing.assert_close(collect(first, 0), expected, rtol=0, atol=0)


def test_set_that_has_been_read_can_be_pickled(lmdb):
    dataset = build(lmdb, io_backend={'type': 'lmdb'})
    item = dataset[0]
    assert_items_equal(pickle.loads(pickle.dumps(dataset))[0], item)


@pytest.mark.parametrize('text, message', [
    (None, r'dataroot_gt: expected a folder \*\.lmdb with meta_info\.txt'),
    ('', r'expected images, got none'),
    ('0001.png (8,8,3) 1\n', r"expected lmdb keys 'class/image', got '0001'"),
])
def test_lmdb_that_cannot_be_used_is_refused(tmp_path, text, message):
    folder = tmp_path / 'a.lmdb'
    folder.mkdir()
    if text is not None:
        (folder / 'meta_info.txt').write_text(text)
    with pytest.raises(OptionError, match=message):
        build(folder, io_backend={'type': 'lmdb'})


def test_lmdb_that_lacks_a_listed_image_is_named(lmdb, tmp_path):
    with open(lmdb / 'meta_info.txt', 'a', encoding='utf-8') as file:
        file.write('dog/gone.png (8,8,3) 1\n')
    dataset = build(lmdb, io_backend={'type': 'lmdb'})
    with pytest.raises(ValueError, match=r"images\.lmdb: no image 'dog/gone', which its meta_info\.txt lists"):
        dataset[4]
    meta_info = write_meta_info(tmp_path / 'list.csv', [['dog/none.png', 1]])
    with pytest.raises(OptionError, match=r"lists 'dog/none', which is not in '.*images\.lmdb'"):
        build(lmdb, io_backend={'type': 'lmdb'}, meta_info=meta_info)


# Bad options

@pytest.mark.parametrize('opt, message', [
    ({'crop_sise': 4}, r"unknown key 'crop_sise'. Did you mean 'crop_size'"),
    ({'batch_size_per_gup': 4}, r"Did you mean 'batch_size_per_gpu'"),
    ({'crop_size': '4'}, r'\.crop_size: expected a whole number or nothing \(~\), got .4.'),
    ({'phase': 'training'}, r"\.phase: expected 'train' \| 'val' \| 'test', got 'training'"),
    ({'keep_classes': [0, 1]}, r'\.keep_classes: expected a list of text'),
    ({'classes': [0, 1]}, r'\.classes: expected a list of text'),
    ({'io_backend': {'type': 'memcached'}}, r"\.io_backend\.type: expected 'disk' \| 'lmdb'"),
    ({'io_backend': {'type': 'disk', 'db_paths': 'a'}}, r"\.io_backend: unknown key 'db_paths'"),
    ({'degradation': {'type': 'Bicubic', 'scale': 2}}, r"\.degradation\.type: no degradation 'Bicubic'"),
    ({'degradation': {'type': 'Compose', 'steps': [{'type': 'GaussianNoise', 'sgima': 1}]}},
     r"\.degradation\.steps\[0\]: unknown key 'sgima'. Did you mean 'sigma'"),
])
def test_bad_keys_and_types_are_refused_without_touching_the_disk(opt, message):
    block = {'dataroot_gt': '/no/such/folder', **opt}
    with pytest.raises(OptionError, match='^datasets.val' + message if message[0] == '\\' else message):
        build_block(LabeledImageOptions, {'phase': 'val', **block}, 'datasets.val')
    with pytest.raises(OptionError, match=message):
        LabeledImageDataset({'phase': 'val', **block})


def test_a_block_needs_a_folder_and_a_phase():
    build_block(LabeledImageOptions, {'phase': 'val', 'dataroot_gt': '/no/such/folder', 'degradation': BICUBIC}, 'd')
    with pytest.raises(OptionError, match="datasets.val: 'dataroot_gt' is missing"):
        build_block(LabeledImageOptions, {'phase': 'val'}, 'datasets.val')
    with pytest.raises(OptionError, match="expected phase 'train', 'val' or 'test', got none"):
        LabeledImageDataset({'dataroot_gt': '/no/such/folder'})


@pytest.mark.parametrize('opt, message', [
    ({'seed': -1}, r'LabeledImageDataset\(Set\)\.seed: expected a whole number >= 0, got -1'),
    ({'crop_size': 0}, r'\.crop_size: expected a whole number >= 1, got 0'),
    ({'resize': 0}, r'\.resize: expected a whole number >= 1, got 0'),
    ({'scale': 4, 'degradation': BICUBIC}, 'expected a degradation that shrinks by scale 4, got one by 2'),
    ({'scale': 2}, 'expected a degradation that shrinks by scale 2, got one by 1'),
    ({'crop_size': 7, 'degradation': BICUBIC}, r'\.crop_size: expected a multiple of scale 2, got 7. Use 8'),
    ({'crop_size': 8, 'resize': 6}, r'\.crop_size: expected at most resize \(6\), got 8'),
    ({'degradation': {'type': 'JPEGCompression', 'quality': 0}}, 'expected quality from 1 to 100, got 0'),
    ({'classes': []}, r'\.classes: expected names of classes, got none'),
    ({'classes': 'no_such_file.txt'}, r"\.classes: no file 'no_such_file\.txt'"),
    ({'classes': ['cats', 'dog']}, r"\.classes: expected the class of 'cat/a\.png', got no 'cat'. Did you mean 'cats'"),
    ({'classes': ['cat', 'dog', 'cat']}, r"got 'cat' more than once. Use numbers as labels"),
    ({'keep_classes': ['cats']}, r"\.keep_classes: expected one of the 2 classes, got 'cats', the name of none\. Did "),
    ({'keep_classes': ['cat', 'cat']}, r"\.keep_classes: expected each class once, got 'cat' more than once"),
    ({'keep_classes': []}, r'\.keep_classes: expected names of classes, got none'),
    ({'keep_classes': 'no_such_file.txt'}, r"\.keep_classes: no file 'no_such_file\.txt'"),
    ({'classes': ['cat', 'dog', 'emu'], 'keep_classes': ['emu']}, r'expected images of emu, got none'),
    ({'meta_info': 'no_such_file.json'}, r"\.meta_info: no file 'no_such_file\.json'"),
])
def test_values_that_cannot_work_are_refused_when_built(root, opt, message):
    with pytest.raises(OptionError, match=message):
        build(root, **opt)


# Bad data

def test_missing_folder_is_named(tmp_path):
    with pytest.raises(OptionError, match=r"dataroot_gt: no folder '.*nowhere'"):
        build(tmp_path / 'nowhere')


@pytest.mark.parametrize('folders', [[], ['cat', 'dog']])
def test_folder_without_images_is_refused(tmp_path, folders):
    for name in folders:
        (tmp_path / name).mkdir()
    (tmp_path / 'image.png').touch()
    with pytest.raises(OptionError, match=r"dataroot_gt: expected images in '.*/<class>', got none. Known suffixes"):
        build(tmp_path)


def test_empty_class_folder_is_named(root):
    (root / 'bird').mkdir()
    with pytest.raises(OptionError, match=r"expected images in each class folder, got none in '.*bird'"):
        build(root)


def test_folder_of_splits_is_not_taken_for_classes(tmp_path):
    save(tmp_path / 'train/cat/a.png')
    save(tmp_path / 'val/cat/a.png')
    with pytest.raises(OptionError, match=r"expected a folder per class in .*, got train, val. Point .*train'"):
        build(tmp_path)


@pytest.mark.parametrize('name, content, message', [
    ('list.json', [['cat/a.png', 0], ['cat/gone.png', 1], ['dog/gone.png', 1]],
     r"list\.json' lists 'cat/gone\.png', which is not in '.*images'"),
    ('list.json', [['bird/a.png', 0]], r"lists 'bird/a\.png'"),
    ('list.json', [['cat/a.png', -1]], r"expected a label >= 0, got -1 for 'cat/a\.png'"),
    ('list.json', [['cat/a.png', 0], ['dog/b.png', 'dog']], r"expected numbers as labels throughout, got 'dog'"),
    ('list.json', [['cat/a.png', True]], r"expected a path and a label \(number or name\) in .*, got .*True"),
    ('list.json', [['cat/a.png', 0.5]], r'expected a whole number or a name as label, got 0\.5'),
    ('list.json', [['cat/a.png', '']], r'expected a path and a label'),
    ('list.json', [['cat/a.png']], r'expected a path and a label'),
    ('list.json', [{'path': 'cat/a.png'}], r'expected a path and a label'),
    ('list.json', 'cat/a.png', r'expected a mapping or a list in .*, got str'),
    ('list.json', [], r"expected images, got none from '.*list\.json'"),
    ('list.csv', [], r'expected images, got none'),
    ('list.csv', [['path', 'label']], r'expected images, got none'),
    ('list.csv', [['path', 'label'], ['cat/a.png']], r"expected path,label in row 2 of .*list\.csv', got 'cat/a\.png'"),
    ('list.csv', [['file', 'class'], ['cat/a.png', 0]], r"lists 'file', which"),
    ('list.yml', [], r'expected a \.json or \.csv file'),
])
def test_bad_meta_info_is_refused(root, tmp_path, name, content, message):
    with pytest.raises(OptionError, match=message):
        build(root, meta_info=write_meta_info(tmp_path / name, content))


def test_meta_info_that_is_no_json_is_named(root, tmp_path):
    (tmp_path / 'list.json').write_text('{"cat/a.png": ')
    with pytest.raises(OptionError, match=r"meta_info: expected JSON, got '.*list\.json' with an error"):
        build(root, meta_info=str(tmp_path / 'list.json'))


def test_label_beyond_the_classes_is_named(root, tmp_path):
    meta_info = write_meta_info(tmp_path / 'list.json', PAIRS)
    with pytest.raises(OptionError, match=r"expected a label from 0 to 2 \(3 classes\), got 3 for 'dog/b\.png'"):
        build(root, meta_info=meta_info, classes=['a', 'b', 'c'])


def test_image_smaller_than_the_crop_is_named(tmp_path):
    save(tmp_path / 'a/small.png', 6, 9)
    message = r'small\.png: expected at least 8x8 for crop_size 8, got 9x6. Set a smaller crop_size, or resize to 8'
    for phase in ('train', 'val'):
        with pytest.raises(ValueError, match=message):
            build(tmp_path, phase=phase, crop_size=8)[0]


@pytest.mark.parametrize('phase', ['train', 'val'])
def test_whole_image_is_cut_at_right_and_bottom_to_a_multiple_of_the_scale(tmp_path, phase):
    save(tmp_path / 'a/odd.png', 33, 50)
    item = build(tmp_path, phase, degradation={'type': 'BicubicDownsample', 'scale': 4})[0]
    assert item['gt'].shape == (3, 32, 48) and item['lq'].shape == (3, 8, 12)
    whole = np.asarray(Image.open(tmp_path / 'a/odd.png').convert('RGB'))[:32, :48]
    assert torch.equal((item['gt'] * 255).round().byte(), torch.from_numpy(whole.copy()).permute(2, 0, 1))
    assert build(tmp_path, phase, resize=35, degradation=BICUBIC)[0]['gt'].shape == (3, 34, 52)


def test_image_of_which_scale_leaves_nothing_is_named(tmp_path):
    save(tmp_path / 'a/thin.png', 3, 50)
    with pytest.raises(ValueError, match=r'thin\.png: expected at least 4x4 pixels for scale 4, got 50x3\. Remove'):
        build(tmp_path, degradation={'type': 'BicubicDownsample', 'scale': 4})[0]


@pytest.mark.parametrize('suffix', ['png', 'jpg', 'webp', 'bmp'])
def test_truncated_image_is_named(tmp_path, suffix):
    path = tmp_path / f'a/broken.{suffix}'
    save(path, 64, 64)
    for keep in (0, 10, path.stat().st_size // 2):
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(ValueError, match=rf'broken\.{suffix}: expected an image, got a file that cannot be'):
            build(tmp_path)[0]
        save(path, 64, 64)


def test_text_in_place_of_an_image_is_named(tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a/page.jpg').write_text('<html>404</html>')
    with pytest.raises(ValueError, match=r'page\.jpg: .*\(not an image format that PIL knows\). It may be truncated'):
        build(tmp_path)[0]


# Color modes

def encode(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, **{'format': 'PNG', **options})
    return buffer.getvalue()


@pytest.mark.parametrize('mode, options', [
    ('L', {}), ('1', {}), ('P', {}), ('RGBA', {}), ('LA', {}), ('CMYK', {'format': 'JPEG'}),
    ('CMYK', {'format': 'TIFF'}),
])
def test_opaque_8_bit_modes_become_rgb_as_in_torchvisions_loader(mode, options):
    data = encode(Image.fromarray(make_array()).convert(mode), **options)
    image = decode_image(data, 'image')
    assert image.mode == 'RGB'
    np.testing.assert_array_equal(np.asarray(image), np.asarray(Image.open(io.BytesIO(data)).convert('RGB')))


def transparent(mode):
    image = Image.fromarray(make_array()).convert('RGBA')
    image.putpixel((0, 0), (0, 0, 0, 100))
    return image.convert(mode)


@pytest.mark.parametrize('image, options, mode', [
    (transparent('RGBA'), {}, 'RGBA'),
    (transparent('LA'), {}, 'LA'),
    (Image.new('P', (4, 4)), {'transparency': 0}, 'P'),
    (Image.new('L', (4, 4)), {'transparency': 0}, 'L'),
    (Image.new('RGB', (4, 4)), {'transparency': (0, 0, 0)}, 'RGB'),
])
def test_transparent_pixels_are_refused(image, options, mode):
    message = f'image.png: expected an opaque image, got mode {mode} with transparent pixels. Put it on a background'
    with pytest.raises(ValueError, match=message):
        decode_image(encode(image, **options), 'image.png')


@pytest.mark.parametrize('dtype', [np.uint16, np.int32, np.float32])
def test_more_than_8_bits_are_refused(dtype):
    image = Image.fromarray(np.zeros((4, 4), dtype))
    with pytest.raises(ValueError, match=rf'depth\.tif: expected .* 8 bits per channel, got mode {image.mode}'):
        decode_image(encode(image, format='TIFF'), 'depth.tif')


def test_other_colors_are_not_said_to_be_of_too_many_bits():
    with pytest.raises(ValueError, match=r'lab\.tif: expected an image in RGB, CMYK or gray, got mode LAB\. Save it'):
        decode_image(encode(Image.new('LAB', (4, 4)), format='TIFF'), 'lab.tif')
    deep = cv2.imencode('.tif', np.zeros((4, 4, 3), np.float32))[1].tobytes()
    with pytest.raises(ValueError, match=r'deep\.tif: .*truncated, or have more than 8 bits per value: replace'):
        decode_image(deep, 'deep.tif')
