"""Images of a tuning: three parts, one size, labels of the recognizer's task; and folders that cannot be used."""
import json

import numpy as np
import pytest
from PIL import Image

from ra_plugin.builders.loaders import build_dataset
from ra_plugin.data.part import share_of
from ra_plugin.options import OptionError
from ra_plugin.recognizers.facts import RecognizerInfo
from ra_plugin.tuning.image_plan import PARTS, image_names, plan_images
from ra_plugin.tuning.options import TuneOptions

CLASSIFIER = RecognizerInfo('net', 'classification', 2, input_size=(32, 32))
SEGMENTER = RecognizerInfo('net', 'segmentation', 2)
DETECTOR = RecognizerInfo('net', 'detection', 1)
READER = RecognizerInfo('net', 'text')
BICUBIC = {'type': 'BicubicDownsample', 'scale': 4}


def write(folder, count, *sizes):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(np.zeros((*sizes[i % len(sizes)][::-1], 3), np.uint8)).save(folder / f'{i}.png')
    return folder


def plan(folder, info=CLASSIFIER, scale=4, out=None, degradation=BICUBIC, **options):
    given = TuneOptions(restorer='r', recognizer='n', images=str(folder), **options)
    return plan_images(given, image_names(given), info, scale, None if given.lq else degradation, out or folder)


def items(images, part, phase):
    dataset = build_dataset({'name': part, 'phase': phase, 'scale': 4, **images.blocks[part]})
    return dataset, [dataset[i] for i in range(3)]


def test_the_parts_are_all_images_and_none_twice(tmp_path):
    images = plan(write(tmp_path, 60, (40, 50)))
    sets = [set(build_dataset({'name': part, 'phase': 'val', 'scale': 4, **images.blocks[part]}).paths)
            for part in PARTS]
    assert len(set.union(*sets)) == sum(map(len, sets)) == 60
    assert [len(one) for one in sets] == list(images.counts.values())
    assert all(0.7 <= share_of(path.rpartition('/')[2]) < 0.85 for path in sets[1])


@pytest.mark.slow
@pytest.mark.parametrize('info, sizes, options, shape', [
    (CLASSIFIER, [(40, 50)], {}, (40, 48)),  # all alike and small: as they are, but for the scale
    (CLASSIFIER, [(40, 50), (60, 44)], {}, (32, 32)),  # the size that the classifier sees
    (CLASSIFIER, [(40, 50), (60, 44)], {'size': 38}, (36, 36)),
    (CLASSIFIER, [(20, 30), (22, 31)], {}, (20, 20)),  # all are smaller
    (CLASSIFIER, [(900, 700)], {}, (32, 32)),
    (RecognizerInfo('net', 'embedding'), [(300, 500), (300, 501)], {}, (224, 224)),
    (DETECTOR, [(70, 50), (50, 60)], {}, None),  # whole images
    (DETECTOR, [(900, 700), (1200, 500)], {}, None)])
def test_sizes(info, sizes, options, shape, tmp_path):
    images = plan(write(tmp_path, 60, *sizes), info, **options)
    for part, phase in (('train', 'train'), ('report', 'test')):
        for item in items(images, part, phase)[1]:
            gt, lq = item['gt'].shape[1:], item['lq'].shape[1:]
            assert gt == tuple(4 * side for side in lq)
            if shape:
                assert sorted(gt) == sorted(shape)
            else:
                assert min(gt) <= 480 and max(gt) <= 640 and min(gt) > 40


def test_batches_are_smaller_for_larger_images(tmp_path):
    assert plan(write(tmp_path / 'a', 60, (40, 50))).batch_size == 16
    assert plan(write(tmp_path / 'b', 60, (300, 300)), size=200).batch_size == 8
    assert plan(tmp_path / 'b', size=300).batch_size == 4 and plan(tmp_path / 'b', batch_size=3).batch_size == 3


def test_labels_are_those_of_the_task(tmp_path):
    for label in 'ab':
        write(tmp_path / 'classes' / label, 30, (40, 40))
    images = plan(tmp_path / 'classes', labels='folders')
    assert items(images, 'report', 'test')[0].num_classes == 2
    names = [f'{i}.png' for i in range(60)]
    root = write(tmp_path / 'flat', 60, (40, 40))
    (tmp_path / 'labels.json').write_text(json.dumps({name: i % 2 for i, name in enumerate(names)}))
    dataset, found = items(plan(root, labels=str(tmp_path / 'labels.json')), 'report', 'test')
    assert [item['label'] for item in found] == [int(path.rpartition('/')[2][:-4]) % 2 for path in dataset.paths[:3]]
    (tmp_path / 'words.csv').write_text(''.join(f'{name},w{i}\n' for i, name in enumerate(names)))
    dataset, found = items(plan(root, READER, labels=str(tmp_path / 'words.csv')), 'report', 'test')
    assert [item['label'] for item in found] == ['w' + path.rpartition('/')[2][:-4] for path in dataset.paths[:3]]
    coco = {'images': [{'id': i, 'file_name': name, 'width': 40, 'height': 40} for i, name in enumerate(names)],
            'annotations': [{'id': i, 'image_id': i, 'category_id': 1, 'bbox': [1, 2, 3 + i % 30, 4], 'iscrowd': 0,
                             'area': 4} for i in range(60)], 'categories': [{'id': 1, 'name': 'x'}]}
    (tmp_path / 'coco.json').write_text(json.dumps(coco))
    dataset, found = items(plan(root, DETECTOR, labels=str(tmp_path / 'coco.json')), 'report', 'test')
    for item, path in zip(found, dataset.paths, strict=False):
        number = int(path.rpartition('/')[2][:-4])
        assert item['label']['image_id'] == number and item['label']['boxes'].tolist() == [[1, 2, 4 + number % 30, 6]]
    masks = tmp_path / 'masks'
    masks.mkdir()
    for i, name in enumerate(names):
        Image.fromarray(np.full((40, 40), i % 2, np.uint8)).save(masks / name)
    dataset, found = items(plan(root, SEGMENTER, labels=str(masks)), 'report', 'test')
    for item, path in zip(found, dataset.paths, strict=False):
        assert (item['label'] == int(path.rpartition('/')[2][:-4]) % 2).all()


def test_degraded_files_go_with_their_clean_ones(tmp_path):
    root, lq = write(tmp_path / 'clean', 60, (40, 48)), write(tmp_path / 'lq', 60, (10, 12))
    images = plan(root, lq=str(lq), out=tmp_path)
    for file, lines in images.lists.items():
        (tmp_path / file).write_text('\n'.join(lines))
    assert sorted(sum(map(list, images.lists.values()), [])) == sorted(f'{i}.png' for i in range(60))
    assert items(images, 'train', 'train')[1][0]['gt'].shape[1:] == (40, 40)  # a crop
    assert images.blocks['val']['batch_size_per_gpu'] == 1  # images of several sizes make no batch
    dataset, found = items(images, 'report', 'test')
    assert len(dataset) == images.counts['report']
    assert all(item['gt'].shape[1:] == (48, 40) and item['lq'].shape[1:] == (12, 10) for item in found)
    (lq / '7.png').unlink()
    with pytest.raises(OptionError, match="expected the degraded image of '7.png' .* got none .1 of 60 images"):
        plan(root, lq=str(lq), out=tmp_path)


@pytest.mark.slow
def test_degraded_files_in_folders_and_with_spaces_need_no_labels(tmp_path):
    for label in 'ab':
        for root, size in (('clean', (40, 48)), ('lq', (10, 12))):
            write(tmp_path / root / label, 30, size)
            (tmp_path / root / label / '7.png').rename(tmp_path / root / label / 'IMG 7 (1).png')
    root, lq = tmp_path / 'clean', tmp_path / 'lq'
    for labels in (None, 'folders'):
        images = plan(root, lq=str(lq), out=tmp_path, labels=labels)
        for file, lines in images.lists.items():
            (tmp_path / file).write_text('\n'.join(lines))
        names = []
        for part in PARTS:
            dataset = build_dataset({'name': part, 'phase': 'val', 'scale': 4, **images.blocks[part]})
            names += [(item['gt_path'], item['lq_path']) for item in map(dataset.__getitem__, range(len(dataset)))]
        assert sorted(names) == [(str(path), str(lq / path.relative_to(root))) for path in sorted(root.rglob('*.png'))]
    with pytest.raises(OptionError, match='--labels: with --lq expected those of a classifier, got net of the task'):
        plan(root, DETECTOR, lq=str(lq), labels='coco.json')


def test_class_folders_are_asked_for_with_the_other_checks_of_images(tmp_path):
    write(tmp_path, 60, (40, 40))
    with pytest.raises(OptionError, match='^--labels folders: expected a folder for each class in .*, got images with'):
        image_names(TuneOptions(restorer='r', recognizer='n', images=str(tmp_path), labels='folders'))
    for label in 'ab':
        write(tmp_path / label, 30, (40, 40))
    images = plan(tmp_path, labels='folders')  # files beside the folders have no class
    assert sum(images.counts.values()) == 60
    assert len(items(images, 'report', 'test')[0]) == images.counts['report']
    (tmp_path / 'empty').mkdir()
    with pytest.raises(OptionError, match='^--images.*expected images in each class folder, got none in .*empty'):
        plan(tmp_path, labels='folders')


@pytest.mark.parametrize('info, labels, flips', [(READER, 'words.csv', False), (READER, None, False),
                                                 (CLASSIFIER, None, True)])
def test_words_are_not_mirrored(info, labels, flips, tmp_path):
    names = [path.name for path in sorted(write(tmp_path, 60, (40, 40)).iterdir())]
    (tmp_path / 'words.csv').write_text(''.join(f'{name},w\n' for name in names))
    assert plan(tmp_path, info, labels=labels and str(tmp_path / labels)).blocks['train']['use_hflip'] == flips


@pytest.mark.parametrize('count, sizes, options, message', [
    (5, [(40, 40)], {}, r'has 5 images, which gives \d to train on, \d to choose by, \d to report on: .* Expected'),
    (0, [(40, 40)], {}, 'has 0 images'),
    (60, [(40, 40)], {'size': 64},
     r"60 images of 60 .* less than 64 pixels: '0.png' .40x40., .* and others\. .*--size 40"),
    (60, [(400, 400)] * 59 + [(17, 40)], {}, r"1 image of 60 .* of less than 32 pixels: '59.png' .17x40.\. Remove"),
    (60, [(40, 40)], {'labels': 'nowhere.csv'}, "--labels: expected folders, or a JSON or CSV file"),
    (60, [(3, 3), (3, 2)], {}, r"expected sides of at least 4 pixels, .*, got '1.png' .3x2.")])
def test_folders_that_cannot_be_used(count, sizes, options, message, tmp_path):
    with pytest.raises(OptionError, match=message):
        plan(write(tmp_path / 'images', count, *sizes), **options)


def test_files_that_are_no_images_are_named(tmp_path):
    write(tmp_path, 60, (40, 40))
    (tmp_path / 'broken.png').write_bytes(b'no image')
    Image.fromarray(np.zeros((40, 40), np.uint16)).save(tmp_path / 'deep.png')
    whole = (tmp_path / '7.png').read_bytes()
    (tmp_path / '7.png').write_bytes(whole[:len(whole) // 2])
    with pytest.raises(OptionError, match='3 files cannot be used: 7.png: .* broken.png: .* deep.png: .*16'):
        plan(tmp_path)
    with pytest.raises(OptionError, match="--images: no folder"):
        plan(tmp_path / 'nowhere')


@pytest.mark.parametrize('info, expected', [
    (SEGMENTER, 'a folder of masks'), (DETECTOR, "COCO's JSON"), (READER, 'a list of images and words')])
def test_labels_of_another_task(info, expected, tmp_path):
    with pytest.raises(OptionError, match=f'--labels: expected {expected}.* for a recognizer of the task {info.task}'):
        write(tmp_path / 'a', 60, (40, 40))
        plan(tmp_path, info, labels='folders')
