"""The audit against what it is for: an attack on the recognizer used is told from a better image."""
import math
import re
from collections import Counter

import numpy as np
import pytest
import torch
from conftest import SOAK
from PIL import Image
from scipy.ndimage import gaussian_filter
from test_evaluation_run import ROOT, recognizer

from ra_plugin.data import LabeledImageDataset
from ra_plugin.evaluation.judging import CLEAN, Batch, Judging, clean, judge_all, no_processing
from ra_plugin.evaluation.records import Records
from ra_plugin.evaluation.statistics.audit import audit, verdict
from ra_plugin.evaluation.statistics.bootstrap import Sampled, sample
from ra_plugin.evaluation.statistics.perturbations import FLOAT, SAVED, VIEWS, band_centers, spectrum
from ra_plugin.evaluation.statistics.transfer import judged_processing
from ra_plugin.recognizers import build_recognizer
from ra_plugin.report.metrics import Metric
from ra_plugin.report.verdict import AUDIT_TONES
from ra_plugin.results import MetricFacts, to_plain

ALL_VIEWS = (SAVED, FLOAT, *VIEWS)


def judged_as(*args):
    """The verdict as results.json has it."""
    return to_plain(verdict(*args))


def gains(level, kept=1.0, spread=0.01):
    """A gain of ``level``, of which the views leave the share ``kept``."""
    def sampled(value):
        return Sampled(value, value + spread * np.linspace(-2, 2, 101))

    return {view: sampled(level * (kept if view in VIEWS else 1)) for view in ALL_VIEWS}


@pytest.mark.parametrize('used, held_out, of_clean, answer', [
    (gains(0.2), gains(0.1), gains(0.4), 'real'),
    (gains(0.2, 0.6), gains(0.1), gains(0.4), 'real'),
    (gains(0.2, 0.4), gains(0.1), gains(0.4), 'partly real'),
    (gains(0.2, 0.4), gains(0.1), gains(0.4, 0.5), 'real'),  # a change that costs the clean image half, too
    (gains(0.2, 0.1), gains(0.1), gains(0.4), 'adversarial'),
    (gains(0.2), gains(0.0), gains(0.4), 'adversarial'),
    (gains(0.2), gains(-0.1), gains(0.4), 'adversarial'),
    (gains(0.2), gains(0.035, spread=0.001), gains(0.4), 'partly real'),
    (gains(0.2), gains(-0.01), gains(0.4), 'adversarial'),
    (gains(0.01), gains(0.1), gains(0.4), 'no gain'),
    (gains(0.0), gains(0.1), gains(0.4), 'no gain'),
    (gains(-0.2), gains(0.1), gains(0.4), 'no gain'),
    (gains(0.2), gains(0.1), gains(0.0), 'undecided'),  # clean images are no better: nothing to compare with
    # the interval of a share reaches across a limit: both verdicts are named
    (gains(0.2, 0.5), gains(0.1), gains(0.4), 'real or partly real'),
    (gains(0.2, 0.25), gains(0.1), gains(0.4), 'partly real or adversarial'),
    (gains(0.2), gains(0.045), gains(0.4), 'real or partly real'),
    (gains(0.2), gains(0.015), gains(0.4), 'partly real or adversarial'),
])
def test_verdict(used, held_out, of_clean, answer):
    found = judged_as({'used': used, 'other': held_out}, {'used': of_clean, 'other': of_clean}, ['used'])
    assert found['verdict'] == answer and found['reason'].endswith('.')
    assert found['could_be'] == (answer.split(' or ') if ' or ' in answer else [])


@pytest.mark.parametrize('draws, answer, could_be', [
    (np.linspace(0.55, 0.65, 101), 'real', []),
    (np.linspace(0.45, 0.75, 101), 'real or partly real', ['real', 'partly real']),
    (np.linspace(0.2, 0.7, 101), 'undecided', ['real', 'partly real', 'adversarial']),
])
def test_verdicts_within_the_interval_are_named(draws, answer, could_be):
    used = gains(0.2, spread=0)
    used['blur'] = Sampled(0.12, 0.2 * draws)
    found = judged_as({'used': used, 'other': gains(0.1, spread=0)},
                      dict.fromkeys(('used', 'other'), gains(0.4, spread=0)), ['used'])
    assert found['verdict'] == answer and found['could_be'] == could_be
    assert found['kept']['blur'] == pytest.approx(dict(zip(('value', 'low', 'high'),
                                                           (0.6, *np.quantile(draws, (0.025, 0.975))), strict=True)))
    assert found['held_out_ratio']['value'] == pytest.approx(0.5)
    assert ('it could be' in found['reason']) == bool(could_be)


def test_without_a_recognizer_left_out_nothing_is_called_real():
    everything = {'a': gains(0.2)}
    assert judged_as(everything, {'a': gains(0.4)}, ['a'])['verdict'] == 'undecided'
    assert judged_as(everything, {'a': gains(0.4)}, [])['verdict'] == 'undecided'
    assert judged_as({'a': gains(0.2, 0.1)}, {'a': gains(0.4)}, ['a'])['verdict'] == 'adversarial'


def test_a_gain_of_recognizers_of_which_none_was_used_is_real_where_it_lasts():
    of_clean = {'a': gains(0.4), 'b': gains(0.4)}
    found = judged_as({'a': gains(0.2), 'b': gains(0.1)}, of_clean, ['used elsewhere'])
    assert found['verdict'] == 'real' and found['held_out_ratio'] is None
    assert 'no recognizer here was used: they gain +15.0' in found['reason']
    assert judged_as({'a': gains(0.2, 0.1), 'b': gains(0.1, 0.1)}, of_clean, ['x'])['verdict'] == 'adversarial'


def judged(**recognizers):
    """(gains, gains of the clean image) of recognizers: each its share of the gap, the gap, and their uncertainty."""
    return ({name: gains(share * gap, spread=spread) for name, (share, gap, spread) in recognizers.items()},
            {name: gains(gap, spread=spread) for name, (_, gap, spread) in recognizers.items()})


@pytest.mark.parametrize('gap', [0.6, 0.2, 0.02])
def test_the_same_share_of_what_there_was_to_gain_is_real_however_little_that_was(gap):
    found = judged_as(*judged(used=(0.55, 0.6, 0.001), other=(0.55, gap, 0.001)), ['used'])
    assert found['verdict'] == 'real' and found['held_out_ratio']['value'] == pytest.approx(1)
    assert found['left_out'] == [] and 'recover 55% [' in found['reason']
    found = judged_as(*judged(used=(0.55, 0.6, 0.001), other=(0.0, gap, 0.0001)), ['used'])
    assert found['verdict'] == 'adversarial'


def test_shares_of_several_are_the_sum_of_gains_over_the_sum_of_gaps():
    found = judged_as(*judged(used=(0.5, 0.4, 0.001), other=(0.4, 0.3, 0.001), detector=(0.2, 0.1, 0.001)),
                      ['used'])
    assert found['held_out_ratio']['value'] == pytest.approx((0.12 + 0.02) / (0.3 + 0.1) / 0.5)


@pytest.mark.parametrize('gap, spread', [(0.004, 0.0001), (0.0, 0.0), (-0.1, 0.001), (0.05, 0.03), (np.nan, 0.0)])
def test_who_has_too_little_to_gain_is_left_out_and_named(gap, spread):
    odd = (0.0, gap, spread)
    found = judged_as(*judged(used=(0.5, 0.4, 0.001), other=(0.5, 0.4, 0.001), odd=odd), ['used'])
    assert found['verdict'] == 'real' and found['left_out'] == ['odd'] and 'too uncertain: odd (' in found['reason']
    assert found['held_out_ratio']['value'] == pytest.approx(1)
    alone = judged_as(*judged(used=(0.5, 0.4, 0.001), odd=odd), ['used'])
    assert (alone['verdict'], alone['could_be']) == ('undecided', ['real', 'partly real', 'adversarial'])
    assert 'that was left out of the training can tell; left out, with a gap to' in alone['reason']
    used = judged_as({'used': gains(0.2), 'other': gains(0.2)},
                     {'used': gains(gap, spread=spread), 'other': gains(0.4)}, ['used'])
    assert (used['verdict'], used['left_out'], used['held_out_ratio']) == ('undecided', ['used'], None)
    assert used['reason'].startswith('Left out, with a gap to clean images that is too small or too uncertain: used (')


def test_what_cannot_be_told_without_clean_images_or_with_few_is_undecided():
    all_gains, of_clean = judged(used=(0.5, 0.4, 0.001), other=(0.5, 0.4, 0.001))
    found = judged_as(all_gains, None, ['used'])
    assert (found['verdict'], found['kept'], found['left_out']) == ('undecided', {}, [])
    assert found['reason'].startswith('Without clean images')
    assert judged_as({'used': gains(0.0)}, None, ['used'])['verdict'] == 'no gain'
    unknown = judged_as({'used': gains(math.nan)}, of_clean, ['used'])
    assert unknown['verdict'] == 'undecided' and 'no gain that can be computed' in unknown['reason']
    assert judged_as(all_gains, of_clean, ['used'], 30)['verdict'] == 'real'
    assert judged_as(all_gains, of_clean, ['used'], 1)['reason'] == '1 image, and at least 30 are needed to tell.'
    assert judged_as(all_gains, of_clean, ['used'], 29)['verdict'] == 'undecided'


COSINE, SHARE = MetricFacts('higher', 'cosine', 'clean answers'), MetricFacts()


@pytest.mark.parametrize('metrics, words', [
    ({'a': Metric('tar_at_far', SHARE), 'b': Metric('tar_at_far', SHARE)}, 'points.*; judged by TAR at FAR 1e-3\\.$'),
    ({'a': Metric('mean_cosine', COSINE), 'b': Metric('mean_cosine', COSINE)},
     r'they gain \+0\.150 \[\+0\.1.*\]; judged by mean cosine\.$'),
    ({'a': Metric('top1', SHARE), 'b': Metric('tar_at_far', SHARE)},
     r'they gain \+15\.0 .* points; judged by the mean of top-1 of a and TAR at FAR 1e-3 of b, each recognizer with '
     r'its gap to clean images as weight\.$'),
    ({'a': Metric('top1', SHARE), 'b': Metric('mean_cosine', COSINE)},
     r' points; judged by the mean of top-1 of a and mean cosine of b, .* as weight, a cosine of 0\.01 as a point\.$')])
def test_the_reason_says_by_what_metric_and_what_is_averaged(metrics, words):
    found = verdict({'a': gains(0.2), 'b': gains(0.1)}, {'a': gains(0.4), 'b': gains(0.4)}, ['another'], None, metrics)
    assert found.verdict == 'real' and re.search(words, found.reason), found.reason


def test_a_gain_without_an_interval_is_undecided():
    one = {view: Sampled(0.2, np.full(20, np.nan), 1) for view in ALL_VIEWS}
    found = verdict({'a': one}, {'a': one}, [], 1)
    assert (found.verdict, found.reason) == ('undecided', '1 image, and at least 30 are needed to tell.')
    assert 'nan' not in verdict({'a': one}, {'a': one}, []).reason


def test_a_change_that_ruins_the_clean_image_tells_nothing():
    def ruined(level):
        return {**gains(level, spread=0.001), 'blur': Sampled(0.001, np.linspace(-0.001, 0.003, 101))}

    found = judged_as({'used': ruined(0.2), 'other': ruined(0.2)}, {'used': ruined(0.4), 'other': ruined(0.4)},
                      ['used'])
    assert found['verdict'] == 'real' and set(VIEWS) - set(found['kept']) == {'blur'}
    everything = gains(0.4, 0.0, spread=0.0)
    found = judged_as({'used': gains(0.2, spread=0.001), 'other': gains(0.2, spread=0.001)},
                      {'used': everything, 'other': everything}, ['used'])
    assert found['verdict'] == 'undecided' and 'no change leaves enough' in found['reason'].lower()


def test_each_verdict_has_its_color():
    words = {judged_as(*judged(used=(0.5, 0.4, 0.001), other=(share, 0.4, spread)), ['used'])['verdict']
             for share in (0.5, 0.1, 0.0, 0.05, 0.125) for spread in (0.001, 0.01, 0.1)}
    assert words == set(AUDIT_TONES) - {'no gain'}


# ------------------------------------------------------------------------------------------------------- simulation
TRUE = {'keeps': (0.7, 0.7), 'share': {}}
GONE = {'keeps': (0.7, 0.0), 'share': {}}  # under every change
FOR_ONE = {'keeps': (0.7, 0.7), 'share': {'a': 0.0, 'b': 0.0}}  # recognizers never used gain nothing
COMPARABLE = {'used': (0.86, 0.36), 'a': (0.85, 0.32), 'b': (0.88, 0.3)}  # accuracy on clean images, and the gap
UNEQUAL = {'used': (0.86, 0.6), 'a': (0.9, 0.02)}
REVERSED = {'used': (0.9, 0.08), 'a': (0.86, 0.6)}


def simulated(images, trials, judges, share, kind, seed=0, resamples=400):
    """How often each verdict is given to an improvement that recovers the share of every recognizer's gap.

    Answers to one image depend on how hard it is for the recognizer; a change, and each way of processing, makes some
    of them anew.
    """
    rng, columns, views = np.random.default_rng(seed), {}, (SAVED, *VIEWS)
    for trial in range(trials):
        for judge, (clean_accuracy, gap) in judges.items():
            hard = rng.random(images)
            for view in views:
                changed = np.where(rng.random(images) < 0.15, rng.random(images), hard)
                of_clean, of_gain = (1, 1) if view == SAVED else kind['keeps']
                for who, left in (('plain', 0), (CLEAN, of_clean), ('RA', kind['share'].get(judge, share) * of_gain)):
                    answered = np.where(rng.random(images) < 0.1, rng.random(images), changed)
                    columns[trial, judge, view, who] = answered < clean_accuracy - gap + left * gap
    drawn, counted = sample(columns, {}, images, seed, resamples), Counter()
    for trial in range(trials):
        def over_plain(who, judge, view, trial=trial):
            plain = min((drawn[trial, judge, of, 'plain'] for of in (view, SAVED)), key=lambda score: score.value)
            return drawn[trial, judge, view, who] - plain

        both = ({judge: {view: over_plain(who, judge, view) for view in views} for judge in judges}
                for who in ('RA', CLEAN))
        counted[judged_as(*both, ['used'], images)['verdict']] += 1
    return counted


@pytest.mark.slow
@pytest.mark.parametrize('images, trials', [(100, 60), (1000, 20), (10000, 3)])
@pytest.mark.parametrize('judges', [COMPARABLE, UNEQUAL, REVERSED], ids=['comparable', 'unequal', 'reversed'])
def test_no_true_gain_is_called_adversarial_and_no_destroyed_one_real(images, trials, judges):
    trials *= SOAK
    for share in (0.15, 0.55):
        found = simulated(images, trials, judges, share, TRUE)
        assert not [word for word in found if 'adversarial' in word], (share, found)
    if judges is COMPARABLE and images == 10000:
        assert found['real'] >= 0.9 * trials
    for kind in (GONE, FOR_ONE):
        found = simulated(images, trials, judges, 0.9, kind)
        assert found['real'] == 0, found
        if judges is COMPARABLE and images == 10000:
            assert found['adversarial'] >= 0.9 * trials


# ------------------------------------------------------------------------------------------------------ real images
@pytest.fixture(scope='module')
def photos():
    """96 test images of CIFAR-10 at half their size."""
    data = LabeledImageDataset({'phase': 'test', 'dataroot_gt': str(ROOT / 'datasets' / 'cifar10' / 'test'),
                                'degradation': {'type': 'BicubicDownsample', 'scale': 2}})
    items = [data[i] for i in np.linspace(0, len(data) - 1, 96).astype(int)]
    return Batch(*(torch.stack([item[key] for item in items]) for key in ('lq', 'gt')),
                 torch.tensor([item['label'] for item in items]), list(range(96)), ['x.png'] * 96)


def pattern_for_one(images, label, network, other, strength=4 / 255, steps=8):
    """Images with a small pattern that one network likes and another dislikes: nothing that helps to see the image."""
    start = images
    for _ in range(steps):
        images = images.detach().requires_grad_()
        loss = network.loss(images, label)['cross_entropy'].sum() - other.loss(images, label)['cross_entropy'].sum()
        gradient, = torch.autograd.grad(loss, images)
        images = (start + (images - 1.5 * strength / steps * gradient.sign() - start).clamp(-strength, strength))
    return images.detach().clamp(0, 1)


@pytest.mark.slow
def test_a_pattern_for_one_network_is_told_from_a_better_image(photos, tmp_path):
    judges = {name: build_recognizer(recognizer(net)) for name, net in (('resnet', 'TinyResNet'), ('vgg', 'TinyVGG'))}
    plain = no_processing(photos)
    rows = {'plain': plain, 'better': 0.5 * plain + 0.5 * photos.gt,
            'pattern': pattern_for_one(plain, photos.label, judges['resnet'], judges['vgg'])}
    processings = {(CLEAN, 0): clean, **{(name, 0): lambda batch, images=images: images[batch.index]
                                         for name, images in rows.items()}}
    records = Records(tmp_path, {})
    judge_all([[photos]], Judging(processings=processings, recognizers=judges, metrics={}, baseline='plain',
                                  audited=set(photos.index)), records, 0)
    judged, infos = records.read(), {name: judge.info for name, judge in judges.items()}
    cells = {view: {(name, 0): judged_processing(judged[name, 0, view], infos, {}) for name in (CLEAN, *rows)}
             for view in ALL_VIEWS}
    used = {'pattern': ['resnet'], 'better': ['resnet']}
    found = to_plain(audit(cells, 'plain', used, dict.fromkeys(judges, 'top1')))['restorers']
    assert all(entry['gains']['resnet'][SAVED]['value'] > 0.1 for entry in found.values())
    assert found['better']['verdict'] == 'real', found['better']['reason']
    assert found['pattern']['verdict'] == 'adversarial', found['pattern']['reason']
    power = {name: np.array(entry['spectrum']['difference']) for name, entry in found.items()}
    # what interpolation lacks is where images have power; the pattern is everywhere
    assert power['pattern'][-1] / power['pattern'].sum() > 2 * power['better'][-1] / power['better'].sum()


# ------------------------------------------------------------------------------------------------------------ views
def test_views_are_what_they_are_called(photos):
    images = (photos.gt[:2] * 255).round().to(torch.uint8)
    for name, view in VIEWS.items():
        changed = view(images)
        assert changed.dtype == torch.uint8 and changed.shape == images.shape, name
        assert 0 < (changed.float() - images.float()).abs().mean() < 20, name
    shifted = VIEWS['shift by 1 px'](images)
    assert torch.equal(shifted[..., 1:, 1:], images[..., :-1, :-1])
    assert torch.equal(shifted[..., 0, 1:], images[..., 0, :-1])
    assert torch.equal(shifted[..., 1:, 0], images[..., :-1, 0])
    blurred = np.stack([gaussian_filter(image.astype(float), (0, 0.5, 0.5), mode='nearest', truncate=4)
                        for image in images.numpy()])
    assert np.abs(VIEWS['blur'](images).numpy() - blurred).max() <= 0.51
    pil = Image.fromarray(images[0].permute(1, 2, 0).numpy())
    small = pil.resize((29, 29), Image.BICUBIC).resize((32, 32), Image.BICUBIC)
    difference = np.abs(VIEWS['resize by 0.9'](images)[0].permute(1, 2, 0).numpy() - np.asarray(small).astype(float))
    assert difference.max() <= 2 and difference.mean() < 0.5


@pytest.mark.slow
def test_spectrum_is_the_power_at_each_frequency():
    x = torch.arange(32, dtype=torch.float64)
    wave = torch.sin(2 * torch.pi * 6 / 32 * x).expand(1, 3, 32, 32)  # 6/32 cycles per pixel, across
    power = spectrum(wave)[0]
    assert power.argmax() == 6 and power[6] / power.sum() > 0.999 and band_centers()[6] == pytest.approx(6.5 / 32)
    noise = torch.randn(2000, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(spectrum(noise).mean(0), 1, rtol=0.06)  # white: its variance at every frequency
