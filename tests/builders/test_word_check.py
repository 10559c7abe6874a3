"""Words of a data set, checked before a training."""
import warnings

import pytest
from PIL import Image
from tiny_recognizers import TinyReader

from ra_plugin.builders.word_check import check_words
from ra_plugin.data import TextDataset
from ra_plugin.options import OptionError
from ra_plugin.recognizers import CTCRecognizer, EnsembleRecognizer


@pytest.fixture
def dataset(tmp_path):
    def make(widths, words=None, **options):
        rows = []
        for i, width in enumerate(widths):
            Image.effect_noise((width, 32), 50).convert('RGB').save(tmp_path / f'{i}.png')
            rows.append(f'{i}.png\t{words[i] if words else "ab"}')
        (tmp_path / 'list.txt').write_text('\n'.join(rows))
        return TextDataset({'phase': 'train', 'name': 'w', 'dataroot_gt': str(tmp_path), **options,
                            'label_file': str(tmp_path / 'list.txt')})
    return make


def test_words_that_are_squeezed_are_counted(dataset, no_log):
    no_log()
    words = dataset([64, 128, 159, 161, 300], size=[32, 128])
    assert words.squeezed() == (2, 5)
    with pytest.warns(UserWarning, match='^datasets: w: size: 2 of 5 words are squeezed into 128x32 .* max_length'):
        check_words(words, [], 'datasets: w')


@pytest.mark.parametrize('options', [{'size': [32, 128]}, {}])
def test_nothing_is_said_where_none_is(dataset, options):
    widths = [64, 128, 159] if options else [64, 300]
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        check_words(dataset(widths, **options), [], 'datasets: w')


def test_a_word_that_a_reader_of_an_ensemble_cannot_write_is_named_with_its_file(dataset):
    readers = [CTCRecognizer(TinyReader(), characters=text) for text in ('abcdef', 'uvwxyz')]
    with pytest.raises(OptionError, match=r"datasets: w: .*1.png: CTCRecognizer\(TinyReader\): .* got 'a' in 'wax'"):
        check_words(dataset([64, 64], ['wxy', 'wax']), [readers[1]], 'datasets: w')
    with pytest.raises(OptionError, match=r"0.png: CTCRecognizer\(TinyReader\): .* got 'w' in 'wxy'"):
        check_words(dataset([64, 64], ['wxy', 'wax']), [EnsembleRecognizer(readers)], 'datasets: w')


def test_an_image_that_cannot_be_read_is_left_to_the_reading(dataset, tmp_path):
    words = dataset([64, 300], size=[32, 128])
    (tmp_path / '1.png').write_bytes(b'no image')
    assert words.squeezed() == (0, 2)
