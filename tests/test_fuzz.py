"""Files as nobody meant them: each is taken for what it says, or refused in one line; none ends in a stack trace."""
import copy
import csv
import io
import json
import random

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from test_option_file import base
from torch import nn

from ra_plugin.builders import option_file
from ra_plugin.builders.file_check import check_file
from ra_plugin.checkpoint import load_weights
from ra_plugin.data.detection_dataset import DetectionDataset
from ra_plugin.data.image_file import decode_image
from ra_plugin.data.labeled_image_dataset import LabeledImageDataset
from ra_plugin.options import OptionError
from ra_plugin.utils.atomic import atomic_save, is_intact

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 300) | st.floats(allow_nan=True) | st.text(max_size=6)
    | st.sampled_from(['a.png', 'b', 'path', 'label', '../x', '1e-3', '', 'SRModel', '~']),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4), max_leaves=12)


def fuzzed(examples):
    """``examples`` inputs, the same in each run; ``make soak`` draws more of them, and others each time."""

    def decorate(test):
        from conftest import SOAK
        options = settings(max_examples=examples * SOAK, deadline=None, derandomize=SOAK == 1, database=None,
                           suppress_health_check=list(HealthCheck))
        return options(test)

    return decorate


def assert_one_line(error):
    assert str(error).strip() and '\n' not in str(error), str(error)


def places(node, path=()):
    """Every key and index in nested mappings and lists."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


@pytest.mark.slow
@fuzzed(300)
@given(place=st.sampled_from(list(places(base()))), how=st.sampled_from(['replace', 'remove', 'add']), value=JSON,
       key=st.text(max_size=8))
def test_option_files(count, place, how, value, key):
    opt = copy.deepcopy(base())  # parts of it are shared
    node = opt
    for part in place[:-1]:
        node = node[part]
    if how == 'remove':
        del node[place[-1]]
    elif how == 'replace' or not isinstance(node[place[-1]], dict):
        node[place[-1]] = value
    else:
        node[place[-1]][key] = value
    count('option files fuzzed')
    try:
        check_file(opt)
    except (ValueError, ImportError) as error:
        assert_one_line(error)


@pytest.mark.slow
@fuzzed(100)
@given(text=st.text(max_size=80) | JSON.map(lambda value: yaml.safe_dump(value, allow_unicode=True)))
@example(text='\x00')
def test_option_files_that_are_none(count, tmp_path_factory, text):
    path = tmp_path_factory.mktemp('option') / 'x.yml'
    path.write_text(text, encoding='utf-8', errors='replace')
    count('option files fuzzed')
    with pytest.MonkeyPatch.context() as patch, pytest.raises(OptionError):
        patch.setattr('sys.argv', ['train.py', '-opt', str(path)])
        option_file.parse_options(path.parent, is_train=True)


# ------------------------------------------------------------------------------------------------ checkpoints
@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    path = tmp_path_factory.mktemp('checkpoint') / 'net.pth'
    atomic_save({'params': net.state_dict()}, path)
    return net, path.read_bytes()


@pytest.mark.slow
@fuzzed(300)
@given(data=st.data())
def test_damaged_checkpoints(count, checkpoint, tmp_path_factory, data):
    """What is called intact has the very numbers that were saved; what is not is refused, or read as something else."""
    net, content = checkpoint
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    damaged = damaged[:data.draw(st.sampled_from([len(damaged)] * 3 + [len(damaged) // 2, 10, 0]))]
    path = tmp_path_factory.mktemp('damaged') / 'net.pth'
    path.write_bytes(damaged)
    count('checkpoints damaged')
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    intact = is_intact(path)
    try:
        load_weights(other, path, 'here')
    except ValueError as error:
        assert_one_line(error)
        return
    same = all(torch.equal(value, other.state_dict()[key]) for key, value in net.state_dict().items())
    assert same or not intact


# ----------------------------------------------------------------------------------------------- annotations
@pytest.fixture(scope='module')
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp('images')
    for name in ('a', 'b'):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(root / f'{name}.png')
    return root


def is_taken_or_refused(kind, opt):
    try:
        dataset = kind({'phase': 'train', 'name': 'x', **opt})
    except OptionError as error:
        assert_one_line(error)
        return
    for i in range(len(dataset)):
        try:
            item = dataset[i]
        except ValueError as error:
            assert_one_line(error)
        else:
            assert torch.isfinite(item['gt']).all()


ENTRIES = st.lists(st.tuples(st.sampled_from(['a.png', 'b.png', 'c.png', '../a.png', '/a.png', '']), JSON), max_size=4)


@pytest.mark.slow
@fuzzed(150)
@given(content=JSON | ENTRIES.map(lambda pairs: [list(pair) for pair in pairs]) | ENTRIES.map(dict)
       | ENTRIES.map(lambda pairs: [{'path': path, 'label': label} for path, label in pairs]))
def test_lists_of_images(count, images, tmp_path_factory, content):
    folder = tmp_path_factory.mktemp('lists')
    (folder / 'list.json').write_text(json.dumps(content))
    text = io.StringIO()
    rows = content if isinstance(content, list) else [content]
    csv.writer(text).writerows([row if isinstance(row, list) else [row] for row in rows])
    (folder / 'list.csv').write_text(text.getvalue())
    for name in ('list.json', 'list.csv'):
        count('annotation files fuzzed')
        is_taken_or_refused(LabeledImageDataset, {'dataroot_gt': str(images), 'meta_info': str(folder / name)})


COCO = {'images': [{'id': 1, 'file_name': 'a.png', 'width': 8, 'height': 8}],
        'categories': [{'id': 1, 'name': 'cell'}],
        'annotations': [{'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [1, 1, 4, 4], 'area': 16, 'iscrowd': 0,
                         'segmentation': [[1, 1, 5, 1, 5, 5]]}]}


@pytest.mark.slow
@fuzzed(200)
@given(place=st.sampled_from(list(places(COCO))), value=JSON, masks=st.booleans())
def test_coco_annotations(count, images, tmp_path_factory, place, value, masks):
    content = copy.deepcopy(COCO)
    node = content
    for part in place[:-1]:
        node = node[part]
    node[place[-1]] = value
    path = tmp_path_factory.mktemp('coco') / 'coco.json'
    path.write_text(json.dumps(content))
    count('annotation files fuzzed')
    is_taken_or_refused(DetectionDataset, {'dataroot_gt': str(images), 'annotation_file': str(path),
                                           'with_masks': masks})


VOC = '''<annotation><size><width>8</width><height>8</height></size><object><name>cell</name><difficult>0</difficult>
<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>6</xmax><ymax>6</ymax></bndbox></object></annotation>'''


@pytest.mark.slow
@fuzzed(150)
@given(data=st.data())
def test_voc_annotations(count, tmp_path_factory, data):
    root = tmp_path_factory.mktemp('voc')
    for folder in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (root / folder).mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(root / 'JPEGImages' / 'a.jpg')
    (root / 'ImageSets/Main/train.txt').write_text('a\n')
    start = data.draw(st.integers(0, len(VOC) - 1))
    end = data.draw(st.integers(start, min(len(VOC), start + 8)))
    text = VOC[:start] + data.draw(st.text(max_size=5) | st.sampled_from(['-1', '1e9', 'nan', '<x/>'])) + VOC[end:]
    (root / 'Annotations' / 'a.xml').write_text(text, encoding='utf-8', errors='replace')
    count('annotation files fuzzed')
    is_taken_or_refused(DetectionDataset, {'dataroot_gt': str(root), 'split': 'train', 'classes': ['cell']})


@pytest.mark.slow
@fuzzed(200)
@given(kind=st.sampled_from(['PNG', 'JPEG', 'BMP', 'TIFF', 'GIF', 'WEBP']), seed=st.integers(0, 10 ** 6))
def test_damaged_images(count, kind, seed):
    rng = random.Random(seed)
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 7, 3), np.uint8)).save(stream, kind)
    content = bytearray(stream.getvalue())
    for _ in range(rng.randint(1, 8)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    content = bytes(content[:rng.choice([len(content), len(content), rng.randrange(len(content))])])
    count('images damaged')
    try:
        image = decode_image(content, 'x.png')
    except ValueError as error:
        assert str(error).startswith('x.png: ')
        assert_one_line(error)
    else:
        assert image.mode == 'RGB'
