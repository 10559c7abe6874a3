"""The audit against what it is for: an attack on the recognizer used is told from a better image."""
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from test_evaluation_run import ROOT, recognizer

from ra_plugin.data import LabeledImageDataset
from ra_plugin.evaluation.audit import audit, verdict
from ra_plugin.evaluation.bootstrap import Sampled
from ra_plugin.evaluation.judging import CLEAN, Batch, Judging, clean, judge_all, no_processing
from ra_plugin.evaluation.records import Records
from ra_plugin.evaluation.transfer import cell_of
from ra_plugin.evaluation.views import FLOAT, SAVED, VIEWS, band_centers, spectrum
from ra_plugin.recognizers import build_recognizer

ALL_VIEWS = (SAVED, FLOAT, *VIEWS)


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
    (gains(0.2, 0.2), gains(0.1), gains(0.4), 'adversarial'),
    (gains(0.2), gains(0.0), gains(0.4), 'adversarial'),
    (gains(0.2), gains(-0.1), gains(0.4), 'adversarial'),
    (gains(0.2), gains(0.045), gains(0.4), 'partly real'),
    (gains(0.2), gains(0.015), gains(0.4), 'adversarial'),
    (gains(0.01), gains(0.1), gains(0.4), 'no gain'),
    (gains(-0.2), gains(0.1), gains(0.4), 'no gain'),
    (gains(0.2), gains(0.1), gains(0.0), 'real'),  # nothing to compare with: the change counts as harmless
])
def test_verdict(used, held_out, of_clean, answer):
    found = verdict({'used': used, 'other': held_out}, {'used': of_clean, 'other': of_clean}, ['used'])
    assert found['verdict'] == answer and found['reason'].endswith('.')


@pytest.mark.parametrize('draws, answer, could_be', [
    (np.linspace(0.55, 0.65, 101), 'real', []),
    (np.linspace(0.45, 0.75, 101), 'real', ['partly real']),
    (np.linspace(0.2, 0.7, 101), 'undecided', ['real', 'adversarial']),
])
def test_verdicts_within_the_interval_are_named(draws, answer, could_be):
    used = gains(0.2, spread=0)
    used['blur'] = Sampled(0.12, 0.2 * draws)
    found = verdict({'used': used, 'other': gains(0.1, spread=0)},
                    dict.fromkeys(('used', 'other'), gains(0.4, spread=0)), ['used'])
    assert found['verdict'] == answer and found['could_be'] == could_be
    assert found['kept']['blur'] == pytest.approx(dict(zip(('value', 'low', 'high'),
                                                           (0.6, *np.quantile(draws, (0.025, 0.975))))))
    assert found['held_out_ratio']['value'] == pytest.approx(0.5)
    assert ('it could be' in found['reason']) == bool(could_be)


def test_without_a_recognizer_left_out_nothing_is_called_real():
    everything = {'a': gains(0.2)}
    assert verdict(everything, {'a': gains(0.4)}, ['a'])['verdict'] == 'undecided'
    assert verdict(everything, {'a': gains(0.4)}, [])['verdict'] == 'undecided'
    assert verdict({'a': gains(0.2, 0.1)}, {'a': gains(0.4)}, ['a'])['verdict'] == 'adversarial'


def test_a_gain_of_recognizers_of_which_none_was_used_is_real_where_it_lasts():
    of_clean = {'a': gains(0.4), 'b': gains(0.4)}
    found = verdict({'a': gains(0.2), 'b': gains(0.1)}, of_clean, ['used elsewhere'])
    assert found['verdict'] == 'real' and found['held_out_ratio'] is None
    assert 'no recognizer here was used: they gain +15.0' in found['reason']
    assert verdict({'a': gains(0.2, 0.1), 'b': gains(0.1, 0.1)}, of_clean, ['x'])['verdict'] == 'adversarial'


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
    cells = {view: {name: cell_of(judged[name, 0, view], infos, {}) for name in (CLEAN, *rows)} for view in ALL_VIEWS}
    found = audit(cells, 'plain', {'pattern': ['resnet'], 'better': ['resnet']})['restorers']
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


def test_spectrum_is_the_power_at_each_frequency():
    x = torch.arange(32, dtype=torch.float64)
    wave = torch.sin(2 * torch.pi * 6 / 32 * x).expand(1, 3, 32, 32)  # 6/32 cycles per pixel, across
    power = spectrum(wave)[0]
    assert power.argmax() == 6 and power[6] / power.sum() > 0.999 and band_centers()[6] == pytest.approx(6.5 / 32)
    noise = torch.randn(2000, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(spectrum(noise).mean(0), 1, rtol=0.06)  # white: its variance at every frequency
