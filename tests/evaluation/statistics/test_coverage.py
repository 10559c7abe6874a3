"""Coverage of the intervals in simulations: draw images and trainings from a population whose scores are known."""
import math

import numpy as np
import pytest
from conftest import SOAK
from populations import detections, embeddings, segmentations, truth
from test_task_scores import answers_that_are_right

from ra_plugin.evaluation.statistics.bootstrap import Sampled, mean, mean_over_trainings, sample, share
from ra_plugin.evaluation.statistics.families import family
from ra_plugin.evaluation.statistics.intervals import Classes
from ra_plugin.evaluation.statistics.significance import proportion
from ra_plugin.evaluation.statistics.transfer import JudgedProcessing, Matrix, summary
from ra_plugin.results import to_plain

TRIALS = 100 * SOAK
SLACK = 3 * math.sqrt(0.05 * 0.95 / TRIALS)  # three standard errors of a simulated share of 95 %


def cover(true, make, trials=TRIALS):
    """Shares of the intervals that hold the truth, and of the trials that give one."""
    found = [make(np.random.default_rng([11, trial])) for trial in range(trials)]
    told = [estimate for estimate in found if estimate is not None and not math.isnan(estimate.low)]
    return np.mean([estimate.low <= true <= estimate.high for estimate in told]) if told else None, len(told) / trials


def accuracy(level, noise):
    return 0.5 * (1 + math.erf(level / math.sqrt(2 * (1 + noise ** 2))))


def answers(levels, n, rng, noise=0.6):
    """Right or wrong on n images, of which some are harder for all."""
    hard = rng.normal(size=n)
    return [hard + noise * rng.normal(size=n) < level for level in levels]


# ------------------------------------------------------------------------------------------------------ classification

@pytest.mark.slow
@pytest.mark.parametrize('n', [30, 200])
@pytest.mark.parametrize('levels', [(0.6, 0.3), (2.0, 1.9), (-0.5, 0.6)])
def test_paired_accuracies(n, levels):
    def make(rng):
        ours, theirs = answers(levels, n, rng)
        drawn = sample({'ours': ours, 'theirs': theirs}, {}, n, resamples=300)
        return (drawn['ours'] - drawn['theirs']).estimate()

    covered, told = cover(accuracy(levels[0], 0.6) - accuracy(levels[1], 0.6), make, 2 * TRIALS)
    assert told == 1 and covered >= 0.95 - SLACK


def test_no_difference_seen_is_not_none_for_sure():
    """Of 30 images on which two restorers agree, the next one in 30 may tell."""
    same = np.arange(30) < 20
    drawn = sample({'ours': same, 'theirs': same.copy()}, {}, 30)
    estimate = (drawn['ours'] - drawn['theirs']).estimate()
    half = 1.96 * math.sqrt(2 / 32 / 32)  # one image more that gains and one that loses
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0, -half, half), rel=1e-3)


@pytest.mark.parametrize('n', [30, 100])
def test_single_accuracies(n):
    for level in (0.0, 1.0):
        covered, _ = cover(accuracy(level, 0.6), lambda rng, level=level: proportion(answers([level], n, rng)[0]),
                           4 * TRIALS)
        assert 0.95 - SLACK <= covered


@pytest.mark.slow
def test_means_of_images():
    def make(rng):
        return sample({'psnr': rng.normal(28, 3, 30)}, {}, 30, resamples=400)['psnr'].estimate()

    covered, _ = cover(28, make, 4 * TRIALS)
    assert 0.93 <= covered <= 0.97


# ------------------------------------------------------------------------------------- detection and segmentation

POPULATIONS = {
    'voc12 mAP': (lambda n, rng: detections([2, 1, 0.6], (1, 0.8), n, rng), 20000),
    'voc12 mAP, a rare class': (lambda n, rng: detections([2, 0.6, 0.08], (1, 0.8), n, rng), 40000),
    'coco mAP': (lambda n, rng: detections([2, 1, 0.6], (1, 0.8), n, rng, coco=True), 4000),
    'mIoU': (lambda n, rng: segmentations([1, 0.9, 0.8, 0.6], (1, 0.8), n, rng), 60000),
    'mIoU, a class in 5 %': (lambda n, rng: segmentations([1, 0.6, 0.3, 0.05], (1, 0.8), n, rng), 60000),
    'voc12 mAP of 20 classes': (lambda n, rng: detections([2, 1, 0.5] + 17 * [0.12], (1, 0.8), n, rng), 40000),
    'mIoU of 20 classes': (lambda n, rng: segmentations(np.geomspace(0.6, 0.03, 20), (1, 0.8), n, rng), 60000)}


@pytest.mark.slow
@pytest.mark.parametrize('name, n', [
    ('voc12 mAP', 30), ('voc12 mAP', 100), ('voc12 mAP, a rare class', 30), ('voc12 mAP, a rare class', 64),
    ('voc12 mAP of 20 classes', 30), ('voc12 mAP of 20 classes', 100), ('coco mAP', 30), ('mIoU', 30),
    ('mIoU', 200), ('mIoU, a class in 5 %', 30), ('mIoU, a class in 5 %', 100), ('mIoU, a class in 5 %', 200),
    ('mIoU of 20 classes', 30), ('mIoU of 20 classes', 200)])
def test_means_over_classes(name, n):
    """Alone and paired; where it is mostly not told, nothing is asked of the rest."""
    make, images = POPULATIONS[name]
    trials, resamples = (TRIALS, 300) if name != 'coco mAP' else (TRIALS // 2, 200)
    true = truth(make, images)
    found = []
    for trial in range(trials):
        ours, theirs = make(n, np.random.default_rng([13, trial]))
        drawn = sample({}, {('ours',): ours, ('theirs',): theirs}, n, trial, resamples=resamples)
        found.append((drawn['ours', 'mean'].share_estimate(),
                      (drawn['ours', 'mean'] - drawn['theirs', 'mean']).estimate()))
    least = 0.95 - 3 * math.sqrt(0.05 * 0.95 / trials)
    for estimates, value in zip(zip(*found, strict=True), (true[0], true[0] - true[1]), strict=True):
        told = [estimate for estimate in estimates if not math.isnan(estimate.low)]
        if len(told) > trials / 2:
            assert np.mean([estimate.low <= value <= estimate.high for estimate in told]) >= least
        else:
            assert name in ('mIoU, a class in 5 %', 'mIoU of 20 classes', 'voc12 mAP, a rare class',
                            'voc12 mAP of 20 classes') and n == 30


@pytest.mark.parametrize('drift', [0.01, -0.01])
def test_what_resampling_adds_to_a_mean_over_classes_widens_its_interval_on_that_side(drift):
    """It is taken off the center, and thrice of it, upwards, off the lower end; a difference reaches thrice further."""
    spread = np.random.default_rng(0).normal(0, 0.02, 2000)
    spread -= spread.mean()
    classes = Classes(spread[:500, None] * np.ones(3), np.array([50, 50, 50]))
    unbiased, biased = (Sampled(0.5, 0.5 + spread + add, 100, classes=classes) for add in (0, drift))
    moved = [[(end - 0.5 + drift) / 0.25 for end in (one.low, one.high)] for one in (biased.share_estimate(),)][0]
    half = [(end - 0.5) / 0.25 for end in (unbiased.share_estimate().low, unbiased.share_estimate().high)]
    assert moved[0] == pytest.approx(half[0] - 12 * max(drift, 0), abs=0.02)
    assert moved[1] == pytest.approx(half[1], abs=0.02)
    ends, plain = biased.estimate(), unbiased.estimate()
    factor = (plain.high - 0.5) / np.quantile(spread, 0.975)
    assert ends.low == pytest.approx(plain.low + factor * drift - 3 * max(drift, 0))
    assert ends.high == pytest.approx(plain.high + factor * drift + 3 * max(-drift, 0))
    assert Sampled(0.5, 0.5 + spread + drift, 100).estimate().high == pytest.approx(  # a mean of images has no bias
        0.5 + (np.quantile(spread, 0.975) + drift) * factor, rel=0.01)


def test_no_interval_of_a_difference_share_estimates_reaches_beyond_what_shares_can_differ_by():
    drawn = sample({'ours': np.array([True, True]), 'theirs': np.array([False, True])}, {}, 2, resamples=50)
    gain = (drawn['ours'] - drawn['theirs']).estimate()
    assert -1 <= gain.low < gain.value < gain.high <= 1
    several = mean_over_trainings('way', [drawn['ours'], drawn['theirs']]) - drawn['theirs']  # t of one degree: 12.7
    assert several.estimate().low >= -1 and several.estimate().high == 1
    decibels = sample({'psnr': np.array([20.0, 40.0])}, {}, 2, resamples=50)['psnr'].estimate()
    assert decibels.high > 40


def test_a_mean_over_classes_in_few_images_has_no_interval():
    draws = np.random.default_rng(0).random((100, 3))
    enough, few = (Sampled(0.5, draws.mean(1), 30, classes=Classes(draws, np.array([30, 20, rare]))) for rare in (4, 3))
    assert enough.share_estimate().low < 0.5 < enough.share_estimate().high and not enough.classes.too_few().any()
    for estimate in (few.share_estimate(), few.estimate(), (few - few.scaled(0.5)).estimate()):
        assert not math.isnan(estimate.value) and math.isnan(estimate.low) and math.isnan(estimate.high)
    assert few.classes.too_few().tolist() == [False, False, True]
    many = Classes(np.ones((5, 80)), np.array([200] * 78 + [1000, 5]))  # one of 80 does not matter
    assert not many.too_few().any()
    others = Classes(np.ones((5, 80)), np.array([200] * 20 + [0] * 60))  # classes that the data set does not have
    assert not others.too_few().any() and others.counted().sum() == 20


# ----------------------------------------------------------------------------------------------------------- identities

@pytest.mark.slow
@pytest.mark.parametrize('people, photos, unequal, noises', [  # rates of 0.6, 0.93, 0.22 and less
    (10, 20, False, (0.6, 0.75)), (10, 20, False, (0.3, 0.4)), (20, 6, False, (1.2, 1.4)), (50, 4, False, (0.3, 0.4)),
    (60, 4, True, (0.6, 0.75))])
def test_scores_of_identities(people, photos, unequal, noises):
    """Alone and paired; the truth is that of as many people: among fewer the nearest image is right more often."""
    drawn, trials = {}, TRIALS // 2
    for trial in range(3 * trials):
        ours, theirs = embeddings(people, photos, noises, np.random.default_rng([13, trial]), unequal)
        values = {'ours': ours.compute(), 'theirs': theirs.compute()}
        sampled = sample({}, {('ours',): ours, ('theirs',): theirs}, len(ours), trial, 200) if trial < trials else {}
        for metric in ours.names:
            estimates = sampled and (sampled['ours', metric].share_estimate(),
                                     (sampled['ours', metric] - sampled['theirs', metric]).estimate())
            drawn.setdefault(metric, []).append(
                ((values['ours'][metric], values['ours'][metric] - values['theirs'][metric]), estimates))
    least = 0.95 - 3 * math.sqrt(0.05 * 0.95 / trials)
    for found in drawn.values():
        for i, true in enumerate(np.mean([values for values, _ in found], 0)):
            told = [estimates[i] for _, estimates in found if estimates]
            assert np.mean([estimate.low <= true <= estimate.high for estimate in told]) >= least


@pytest.mark.slow
def test_images_as_if_they_were_independent_would_cover_less():
    """The reason for resamples of identities: photos of one person stand and fall together."""
    people, photos = 30, 10
    inside = {'identities': 0, 'images': 0}
    scores = [embeddings(people, photos, [0.6], np.random.default_rng([7, trial]))[0] for trial in range(60)]
    true = np.mean([score.compute()['tar_at_far'] for score in scores])
    for score in scores:
        drawn = sample({}, {(): score}, len(score), resamples=100)['tar_at_far',]
        value = drawn.value
        half = 1.96 * math.sqrt(value * (1 - value) / (people * photos * (photos - 1) / 2))
        inside['identities'] += drawn.share_estimate().low <= true <= drawn.share_estimate().high
        inside['images'] += value - half <= true <= value + half
    assert inside['identities'] >= 0.95 * 60 - 5 and inside['images'] < 30


def test_no_difference_seen_between_identities_is_not_none_for_sure():
    """An image more in two of ten people, of which one gains and one loses."""
    draws = np.full(100, 0.9)
    same = Sampled(0.9, draws, 10, 10 * 0.01, grouped=True)
    estimate = (same - same).estimate()
    assert estimate.high == -estimate.low == pytest.approx(2.2622 * math.sqrt(10 / 9) * math.sqrt(2) * 0.01, rel=1e-3)


# ---------------------------------------------------------------------------------------------------------- trainings

def cells(n, seeds, spread, rng, levels=(0.5, 0.5), noise=0.4):
    """Of a plain and another restorer; each training is as good as it happens to be, and misreads other images."""
    hard = rng.normal(size=n)

    def cell(level):
        right = hard + noise * rng.normal(size=n) < level
        return JudgedProcessing(np.arange(n), {}, {'judge': answers_that_are_right(right)})

    return {('clean', 0): cell(2), ('no processing', 0): cell(0),
            **{(name, seed): cell(level + spread * rng.normal())
               for name, level in zip(('plain', 'RA'), levels, strict=True)
               for seed in range(seeds)}}


@pytest.mark.slow
@pytest.mark.parametrize('seeds, n, spread', [
    (2, 200, 0), (2, 2000, 0.1), (3, 200, 0.1), (3, 2000, 0.03), (3, 5000, 0.05), (5, 1000, 0.1)])
def test_a_true_gain_of_zero_is_rarely_surely_one(seeds, n, spread, monkeypatch):
    monkeypatch.setattr(sample, '__defaults__', (0, 200))
    trials, sure, wide = 60 * SOAK, 0, []
    for trial in range(trials):
        matrix = Matrix(cells(n, seeds, spread, np.random.default_rng([17, trial])))
        found = (matrix.mean('RA', 'judge', 'top1') - matrix.mean('plain', 'judge', 'top1')).estimate()
        alone = [mean(matrix.by_seed(name, 'judge', 'top1')) for name in ('RA', 'plain')]
        sure += found.low > 0 or found.high < 0
        images = (alone[0] - alone[1]).estimate()
        wide.append((found.high - found.low) / (images.high - images.low))
    assert sure / trials <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / trials)
    assert min(wide) >= 1 - 1e-9
    if not spread:
        assert np.median(wide) < 4


@pytest.mark.slow
def test_two_trainings_that_differ_are_not_a_sure_gain():
    """One seed that gains 36 points, or 6, and one that gains none."""
    n = 2000
    hard = np.linspace(0, 1, n)

    def cell(share):
        return JudgedProcessing(np.arange(n), {}, {'judge': answers_that_are_right(hard < share)})

    for gain in (0.36, 0.06):
        shares = {('clean', 0): 0.95, ('no processing', 0): 0.3, ('plain', 0): 0.5, ('RA', 0): 0.5 + gain,
                  ('RA', 1): 0.5}
        matrix = Matrix({key: cell(share) for key, share in shares.items()})
        found = to_plain(summary(matrix, 'plain'))['differences']['RA']
        entry = found['scores']['judge']['top1']
        assert entry['value'] == pytest.approx(gain / 2) and entry['low'] < 0 < entry['high']
        half = 12.7062 * gain / 2  # Student's t of one degree; no two shares differ by more than one
        assert entry['high'] == pytest.approx(min(gain / 2 + half, 1), rel=0.01)
        assert found['family'] == {'comparisons': 1, 'up': [], 'down': []}


def test_trainings_of_both_sides_add_up_and_other_recognizers_share_them():
    draws = np.zeros(10)
    ours = mean_over_trainings('RA', [Sampled(value, draws + value, 100) for value in (0.5, 0.7)])
    again = mean_over_trainings('RA', [Sampled(value, draws + value, 100) for value in (0.7, 0.5)])
    plain = mean_over_trainings('plain', [Sampled(value, draws + value, 100) for value in (0.1, 0.3)])
    one = ours.estimate().high - 0.6
    assert one == pytest.approx(12.7062 * 0.1)
    both = (ours - plain).estimate()  # two equal variances have two degrees of freedom
    assert both.high - both.value == pytest.approx(4.3027 * 0.1 * 2 ** 0.5, rel=1e-4)
    assert mean([ours, again]).estimate().high == pytest.approx(0.6)  # what one gains, the other loses
    assert mean([ours, ours]).estimate().high == pytest.approx(ours.estimate().high)


def test_products_and_ratios_keep_the_trainings():
    draws = np.zeros(10)
    ours = mean_over_trainings('RA', [Sampled(value, draws + value, 100) for value in (0.5, 0.7)])
    constant = Sampled(2.0, draws + 2)
    reach = 12.7062 * 0.1
    for found, factor in ((ours.times(constant), 2), (ours.over(constant), 0.5), (constant.over(ours), 2 / 0.36),
                          (ours.scaled(3), 3), (ours.lesser(constant), 1)):
        assert found.estimate().high - found.value == pytest.approx(factor * reach, rel=1e-4)


# ------------------------------------------------------------------------------------------------------------- shares

@pytest.mark.slow
@pytest.mark.parametrize('n, levels', [(100, (0.5, 0.2, 1.0)), (200, (0.5, 0.2, 1.0)), (1000, (0.25, 0.2, 0.5))])
def test_recovered_gaps(n, levels):
    accuracies = [accuracy(level, 0.6) for level in levels]

    def make(rng):
        ours, plain, clean = answers(levels, n, rng)
        drawn = sample({'ours': ours, 'plain': plain, 'clean': clean}, {}, n, resamples=300)
        found = share(drawn['ours'] - drawn['plain'], drawn['clean'] - drawn['plain'], 0.05)
        assert found is None or np.isfinite(list(vars(found).values())).all()
        return found

    covered, told = cover((accuracies[0] - accuracies[1]) / (accuracies[2] - accuracies[1]), make, 2 * TRIALS)
    assert told > 0.5 and covered >= 0.95 - SLACK


def test_no_share_of_a_gap_that_may_be_none():
    draws = np.random.default_rng(0).normal(size=2000)
    gain = Sampled(0.11, 0.11 + 0.02 * draws, 100)
    assert share(gain, Sampled(0.06, 0.06 + 0.04 * draws, 100), 0.05) is None  # 183 % of a gap of 6 points +- 8
    assert share(gain, Sampled(0.04, 0.04 + 0.001 * draws, 100), 0.05) is None  # surely there, and small
    found = share(gain, Sampled(0.22, 0.22 + 0.02 * draws[::-1], 100), 0.05)
    assert found.value == 0.5 and found.low < 0.5 < found.high


def test_a_ratio_keeps_both_ends_where_resamples_take_its_denominator_to_zero():
    above, below = np.linspace(0.1, 0.3, 1001), np.linspace(-0.01, 0.2, 1001)
    above[100], below[100] = 0, 0
    found = Sampled(0.2, above).over(Sampled(0.1, below)).estimate()
    assert found.value == 2 and not math.isnan(found.low) and found.high == math.inf
    assert math.isnan(Sampled(0.2, above).over(Sampled(0.0, below)).estimate().value)


# ----------------------------------------------------------------------------------------------------------- families

@pytest.mark.slow
def test_a_family_has_one_false_gain_in_twenty_times_at_most():
    wrong, several = 0, 0
    for trial in range(2 * TRIALS):
        rng = np.random.default_rng([19, trial])
        values, draws = rng.normal(size=8), rng.normal(size=(8, 300))
        drawn = {i: Sampled(value, value + of_one) for i, (value, of_one) in enumerate(zip(values, draws, strict=True))}
        found = to_plain(family(drawn))
        wrong += bool(found['up'] or found['down'])
        several += any(not one.estimate().low <= 0 <= one.estimate().high for one in drawn.values())
    assert wrong / (2 * TRIALS) <= 0.05 + SLACK < 0.2 < several / (2 * TRIALS)


def test_holm_steps_down():
    """0.03 is beyond 5 % of two comparisons, and within that of the one that is left."""
    def at(sigmas):
        return Sampled(sigmas, sigmas + np.random.default_rng(0).normal(size=2000))

    assert to_plain(family({'a': at(4), 'b': at(2.15)})) == {'comparisons': 2, 'up': ['a', 'b'], 'down': []}
    assert to_plain(family({'a': at(1), 'b': at(2.15)})) == {'comparisons': 2, 'up': [], 'down': []}
    assert to_plain(family({'a': at(-4)})) == {'comparisons': 1, 'up': [], 'down': ['a']}
