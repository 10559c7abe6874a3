"""Intervals against formulas and by simulation; tests against hand counts; records against what they were made of."""
import contextlib
import math
import multiprocessing
from fractions import Fraction

import numpy as np
import pytest
from test_task_scores import TASKS, answers_that_are_right

from ra_plugin.evaluation.records import Column, Records, pack, unpack
from ra_plugin.evaluation.statistics import bootstrap
from ra_plugin.evaluation.statistics.bootstrap import Sampled, mean, sample, share
from ra_plugin.evaluation.statistics.significance import images_to_tell, mcnemar
from ra_plugin.evaluation.statistics.transfer import JudgedProcessing, Matrix, harm, summary
from ra_plugin.options import OptionError
from ra_plugin.results import to_plain


def right(shares, n, rng):
    """Right or wrong answers of several recognizers on n images, some of which are harder for all."""
    hard = rng.normal(size=n)
    return [hard + rng.normal(size=n) < level for level in shares]


@pytest.mark.slow
def test_interval_of_a_difference_is_the_normal_one_for_many_images():
    rng = np.random.default_rng(0)
    a, b = right((0.5, 0.2), 20000, rng)
    drawn = sample({'a': a, 'b': b}, {}, 20000)
    difference = a.astype(float) - b
    estimate = (drawn['a'] - drawn['b']).estimate()
    half = 1.96 * difference.std() / 20000 ** 0.5
    assert estimate.value == pytest.approx(difference.mean())
    assert (estimate.low, estimate.high) == pytest.approx(
        (difference.mean() - half, difference.mean() + half), abs=0.08 * half)


def cover(truth, make, trials=800):
    inside = 0
    for trial in range(trials):
        estimate = make(np.random.default_rng(trial))
        inside += estimate.low <= truth <= estimate.high
    return inside / trials


@pytest.mark.slow
@pytest.mark.parametrize('seeds', [1, 3])
def test_95_percent_of_the_intervals_of_a_difference_cover_the_truth(seeds):
    def make(rng):
        answers = right([0.6] * seeds + [0.3], 300, rng)
        drawn = sample(dict(enumerate(answers)), {}, 300, resamples=500)
        return (mean(drawn[i] for i in range(seeds)) - drawn[seeds]).estimate()

    def accuracy(level):  # of hard + noise < level, both standard normal
        return 0.5 * (1 + math.erf(level / 2))

    assert 0.93 <= cover(accuracy(0.6) - accuracy(0.3), make) <= 0.97


@pytest.mark.slow
def test_95_percent_of_the_intervals_of_a_recovered_gap_cover_the_truth():
    def make(rng):
        ra, plain, clean = right((0.6, 0.0, 1.2), 400, rng)
        drawn = sample({'ra': ra, 'plain': plain, 'clean': clean}, {}, 400, resamples=500)
        return share(drawn['ra'] - drawn['plain'], drawn['clean'] - drawn['plain'], 0.05)

    shares = [0.5 * (1 + math.erf(level / 2)) for level in (0.6, 0.0, 1.2)]
    assert 0.93 <= cover((shares[0] - shares[1]) / (shares[2] - shares[1]), make) <= 0.97


@pytest.mark.slow
def test_pairing_makes_the_interval_tighter():
    rng = np.random.default_rng(0)
    b = rng.random(5000) < 0.6
    a = b | (rng.random(5000) < 0.05)
    drawn = sample({'a': a, 'b': b, 'shuffled': rng.permutation(b)}, {}, 5000)
    paired, shuffled = ((drawn['a'] - drawn[other]).estimate() for other in ('b', 'shuffled'))
    assert paired.high - paired.low < 0.5 * (shuffled.high - shuffled.low)


def test_resamples_are_drawn_in_blocks_that_fit_the_memory(monkeypatch):
    values = {'a': np.random.default_rng(1).random(50)}
    whole = sample(values, {}, 50, resamples=40)['a'].draws
    monkeypatch.setattr(bootstrap, '_CELLS', 300)
    blocks = sample(values, {}, 50, resamples=40)['a'].draws
    assert blocks.shape == whole.shape == (40,)
    np.testing.assert_allclose(blocks, whole, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize('task', TASKS)
def test_scores_of_every_task_are_paired_and_repeatable(task):
    make, pairs = TASKS[task]
    score = make(pairs())
    drawn = sample({}, {('x',): score, ('y',): score}, len(score), resamples=50)
    for metric in score.names:
        difference = (drawn['x', metric] - drawn['y', metric]).estimate()
        assert (difference.value, difference.low, difference.high) == (0, 0, 0)
        assert drawn['x', metric].value == score.compute()[metric]
        single = drawn['x', metric].share_estimate()
        assert 0 <= single.low <= single.high <= 1 or math.isnan(single.low) and math.isnan(single.high)
    again = sample({}, {('x',): score}, len(score), resamples=50)
    other = sample({}, {('x',): score}, len(score), seed=1, resamples=50)
    for metric in score.names:
        assert np.array_equal(again['x', metric].draws, drawn['x', metric].draws)
    assert any(not np.array_equal(other[key].draws, again[key].draws) for key in again)


def test_a_score_without_a_number_has_no_interval():
    unknown = Sampled(0.5, np.full(3, np.nan)).estimate()
    assert math.isnan(unknown.low) and math.isnan(unknown.high)


@pytest.mark.parametrize('values', [np.array([0.83]), np.array([31.7])])
def test_one_image_has_no_interval(values):
    """It says nothing of how others differ; a share of right answers has the interval that one answer has."""
    drawn = sample({'a': values, 'b': values - 0.1, 'right': np.array([True])}, {}, 1, resamples=20)
    for sampled in (drawn['a'], drawn['a'] - drawn['b'], mean([drawn['a'], drawn['b']])):
        found = sampled.estimate()
        assert not math.isnan(found.value) and not found.has_interval and found.side == 'unclear'
    right = drawn['right'].share_estimate()
    assert right.high - right.low > 0.5
    two = sample({'a': np.array([0.83, 0.9])}, {}, 2, resamples=50)['a'].estimate()
    assert two.low < two.value < two.high


def test_mcnemar_is_the_exact_binomial_test():
    ours = np.array([True] * 8 + [False] * 2 + [True] * 30)
    theirs = np.array([False] * 8 + [True] * 2 + [True] * 30)
    tail = sum(Fraction(math.comb(10, k), 2 ** 10) for k in (0, 1, 2, 8, 9, 10))
    assert mcnemar(ours, theirs) == pytest.approx(float(tail))
    assert mcnemar(ours, ours) == 1


def test_so_many_images_tell_a_point_four_times_in_five():
    rng = np.random.default_rng(0)
    changed = 0.06  # of the answers: 3.5 % for the better, 2.5 % for the worse, so the gain is a point
    pilot = rng.choice([1, -1, 0], 100_000, p=[0.035, 0.025, 1 - changed])
    n = images_to_tell(pilot)
    assert n == pytest.approx((1.96 + 0.8416) ** 2 * changed / 0.01 ** 2, rel=0.05)
    told = 0
    for _ in range(2000):
        better, worse, _ = rng.multinomial(n, [0.035, 0.025, 1 - changed])
        told += (better - worse) / math.sqrt(better + worse) > 1.96
    assert 0.77 < told / 2000 < 0.83


def cell(psnr, **right_answers):
    values = {'psnr': np.array(psnr, float), 'ssim': np.zeros(len(psnr))} if psnr is not None else {}
    scores = {name: answers_that_are_right(answers) for name, answers in right_answers.items()}
    return JudgedProcessing(np.arange(len(next(iter(right_answers.values())))), values, scores)


def test_gap_recovered_is_the_share_of_the_way_to_clean_and_not_given_for_a_small_gap():
    plain, ra, clean = np.arange(40) < 20, np.arange(40) < 28, np.arange(40) < 36
    cells = {('clean', 0): cell(None, wide=clean, narrow=clean), ('no processing', 0): cell([20] * 40, wide=plain,
                                                                                            narrow=clean),
             ('plain', 0): cell([20] * 40, wide=plain, narrow=np.arange(40) < 35),
             ('RA', 0): cell([19] * 40, wide=ra, narrow=clean)}
    found = to_plain(summary(Matrix(cells), 'plain'))
    difference = found['differences']['RA']
    wide, narrow = (difference['scores'][name]['top1'] for name in ('wide', 'narrow'))
    assert wide['value'] == pytest.approx(0.2) and wide['gap'] == pytest.approx(0.4)
    assert wide['gap_recovered']['value'] == pytest.approx(0.5)
    assert wide['gap_recovered']['low'] < 0.5 < wide['gap_recovered']['high']
    assert wide['mcnemar_p'] == [2 / 2 ** 8]
    assert narrow['gap'] == pytest.approx(0.025) and narrow['gap_recovered'] is None
    assert difference['psnr'] == {'value': -1, 'low': -1, 'high': -1}
    assert found['processings']['clean']['psnr'] is None
    assert found['processings']['RA']['scores']['wide']['top1']['seeds'] is None


def test_shares_of_images_hurt_are_means_of_the_seeds_on_resamples_by_the_seed_of_the_evaluation():
    first, second, before = np.arange(400) < 100, np.arange(400) < 200, np.arange(400) >= 50
    cells = {('no processing', 0): cell(None, a=before), ('RA', 0): cell([19] * 400, a=first),
             ('RA', 1): cell([19] * 400, a=second)}
    found = [to_plain(harm(Matrix(cells, seed), None, np.zeros(400, int)))['RA']['a']['hurt'] for seed in (0, 0, 1)]
    assert found[0]['value'] == pytest.approx((300 + 200) / 2 / 400)
    assert found[0] == found[1] != found[2] and found[2]['value'] == found[0]['value']


def test_cells_of_other_images_are_not_compared():
    one, other = cell([20] * 4, a=[True] * 4), cell([20] * 3, a=[True] * 3)
    with pytest.raises(ValueError, match='RA: judged on other images than plain'):
        Matrix({('plain', 0): one, ('RA', 0): other})


@pytest.mark.slow
@pytest.mark.parametrize('task', TASKS)
def test_records_come_back_as_they_were(task, tmp_path):
    make, pairs = TASKS[task]
    score = make(pairs())
    records, count = score.records(), len(score)
    folder = Records(tmp_path, {'plan': 1})
    middle = count // 2
    for first, last in ((0, middle - 1), (middle, count - 1)):
        numbers = list(range(first, last + 1))[::-1]  # in another order, as batches of one size bring it
        folder.write(first, last, {('plain', 0, '8 bit'): Column(
            numbers, {'psnr': [np.float64(number) for number in numbers]},
            {'judge': [records[number] for number in numbers]})})
    assert folder.done() == count
    judged = Records(tmp_path, {'plan': 1}).read()['plain', 0, '8 bit']
    assert judged.index.tolist() == list(range(count)) and judged.values['psnr'].tolist() == list(range(count))
    again = make([])
    again.add_records(judged.scores['judge'])
    assert again.compute() == score.compute()
    counts = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), 5)
    for name, values in score.resampled(counts).items():
        np.testing.assert_array_equal(again.resampled(counts)[name], values)


@pytest.mark.parametrize('values', [
    [np.float64(1.5), np.float64(2.5)], [np.arange(3), np.arange(3) + 1], [np.arange(3), np.arange(0), np.arange(2)],
    [np.ones((4, 2)), np.zeros((4, 2))],
    [(np.arange(2), np.ones((3, 2), bool)), (np.arange(1), np.ones((3, 1), bool))]])
def test_packing_loses_nothing(values):
    for ours, theirs in zip(unpack(pack(values)), values, strict=True):
        for a, b in zip(ours, theirs, strict=True) if isinstance(theirs, tuple) else [(ours, theirs)]:
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype


def test_a_damaged_file_of_records_goes_with_those_after_it(tmp_path):
    folder = Records(tmp_path, {})
    for first in (0, 2, 4):
        column = Column([first, first + 1], {'psnr': [np.float64(0)] * 2}, {})
        folder.write(first, first + 1, {('a', 0, 'b'): column})
    file = tmp_path / '00000002-00000003.pt'
    file.write_bytes(file.read_bytes()[:50])
    assert folder.done() == 2 and [path.name for path in tmp_path.glob('*.pt')] == ['00000000-00000001.pt']
    with pytest.raises(OptionError, match='other options, weights or images'):
        Records(tmp_path, {'another': 'plan'})
    assert Records(tmp_path, {'another': 'plan'}, restart=True).done() == 0


def test_records_have_one_writer(tmp_path):
    def other(message):
        with pytest.raises(OptionError, match=message) if message else contextlib.nullcontext():
            Records(tmp_path, {})

    records = Records(tmp_path, {})
    for message in ('another process writes', ''):
        process = multiprocessing.get_context('fork').Process(target=other, args=[message])
        process.start()
        process.join(30)
        assert process.exitcode == 0
        records.close()
