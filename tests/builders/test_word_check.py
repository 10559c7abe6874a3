"""Words of a data set, checked before a training."""
import warnings

import pytest
import torch
from PIL import Image
from tiny_recognizers import TinyReader

from ra_plugin.builders.word_check import check_words, warn_of_long_words
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


def test_words_that_need_more_steps_than_the_reader_has_are_counted(dataset, no_log):
    """One step for four columns: eight for 32, of which equal letters need one more each."""
    no_log()
    words = ['ab', 'abcdefa', 'abcdefab', 'aabbccd', 'aabbccdd', 'abcdefabc']  # 2, 7, 8, 10, 12 and 9 steps
    found = dataset([64] * 6, words, size=[32, 32])
    reader = CTCRecognizer(TinyReader(), characters='abcdef')
    for check in (check_words, warn_of_long_words):
        with pytest.warns(UserWarning, match="^datasets: w: CTCRecognizer.*: 3 of 6 words, as 'abcdefabc'"):
            check(found, [EnsembleRecognizer([reader])], 'datasets: w')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        reader.loss(torch.rand(1, 3, 32, 32), ['abcdefabc'])
        warn_of_long_words(dataset([64] * 6, words), [reader], 'datasets: w')  # their steps depend on their widths
        warn_of_long_words(dataset([64] * 3, words), [reader], 'datasets: w')
    assert reader.words_without_loss == 1
    narrow = CTCRecognizer(TinyReader(), characters='abcdef', width=40)
    with pytest.warns(UserWarning, match='1 of 6 words'):
        warn_of_long_words(dataset([64] * 6, words), [narrow], 'datasets: w')
