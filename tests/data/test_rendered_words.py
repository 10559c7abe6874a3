"""Images of words that are rendered over photographs."""
import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ra_plugin.data import TextDataset
from ra_plugin.data.cifar10 import DataError
from ra_plugin.data.rendered_words import COUNTS, drawn, prepare, vocabulary

FONTS = Path(__import__('matplotlib').get_data_path(), 'fonts', 'ttf')  # DejaVu, and fonts of signs alone


@pytest.fixture
def photographs(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(4):
        colors = Image.fromarray(rng.integers(0, 256, (3, 4, 3), np.uint8)).resize((90, 60), Image.Resampling.BICUBIC)
        (tmp_path / 'photographs').mkdir(exist_ok=True)
        colors.save(tmp_path / f'photographs/{i}.png')
    return tmp_path / 'photographs'


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob('*')) if path.is_file()}


@pytest.mark.slow
def test_words_are_rendered_and_listed(tmp_path, photographs):
    counts = {'train': 6, 'test': 3}
    prepare(tmp_path / 'a', photographs, FONTS, counts)
    for split, count in counts.items():
        with open(tmp_path / f'a/{split}.csv', newline='') as file:
            rows = list(csv.reader(file))
        assert rows[0] == ['path', 'text'] and len(rows) == count + 1
        dataset = TextDataset({'phase': 'test', 'dataroot_gt': str(tmp_path / 'a'),
                               'label_file': str(tmp_path / f'a/{split}.csv')})
        assert len(dataset) == count
        for item, (_, word) in zip(dataset, rows[1:], strict=True):
            assert item['label'] == word and item['gt'].shape[1] == 32
            assert item['gt'].shape[2] > 8 * len(word) / 2  # longer words are wider
            assert item['gt'].std() > 0.03  # something is to be seen


@pytest.mark.slow
def test_the_same_seed_makes_the_same_images_and_another_one_others(tmp_path, photographs):
    for name, seed in (('a', 0), ('b', 0), ('c', 1)):
        prepare(tmp_path / name, photographs, FONTS, {'train': 3}, seed)
    assert contents(tmp_path / 'a') == contents(tmp_path / 'b') != contents(tmp_path / 'c')
    prepare(tmp_path / 'd', photographs, FONTS, {'train': 5})  # more of them begin with the same
    assert contents(tmp_path / 'a/train').items() <= contents(tmp_path / 'd/train').items()
    prepare(tmp_path / 'e', photographs, FONTS, {'val': 1, 'test': 1, 'train': 3})  # whatever else there is
    assert contents(tmp_path / 'e/train') == contents(tmp_path / 'a/train')


def test_the_words_of_a_seed_never_change():
    """Data sets exist: the digests are of the words that Python 3.11.7 gave when the list was read from its modules."""
    words = vocabulary()
    assert hashlib.sha256(' '.join(words).encode()).hexdigest().startswith('acdb1f861237760342dc1b2097bbe19f')
    of_split = {split: [drawn(words, np.random.default_rng((0, i, number))) for number in range(200)]
                for i, split in enumerate(('test', 'train', 'val'))}
    assert of_split['train'][:4] == ['Loading', 'precedes', 'meet', 'Carefully']
    found = hashlib.sha256(' '.join(word for split in of_split.values() for word in split).encode()).hexdigest()
    assert found.startswith('f0fa898e870212212dab702f88cbf952')


def test_the_vocabulary_is_english_words():
    words = vocabulary()
    assert words == sorted(set(words))
    assert len(words) > 1000 and {'statement', 'value', 'object'} <= set(words)
    assert all(word.isalpha() and word.islower() and 3 <= len(word) <= 12 for word in words)
    assert COUNTS['test'] >= 2000


def test_folders_without_photographs_or_fonts_are_one_line(tmp_path, photographs):
    with pytest.raises(DataError, match='--fonts .*: expected two fonts with all letters and digits or more, got 0'):
        prepare(tmp_path / 'a', photographs, photographs)
    with pytest.raises(DataError, match='--source .*: expected two photographs or more, got 0'):
        prepare(tmp_path / 'a', FONTS, FONTS)
    with pytest.raises(DataError, match='counts: expected some of test, train, val, got more'):
        prepare(tmp_path / 'a', photographs, FONTS, {'train': 1, 'more': 1})
