"""Scores of embeddings against all pairs counted in float64, and resamples of identities against those spelled out."""
import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import binomtest

from ra_plugin.evaluation.records import pack, unpack
from ra_plugin.evaluation.statistics.bootstrap import sample
from ra_plugin.evaluation.statistics.transfer import JudgedProcessing, Matrix
from ra_plugin.metrics import verification
from ra_plugin.metrics.embedding import EmbeddingAgreement, EmbeddingScore, directions, recall_by_chance
from ra_plugin.metrics.task_scores import build_score
from ra_plugin.options import OptionError
from ra_plugin.recognizers import RecognizerInfo

INFO = RecognizerInfo('faces', 'embedding')


def people(sizes, noise=0.8, seed=0, dimensions=8):
    """Embeddings ``(N, D)`` of so many images of each person, and the persons, in a random order."""
    rng = np.random.default_rng(seed)
    person = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centers = rng.normal(size=(len(sizes), dimensions))
    return centers[person] + noise * rng.normal(size=(len(person), dimensions)), person


def scored(vectors, person, metrics=None):
    score = EmbeddingScore(metrics)
    score.update({'embeddings': torch.as_tensor(vectors)}, torch.as_tensor(person))
    return score


def cosine(a, b):
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


def by_hand(vectors, person, copies=None):
    """Both scores pair by pair; ``copies`` numbers copies of an identity, which are not compared with each other."""
    copies = np.zeros(len(person)) if copies is None else copies
    lengths = np.sqrt((vectors ** 2).sum(1))
    cosines = (vectors @ vectors.T / lengths / lengths[:, None]).tolist()
    genuine, impostors, nearest = [], [], []
    for i in range(len(person)):
        others = []
        for j in range(len(person)):
            if i == j or person[i] == person[j] and copies[i] != copies[j]:
                continue
            value, same = cosines[i][j], person[i] == person[j]
            others.append((value, not same))  # of equal ones, that of another identity counts
            if j < i:
                (genuine if same else impostors).append(value)
        if any(not other for _, other in others):
            nearest.append(not max(others)[1])
    tar = math.nan
    if len(impostors) >= 1000 and genuine:
        impostors = np.sort(impostors)
        least = min(value for value in [*genuine, *impostors[-50:], 2]  # the lowest score that may be a threshold
                    if (impostors >= value).sum() <= len(impostors) / 1000)
        tar = np.mean(np.array(genuine) >= least)
    return {'tar_at_far': tar, 'recall_at_1': np.mean(nearest) if nearest and len(impostors) else math.nan}


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('noise', [0.3, 0.8])
def test_scores_are_those_of_all_pairs(seed, noise):
    sizes = np.random.default_rng(seed).integers(1, 6, 22)
    vectors, person = people(sizes, noise, seed)
    assert scored(vectors, 100 - 3 * person).compute() == pytest.approx(by_hand(vectors, person), nan_ok=True)


def test_a_true_accept_rate_is_read_off_the_curve_of_all_thresholds():
    """As a ROC curve has it: the highest true accept rate whose false accept rate is within the limit."""
    vectors, person = people([4] * 20, 0.5)
    similarity = directions(torch.as_tensor(vectors)).astype(float)
    similarity = similarity @ similarity.T
    rows, columns = np.tril_indices(len(person), -1)
    values, same = similarity[rows, columns], person[rows] == person[columns]
    order = np.argsort(-values)
    tpr, fpr = np.cumsum(same[order]) / same.sum(), np.cumsum(~same[order]) / (~same).sum()
    assert 0.1 < tpr[fpr <= 1e-3].max() < 0.9
    assert scored(vectors, person).compute()['tar_at_far'] == pytest.approx(tpr[fpr <= 1e-3].max())


def on_a_circle(*degrees):
    angles = np.deg2rad(np.array(degrees, float))
    return np.stack([np.cos(angles), np.sin(angles)], 1)


def test_pairs_as_similar_as_the_first_rejected_impostor_are_rejected():
    """1000 to 1999 impostor pairs let one pass; the second most similar one is the threshold, and not accepted."""
    axes = np.eye(50)
    tied = scored(np.stack([axes[0], axes[0], axes[1], axes[1], *axes[2:50]]),
                  [0, 0, 1, 2, *range(3, 51)], 'tar_at_far')  # a genuine pair at 1, and an impostor pair at 1
    assert tied.compute() == {'tar_at_far': 1}  # that one may pass, and the next is at 0
    both = scored(np.stack([axes[0]] * 4 + [*axes[2:50]]), [0, 0, 1, 2, *range(3, 51)], 'tar_at_far')
    assert both.compute() == {'tar_at_far': 0}  # five impostor pairs at 1: the genuine one is rejected with them


def test_copies_of_a_picture_are_as_similar_whatever_their_rounding():
    rng = np.random.default_rng(0)
    vectors, person = [], []
    for picture in range(60):  # of two identities: two copies in one, one in the other
        one = rng.normal(size=16)
        vectors += [one * (1 + 1e-7 * rng.normal(size=16)) for _ in range(3)]
        person += [2 * picture, 2 * picture, 2 * picture + 1]
    for step in (1, 7, 64):
        score = EmbeddingScore()
        for start in range(0, len(person), step):
            part = torch.tensor(np.array(vectors[start:start + step]), dtype=torch.float32)
            score.update({'embeddings': part}, torch.tensor(person[start:start + step]))
        assert score.compute() == {'tar_at_far': 0, 'recall_at_1': 0}


def test_as_similar_is_not_more_similar():
    vectors, person = on_a_circle(0, 10, 20), [0, 1, 0]
    assert scored(vectors, person).compute()['recall_at_1'] == 0
    assert scored(on_a_circle(0, 10, 0), person).compute()['recall_at_1'] == 1
    assert scored(np.ones((6, 3)), [0, 0, 1, 1, 2, 2]).compute()['recall_at_1'] == 0  # a network that sees nothing


@pytest.mark.parametrize('sizes, determined', [
    ([1] * 60, []), ([60], []), ([2, 2], ['recall_at_1']), ([2] + [1] * 43, ['recall_at_1']),
    ([2] + [1] * 44, ['tar_at_far', 'recall_at_1'])])  # 989, and 1034 pairs of two people
def test_too_few_pairs_have_no_value(sizes, determined):
    score = scored(*people(sizes))
    assert [name for name, value in score.compute().items() if not math.isnan(value)] == determined
    assert [name for name in score.names if score.is_determined(name)] == determined
    matrix = Matrix({('clean', 0): JudgedProcessing(np.arange(len(score)), {}, {'faces': score})})
    assert matrix.main() == matrix.gain_metrics() == {'faces': (determined or ['tar_at_far'])[0]}
    drawn = sample({}, {(): score}, len(score), resamples=20)
    assert all(math.isnan(drawn[name,].estimate().value) for name in score.names if name not in determined)


def test_no_image_has_no_score():
    assert all(map(math.isnan, EmbeddingScore().compute().values()))
    assert not EmbeddingScore().is_determined('recall_at_1')


# ------------------------------------------------------------------------------------------------------ resamples

def drawn_as(counts, vectors, person):
    """The images of a resample, spelled out: the arguments of `by_hand`."""
    rows = [(image, copy) for image, times in enumerate(counts) for copy in range(times)]
    images, copies = (np.array(part) for part in zip(*rows, strict=True))
    return vectors[images], person[images], copies


def test_resamples_of_identities_are_those_of_their_images():
    vectors, person = people([3, 4, 2, 1, 5, 3, 3, 4, 2, 3, 4, 3, 5, 6], 0.5)
    score = scored(vectors, person)
    times = np.random.default_rng(3).multinomial(18, np.full(14, 1 / 14), 8)
    times[0] = 1
    times[1, 3:] = 0  # too few pairs
    counts = times[:, score.group_of_images()]
    found = score.resampled(counts)
    assert {name: values[0] for name, values in found.items()} == score.compute()
    assert np.isnan(found['tar_at_far'][1])
    for row, tar in zip(counts, found['tar_at_far'], strict=True):
        assert tar == pytest.approx(by_hand(*drawn_as(row, vectors, person))['tar_at_far'], nan_ok=True)
    assert len(set(found['tar_at_far'].round(6))) > 3


def test_recall_is_resampled_to_first_order():
    """One identity more or less changes it by what leaving that one out does, as the jackknife has it."""
    sizes = [3, 4, 2, 1, 5, 3]
    vectors, person = people(sizes, 0.9)
    score = scored(vectors, person, 'recall_at_1')
    value, count = score.compute()['recall_at_1'], len(sizes)
    without = np.array([by_hand(vectors[person != left], person[person != left])['recall_at_1']
                        for left in range(count)])
    changes = (count - 1) * (value - without)
    assert np.abs(changes).max() > 0.1
    times = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), 4000)
    draws = score.groups_resampled(times)['recall_at_1']
    np.testing.assert_allclose(draws, value + (times - 1) @ (changes - changes.mean()) / count)
    jackknife = (count - 1) / count * np.square(without - without.mean()).sum()
    assert draws.var() * count / (count - 1) == pytest.approx(jackknife, rel=0.1)


def test_images_of_one_identity_are_drawn_together():
    score = scored(*people([3, 3]))
    with pytest.raises(ValueError, match='EmbeddingScore: expected resamples of whole groups'):
        score.resampled(np.array([[1, 1, 1, 1, 1, 2]]))
    groups = scored(*people([4, 2, 1])).groups()
    assert groups.number == 3 and groups.counted == {'tar_at_far': 1, 'recall_at_1': 1}  # 49 / 37, 36 / 20
    assert scored(*people([3] * 9)).groups().counted == {'tar_at_far': 9, 'recall_at_1': 9}
    one = scored(*people([5] + [1] * 60))  # nothing is known of other people
    assert math.isnan(sample({}, {(): one}, len(one), resamples=20)['tar_at_far',].estimate().low)
    assert not math.isnan(one.compute()['tar_at_far'])


def test_equal_scores_are_paired_and_an_agreement_beside_them_is_drawn_by_images():
    vectors, person = people([4] * 15)
    made = [build_score(INFO, [*EmbeddingScore.known, 'mean_cosine'], clean=True) for _ in range(2)]
    for score in made:
        score.add({'embeddings': torch.as_tensor(vectors)}, torch.as_tensor(person),
                  {'embeddings': torch.as_tensor(vectors[::-1].copy())})
    columns = {('a', 'mean_cosine'): made[0].per_image()['mean_cosine']}
    drawn = sample(columns, {('a',): made[0], ('b',): made[1]}, 60, resamples=100)
    for metric in EmbeddingScore.known:
        assert np.array_equal(drawn['a', metric].draws, drawn['b', metric].draws) and drawn['a', metric].grouped
        assert drawn['a', metric].value == made[0].compute()[metric] and drawn['a', metric].images == 15
        estimate = (drawn['a', metric] - drawn['b', metric]).estimate()
        # nothing differs; an image more in two people may, 2.14 is Student's t of 14 degrees
        change = {'tar_at_far': 2, 'recall_at_1': 1}[metric] / 60
        assert estimate.value == 0 and estimate.high == -estimate.low == pytest.approx(
            2.1448 * math.sqrt(15 / 14) * math.sqrt(2) * change, rel=1e-3)
    assert drawn['a', 'mean_cosine'].images == 60 and not drawn['a', 'mean_cosine'].grouped


@pytest.mark.parametrize('cells', [50, 700])
def test_pairs_are_compared_in_parts_that_fit_the_memory(cells, monkeypatch):
    vectors, person = people([4] * 25)
    times = np.random.default_rng(0).multinomial(25, np.full(25, 1 / 25), 30)
    whole = scored(vectors, person).groups_resampled(times)
    monkeypatch.setattr(verification, '_CELLS', cells)
    for name, values in scored(vectors, person).groups_resampled(times).items():
        np.testing.assert_allclose(values, whole[name], rtol=1e-12)


def test_a_resample_without_the_most_similar_people_looks_further_down():
    """All of the most similar impostor pairs are of two people who look the same; most resamples lack one of them."""
    vectors, person = people([12, 12] + [3] * 12, 0.4)
    vectors[person == 1] = vectors[person == 0] + 0.01
    score = scored(vectors, person, 'tar_at_far')
    times = np.random.default_rng(0).multinomial(18, np.full(14, 1 / 14), 6)
    assert (times[:, :2].min(1) == 0).any()
    for row, tar in zip(times, score.groups_resampled(times)['tar_at_far'], strict=True):
        counts = row[score.group_of_images()]
        assert tar == pytest.approx(by_hand(*drawn_as(counts, vectors, person))['tar_at_far'])


@pytest.mark.slow
@pytest.mark.parametrize('people_, photos', [(500, 5), (10, 250)])
def test_2500_images_are_resampled_a_thousand_times_in_seconds(people_, photos):
    import time
    score = scored(*people([photos] * people_, 2, dimensions=512))
    start = time.process_time()
    sample({}, {(): score}, len(score), resamples=1000)
    assert time.process_time() - start < 20  # two or three


# ------------------------------------------------------------------------------------------------------- records

def test_records_come_back_in_parts_and_from_the_disk():
    vectors, person = people([3, 1, 4, 2, 5] * 4)
    whole, joined, halves = scored(vectors, person), EmbeddingScore(), EmbeddingScore()
    for half in (slice(0, 25), slice(25, None)):
        halves.add_records(scored(vectors[half], person[half]).records())
    joined.add_records(unpack(pack(whole.records())))
    for other in (halves, joined):
        assert len(other) == len(whole) and other.compute() == whole.compute()
        times = np.random.default_rng(0).multinomial(20, np.full(20, 1 / 20), 5)
        for name, values in other.groups_resampled(times).items():
            assert np.array_equal(values, whole.groups_resampled(times)[name])
    halves.add_records(scored(vectors[:1], person[:1]).records())  # what was known of fewer images is not kept
    assert halves.compute() != whole.compute()


def test_accuracy_and_agreement_are_one_score_of_the_same_images():
    vectors, person = people([3, 4, 2])
    clean = vectors + 0.3
    score = build_score(INFO, ['recall_at_1', 'mean_cosine'], clean=True)
    score.add({'embeddings': torch.as_tensor(vectors)}, torch.as_tensor(person), {'embeddings': torch.as_tensor(clean)})
    again = build_score(INFO, ['recall_at_1', 'mean_cosine'], clean=True)
    again.add_records(unpack(pack(score.records())))
    cosines = [cosine(*pair) for pair in zip(vectors, clean, strict=True)]
    for one in (score, again):
        assert one.compute() == pytest.approx({'recall_at_1': by_hand(vectors, person)['recall_at_1'],
                                               'mean_cosine': np.mean(cosines)})
        np.testing.assert_allclose(one.per_image()['mean_cosine'], cosines, atol=1e-6)
    assert score.facts() == {
        'recall_at_1': {'better': 'higher', 'unit': 'share', 'against': 'labels', 'over': 'identities'},
        'mean_cosine': {'better': 'higher', 'unit': 'cosine', 'against': 'clean answers'}}


def test_an_agreement_is_resampled_by_images_and_knows_how_alike_clean_images_are():
    vectors, _ = people([1] * 12)
    clean, _ = people([1] * 12, seed=1)
    score = EmbeddingAgreement()
    score.update({'embeddings': torch.as_tensor(vectors)}, {'embeddings': torch.as_tensor(clean)})
    cosines = np.array([cosine(*pair) for pair in zip(vectors, clean, strict=True)])
    counts = np.random.default_rng(0).multinomial(12, np.full(12, 1 / 12), 5)
    np.testing.assert_allclose(score.resampled(counts)['mean_cosine'], counts @ cosines / 12, atol=1e-6)
    pairs = [cosine(clean[i], clean[j]) for i in range(12) for j in range(12) if i != j]
    assert score.alikeness() == pytest.approx(np.mean(pairs), abs=1e-6)


def test_what_has_no_direction_is_like_nothing():
    bad = torch.tensor([[0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0], [3.0, 4.0]])
    np.testing.assert_allclose(directions(bad), [[0, 0], [0, 0], [0, 0], [0.6, 0.8]], atol=1e-7)
    score = EmbeddingAgreement()
    score.update({'embeddings': bad}, {'embeddings': bad})
    assert score.per_image()['mean_cosine'] == pytest.approx([0, 0, 0, 1])


def test_what_has_no_direction_is_counted_also_after_it_came_from_the_disk():
    bad = torch.tensor([[0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0], [3.0, 4.0], [1.0, 0.0]])
    clean = torch.tensor([[1.0, 0.0]] * 4 + [[math.nan, 0.0]])
    both = build_score(INFO, ['recall_at_1', 'mean_cosine'], clean=True)
    both.add({'embeddings': bad}, torch.tensor([0, 0, 1, 1, 2]), {'embeddings': clean})
    again = build_score(INFO, ['recall_at_1', 'mean_cosine'], clean=True)
    again.add_records(unpack(pack(both.records())))
    for score in (both, again, *again.parts[1:]):
        assert (score.without_answer(), score.without_answer(of_clean=True)) == (3, 1)
    assert again.compute()['mean_cosine'] == pytest.approx(0.6 / 5)
    overflow = F.normalize(torch.full((1, 2), 1e30))  # as a recognizer has it
    score = EmbeddingScore()
    score.update({'embeddings': overflow}, torch.tensor([0]))
    assert score.without_answer() == 1


@pytest.mark.slow
def test_recall_by_chance_is_the_mean_over_all_orders():
    rng, person = np.random.default_rng(0), np.repeat(np.arange(5), [1, 2, 3, 6, 8])
    values = [scored(rng.normal(size=(20, 3)), person, 'recall_at_1').compute()['recall_at_1'] for _ in range(400)]
    assert recall_by_chance(person) == pytest.approx(np.mean(values), abs=0.015)


def test_the_permutation_test_is_that_of_all_orders():
    vectors, person = people([3, 2, 2, 1], 0.6, 3)
    orders = [by_hand(vectors, np.array(order))['recall_at_1'] for order in itertools.permutations(person)]
    score = scored(vectors, person)
    found, actual = score.recall_by_permutation(), by_hand(vectors, person)['recall_at_1']
    assert found.value == pytest.approx(actual) == pytest.approx(score.compute()['recall_at_1'])
    assert found.p == pytest.approx(np.mean(np.array(orders) >= actual - 1e-9), abs=0.03)
    assert np.mean(np.array(orders) >= found.least - 1e-9) <= 0.07 < np.mean(np.array(orders) >= found.least - 0.15)


@pytest.mark.parametrize('sizes, told', [([2, 2], False), ([3, 3], False), ([4, 4], True), ([2] * 4, True)])
def test_of_few_identities_perfect_embeddings_may_not_be_told_from_chance(sizes, told):
    person = np.repeat(np.arange(len(sizes)), sizes)
    vectors = np.eye(len(sizes))[person] + 0.01 * np.random.default_rng(0).normal(size=(len(person), len(sizes)))
    found = scored(vectors, person).recall_by_permutation()
    assert (found.value, found.is_told, found.least > 1) == (1, told, not told)


def test_equal_vectors_are_not_told_from_chance():
    found = scored(np.ones((20, 3)), np.repeat(np.arange(5), 4)).recall_by_permutation()
    assert (found.value, found.p, found.is_told) == (0, 1, False)
    assert math.isnan(scored(np.eye(3), [0, 1, 2]).recall_by_permutation().value)


@pytest.mark.slow
@pytest.mark.parametrize('photos, number', [(4, 5), (6, 5), (5, 8), (4, 12)])
def test_random_vectors_are_taken_for_sound_in_5_percent_at_most(photos, number):
    person = np.repeat(np.arange(number), photos)
    told = [scored(np.random.default_rng([photos, trial]).normal(size=(len(person), 16)), person)
            ._verification().recall_by_permutation(399).is_told for trial in range(300)]
    assert binomtest(sum(told), 300, 0.05, 'greater').pvalue > 1e-3
    sound = [scored(*people([photos] * number, 0.5, trial, 16)).recall_by_permutation().is_told for trial in range(5)]
    assert all(sound)


# -------------------------------------------------------------------------------------------------------- errors

@pytest.mark.parametrize('labels', [
    torch.zeros(4), torch.zeros(4, 2, dtype=torch.long), torch.zeros(3, dtype=torch.long), [{'boxes': None}] * 4,
    ['anna'] * 4, torch.zeros(4, dtype=torch.bool)])
def test_labels_that_are_no_identities_are_refused(labels):
    with pytest.raises(ValueError, match=r'EmbeddingScore: expected identities, whole numbers \(4,\), got '):
        EmbeddingScore().update({'embeddings': torch.ones(4, 3)}, labels)


@pytest.mark.parametrize('metrics, labels, clean, names', [
    (None, True, True, ['tar_at_far', 'recall_at_1']), (None, False, True, ['mean_cosine']),
    (None, True, False, ['tar_at_far', 'recall_at_1']), ('mean_cosine', True, True, ['mean_cosine']),
    (['tar_at_far', 'mean_cosine'], True, False, ['tar_at_far'])])
def test_metrics_are_those_that_the_images_allow(metrics, labels, clean, names):
    assert build_score(INFO, metrics, labels, clean).names == names


def test_what_is_missing_is_said():
    with pytest.raises(OptionError, match=r'recall_at_1 needs labels: LabeledImageDataset with a folder for each'):
        build_score(INFO, 'recall_at_1', labels=False)
    with pytest.raises(OptionError, match='mean_cosine compares with the answers on clean images'):
        build_score(INFO, 'mean_cosine', labels=True)
    with pytest.raises(OptionError, match="unknown metric 'tar'. Did you mean 'tar_at_far'"):
        build_score(INFO, 'tar')
