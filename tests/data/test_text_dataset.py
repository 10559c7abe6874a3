"""Images of words, and lists of them."""
import json

import numpy as np
import pytest
import torch
from PIL import Image

from ra_plugin.data import TextDataset
from ra_plugin.options import OptionError

WORDS = {'one.png': 'Exit', 'sub/two.png': 'No "Way"', 'three.png': 'café, 24h'}
SIZES = {'one.png': (40, 16), 'sub/two.png': (80, 20), 'three.png': (31, 17)}


@pytest.fixture
def root(tmp_path):
    for i, (name, size) in enumerate(SIZES.items()):
        path = tmp_path / 'words' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise(size, 40 + i).convert('RGB').save(path)
    return tmp_path


def write(root, form):
    if form == 'csv':
        path, text = 'labels.csv', 'path,label\none.png,Exit\nsub/two.png,"No ""Way"""\nthree.png,"café, 24h"\n'
    elif form == 'easyocr':
        path, text = 'labels.csv', 'filename,words\none.png,Exit\nsub/two.png,"No ""Way"""\nthree.png,"café, 24h"\n'
    elif form == 'json':
        path, text = 'labels.json', json.dumps(WORDS)
    elif form == 'icdar':
        path = 'gt.txt'
        text = '\ufeffone.png, "Exit"\r\nsub/two.png, "No \\"Way\\""\r\nthree.png, "café, 24h"\r\n'
    else:
        path, text = 'gt.txt', 'one.png\tExit\nsub/two.png\tNo "Way"\nthree.png\tcafé, 24h\n'
    (root / path).write_text(text, encoding='utf-8', newline='')
    return str(root / path)


def block(root, form='icdar', **options):
    return {'phase': 'test', 'name': 'w', 'dataroot_gt': str(root / 'words'), 'label_file': write(root, form),
            **options}


@pytest.mark.parametrize('form', ['csv', 'easyocr', 'json', 'icdar', 'paddle'])
def test_lists_of_all_forms(root, form):
    dataset = TextDataset(block(root, form))
    assert dict(zip(WORDS, dataset.words, strict=True)) == WORDS
    item = dataset[0]
    assert item['label'] == 'Exit' and item['gt'].shape == (3, 16, 40) and torch.equal(item['lq'], item['gt'])


def test_a_batch_has_a_list_of_words_and_the_sizes_of_the_images(root):
    dataset = TextDataset(block(root, degradation={'type': 'BicubicDownsample', 'scale': 2}))
    batch = dataset.collate_fn([dataset[i] for i in range(3)])
    assert batch['label'] == list(WORDS.values())
    assert batch['size'] == [(16, 40), (20, 80), (16, 30)]
    assert batch['gt'].shape == (3, 3, 20, 80) and batch['lq'].shape == (3, 3, 10, 40)


def test_images_of_one_size(root):
    dataset = TextDataset(block(root, size=[16, 48]))
    for name, item in zip(SIZES, dataset, strict=True):
        picture = Image.open(root / 'words' / name)
        width = min(48, round(picture.width * 16 / picture.height))
        resized = np.asarray(picture.resize((width, 16), Image.Resampling.BICUBIC)).transpose(2, 0, 1) / 255
        assert item['gt'].shape == (3, 16, 48)
        np.testing.assert_allclose(item['gt'][..., :width], resized, atol=1e-6)
        np.testing.assert_allclose(item['gt'][..., width:], np.repeat(resized[..., -1:], 48 - width, 2), atol=1e-6)


def test_words_of_some_characters_or_lengths(root):
    letters = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'
    assert TextDataset(block(root, characters=letters)).words == ['Exit']
    assert TextDataset(block(root, min_length=5)).words == ['No "Way"', 'café, 24h']
    assert TextDataset(block(root, max_length=4)).words == ['Exit']


@pytest.mark.parametrize('options, message', [
    ({'crop_size': 16}, 'crop_size: not for words'), ({'use_hflip': True}, 'use_hflip: not for words'),
    ({'size': [16]}, r'size: expected \[height, width\]'),
    ({'size': [15, 32], 'degradation': {'type': 'BicubicDownsample', 'scale': 2}}, 'size: expected a multiple of'),
    ({'characters': 'xyz'}, 'expected words, got none of the 3')])
def test_options_that_do_not_fit_words(root, options, message):
    with pytest.raises(OptionError, match=message):
        TextDataset(block(root, **options))


@pytest.mark.parametrize('line, message', [
    ('one.png Exit', "in line 1 of .*, got 'one.png Exit'"), ('four.png, "Exit"', "lists 'four.png', which is not in")])
def test_lines_that_cannot_be_read(root, line, message):
    opt = block(root)
    (root / 'gt.txt').write_text(line)
    with pytest.raises(OptionError, match=message):
        TextDataset(opt)


@pytest.mark.parametrize('name, text, message', [
    ('a.csv', 'one.png,"Exit\nthree.png,No\n', 'expected CSV, got .* with an error'),
    ('a.csv', 'one.png,"Exit\nthree.png,""No"""\n', "words of one line .* for 'one.png'"),
    ('a.csv', 'one.png,Exit\none.png,No\n', "lists 'one.png' with two labels, Exit and No"),
    ('a.txt', 'one.png, "Exit"\none.png, "No"\n', "lists 'one.png' with two labels, Exit and No"),
    ('a.txt', 'one.png\tExit\none.png\tNo\n', "lists 'one.png' with two labels, Exit and No"),
    ('a.json', '{"one.png": 10.50}', "got the number 10.5 for 'one.png'. Quote it"),
    ('a.json', '{"one.png": "Ex\\nit"}', "words of one line .* for 'one.png'")])
def test_lists_that_would_be_misread(root, name, text, message):
    opt = block(root)
    (root / name).write_text(text)
    with pytest.raises(OptionError, match=message):
        TextDataset({**opt, 'label_file': str(root / name)})


@pytest.mark.parametrize('form', ['csv', 'json', 'paddle'])
def test_letters_with_accents_have_one_form(root, form):
    opt = block(root, form)
    path = root / opt['label_file']
    path.write_text(path.read_text(encoding='utf-8').replace('\u00e9', 'e\u0301').replace('\\u00e9', 'e\\u0301'),
                    encoding='utf-8')
    assert TextDataset(opt).words == list(WORDS.values())
    for accent in ('\u00e9', 'e\u0301'):
        assert TextDataset({**opt, 'characters': f'caf{accent}, 24h'}).words == ['caf\u00e9, 24h']


def test_characters_in_a_file_or_a_list(root):
    (root / 'keys.txt').write_text('\n'.join('Exitch'), encoding='utf-8')
    for characters in (str(root / 'keys.txt'), list('Exit'), ['E', 'x', 'it']):
        assert TextDataset(block(root, characters=characters)).words == ['Exit']
    with pytest.raises(OptionError, match='expected words, got none'):
        TextDataset(block(root, characters=['E', 'xi']))
    with pytest.raises(OptionError, match='characters: no file'):
        TextDataset(block(root, characters='nowhere.txt'))
