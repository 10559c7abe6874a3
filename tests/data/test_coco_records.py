"""COCO files of other programs: values are converted by their meaning, and hardly usable files are rejected."""
import json
import logging

import pytest
from PIL import Image

import ra_plugin.basicsr  # noqa: F401  (registers)
from ra_plugin.data import DetectionDataset
from ra_plugin.options import OptionError


@pytest.fixture
def root(tmp_path):
    (tmp_path / 'images').mkdir()
    for i in range(8):
        Image.new('RGB', (64, 48)).save(tmp_path / f'images/{i}.png')
    return tmp_path


def content():
    return {'images': [{'id': i, 'file_name': f'{i}.png', 'width': 64, 'height': 48} for i in range(8)],
            'annotations': [{'id': i + 1, 'image_id': i, 'category_id': 3 + 4 * (i % 2), 'area': 600, 'iscrowd': 0,
                             'bbox': [20 + i, 8, 30, 20]} for i in range(8)],
            'categories': [{'id': 7, 'name': 'dog'}, {'id': 3, 'name': 'cat'}]}


def build(root, made, mark=b'', **opt):
    (root / 'a.json').write_bytes(mark + json.dumps(made).encode())
    return DetectionDataset({'name': 'Set', 'phase': 'val', 'dataroot_gt': str(root / 'images'),
                             'annotation_file': str(root / 'a.json'), **opt})


def changed(kind, change):
    made = content()
    for i, record in enumerate(made[kind]):
        record.update(change(i, record))
    return made


@pytest.mark.parametrize('kind, change', [
    ('annotations', lambda i, old: {'image_id': str(i)}), ('annotations', lambda i, old: {'image_id': float(i)}),
    ('images', lambda i, old: {'id': f' {i}'}), ('images', lambda i, old: {'width': 64.0, 'height': '48'}),
    ('annotations', lambda i, old: {'category_id': float(old['category_id'])}),
    ('annotations', lambda i, old: {'category_id': str(old['category_id'])}),
    ('categories', lambda i, old: {'id': str(old['id'])}),
    ('annotations', lambda i, old: {'bbox': [str(value) for value in old['bbox']]}),
    ('annotations', lambda i, old: {'iscrowd': '0', 'ignore': '0'}),
    ('annotations', lambda i, old: {'iscrowd': False, 'ignore': 'false', 'area': '600.0'}),
    ('annotations', lambda i, old: {'iscrowd': None, 'area': None}),
    ('images', lambda i, old: {'file_name': None, 'coco_url': f'http://images.cocodataset.org/images/{i}.png'}),
])
@pytest.mark.parametrize('mark', [b'', b'\xef\xbb\xbf'])
def test_the_same_values_mean_the_same_in_every_form(root, kind, change, mark):
    made = content()
    expected = [item['label'] for item in build(root, made)]
    dataset = build(root, changed(kind, change), mark)
    assert dataset.classes == ('cat', 'dog')
    for label, other in zip((item['label'] for item in dataset), expected, strict=True):
        assert label['boxes'].tolist() == other['boxes'].tolist() and len(label['boxes']) == 1
        assert label['labels'].tolist() == other['labels'].tolist() and not label['ignore'].any()
        assert label['image_id'] == other['image_id']


def test_images_of_lvis_lie_below_the_folder_of_their_split(root):
    made = changed('images', lambda i, old: {'file_name': None, 'coco_url': f'http://x.org/images/{i}.png'})
    assert len(build(root, made, dataroot_gt=str(root))) == 8


@pytest.mark.parametrize('kind, change, message', [
    ('annotations', {'image_id': '9'}, r"Set\)\.annotation_file: '.*a\.json': expected annotations of its 8 images, "
                                       r'got 0 of 8 .* annotation 1 has image_id 9, and the first image has id 0'),
    ('annotations', {'area': 0}, r'expected usable annotations, got 0 of 8: 8 have an area of 0, e\.g\. '
                                 'annotation 1 with bbox .* remove area'),
    ('annotations', {'bbox': [.1, .1, .4, .4]}, 'got 0 of 8: 8 have a bbox thinner than a pixel.* fractions of'),
    ('annotations', {'bbox': [70, 0, 9, 9]}, 'got 0 of 8: 8 have a bbox outside of the image'),
    ('annotations', {'iscrowd': 1}, 'got 0 of 8: 8 have iscrowd set'),
    ('annotations', {'ignore': 1}, 'got 0 of 8: 8 have ignore set'),
    ('annotations', {'bbox': [20, 8, 50, 45]}, r'got 8 of 8 that extend beyond .* corners \[x1, y1, x2, y2\]'),
    ('annotations', {'iscrowd': 'no'}, r"expected 0 or 1, got 'no' in iscrowd of one of 'annotations'"),
    ('annotations', {'category_id': 3.5}, r"expected a number or text, got 3\.5 in category_id of one of 'an"),
    ('annotations', {'bbox': [1, 2, float('nan'), 4]}, r'expected a bbox \[x, y, width, height\], got \[1, 2, nan'),
    ('annotations', {'bbox': '[1, 2, 3, 4]'}, r"expected a bbox .*, got '\[1, 2, 3, 4\]' in bbox"),
    ('images', {'width': 'wide'}, r"expected a whole number, got 'wide' in width of one of 'images'"),
    ('images', {'height': None}, r"expected id, file_name, width, height in each of 'images', got no height in"),
    ('images', {'file_name': None}, "got no file_name in"), ('images', {'id': True}, 'got True in id'),
    ('categories', {'name': 7}, r"expected text, got 7 in name of one of 'categories'"),
    ('images', {'id': 5}, 'unique ids of images and categories, got the image 5 twice'),
])
def test_what_cannot_be_meant_is_one_line_with_the_field_or_the_counts(root, kind, change, message):
    with pytest.raises(OptionError, match=message) as error:
        build(root, changed(kind, lambda i, old: change))
    assert '\n' not in str(error.value)


def test_a_few_that_are_left_out_are_none_of_it_and_many_are_warned_of(root, monkeypatch):
    said = []
    monkeypatch.setattr(logging.getLogger('basicsr'), 'warning', said.append)
    made = content()
    made['images'] = made['images'][:1]  # of a part of the images, with the annotations of all
    assert len(build(root, made)[0]['label']['boxes']) == 1 and not said
    made = content()
    for annotation in made['annotations'][:3]:
        annotation['area'] = 0
    build(root, made)
    assert len(said) == 1 and '3 of 8 annotations are not used for training: 3 have an area of 0' in said[0]


@pytest.mark.parametrize('coordinates', [('0.1', '0.1', '0.5', '0.5'), ('5', '5', '5', '5')])
def test_vocs_boxes_that_are_points_are_refused(root, coordinates):
    for folder in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (root / folder).mkdir(parents=True)
    Image.new('RGB', (64, 48)).save(root / 'JPEGImages/a.png')
    box = ''.join(f'<{key}>{value}</{key}>'
                  for key, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), coordinates, strict=True))
    xml = f'<annotation><object><name>cat</name><difficult>{{}}</difficult><bndbox>{box}</bndbox></object></annotation>'
    (root / 'Annotations/a.xml').write_text(xml.format(0))
    (root / 'ImageSets/Main/train.txt').write_text('a\n')
    block = {'phase': 'val', 'dataroot_gt': str(root), 'split': 'train'}
    with pytest.raises(OptionError, match=r"expected boxes with width and height, got 0 of 1; .* '.*a\.xml'"):
        DetectionDataset(block)
    (root / 'Annotations/a.xml').write_text(xml.format('Unspecified'))
    with pytest.raises(OptionError, match=r"expected 0 or 1 as difficult in each .*a\.xml', got 'unspecified'"):
        DetectionDataset(block)
