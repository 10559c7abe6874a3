"""Labels in any spelling mean the same class, and the order of unlisted names is reported."""
import json
import logging

import pytest
from PIL import Image

import ra_plugin.basicsr  # noqa: F401  (registers)
from ra_plugin.data import DetectionDataset, LabeledImageDataset
from ra_plugin.options import OptionError


@pytest.fixture
def root(tmp_path):
    """Class folders 0 to 11, each with one image of the same name."""
    for name in range(12):
        (tmp_path / f'images/{name}').mkdir(parents=True)
        Image.new('RGB', (8, 8)).save(tmp_path / f'images/{name}/{name}.png')
    return tmp_path


def numbers(root, **opt):
    """Return the class number of each image."""
    dataset = LabeledImageDataset({'name': 'Set', 'phase': 'val', 'dataroot_gt': str(root / 'images'), **opt})
    return {int(path.rpartition('/')[2][:-4]): label for path, label in zip(dataset.paths, dataset.labels, strict=True)}


def write(root, name, write_label, header='path,label\n'):
    labels = {f'{i}/{i}.png': write_label(i) for i in range(12)}
    text = json.dumps(labels) if name.endswith('json') else header + ''.join(f'{p},{v}\n' for p, v in labels.items())
    (root / name).write_text(text)
    return str(root / name)


@pytest.mark.parametrize('name, write_label', [
    ('a.csv', int), ('a.csv', float), ('a.csv', '{}.'.format), ('a.csv', ' {} '.format), ('a.csv', '{:02d}'.format),
    ('a.json', int), ('a.json', float), ('a.json', str), ('a.json', '{}.0'.format), ('a.json', ' {}'.format)])
def test_whole_numbers_are_class_numbers_however_they_are_written(root, name, write_label):
    meta_info = write(root, name, write_label)
    assert numbers(root, meta_info=meta_info) == {i: i for i in range(12)}
    assert numbers(root, meta_info=meta_info, classes=[f'class {i}' for i in range(12)]) == {i: i for i in range(12)}
    assert numbers(root, meta_info=meta_info, classes=[str(i) for i in range(12)]) == {i: i for i in range(12)}


def test_numbers_that_are_listed_names_count_as_names_where_only_that_can_be(root):
    assert numbers(root, meta_info=write(root, 'a.csv', lambda i: i + 100),
                   classes=[str(i) for i in range(111, 99, -1)]) == {i: 11 - i for i in range(12)}
    assert numbers(root, meta_info=write(root, 'a.json', lambda i: 'cat' if i else '747'),
                   classes=['cat', '747'])[0] == 1


@pytest.mark.parametrize('name, write_label, opt, message', [
    ('a.csv', str, {'classes': sorted(map(str, range(12)))},
     r"meta_info: label 2 of '2/2\.png' is the number of class '10' and the name of class number 4 in classes"),
    ('a.csv', lambda i: i if i else 'cat', {}, r"labels throughout, got '1' for '1/1\.png'"),
    ('a.json', lambda i: 'cat' if i else '7', {}, r"expected numbers as labels throughout, got 'cat' for '1/1\.png'"),
    ('a.csv', lambda i: i + 0.5, {}, r"expected a whole number or a name as label, got 0\.5 for '0/0\.png'"),
    ('a.json', lambda i: 1.5, {}, r'expected a whole number or a name as label, got 1\.5'),
    ('a.json', lambda i: float('nan') if i else 0, {}, r"got nan for '1/1\.png'"),
    ('a.csv', lambda i: 'nan' if i else 'cat', {}, r"got nan for '1/1\.png'"),
    ('a.csv', lambda i: '' if i == 3 else i, {}, r'expected path,label in row 5 of'),
    ('a.csv', lambda i: '01' if i else '1', {}, r"expected one spelling of a label, got '1' and '01' .*'1/1\.png'"),
    ('a.csv', lambda i: -1.0, {}, r'expected a label >= 0, got -1 for'),
    ('a.csv', int, {'class_order': 'text'}, r'class_order: expected names as labels, got numbers'),
])
def test_labels_that_leave_a_doubt_are_one_line(root, name, write_label, opt, message):
    with pytest.raises(OptionError, match=message):
        numbers(root, meta_info=write(root, name, write_label), **opt)


def test_folders_named_by_numbers_are_asked_about_and_have_either_order(root, tmp_path):
    with pytest.raises(OptionError, match=r'Set\)\.class_order: .* \(\.\.\., 1, 10, 11, 2, \.\.\.\) as text \(torchvi.*'
                                          r'\(\.\.\., 1, 2, 3, 4, \.\.\.\) in natural order \(timm\)') as error:
        numbers(root)
    assert '\n' not in str(error.value)
    assert numbers(root, class_order='natural') == {i: i for i in range(12)}
    order = sorted(range(12), key=str)
    assert numbers(root, class_order='text') == {i: order.index(i) for i in range(12)}
    assert numbers(root, classes=[str(i) for i in range(11, -1, -1)]) == {i: 11 - i for i in range(12)}
    with pytest.raises(OptionError, match='class_order: not allowed with classes'):
        numbers(root, class_order='text', classes=[str(i) for i in range(12)])
    for name in ('10', '11'):
        (root / f'images/{name}').rename(tmp_path / name)
    assert numbers(root) == {i: i for i in range(10)}  # both orders are one


def test_natural_order_is_timms(root):
    timm_data = pytest.importorskip('timm.data')
    for old, new in (('3', 'class_10'), ('4', 'class_2'), ('5', 'Class_9'), ('6', 'b1a'), ('7', 'B1')):
        (root / f'images/{old}').rename(root / f'images/{new}')
    dataset = LabeledImageDataset({'phase': 'val', 'dataroot_gt': str(root / 'images'), 'class_order': 'natural'})
    timms = timm_data.create_dataset('', root=str(root / 'images')).reader.class_to_idx
    assert {name: i for i, name in enumerate(dataset.classes)} == timms


def test_names_with_numbers_are_warned_of_once_and_an_order_silences_it(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(logging.getLogger('basicsr'), 'warning', said.append)
    for name in ('class_2', 'class_10'):
        (tmp_path / f'images/{name}').mkdir(parents=True)
        Image.new('RGB', (8, 8)).save(tmp_path / f'images/{name}/0.png')
    numbers(tmp_path)
    assert len(said) == 1 and 'class_order: natural' in said[0] and 'class_10' in said[0]
    numbers(tmp_path, class_order='text')
    assert len(said) == 1


def test_boxes_of_classes_named_by_numbers_are_asked_about_too(tmp_path):
    for folder in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (tmp_path / folder).mkdir(parents=True)
    Image.new('RGB', (8, 8)).save(tmp_path / 'JPEGImages/a.png')
    box = '<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>'
    (tmp_path / 'Annotations/a.xml').write_text(
        '<annotation>' + ''.join(f'<object><name>{n}</name>{box}</object>' for n in (2, 10)) + '</annotation>')
    (tmp_path / 'ImageSets/Main/train.txt').write_text('a\n')
    block = {'phase': 'val', 'dataroot_gt': str(tmp_path), 'split': 'train'}
    with pytest.raises(OptionError, match='class_order: the names of the classes are numbers'):
        DetectionDataset(block)
    assert DetectionDataset({**block, 'class_order': 'natural'})[0]['label']['labels'].tolist() == [0, 1]
