"""Scores of words that were read."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from ra_plugin.metrics.task_scores import build_score
from ra_plugin.metrics.text import TextAgreement, TextScore, edit_distance
from ra_plugin.metrics.variety import commonest_answer
from ra_plugin.recognizers.facts import RecognizerInfo

WORDS = ['Tiredness', 'in', "it's", 'A', 'SALE 50%']
READ = ['Tiredness', 'im', 'Its', '', 'SALE 50']


def answers(words):
    return [{'text': word, 'score': 1.0} for word in words]


@pytest.mark.slow
@given(st.text('abc', max_size=8), st.text('abc', max_size=8))
def test_the_edit_distance_is_rapidfuzz_s(a, b):
    assert edit_distance(a, b) == Levenshtein.distance(a, b)


def test_the_scores_by_hand():
    score = TextScore(TextScore.known)
    score.update(answers(READ[:2]), WORDS[:2])
    score.update(answers(READ[2:]), WORDS[2:])
    edits = sum(Levenshtein.distance(a, b) for a, b in zip(READ, WORDS, strict=True))
    assert score.compute() == {'exact_match': 1 / 5, 'word_accuracy': 3 / 5,
                               'cer': pytest.approx(edits / sum(map(len, WORDS)))}
    assert list(score.per_image()['word_accuracy']) == [True, False, True, False, True]


def test_resamples_and_merged_records_are_those_of_the_images():
    whole, halves = TextScore(), [TextScore(), TextScore()]
    whole.update(answers(READ), WORDS)
    for half, part in zip(halves, (slice(2), slice(2, None)), strict=True):
        half.update(answers(READ[part]), WORDS[part])
    halves[0].add_records(halves[1].records())
    assert halves[0].compute() == whole.compute() and len(halves[0]) == 5
    counts = np.array([[1, 1, 1, 1, 1], [3, 0, 0, 0, 2]])
    twice = TextScore()
    twice.update(answers([READ[i] for i in (0, 0, 0, 4, 4)]), [WORDS[i] for i in (0, 0, 0, 4, 4)])
    for name, values in whole.resampled(counts).items():
        assert list(values) == pytest.approx([whole.compute()[name], twice.compute()[name]])


def test_no_images_have_no_score():
    assert all(np.isnan(value) for value in TextScore().compute().values())


def test_agreement_is_the_score_against_what_was_read_in_the_clean_images():
    agreement, score = TextAgreement(), TextScore()
    agreement.update(answers(READ), answers(WORDS))
    score.update(answers(READ), WORDS)
    assert list(agreement.compute().values()) == list(score.compute().values())
    facts = agreement.facts()
    assert facts['text_agreement'] == {'better': 'higher', 'unit': 'share', 'against': 'clean answers'}
    assert facts['cer_to_clean']['better'] == 'lower'


def test_the_score_of_a_reader_is_chosen_by_its_task():
    info = RecognizerInfo('reader', 'text')
    assert build_score(info).names == ['exact_match', 'cer']
    assert build_score(info, labels=False, clean=True).names == ['text_agreement', 'cer_to_clean']
    assert build_score(info, ['cer', 'text_agreement'], clean=True).names == ['cer', 'text_agreement']


def test_the_commonest_reading_of_clean_images():
    agreement = TextAgreement()
    agreement.update(answers(['', 'a', 'b', '']), answers(['', 'a', 'c', '']))
    found = commonest_answer(agreement)
    assert (found.answer, found.of, found.share, found.constant) == ('nothing', 'images', 0.5, 0.5)
    assert (found.metric, found.score) == ('text_agreement', 0.75)
    agreement.update(answers(['x'] * 3), answers(['x'] * 3))
    assert commonest_answer(agreement).answer == 'one word'
    assert commonest_answer(agreement).share == pytest.approx(3 / 7)


def test_labels_without_letters_and_digits_do_not_count_by_them():
    score = TextScore(TextScore.known)
    score.update(answers(['', '???', 'a', 'b']), ['!!!', '!', 'A', 'c'])
    assert score.compute()['word_accuracy'] == 1 / 2 and score.compute()['exact_match'] == 0
    np.testing.assert_equal(score.per_image()['word_accuracy'], [np.nan, np.nan, 1, 0])
    resampled = score.resampled(np.array([[3, 0, 1, 0], [2, 2, 0, 0]]))['word_accuracy']
    np.testing.assert_equal(resampled, [1, np.nan])


def test_letters_with_accents_are_equal_in_either_form():
    score = TextScore(TextScore.known)
    score.update(answers(['caf\u00e9', 'cafe\u0301']), ['cafe\u0301', 'cafe'])
    assert score.compute() == {'exact_match': 1 / 2, 'word_accuracy': 1 / 2, 'cer': 1 / 8}
