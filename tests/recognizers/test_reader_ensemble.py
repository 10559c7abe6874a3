"""Ensembles of readers of words, whose characters may differ."""
import pytest
import torch
from tiny_recognizers import TinyReader

from ra_plugin.losses import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss
from ra_plugin.recognizers import CTCRecognizer, DoctrRecognizer, EnsembleRecognizer
from ra_plugin.utils.random_streams import seeded


def reader(characters, seed, **options):
    with seeded(seed, torch.device('cpu')):
        return CTCRecognizer(TinyReader(), characters=characters, **options)


@pytest.fixture
def images():
    return torch.rand(2, 3, 32, 48)


@pytest.fixture
def members():
    return [reader('abcdef', 1), reader('fghabi', 2), reader('abxyf', 3)]  # the last has the space, too


def test_the_loss_is_the_weighted_mean_over_readers_of_any_alphabet(images, members):
    ensemble, words = EnsembleRecognizer(members, weights=[1, 2, 1]), ['ab', 'fab']
    parts = [RecogLoss(member)(images, words) for member in members]
    torch.testing.assert_close(RecogLoss(ensemble)(images, words), (parts[0] + 2 * parts[1] + parts[2]) / 4)
    parts = [RecogConsistencyLoss(member)(images, 1 - images) for member in members]
    torch.testing.assert_close(RecogConsistencyLoss(ensemble)(images, 1 - images),
                               (parts[0] + 2 * parts[1] + parts[2]) / 4)
    assert RecogFeatureLoss(ensemble)(images, 1 - images) > 0
    assert ensemble.info.classes == ('a', 'b', 'f') and ensemble.info.num_classes == 7


def test_letters_in_another_case_are_other_characters(images):
    ensemble = EnsembleRecognizer([reader('abcdef', 1), reader('ABCDEF', 1)])
    with pytest.raises(ValueError, match=r"^here: CTCRecognizer.*: expected words of the 6 .*, got 'a' in 'ab'"):
        ensemble.check_label(['ab', 'f'], 2, 'here')
    with pytest.raises(ValueError, match="got 'a' in 'ab'"):
        ensemble.loss(images, ['ab', 'f'])


def test_readers_do_not_vote(images, members):
    with pytest.raises(ValueError, match='only classifiers vote. Judge the members one by one') as error:
        EnsembleRecognizer(members).predict(images)
    assert '\n' not in str(error.value)


def test_readers_and_classifiers_do_not_mix(members):
    block = {'type': 'ModuleRecognizer', 'module': 'ra_plugin.recognizers.tiny_nets.TinyVGG', 'pretrained': False,
             'mean': [0, 0, 0], 'std': [1, 1, 1]}
    with pytest.raises(ValueError, match='Members must share them'):
        EnsembleRecognizer([members[0], block])


@pytest.mark.slow
def test_a_reader_that_writes_one_letter_after_the_other_is_a_member(images):
    writer = DoctrRecognizer('vitstr_small', pretrained=False, model_kwargs={'vocab': 'fedcba'})
    members = [reader('abcdef', 1), writer]
    parts = [RecogConsistencyLoss(member)(images, 1 - images) for member in members]
    torch.testing.assert_close(RecogConsistencyLoss(EnsembleRecognizer(members))(images, 1 - images), sum(parts) / 2)
