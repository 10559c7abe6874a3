"""Parts of data sets: by each path alone, never with an image in common, and in every class of data set."""
import hashlib
import os

import numpy as np
import pytest
from PIL import Image

from ra_plugin.data.degraded_image_dataset import DegradedImageDataset
from ra_plugin.data.labeled_image_dataset import LabeledImageDataset
from ra_plugin.data.part import share_of
from ra_plugin.data.segmentation_dataset import SegmentationDataset
from ra_plugin.data.text_dataset import TextDataset
from ra_plugin.data.unlabeled_image_dataset import UnlabeledImageDataset
from ra_plugin.options import OptionError


@pytest.fixture
def folder(tmp_path):
    for i in range(40):
        file = tmp_path / 'images' / 'ab'[i % 2] / f'{i}.png'
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), i, np.uint8)).save(file)
        mask = tmp_path / 'masks' / 'ab'[i % 2] / f'{i}.png'
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), i % 2, np.uint8)).save(mask)
    (tmp_path / 'words.csv').write_text(''.join(f'{"ab"[i % 2]}/{i}.png,w{i}\n' for i in range(40)))
    return tmp_path


def build(cls, folder, part, **more):
    keys = {LabeledImageDataset: {}, UnlabeledImageDataset: {}, TextDataset: {'label_file': str(folder / 'words.csv')},
            SegmentationDataset: {'dataroot_mask': str(folder / 'masks'), 'num_classes': 2}}[cls]
    return cls({'name': 'x', 'phase': 'val', 'dataroot_gt': str(folder / 'images'), 'part': part, **keys, **more})


def numbers(dataset):
    return [int(os.path.basename(path)[:-4]) for path in dataset.paths]


def expected(low, high):
    """By the definition: the first 64 bits of SHA-256 of the path below the folder, as a fraction."""
    places = {i: int(hashlib.sha256(f'{"ab"[i % 2]}/{i}.png'.encode()).hexdigest()[:16], 16) / 2 ** 64
              for i in range(40)}
    return {i for i, place in places.items() if low <= place < high}


@pytest.mark.parametrize('cls', [LabeledImageDataset, UnlabeledImageDataset, TextDataset, SegmentationDataset])
def test_parts_of_each_class(cls, folder):
    whole = build(cls, folder, None)
    found = [build(cls, folder, [low, high]) for low, high in ((0, 0.5), (0.5, 0.7), (0.7, 1))]
    assert [set(numbers(part)) for part in found] == [expected(0, 0.5), expected(0.5, 0.7), expected(0.7, 1)]
    assert sorted(sum(map(numbers, found), [])) == sorted(numbers(whole)) == list(range(40))
    for part in found:
        for place, number in enumerate(numbers(part)):
            item = part[place]
            assert (item['gt'] * 255).round().unique().item() == number
            if cls is LabeledImageDataset:
                assert part.labels[place] == item['label'] == number % 2
            if cls is TextDataset:
                assert part.words[place] == item['label'] == f'w{number}'
            if cls is SegmentationDataset:
                assert (item['label'] == number % 2).all()


def test_a_path_is_at_the_same_place_whatever_else_there_is(folder):
    before = set(numbers(build(UnlabeledImageDataset, folder, [0, 0.5])))
    for i in range(40, 60):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / 'images' / f'{i}.png')
    assert {i for i in numbers(build(UnlabeledImageDataset, folder, [0, 0.5])) if i < 40} == before
    assert share_of('a\\b.png') == share_of('a/b.png')


def test_shares_are_about_those_that_are_asked_for():
    places = np.array([share_of(f'{i}.jpg') for i in range(4000)])
    counts = np.histogram(places, 10, (0, 1))[0]
    assert ((counts - 400) ** 2 / 400).sum() < 30  # chi-squared of 9 degrees of freedom: p = 0.0004


@pytest.mark.parametrize('part, message', [([0.5, 0.5], 'part: expected .from, to. with from < to'), ([1], 'part: exp'),
                                           ([0, 1.5], 'part'), ([0, 1e-9], 'part: none of the 40 images')])
def test_parts_that_cannot_be_meant(part, message, folder):
    with pytest.raises(OptionError, match=message):
        build(UnlabeledImageDataset, folder, part)


def test_a_class_of_a_users_own_that_has_no_parts_says_so(folder):
    class Own(DegradedImageDataset):
        options_type = UnlabeledImageDataset.options_type

        def __init__(self, opt):
            super().__init__(opt)
            self.paths = ['a.png']

    opt = {'phase': 'val', 'dataroot_gt': str(folder)}
    assert len(Own(opt)) == 1
    with pytest.raises(NotImplementedError, match='Own has no part: its constructor does not call keep_part'):
        len(Own({**opt, 'part': [0, 0.5]}))
