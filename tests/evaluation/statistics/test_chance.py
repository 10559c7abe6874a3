"""Chance against the same answers in random order, and who is called no better than that."""
import numpy as np
import pytest
import torch

import ra_plugin.basicsr  # noqa: F401  (registers)
from ra_plugin.evaluation.statistics.chance import _iou_by_chance, against_chance, agreement_by_chance
from ra_plugin.evaluation.statistics.transfer import JudgedProcessing, Matrix
from ra_plugin.metrics.task_scores import ClassificationScore, EmbeddingScore, SegmentationScore
from ra_plugin.results import to_plain


def matrix_of(labels, answers, name='clean'):
    score = ClassificationScore('top1')
    score.update({'labels': torch.tensor(answers)[:, None]}, torch.tensor(labels))
    return Matrix({(name, 0): JudgedProcessing(np.arange(len(labels)), {}, {'r': score})})


def at_chance(labels, answers):
    return to_plain(against_chance(matrix_of(labels, answers)))['r']['at_chance']


@pytest.mark.slow
def test_chance_is_the_mean_over_all_orders_of_the_answers():
    rng = np.random.default_rng(0)
    labels, blind = rng.integers(0, 4, 60), rng.choice(4, 60, p=[0.6, 0.2, 0.2, 0])
    for seen in (0, 0.1, 0.2, 0.3, 0.6):  # of the images
        answers = np.where(rng.random(60) < seen, labels, blind)
        shares = np.array([np.mean(labels == rng.permutation(answers)) for _ in range(5000)])
        share, chance, surely = agreement_by_chance(labels, answers)
        assert chance == pytest.approx(shares.mean(), abs=0.003) and share == np.mean(labels == answers)
        limit = shares.mean() + 1.96 * shares.std()
        assert surely == (share > limit) or abs(share - limit) < 0.01
    assert surely


@pytest.mark.parametrize('seed', range(3))
def test_who_answers_at_random_or_always_the_same_is_at_chance(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, 500)
    assert at_chance(labels, np.full(500, 3))
    assert at_chance(labels, (labels + 1) % 10)  # classes in another order
    assert at_chance(labels, np.where(rng.random(500) < 0.02, labels, rng.integers(0, 10, 500)))  # hardly better
    mostly_one = rng.choice(2, 500, p=[0.95, 0.05])
    assert at_chance(mostly_one, np.zeros(500, int))  # 95 % right, and blind


@pytest.mark.slow
def test_who_reads_is_not_at_chance_whatever_the_shares_of_the_classes_are():
    rng = np.random.default_rng(0)
    labels = rng.choice(2, 500, p=[0.95, 0.05])
    assert not at_chance(labels, np.where(rng.random(500) < 0.02, 1 - labels, labels))
    many = rng.integers(0, 1000, 2000)
    assert not at_chance(many, np.where(rng.random(2000) < 0.2, many, rng.integers(0, 1000, 2000)))
    assert not at_chance(np.full(50, 7), np.where(np.arange(50) < 45, 7, 1))  # all of one class
    assert at_chance(np.full(50, 7), np.full(50, 1))


def test_without_clean_images_the_best_processing_counts():
    labels = np.arange(200) % 5
    cells = {**matrix_of(labels, (labels + 1) % 5, 'no processing').processings,
             **matrix_of(labels, labels, 'RA').processings}
    found = to_plain(against_chance(Matrix(cells)))['r']
    assert (found['processing'], found['at_chance'], found['score']) == ('RA', False, 1)


def test_chance_of_label_maps_is_that_of_pixels_in_random_order():
    rng = np.random.default_rng(0)
    labels = rng.choice(3, (6, 40, 40), p=[0.7, 0.2, 0.1])
    predicted = rng.choice(3, labels.shape, p=[0.5, 0.4, 0.1])
    score = SegmentationScore(4, 'mIoU')
    score.update({'masks': torch.from_numpy(predicted)}, torch.from_numpy(labels))
    assert _iou_by_chance(np.sum(score.records(), 0)) == pytest.approx(score.compute()['mIoU'], abs=0.01)
    matrix = Matrix({('clean', 0): JudgedProcessing(np.arange(6), {}, {'r': score})})
    assert to_plain(against_chance(matrix))['r']['at_chance']


def test_few_embeddings_that_happen_to_be_right_are_at_chance():
    """Each image is as near to one of its identity as to others; by luck the recall is twice that of chance."""
    people, rng = np.repeat(np.arange(6), 4), np.random.default_rng(0)
    lucky = 0
    for _ in range(20):
        score = EmbeddingScore('recall_at_1')
        score.update({'embeddings': torch.as_tensor(rng.normal(size=(24, 16)))}, torch.as_tensor(people))
        found = to_plain(against_chance(Matrix({('clean', 0): JudgedProcessing(np.arange(24), {}, {'r': score})})))['r']
        lucky += found['score'] > found['chance'] + 0.05
        assert found['at_chance'] or found['score'] > 2 * found['chance']
    assert lucky > 2


@pytest.mark.parametrize('metrics, metric, chance', [
    (None, 'recall_at_1', 4 / 199), ('tar_at_far', 'tar_at_far', 0.001)])
def test_embeddings_that_tell_nobody_apart_are_at_chance(metrics, metric, chance):
    rng, people = np.random.default_rng(0), np.repeat(np.arange(40), 5)
    faces = rng.normal(size=(40, 8))[people]
    for seen, blind in ((0, True), (3, False)):
        score = EmbeddingScore(metrics)
        score.update({'embeddings': torch.as_tensor(seen * faces + rng.normal(size=faces.shape))},
                     torch.as_tensor(people))
        matrix = Matrix({('clean', 0): JudgedProcessing(np.arange(200), {}, {'r': score})})
        found = to_plain(against_chance(matrix))['r']
        assert (found['metric'], found['at_chance']) == (metric, blind)
        assert found['chance'] == pytest.approx(chance)
