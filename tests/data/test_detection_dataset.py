"""Boxes and masks follow their objects, annotations are read as in mmdet, batches are padded, errors are clear."""
import importlib
import json
import pickle
import re

import numpy as np
import pytest
import torch
import yaml
from basicsr.data import build_dataset
from PIL import Image

import ra_plugin.basicsr  # noqa: F401  (registers)
from ra_plugin.builders.loaders import build_val_loaders
from ra_plugin.data import DetectionDataset
from ra_plugin.data.annotations import read_classes
from ra_plugin.options import OptionError
from ra_plugin.training.resumable_batches import TrainingBatches

NOISE = {'type': 'GaussianNoise', 'sigma': 0.1}
BICUBIC = {'type': 'BicubicDownsample', 'scale': 2}
CLASSES = ['red', 'green', 'blue']
# name -> width, height, {class: box, xyxy in pixels from 0}; each box is drawn into the channel of its class, so that
# what became of it can be measured in gt, where boxes overlap, too
SCENES = {
    'a': (40, 30, {'red': (3, 4, 20, 12), 'green': (15, 8, 38, 29), 'blue': (0, 0, 6, 30)}),
    'b': (25, 33, {'green': (1, 1, 24, 32), 'blue': (10, 20, 14, 25)}),
    'c': (21, 19, {}),
    'd': (28, 26, {'red': (5, 5, 9, 9)}),
}


def draw(scene):
    width, height, boxes = scene
    image = np.zeros((height, width, 3), np.uint8)
    for name, (x1, y1, x2, y2) in boxes.items():
        image[y1:y2, x1:x2, CLASSES.index(name)] = 255
    return image


def to_xml(scene, difficult=(), extra=''):
    width, height, boxes = scene
    objects = ''.join(
        f'<object><name>{name}</name><difficult>{int(name in difficult)}</difficult>'
        f'<part><bndbox><xmin>7</xmin></bndbox></part><bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin>'
        f'<xmax>{x2 + 1}</xmax><ymax>{y2 + 1}</ymax></bndbox>'
        f'</object>' for name, (x1, y1, x2, y2) in boxes.items())
    return f'<annotation><size><width>{width}</width><height>{height}</height></size>{objects}{extra}</annotation>'


def write_voc(root, scenes=SCENES, split='trainval', **options):
    for folder in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, scene in scenes.items():
        Image.fromarray(draw(scene)).save(root / f'JPEGImages/{name}.png')
        (root / f'Annotations/{name}.xml').write_text(to_xml(scene, **options))
    (root / f'ImageSets/Main/{split}.txt').write_text('\n'.join(scenes) + '\n')


def run_lengths(mask):
    """Return COCO's uncompressed run lengths: by columns, starting with the zeros."""
    counts, value = [0], 0
    for pixel in mask.flatten(order='F'):
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return {'size': list(mask.shape), 'counts': counts}


def coco_content(scenes=SCENES, ids=(7, 2, 90)):
    """Return COCO content with the ids of CLASSES; polygons for images with one box, otherwise run lengths."""
    content = {'images': [], 'annotations': [], 'categories': [
        {'id': number, 'name': name} for number, name in zip(ids, CLASSES, strict=True)]}
    for i, (file, (width, height, boxes)) in enumerate(scenes.items()):
        content['images'].append({'id': 100 - i, 'file_name': f'{file}.png', 'width': width, 'height': height})
        for name, (x1, y1, x2, y2) in boxes.items():
            mask = np.zeros((height, width), np.uint8)
            mask[y1:y2, x1:x2] = 1
            polygon = [[x1, y1, x2, y1, x2, y2, x1, y2]]
            content['annotations'].append({
                'id': len(content['annotations']) + 1, 'image_id': 100 - i, 'iscrowd': 0,
                'category_id': ids[CLASSES.index(name)], 'bbox': [x1, y1, x2 - x1, y2 - y1],
                'area': (x2 - x1) * (y2 - y1), 'segmentation': polygon if len(boxes) == 1 else run_lengths(mask)})
    return content


def write_coco(root, content=None, scenes=SCENES, file='instances.json'):
    root.mkdir(exist_ok=True)
    for name, scene in scenes.items():
        Image.fromarray(draw(scene)).save(root / f'{name}.png')
    (root / file).write_text(json.dumps(content or coco_content(scenes)))


@pytest.fixture
def voc(tmp_path):
    write_voc(tmp_path / 'VOC')
    return tmp_path / 'VOC'


@pytest.fixture
def coco(tmp_path):
    write_coco(tmp_path / 'coco')
    return tmp_path / 'coco'


def build(root, phase='val', **opt):
    if not {'split', 'annotation_file'} & opt.keys():
        opt |= {'split': 'trainval'} if root.name == 'VOC' else {'annotation_file': str(root / 'instances.json')}
    return DetectionDataset({'name': 'Set', 'phase': phase, 'dataroot_gt': str(root), **opt})


def voc_build(root, phase='val', **opt):
    return build(root, phase, classes=CLASSES, **opt)


def measured(plane):
    """Return the box around all pixels of ``(H, W)`` above half brightness, or None."""
    rows, columns = (np.flatnonzero((plane > 0.5).any(axis)) for axis in (1, 0))
    return (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) if len(rows) else None


# What an item is

def test_item_of_voc_has_its_boxes_counted_from_0(voc):
    item = voc_build(voc, degradation=BICUBIC, scale=2)[0]
    assert item['gt'].shape == (3, 30, 40) and item['lq'].shape == (3, 15, 20)
    assert item['gt_path'] == item['lq_path'] == str(voc / 'JPEGImages/a.png')
    label = item['label']
    assert set(label) == {'boxes', 'labels', 'ignore', 'size', 'image_id'}
    assert label['boxes'].dtype == torch.float32 and label['boxes'].tolist() == [
        list(box) for box in SCENES['a'][2].values()]
    assert label['labels'].dtype == torch.long and label['labels'].tolist() == [0, 1, 2]
    assert label['ignore'].dtype == torch.bool and label['ignore'].tolist() == [False] * 3
    assert label['size'] == (30, 40) and label['image_id'] == 'a'


def test_voc_and_coco_give_the_same_items(voc, coco):
    first, second = voc_build(voc, resize=20), build(coco, resize=20, classes=CLASSES)
    assert len(first) == len(second) == 4
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one['gt'], other['gt'])
        for key in ('boxes', 'labels', 'ignore'):
            assert torch.equal(one['label'][key], other['label'][key])
        assert one['label']['size'] == other['label']['size']


def test_image_without_boxes_has_empty_tensors(voc):
    label = voc_build(voc)[2]['label']
    assert label['boxes'].shape == (0, 4) and label['boxes'].dtype == torch.float32
    assert label['labels'].shape == (0,) and label['labels'].dtype == torch.long
    assert label['ignore'].shape == (0,) and label['ignore'].dtype == torch.bool


def test_whole_image_is_cut_at_right_and_bottom_to_a_multiple_of_the_scale(voc):
    item = voc_build(voc, degradation={'type': 'BicubicDownsample', 'scale': 4})[1]  # 25x33
    assert item['gt'].shape == (3, 32, 24) and item['lq'].shape == (3, 8, 6)
    assert item['label']['boxes'].tolist() == [[1, 1, 24, 32], [10, 20, 14, 25]]
    np.testing.assert_array_equal(item['gt'], draw(SCENES['b'])[:32, :24].transpose(2, 0, 1) / np.float32(255))


def test_set_can_be_pickled(voc):
    dataset = voc_build(voc, degradation=NOISE)
    assert torch.equal(pickle.loads(pickle.dumps(dataset))[1]['lq'], dataset[1]['lq'])


# Geometry: the box of a label is the box around its object in gt

@pytest.mark.parametrize('opt, exact', [
    ({}, True),
    ({'crop_size': 12}, True),
    ({'crop_size': [16, 30], 'use_hflip': True}, True),
    ({'use_hflip': True, 'degradation': BICUBIC}, True),
    ({'crop_size': [8, 14], 'degradation': BICUBIC, 'use_hflip': True}, True),
    ({'resize': 47}, False),
    ({'resize': [60, 70], 'crop_size': 40}, False),
    ({'scale_range': [0.5, 2.0], 'use_hflip': True}, False),
    ({'resize': 33, 'scale_range': [0.5, 2.0], 'crop_size': [24, 32], 'degradation': BICUBIC, 'use_hflip': True},
     False),
])
@pytest.mark.parametrize('phase', ['train', 'val'])
def test_boxes_stay_on_their_objects(voc, opt, exact, phase):
    dataset = voc_build(voc, phase, **opt)
    found = 0
    for index in list(range(4)) * (12 if phase == 'train' else 1):
        item = dataset[index]
        label = item['label']
        height, width = label['size']
        assert item['gt'].shape == (3, height, width)
        boxes = dict(zip(label['labels'].tolist(), label['boxes'].numpy(), strict=True))
        for number, plane in enumerate(item['gt'].numpy()):
            expected, box = measured(plane), boxes.get(number)
            if expected is None and box is None:
                continue
            if not exact and (expected is None or box is None):  # a sliver: never half bright, or not kept
                x1, y1, x2, y2 = expected if box is None else box
                assert min(x2 - x1, y2 - y1) <= 1
                continue
            np.testing.assert_allclose(box, expected, atol=0 if exact else 1)
            assert (box >= 0).all() and (box[2:] <= (width, height)).all() and (box[2:] > box[:2]).all()
            found += 1
    assert found >= (20 if phase == 'train' else 3)


@pytest.mark.slow
def test_random_crops_flips_and_scales_occur(voc):
    dataset = voc_build(voc, 'train', crop_size=20, scale_range=[0.5, 2.0], use_hflip=True)
    assert len({dataset[3]['gt'].numpy().tobytes() for _ in range(20)}) > 10
    flips = [voc_build(voc, 'train', use_hflip=True)[3]['label']['boxes'].tolist()[0] for _ in range(40)]
    assert 8 < flips.count([19, 5, 23, 9]) < 32 and flips.count([5, 5, 9, 9]) == 40 - flips.count([19, 5, 23, 9])


def test_factors_fill_the_scale_range_and_only_in_training(voc):
    dataset = voc_build(voc, 'train', scale_range=[0.5, 2.0])
    widths = [dataset[0]['label']['size'][1] for _ in range(60)]
    assert 20 <= min(widths) < 28 and 68 < max(widths) <= 80
    assert voc_build(voc, scale_range=[0.5, 2.0])[0]['label']['size'] == (30, 40)


@pytest.mark.parametrize('resize, size', [(60, (60, 80)), ([60, 100], (60, 80)), ([60, 70], (52, 70)), (15, (15, 20))])
def test_resize_is_the_shorter_side_up_to_the_longest(voc, resize, size):
    assert voc_build(voc, resize=resize)[0]['label']['size'] == size


@pytest.mark.parametrize('least, kept', [(0, [0, 2]), (1, [0, 2]), (2, [0, 2]), (2.5, [0]), (3.5, [])])
def test_box_with_less_than_min_box_size_left_is_dropped(tmp_path, least, kept):
    boxes = {'red': (0, 0, 13, 40), 'green': (0, 0, 10, 40), 'blue': (28, 0, 40, 40)}  # 3, 0 and 2 px in the center
    write_voc(tmp_path / 'VOC', {'a': (40, 40, boxes)})
    item = voc_build(tmp_path / 'VOC', crop_size=[40, 20], min_box_size=least)[0]
    assert item['label']['labels'].tolist() == kept


def test_box_without_area_is_dropped(tmp_path):
    write_voc(tmp_path / 'VOC', {'a': (40, 40, {'red': (5, 5, 5, 5), 'green': (5, 5, 9, 5), 'blue': (5, 5, 9, 9)})})
    for least in (0, 1):
        assert voc_build(tmp_path / 'VOC', min_box_size=least)[0]['label']['labels'].tolist() == [2]


def test_boxes_are_cut_at_the_border_of_the_image(tmp_path):
    write_voc(tmp_path / 'VOC', {'a': (20, 10, {'red': (-1, -1, 8, 8), 'green': (15, 5, 25, 11)})})
    assert voc_build(tmp_path / 'VOC')[0]['label']['boxes'].tolist() == [[0, 0, 8, 8], [15, 5, 20, 10]]


# Masks

@pytest.mark.parametrize('opt, exact', [
    ({}, True),
    ({'crop_size': [8, 14], 'degradation': BICUBIC, 'use_hflip': True}, True),
    ({'scale_range': [0.5, 2.0], 'use_hflip': True, 'crop_size': 20}, False),
])
def test_masks_stay_on_their_objects(coco, opt, exact):
    dataset = build(coco, 'train', with_masks=True, classes=CLASSES, **opt)
    found = 0
    for index in list(range(4)) * 12:
        item = dataset[index]
        label = item['label']
        assert label['masks'].dtype == torch.bool and label['masks'].shape == (len(label['labels']), *label['size'])
        for number, mask in zip(label['labels'].tolist(), label['masks'], strict=True):
            wrong = (mask != (item['gt'][number] > 0.5)).sum().item()
            height, width = label['size']
            assert wrong <= (0 if exact else 2 * (height + width))  # a pixel all along the object's outline
            found += mask.any().item()
    assert found > 20


def test_masks_of_any_form_are_the_drawn_pixels(tmp_path):
    mask_module = importlib.import_module('pycocotools.mask')
    disc = ((np.indices((30, 40)) - np.array([14, 20]).reshape(2, 1, 1)) ** 2).sum(0) < 80
    packed = mask_module.encode(np.asfortranarray(disc.astype(np.uint8)))
    scene = {'a': (40, 30, {'red': (11, 6, 29, 23)})}
    for segmentation in (run_lengths(disc.astype(int)), {'size': packed['size'], 'counts': packed['counts'].decode()}):
        content = coco_content(scene)
        content['annotations'][0]['segmentation'] = segmentation
        write_coco(tmp_path / 'coco', content, scene)
        np.testing.assert_array_equal(build(tmp_path / 'coco', with_masks=True)[0]['label']['masks'][0], disc)


def test_box_whose_polygons_are_none_is_ignored(coco):
    content = coco_content()
    content['annotations'][0]['segmentation'] = [[1, 1, 5, 5]]
    write_coco(coco, content)
    label = build(coco, with_masks=True)[0]['label']
    assert label['ignore'].tolist() == [True, False, False] and not label['masks'][0].any()
    assert not build(coco)[0]['label']['ignore'].any()


# Annotations: as mmdet reads them

def as_mmdet(dataset, index):
    image = dataset.images[index]
    return [{'bbox': box, 'bbox_label': label, 'ignore_flag': ignore} for box, label, ignore in zip(
        image.boxes.tolist(), dataset.labels[index].tolist(), image.ignore.astype(int).tolist(), strict=True)]


@pytest.mark.slow
def test_voc_is_read_as_by_mmdet(tmp_path):
    from mmdet.datasets import XMLDataset
    more = ('<object><name>red</name><bndbox><xmin>3.7</xmin><ymin>2</ymin><xmax>9.2</xmax><ymax>30.9</ymax></bndbox>'
            '</object><object><name>blue</name><difficult>1</difficult><bndbox><xmin>0</xmin><ymin>0</ymin><xmax>99'
            '</xmax><ymax>5</ymax></bndbox></object>')
    write_voc(tmp_path / 'VOC', difficult=('green',), extra=more)
    theirs = XMLDataset(data_root=str(tmp_path / 'VOC'), ann_file='ImageSets/Main/trainval.txt', test_mode=True,
                        data_prefix={'sub_data_root': ''}, metainfo={'classes': tuple(CLASSES)})
    ours = voc_build(tmp_path / 'VOC')
    assert len(ours) == len(theirs) == 4
    for index in range(4):
        expected = theirs.get_data_info(index)
        assert as_mmdet(ours, index) == expected['instances'] and len(expected['instances']) >= 2
        assert ours.images[index].image_id == expected['img_id']


@pytest.mark.slow
def test_coco_is_read_as_by_mmdet(coco):
    from mmdet.datasets import CocoDataset
    content = coco_content(ids=(2, 7, 90))  # mmdet takes the categories in the order of the file
    template = content['annotations'][0]
    for number, change in enumerate((
            {'iscrowd': 1}, {'ignore': 1}, {'area': 0}, {'bbox': [3, 3, 0.5, 9]}, {'bbox': [3, 3, 9, 0]},
            {'bbox': [-20, 3, 10, 9]}, {'bbox': [3, 30, 10, 9]}, {'bbox': [-2.5, 3.25, 10.125, 9]},
            {'bbox': [39.5, 3, 10, 9]}, {'category_id': 90}), 50):
        content['annotations'].append({**template, 'id': number, **change})
    write_coco(coco, content)
    theirs = CocoDataset(data_root=str(coco), ann_file='instances.json', data_prefix={'img': ''}, test_mode=True,
                         metainfo={'classes': tuple(CLASSES)})
    ours = build(coco)
    assert len(ours) == len(theirs) == 4 and ours.classes == tuple(CLASSES)
    for index in range(4):
        expected = theirs.get_data_info(index)
        instances = [{key: instance[key] for key in ('bbox', 'bbox_label', 'ignore_flag')}
                     for instance in expected['instances']]
        assert as_mmdet(ours, index) == instances
        assert ours.images[index].image_id == expected['img_id']
    assert len(ours.images[0].boxes) == 3 + 4


def test_categories_are_numbered_by_their_ids_or_by_classes(coco):
    assert build(coco).classes == ('green', 'red', 'blue')  # ids 2, 7, 90
    assert build(coco)[0]['label']['labels'].tolist() == [1, 0, 2]
    dataset = build(coco, classes=['blue', 'none', 'green', 'red'])
    assert dataset[0]['label']['labels'].tolist() == [3, 2, 0] and dataset.num_classes == 4
    assert dataset[0]['label']['image_id'] == 100


def test_difficult_and_crowd_are_ignored_boxes(tmp_path):
    write_voc(tmp_path / 'VOC', difficult=('green', 'red'))
    assert voc_build(tmp_path / 'VOC')[0]['label']['ignore'].tolist() == [True, True, False]
    content = coco_content()
    content['annotations'][1]['iscrowd'] = 1
    write_coco(tmp_path / 'coco', content)
    assert build(tmp_path / 'coco')[0]['label']['ignore'].tolist() == [False, True, False]


def test_voc_names_have_their_usual_order_and_others_are_sorted(tmp_path):
    scene = (20, 20, {'red': (1, 1, 9, 9)})
    write_voc(tmp_path / 'VOC', {'a': scene, 'b': scene})
    for names, classes, labels in ((('dog', 'person'), 20, [11, 14]), (('zebra', 'dog'), 2, [1, 0])):
        for file, name in zip('ab', names, strict=True):
            (tmp_path / f'VOC/Annotations/{file}.xml').write_text(to_xml(scene).replace('red', name))
        dataset = build(tmp_path / 'VOC')
        assert dataset.num_classes == classes and [item['label']['labels'].item() for item in dataset] == labels


def test_empty_images_are_left_out_of_training_only_and_when_asked(voc):
    assert len(voc_build(voc, 'train')) == len(voc_build(voc, filter_empty=True)) == 4
    dataset = voc_build(voc, 'train', filter_empty=True)
    assert [image.image_id for image in dataset.images] == ['a', 'b', 'd'] and len(dataset) == 3
    write_voc(voc, difficult=('red',))  # d has no box that counts
    assert [image.image_id for image in voc_build(voc, 'train', filter_empty=True).images] == ['a', 'b']


def test_several_folders_are_one_set(tmp_path):
    parts = [{'a': SCENES['a'], 'b': SCENES['b']}, {'d': SCENES['d']}]
    for year, scenes in zip(('2007', '2012'), parts, strict=True):
        write_voc(tmp_path / year, scenes)
        write_voc(tmp_path / year, scenes, split=f'only{year}')
        write_coco(tmp_path / f'coco{year}', coco_content(scenes), scenes)
    for split in ('trainval', ['only2007', 'only2012']):
        dataset = voc_build(tmp_path, subfolders=['2007', '2012'], split=split)
        assert [image.image_id for image in dataset.images] == ['a', 'b', 'd']
        assert dataset.paths[2] == str(tmp_path / '2012/JPEGImages/d.png')
        assert dataset[2]['label']['boxes'].tolist() == [[5, 5, 9, 9]]
    folders = ['coco2007', 'coco2012']
    files = [str(tmp_path / folder / 'instances.json') for folder in folders]
    assert len(build(tmp_path, subfolders=folders, annotation_file=files)) == 3


# Randomness and loaders

def collect(dataset, workers, seed=0, batch_size=2):
    loader = torch.utils.data.DataLoader(dataset, num_workers=workers, batch_size=batch_size, shuffle=False,
                                         collate_fn=dataset.collate_fn, generator=torch.Generator().manual_seed(seed))
    return list(loader)


def assert_batches_equal(first, second):
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one['lq'], other['lq']) and torch.equal(one['gt'], other['gt'])
        assert one['gt_path'] == other['gt_path']
        for label, twin in zip(one['label'], other['label'], strict=True):
            assert torch.equal(label['boxes'], twin['boxes']) and torch.equal(label['labels'], twin['labels'])


@pytest.mark.slow
def test_validation_is_the_same_for_any_number_of_workers_and_each_time(voc):
    dataset = voc_build(voc, degradation=NOISE, crop_size=16)
    expected = collect(dataset, 0)
    for workers, seed in ((0, 1), (2, 0), (2, 1)):
        assert_batches_equal(collect(dataset, workers, seed), expected)
    other = collect(voc_build(voc, degradation=NOISE, crop_size=16, seed=1), 0)
    assert not torch.equal(other[0]['lq'], expected[0]['lq'])


@pytest.mark.slow
def test_training_in_workers_follows_the_loaders_seed(voc):
    dataset = voc_build(voc, 'train', degradation=NOISE, crop_size=16, scale_range=[0.7, 1.5], use_hflip=True)
    first = collect(dataset, 2)
    assert_batches_equal(collect(dataset, 2), first)
    assert not torch.equal(collect(dataset, 2, seed=1)[0]['lq'], first[0]['lq'])


@pytest.mark.parametrize('phase, opt, sizes', [
    ('val', {}, [(32, 40), (26, 28)]),  # a and b; c and d
    ('train', {}, [(32, 40), (26, 28)]),
    ('train', {'crop_size': [34, 20]}, [(34, 20), (34, 20)]),
    ('val', {'crop_size': [34, 20]}, [(32, 20), (26, 20)]),
])
def test_batch_is_padded_with_zeros_at_right_and_bottom_in_lq_as_in_gt(voc, phase, opt, sizes):
    dataset = voc_build(voc, phase, degradation=BICUBIC, **opt)
    torch.manual_seed(3)
    items = [dataset[i] for i in range(4)]
    for i, (height, width) in enumerate(sizes):
        pair = items[2 * i:2 * i + 2]
        batch = dataset.collate_fn(pair)
        assert batch['gt'].shape == (2, 3, height, width) and batch['lq'].shape == (2, 3, height // 2, width // 2)
        assert batch['gt_path'] == [item['gt_path'] for item in pair]
        for j, item in enumerate(pair):
            valid_height, valid_width = batch['label'][j]['size']
            for key, scale in (('gt', 1), ('lq', 2)):
                h, w = valid_height // scale, valid_width // scale
                assert torch.equal(batch[key][j, :, :h, :w], item[key])
                assert not batch[key][j, :, h:].any() and not batch[key][j, :, :, w:].any()
            assert torch.equal(batch['label'][j]['boxes'], item['label']['boxes'])


def test_masks_are_padded_with_the_images(coco):
    dataset = build(coco, with_masks=True)
    items = [dataset[0], dataset[3]]
    batch = dataset.collate_fn(items)
    assert batch['label'][1]['masks'].shape == (1, 30, 40)
    assert torch.equal(batch['label'][1]['masks'][:, :26, :28], items[1]['label']['masks'])
    assert batch['label'][1]['masks'].sum() == 16


@pytest.mark.slow
@pytest.mark.parametrize('extra', [
    {'num_worker_per_gpu': 0},
    {'num_worker_per_gpu': 2},
    {'num_worker_per_gpu': 2, 'prefetch_mode': 'cpu', 'num_prefetch_queue': 2},
    {'num_worker_per_gpu': 0, 'prefetch_mode': 'cpu'},
])
def test_basicsrs_training_loader_gives_padded_batches(voc, extra):
    block = {'name': 'Set', 'type': 'DetectionDataset', 'phase': 'train', 'scale': 2, 'dataroot_gt': str(voc),
             'split': 'trainval', 'classes': CLASSES, 'degradation': BICUBIC, 'batch_size_per_gpu': 4, **extra}
    opt = {'datasets': {'train': block}, 'world_size': 1, 'rank': 0, 'num_gpu': 0, 'dist': False, 'manual_seed': 0}
    batches = list(TrainingBatches(build_dataset(block), opt).loader)
    assert len(batches) == 1
    assert batches[0]['gt'].shape == (4, 3, 32, 40) and batches[0]['lq'].shape == (4, 3, 16, 20)
    names = {label['image_id']: label for label in batches[0]['label']}
    assert set(names) == set(SCENES) and names['a']['boxes'].shape == (3, 4) and names['d']['size'] == (26, 28)


def test_validation_loader_takes_whole_images_one_by_one_or_padded(voc):
    block = {'name': 'Set', 'type': 'DetectionDataset', 'phase': 'val', 'dataroot_gt': str(voc), 'split': 'trainval',
             'classes': CLASSES}
    opt = {'model_type': 'RecogAwareModel', 'datasets': {'val': block, 'val_2': {**block, 'batch_size_per_gpu': 3}}}
    single, several = build_val_loaders(opt)
    assert [tuple(batch['gt'].shape) for batch in single] == [
        (1, 3, height, width) for width, height, _ in SCENES.values()]
    assert [tuple(batch['gt'].shape) for batch in several] == [(3, 3, 33, 40), (1, 3, 26, 28)]
    assert [len(batch['label']) for batch in several] == [3, 1]


# Bad options

@pytest.mark.parametrize('opt, message', [
    ({'crop_sise': 4}, r"unknown key 'crop_sise'. Did you mean 'crop_size'"),
    ({'crop_size': '4'}, r'\.crop_size: expected a whole number or a list'),
    ({'crop_size': [4, 4, 4]}, r'\.crop_size: expected a whole number or \[height, width\], got \[4, 4, 4\]'),
    ({'crop_size': 0}, r'\.crop_size: expected a whole number >= 1, got 0'),
    ({'crop_size': [8, 7], 'degradation': BICUBIC}, r'\.crop_size: expected a multiple of scale 2, got 7. Use 8'),
    ({'resize': [20]}, r'\.resize: expected a whole number or \[shorter, longest\], got \[20\]'),
    ({'resize': [20, 10]}, r'\.resize: expected \[shorter, longest\], got \[20, 10\]'),
    ({'scale_range': [2.0, 0.5]}, r'\.scale_range: expected \[low, high\] with 0 < low <= high, got \[2.0, 0.5\]'),
    ({'scale_range': [1.0]}, r'\.scale_range: expected \[low, high\]'),
    ({'min_box_size': -1}, r'\.min_box_size: expected a number >= 0, got -1'),
    ({'scale': 2}, 'expected a degradation that shrinks by scale 2, got one by 1'),
    ({'seed': -1}, r'DetectionDataset\(Set\)\.seed: expected a whole number >= 0'),
    ({'split': None}, r"expected split \(VOC's layout\) or annotation_file \(COCO's json\), got neither"),
    ({'split': 'trainval', 'annotation_file': 'a.json'}, 'got both'),
    ({'with_masks': True}, r'\.with_masks: expected annotation_file'),
    ({'split': 'trainvl'}, r"\.split: no file '.*trainvl\.txt'"),
    ({'split': ['trainval', 'test'], 'subfolders': ['a', 'b', 'c']}, r'\.split: expected one for each of 3 folders'),
    ({'subfolders': ['gone']}, r"\.dataroot_gt: no folder '.*VOC/gone'"),
    ({'dataroot_gt': '/no/such/folder'}, r"\.dataroot_gt: no folder '/no/such/folder'"),
    ({'classes': ['red', 'gren', 'blue']}, r"\.classes: expected the classes of '.*a\.xml', got no 'green'. "
                                           r"Did you mean 'gren'"),
    ({'classes': ['red', 'green', 'blue', 'red']}, r"\.classes: expected each name once, got 'red' more than once"),
    ({'classes': []}, r'\.classes: expected names of classes, got none'),
])
def test_options_that_cannot_work_are_refused_when_built(voc, opt, message):
    with pytest.raises(OptionError, match=message) as error:
        build(voc, **{'split': 'trainval', **opt})
    assert '\n' not in str(error.value)


# Bad data

BOX = '<object><name>red</name><bndbox><xmin>{}</xmin><ymin>1</ymin><xmax>{}</xmax><ymax>5</ymax></bndbox></object>'


@pytest.mark.parametrize('xml, message', [
    ('<annotation>', r"dataroot_gt: expected XML, got '.*b\.xml' with an error"),
    (BOX.format(9, 3), r"xmin <= xmax and ymin <= ymax in each bndbox of '.*b\.xml', got xmin 9, ymin 1, xmax 3, "
                       'ymax 5'),
    (BOX.format('nine', 3), r"expected numbers .* of '.*b\.xml', got xmin nine"),
    (BOX.format('', 3), r"expected numbers .* of '.*b\.xml'"),
    ('<object><name>red</name></object>', r"of '.*b\.xml', got xmin None"),
    (BOX.format(1, 3).replace('red', ''), r"expected the name of a class in each object of '.*b\.xml', got none"),
])
def test_bad_xml_is_named(voc, xml, message):
    (voc / 'Annotations/b.xml').write_text(xml if xml == '<annotation>' else f'<annotation>{xml}</annotation>')
    with pytest.raises(OptionError, match=message):
        voc_build(voc)


def test_xml_without_size_or_with_a_wrong_one_is_read(voc):
    expected = voc_build(voc)[3]['label']['boxes']
    for size in ('', '<size><width>0</width><height>0</height></size>'):
        (voc / 'Annotations/d.xml').write_text(
            to_xml(SCENES['d']).replace('<size><width>28</width><height>26</height></size>', size))
        assert torch.equal(voc_build(voc)[3]['label']['boxes'], expected)


def states(voc, width, height):
    (voc / 'Annotations/d.xml').write_text(to_xml(SCENES['d']).replace(
        '<width>28</width><height>26</height>', f'<width>{width}</width><height>{height}</height>'))


def test_a_size_that_is_neither_the_images_nor_swapped_is_told_once(voc, monkeypatch):
    expected = voc_build(voc)[3]['label']['boxes']
    states(voc, 500, 375)
    told = []
    monkeypatch.setattr('ra_plugin.data.detection_dataset.warn', told.append)
    dataset = voc_build(voc)
    assert torch.equal(dataset[3]['label']['boxes'], expected) and len(dataset[3]['label']['boxes']) == 1
    said, = told
    assert re.search(r"d\.png has 28x26 pixels, but '.*d\.xml' says 500x375\. If the image was resized", said)


def test_a_box_that_reaches_out_of_an_image_of_another_size_is_refused(voc):
    box = to_xml((28, 26, {'red': (5, 5, 30, 9)}))  # of an image that was 56 pixels wide
    (voc / 'Annotations/d.xml').write_text(box)
    assert voc_build(voc)[3]['label']['boxes'][0].tolist() == [5, 5, 28, 9]  # drawn a little too far: cut
    (voc / 'Annotations/d.xml').write_text(box.replace('<width>28</width><height>26', '<width>56</width><height>52'))
    with pytest.raises(ValueError, match=r'd\.png: expected boxes within its 28x26 pixels, got \[5, 5, 30, 9\]'):
        voc_build(voc)


@pytest.mark.parametrize('phase', ['train', 'val'])
@pytest.mark.parametrize('scenes', [{'c': SCENES['c']}, {name: SCENES[name] for name in 'cd'}], ids=['none', 'ignored'])
def test_sets_without_a_box_that_counts_are_refused(phase, scenes, tmp_path):
    write_voc(tmp_path / 'VOC', scenes, difficult=('red',))
    write_coco(tmp_path / 'coco', coco_content({'c': SCENES['c']}), scenes)
    got = 'none for 1' if len(scenes) == 1 else 'only 1 ignored ones for 2'
    with pytest.raises(OptionError, match=rf'expected boxes in .*, got {got} images?\. Use the file with the annot'):
        voc_build(tmp_path / 'VOC', phase)
    with pytest.raises(OptionError, match=r"'.*instances\.json', got none for 1 image.*UnlabeledImageDataset"):
        build(tmp_path / 'coco', phase)


def test_some_images_without_a_box_that_counts(voc):
    dataset = voc_build(voc)
    dataset.check_boxes_count([1, 2], 'x')
    with pytest.raises(OptionError, match='x: expected boxes in .*, got none for 1 image'):
        dataset.check_boxes_count([2], 'x')


@pytest.mark.parametrize('classes, kind', [
    ('[0, 1]', "a number: put text in quotes, e.g. '0'"), ('[red, 1.0]', "a number: put text in quotes, e.g. '1.0'"),
    ('[yes, no]', 'YAML reads yes, no, on, off'), ('[2024-01-31]', "a date: put text in quotes, e.g. '2024-01-31'"),
    ('[red, ~]', 'YAML reads ~ and null as nothing'), ('5', "a number: put text in quotes, e.g. '5'")])
def test_names_that_yaml_reads_as_something_else(classes, kind, voc):
    for read in (lambda: build(voc, classes=yaml.safe_load(classes)),
                 lambda: read_classes(yaml.safe_load(classes), 'x')):
        with pytest.raises(OptionError, match=re.escape(kind)):
            read()


def test_a_value_that_quotes_would_not_mend_is_not_told_of_quotes(voc):
    for classes in ([['red']], {'red': 1}):
        with pytest.raises(OptionError, match=r'expected a list of text or text or nothing \(~\), got [^.]*\.$'):
            build(voc, classes=classes)


@pytest.mark.parametrize('file, message', [
    ('JPEGImages/b.png', r"split: '.*trainval\.txt' lists 'b', which has no image in '.*JPEGImages'"),
    ('Annotations/b.xml', r"dataroot_gt: no file '.*b\.xml'"),
])
def test_missing_file_of_voc_is_named(voc, file, message):
    (voc / file).unlink()
    with pytest.raises(OptionError, match=message):
        voc_build(voc)


def test_two_images_of_a_name_are_refused(voc):
    (voc / 'JPEGImages/b.jpg').touch()
    with pytest.raises(OptionError, match=r"dataroot_gt: expected one file for 'b' in .*, got b\.jpg and b\.png"):
        voc_build(voc)


def test_sets_without_images_are_refused(voc):
    (voc / 'ImageSets/Main/none.txt').write_text('\n')
    (voc / 'ImageSets/Main/empty.txt').write_text('c\n')
    with pytest.raises(OptionError, match='expected images, got none'):
        voc_build(voc, split='none')
    with pytest.raises(OptionError, match='expected images with boxes, got none'):
        voc_build(voc, 'train', split='empty', filter_empty=True)


@pytest.mark.parametrize('place, change, message', [
    ((), {'images': None}, r"annotation_file: '.*instances\.json': expected a list 'images', got none"),
    ((), {'annotations': {}}, r"expected a list 'annotations', got \{\}"),
    (('images', 1), {'file_name': 'gone.png'}, r"instances\.json' lists 'gone\.png', which is not in '.*coco'"),
    (('images', 1), {'width': None}, r"expected id, file_name, width, height in each of 'images', got .*b\.png"),
    (('images', 1), {'id': 100}, r'expected unique ids of images and categories'),
    (('annotations', 0), {'category_id': 3}, r'expected the id of a category \(2, 7, 90\), got 3 in annotation 1 of '
                                             r'image 100'),
    (('annotations', 0), {'bbox': [1, 2, 3]}, r'expected a bbox \[x, y, width, height\], got \[1, 2, 3\] in'),
    (('annotations', 0), {'bbox': None}, r"expected image_id, category_id, bbox in each of 'annotations'"),
    (('annotations', 0), {'segmentation': []}, r'expected a segmentation .* got none in annotation 1'),
    (('annotations', 0), {'segmentation': {'counts': [1]}}, r"expected a segmentation .* got \{'counts'"),
    (('categories', 0), {'id': 2}, r'expected unique ids of images and categories'),
    (('categories', 0), {'name': 'blue'}, r"classes: expected each name once, got 'blue'"),
])
def test_bad_json_of_coco_is_named(coco, place, change, message):
    content = coco_content()
    record = content
    for key in place:
        record = record[key]
    record.update(change)
    write_coco(coco, content)
    with pytest.raises(OptionError, match=message):
        build(coco, with_masks=True)


def test_file_that_is_missing_or_no_json_is_named(coco):
    with pytest.raises(OptionError, match=r"annotation_file: no file '.*no\.json'"):
        build(coco, annotation_file=str(coco / 'no.json'))
    (coco / 'broken.json').write_text('{"images": [')
    with pytest.raises(OptionError, match=r"annotation_file: expected JSON, got '.*broken\.json' with an error"):
        build(coco, annotation_file=str(coco / 'broken.json'))


def test_files_with_other_categories_need_classes(coco):
    write_coco(coco, coco_content(ids=(1, 2, 3)), file='other.json')
    both = {'annotation_file': [str(coco / 'instances.json'), str(coco / 'other.json')], 'subfolders': ['.', '.']}
    with pytest.raises(OptionError, match=r"annotation_file: '.*other\.json' has other categories"):
        build(coco, **both)
    dataset = build(coco, classes=CLASSES, **both)
    assert torch.equal(dataset[0]['label']['labels'], dataset[4]['label']['labels'])


def test_annotations_of_images_that_are_not_listed_are_left_out(coco):
    content = coco_content()
    content['images'] = content['images'][:1]
    write_coco(coco, content)
    assert len(build(coco)) == 1 and len(build(coco)[0]['label']['boxes']) == 3


@pytest.mark.parametrize('layout', ['voc', 'coco'])
def test_image_of_another_size_than_annotated_is_named(layout, request):
    root = request.getfixturevalue(layout)
    path = root / ('JPEGImages/a.png' if layout == 'voc' else 'a.png')
    Image.new('RGB', (14, 10)).save(path)
    message = {'voc': r"a\.png: expected boxes within its 14x10 pixels, got \[15, 8, 38, 29\] .* in '.*a\.xml'",
               'coco': r"a\.png: expected 40x30 pixels as in '.*instances\.json', got 14x10"}[layout]
    with pytest.raises(ValueError, match=message):
        build(root, classes=CLASSES)[0]


def test_run_lengths_of_another_size_are_named(coco):
    content = coco_content()
    content['annotations'][0]['segmentation'] = run_lengths(np.ones((5, 5), int))
    write_coco(coco, content)
    with pytest.raises(OptionError, match=r"instances\.json': expected a segmentation of 40x30 .* got .*\[5, 5\]"):
        build(coco, with_masks=True)


@pytest.mark.parametrize('segmentation, message', [
    ([[1, 1, 1e9, 1, 5, 5]], 'expected polygons .* within the image of 40x30'),  # drawing it would take gigabytes
    ([[1, 1, float('nan'), 1, 5, 5]], 'expected polygons'), ([1, 1, 5, 1, 5, 5], 'expected polygons'),
    ({'size': [30, 40], 'counts': [1300]}, 'expected counts >= 0 that add up to 40x30 pixels'),
    ({'size': [30, 40], 'counts': [1300, -100]}, 'expected counts >= 0'),
    ({'size': [30, 40], 'counts': 7}, 'expected a segmentation of 40x30')])
def test_outlines_that_cannot_be_are_named(coco, segmentation, message):
    content = coco_content()
    content['annotations'][0]['segmentation'] = segmentation
    write_coco(coco, content)
    with pytest.raises(OptionError, match=message):
        build(coco, with_masks=True)


def test_image_of_which_scale_leaves_nothing_is_named(tmp_path):
    write_voc(tmp_path / 'VOC', {'a': (9, 3, {'red': (1, 1, 4, 3)})})
    with pytest.raises(ValueError, match=r'a\.png: expected at least 4x4 pixels for scale 4, got 9x3\. Remove'):
        voc_build(tmp_path / 'VOC', degradation={'type': 'BicubicDownsample', 'scale': 4})[0]
    with pytest.raises(ValueError, match=r'got 6x2 after scaling'):
        voc_build(tmp_path / 'VOC', resize=2, degradation={'type': 'BicubicDownsample', 'scale': 4})[0]


def test_without_pycocotools_masks_say_what_to_install(coco, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'pycocotools', None)
    assert len(build(coco)) == 4
    with pytest.raises(ImportError, match=r'DetectionDataset\(Set\)\.with_masks needs pycocotools.*pip install'):
        build(coco, with_masks=True)


@pytest.mark.parametrize('classes', [None, ['h\u00fcndin'], ['hu\u0308ndin']])
def test_a_name_in_both_unicode_forms_is_one_class(tmp_path, classes):
    scene = (20, 20, {'red': (1, 1, 9, 9)})
    write_voc(tmp_path / 'VOC', {'a': scene, 'b': scene})
    for file, name in zip('ab', ('h\u00fcndin', 'hu\u0308ndin'), strict=True):
        text = to_xml(scene).replace('red', name)
        (tmp_path / f'VOC/Annotations/{file}.xml').write_text(text, encoding='utf-8')
    dataset = build(tmp_path / 'VOC', **({'classes': classes} if classes else {}))
    assert dataset.num_classes == 1 and [item['label']['labels'].tolist() for item in dataset] == [[0], [0]]
