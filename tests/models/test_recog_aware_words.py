"""RecogAwareModel with a reader: words that it cannot read stop a training before it starts, and a validation never."""
import copy
import logging

import pytest
import torch
from basicsr.models import build_model
from PIL import Image
from tiny_recognizers import TinyReader

from ra_plugin.data import TextDataset
from ra_plugin.metrics.text import TextScore
from ra_plugin.models.padded_batches import judge
from ra_plugin.options import OptionError
from ra_plugin.recognizers import CTCRecognizer
from ra_plugin.training.pipeline import _check_recognizers

READER = {'type': 'CTCRecognizer', 'module': 'tiny_recognizers.TinyReader', 'characters': 'abcdef', 'height': 16,
          'pretrained': False}


def model(is_train=True):
    torch.manual_seed(0)
    return build_model(copy.deepcopy({
        'name': 'test', 'model_type': 'RecogAwareModel', 'base_model_type': 'SRModel', 'num_gpu': 0, 'dist': False,
        'rank': 0, 'world_size': 1, 'is_train': is_train, 'scale': 2, 'path': {},
        'network_g': {'type': 'SRResNet', 'num_feat': 4, 'num_block': 1, 'upscale': 2},
        'val': {'recognizers': {'reader': READER}},
        'train': {'optim_g': {'type': 'Adam', 'lr': 1e-3}, 'pixel_opt': {'type': 'L1Loss'},
                  'scheduler': {'type': 'MultiStepLR', 'milestones': [9], 'gamma': 0.1},
                  'recog_opt': {'type': 'RecogLoss', 'recognizer': READER}}}))


def batch(*words):
    return {'lq': torch.rand(len(words), 3, 8, 16), 'gt': torch.rand(len(words), 3, 16, 32), 'label': list(words),
            'gt_path': ['a.png'] * len(words), 'lq_path': ['a.png'] * len(words)}


@pytest.mark.parametrize('is_train', [True, False])
def test_words_of_other_characters_may_be_validated(is_train):
    host = model(is_train)
    host.feed_data(batch('xyz', 'ab'))
    assert host.label == ['xyz', 'ab']
    score = TextScore(['cer'])
    host.test()
    judge(host.eval_recognizers['reader'], host.output, host.label, None, score)
    assert len(score) == 2
    with pytest.raises(ValueError, match='expected words of 2 images, got 1'):
        host.feed_data({**batch('ab', 'ab'), 'label': ['ab']})
    with pytest.raises(ValueError, match='expected a list of words'):
        host.feed_data({**batch('ab'), 'label': torch.tensor([1])})


def test_the_loss_is_given_none_of_them():
    host = model()
    host.feed_data(batch('xyz'))
    with pytest.raises(ValueError, match="characters that it reads, got 'x' in 'xyz'"):
        host.optimize_parameters(1)


def test_a_word_that_is_called_as_a_part_of_labels():
    recognizer, score = CTCRecognizer(TinyReader(), characters='abcdef', height=16), TextScore()
    judge(recognizer, torch.rand(2, 3, 16, 32), ['masks', 'ab'], [(16, 20), (16, 32)], score)
    assert list(score.records()[:, 3]) == [5, 2]


@pytest.mark.parametrize('phase', ['train', 'val'])
def test_the_words_of_a_training_are_checked_before_it(tmp_path, phase):
    for name in 'ab':
        Image.new('RGB', (32, 16)).save(tmp_path / f'{name}.png')
    (tmp_path / 'words.csv').write_text('a.png,dad\nb.png,Dad\n')
    dataset = TextDataset({'phase': phase, 'name': 'signs', 'dataroot_gt': str(tmp_path),
                           'label_file': str(tmp_path / 'words.csv')})
    host = model()
    if phase == 'val':
        return _check_recognizers(host, [dataset], logging.getLogger('test'))
    with pytest.raises(OptionError, match=r"^datasets: signs: .*b\.png: CTCRecognizer\(.*got 'D' in 'Dad'") as error:
        _check_recognizers(host, [dataset], logging.getLogger('test'))
    assert '\n' not in str(error.value)
    dataset.words[1] = 'dad'
    _check_recognizers(host, [dataset], logging.getLogger('test'))
