"""Names in both Unicode forms: macOS writes é as e with an accent, lists mostly as one character."""
import csv
import json
import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

from ra_plugin.data import DetectionDataset, LabeledImageDataset, SegmentationDataset
from ra_plugin.data.class_check import check_classes
from ra_plugin.data.class_folder_paths import paired_paths, single_paths
from ra_plugin.data.spellings import FilesOnDisk, Spellings
from ra_plugin.data.with_labels import WithLabels
from ra_plugin.evaluation.restored_folder import FolderOfImages
from ra_plugin.options import OptionError
from ra_plugin.recognizers.facts import RecognizerInfo

NFC, NFD = (unicodedata.normalize(form, 'café') for form in ('NFC', 'NFD'))
BOTH = pytest.mark.parametrize('there, written', [(NFC, NFD), (NFD, NFC)], ids=['NFD in the list', 'NFC in the list'])
XML = ('<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>'
       '</object></annotation>')


def save(*paths, mode='RGB', side=8):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((side, side, 3) if mode == 'RGB' else (side, side), np.uint8)).save(path)


def test_the_same_name_counts_first_and_two_others_are_refused():
    both = Spellings([NFC, NFD, 'a'], 'x.list')
    assert [both.find(name) for name in (NFC, NFD, 'a', 'b', 'é')] == [NFC, NFD, 'a', None, None]
    assert Spellings([NFD], '').find(NFC) == NFD
    forms = ['é\u0323', 'e\u0301\u0323', 'ẹ\u0301']  # three ways to write one name
    with pytest.raises(OptionError, match=r"x\.list: '.*' matches 2 names.*NFC, NFD.*\\u0301"):
        Spellings(forms[:2], 'x.list').find(forms[2])


@BOTH
def test_files_are_found_below_folders_of_either_form(there, written, tmp_path):
    save(tmp_path / there / there / f'{there}.png')
    files = FilesOnDisk(str(tmp_path), 'x')
    assert files.find(f'{written}/{written}/{written}.png') == f'{there}/{there}/{there}.png'
    assert files.find(f'{there}/{there}/{there}.png') == f'{there}/{there}/{there}.png'
    assert files.find(f'{written}/x.png') is None and files.find(f'thé/{there}.png') is None


@BOTH
def test_lists_of_paths_and_classes(there, written, tmp_path):
    save(tmp_path / 'gt' / there / f'{there} 1.png', tmp_path / 'gt' / 'dog' / '1.png')
    (tmp_path / 'list.json').write_text(json.dumps({f'{written}/{written} 1.png': written, 'dog/1.png': 'dog'}))
    block = {'phase': 'val', 'dataroot_gt': str(tmp_path / 'gt'), 'classes': ['dog', there]}
    listed = LabeledImageDataset({**block, 'meta_info': str(tmp_path / 'list.json')})
    assert listed.labels == [1, 0] and listed[0]['gt'].shape == (3, 8, 8)
    folders = LabeledImageDataset({**block, 'classes': ['dog', written]})
    assert sorted(zip(map(os.path.basename, folders.paths), folders.labels, strict=True)) == [('1.png', 0),
                                                                                              (f'{there} 1.png', 1)]
    with open(tmp_path / 'list.csv', 'w') as file:
        csv.writer(file).writerows([(f'{written}/{written} 1.png', 1), ('dog/1.png', 0)])

    class Plain:
        opt, paths = block, folders.paths

    assert sorted(WithLabels(Plain(), {**block, 'labels': str(tmp_path / 'list.csv')}).labels) == [0, 1]


@BOTH
def test_coco_voc_and_masks(there, written, tmp_path):
    save(tmp_path / 'JPEGImages' / f'{there}.png')
    save(tmp_path / 'masks' / f'{written}.png', mode='L')
    (tmp_path / 'coco.json').write_text(json.dumps({
        'images': [{'id': 1, 'file_name': f'{written}.png', 'width': 8, 'height': 8}],
        'annotations': [{'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [0, 0, 4, 4]}],
        'categories': [{'id': 1, 'name': 'cat'}]}))
    coco = DetectionDataset({'phase': 'val', 'dataroot_gt': str(tmp_path / 'JPEGImages'),
                             'annotation_file': str(tmp_path / 'coco.json')})
    assert coco[0]['gt'].shape == (3, 8, 8)
    for folder, name, content in (('ImageSets/Main', 'val.txt', written), ('Annotations', f'{there}.xml', XML)):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / name).write_text(content)
    voc = DetectionDataset({'phase': 'val', 'dataroot_gt': str(tmp_path), 'split': 'val'})
    assert len(voc[0]['label']['boxes']) == 1
    (tmp_path / 'some.txt').write_text(written)
    masks = SegmentationDataset({'phase': 'val', 'dataroot_gt': str(tmp_path / 'JPEGImages'), 'num_classes': 2,
                                 'dataroot_mask': str(tmp_path / 'masks'), 'meta_info': str(tmp_path / 'some.txt')})
    assert masks[0]['label'].shape == (8, 8)


@BOTH
def test_basicsrs_lists_and_pairs(there, written, tmp_path):
    save(tmp_path / 'gt' / there / '1.png', tmp_path / 'lq' / written / '1.png')
    (tmp_path / 'list.txt').write_text(f'{written}/1.png (8,8,3)\n')
    opt = {'dataroot_gt': str(tmp_path / 'gt'), 'dataroot_lq': str(tmp_path / 'lq'),
           'meta_info': str(tmp_path / 'list.txt')}
    gt, lq = str(tmp_path / 'gt' / there / '1.png'), str(tmp_path / 'lq' / written / '1.png')
    assert single_paths(opt, 'meta_info', 'x', 'gt') == [gt]
    assert paired_paths(opt, 'meta_info', 'x') == [{'lq_path': lq, 'gt_path': gt}]
    (tmp_path / 'list.txt').write_text(f'{written}/1.png, {written}/1.png\n')
    assert paired_paths(opt, 'meta_info', 'x') == [{'lq_path': lq, 'gt_path': gt}]


@BOTH
@pytest.mark.parametrize('ending', ['', '_out'])
def test_restored_images(there, written, ending, tmp_path):
    save(*(tmp_path / folder / f'{there}{ending}.png' for folder in (there, 'dog')))
    restored = FolderOfImages(tmp_path)
    names = [f'{written}/{written}.png', f'dog/{written}.png']
    restored.prepare(names)
    assert [restored.file(name) for name in names] == [
        str(tmp_path / folder / f'{there}{ending}.png') for folder in (there, 'dog')]


def test_an_accent_is_no_ending_of_a_restored_image(tmp_path):
    save(tmp_path / f'{NFD}.png')
    with pytest.raises(FileNotFoundError, match='no restored image of cafe.png'):
        FolderOfImages(tmp_path).prepare(['cafe.png'])


def test_classes_in_another_order_are_refused_whatever_their_form():
    class Data:
        num_classes, opt = 2, {}

    class Judge:
        info = RecognizerInfo(name='x', task='classification', num_classes=2, classes=(NFC, 'cz'))

        def members(self):
            return [self]

    data = Data()
    data.classes = (NFD, 'cz')
    check_classes(data, [Judge()], 'x')
    data.classes = ('cz', NFD)
    with pytest.raises(OptionError, match='in another order'):
        check_classes(data, [Judge()], 'x')
