"""A sweep over loss weights: options and choice by hand, and a tiny one from training to report."""
import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import runs
import torch
import warm_start
import yaml
from conftest import SOAK
from page_data import typed
from test_evaluation_run import recognizer

from ra_plugin.evaluation.judging import CLEAN, NONE
from ra_plugin.evaluation.statistics.transfer import JudgedProcessing, Matrix, summary
from ra_plugin.metrics.task_scores import build_score
from ra_plugin.options import OptionError
from ra_plugin.recognizers.facts import RecognizerInfo
from ra_plugin.results import SCHEMA, Estimate, Results
from ra_plugin.studies.sweep.run import sweep, with_weight
from ra_plugin.studies.sweep.weight_choice import answer, choose, weigh
from ra_plugin.training import train_if_needed as trained_runs

RUN = {'name': 'run', 'network_g': {'type': 'SRResNet'}, 'network_t': {'type': 'ResnetGenerator'},
       'train': {'pixel_opt': {'type': 'MSELoss'}, 'optim_t': {'type': 'Adam'},
                 'anchor_opt': {'type': 'MSELoss', 'to': 'output'},
                 'recog_opt': {'type': 'RecogLoss', 'loss_weight': 1.0}}}


def test_a_weight_changes_that_alone_and_0_is_the_plain_run():
    weighted = with_weight(RUN, 1e-3)
    assert weighted['name'] == 'run_weight0.001' and weighted['train']['recog_opt']['loss_weight'] == 1e-3
    weighted['name'], weighted['train']['recog_opt']['loss_weight'] = 'run', 1.0
    assert weighted == RUN
    assert with_weight(RUN, 0) == {'name': 'run_weight0', 'network_g': {'type': 'SRResNet'},
                                   'train': {'pixel_opt': {'type': 'MSELoss'}}}


def estimate(value, half):
    return {'value': value, 'low': value - half, 'high': value + half}


def difference(psnr, *gains, half=0.01, psnr_half=0.01):
    """What one weight gives, the gains of the recognizers 0, 1, ...; ``half`` are the half-widths."""
    return {**({} if psnr is None else {'psnr': estimate(psnr, psnr_half)}),
            'scores': {str(i): {'top1': estimate(gain, half)} for i, gain in enumerate(gains)}}


def sweep_of(used=(), **differences):
    """Results of a sweep: ``w1`` is weight 1."""
    by_name = {f'weight {name[1:]}': entry for name, entry in differences.items()}
    return typed({'baseline': 'weight 0', 'restorers': {name: {'used': list(used)} for name in by_name},
                  'conditions': {'c': {'differences': by_name}}})


def test_a_budget_without_clean_images_is_refused_before_anything_is_trained(tmp_path):
    (tmp_path / 'run.yml').write_text(yaml.safe_dump(RUN))
    (tmp_path / 'eval.yml').write_text(yaml.safe_dump({'name': 'e', 'datasets': {
        'd': {'type': 'LabeledImageDataset', 'dataroot_lq': str(tmp_path)}}}))
    with pytest.raises(OptionError, match='datasets.d: without clean images there is no PSNR to keep to'):
        sweep(tmp_path, tmp_path / 'run.yml', [0, 1], tmp_path / 'eval.yml', tmp_path / 'out', max_psnr_drop=0.1)
    assert not (tmp_path / 'out').exists()


def best_within(results, max_psnr_drop=None):
    """The choice for each condition, with its gain and interval."""
    return {condition: choose(weigh(results, condition, max_psnr_drop)) for condition in results.conditions}


def test_the_best_weight_keeps_to_the_budget_with_its_interval():
    results = sweep_of(w1=difference(-0.02, 0.05, 0.01), w2=difference(-0.08, 0.1, 0.04),
                       w3=difference(-0.09, 0.3, 0.2))
    best = best_within(results, 0.094)['c']  # -0.08 - 0.01 * 2.394 / 1.96 = -0.0922
    assert best.weight == 2 and (best.gain, best.psnr_drop) == (pytest.approx(0.07), 0.08)
    assert (best.low, best.high) == (pytest.approx(0.07 - 0.01 * 2.394 / 1.96, abs=1e-5),
                                     pytest.approx(0.07 + 0.01 * 2.394 / 1.96, abs=1e-5))
    assert best_within(results, 0.091)['c'].weight == 1  # within the interval of one comparison, not of three
    assert best_within(results, 0.11)['c'].weight == best_within(results)['c'].weight == 3
    assert best_within(results, 0.01)['c'] is None


def test_a_gain_that_may_be_none_is_not_named():
    assert best_within(sweep_of(w1=difference(0.0, 0.011)), 1)['c'].weight == 1
    assert best_within(sweep_of(w1=difference(0.0, 0.009)), 1)['c'] is None
    # what is surely above zero alone is not among four
    four = {f'w{i}': difference(0.0, gain) for i, gain in enumerate((0.011, 0.0, 0.0, 0.0), 1)}
    assert best_within(sweep_of(**four), 1)['c'] is None


def test_recognizers_never_used_decide_where_there_are_any():
    entry = {'w1': difference(0.0, 0.3, 0.001), 'w2': difference(0.0, 0.1, 0.03)}
    assert best_within(sweep_of(**entry))['c'].weight == 1
    best = best_within(sweep_of(used=['0'], **entry))['c']
    assert best.weight == 2 and best.gain == pytest.approx(0.03)
    assert best_within(sweep_of(used=['0', '1'], **entry))['c'].weight == 1


@pytest.mark.parametrize('psnr', [None, Estimate(math.nan, math.nan, math.nan), Estimate(math.inf, math.inf, math.inf)])
def test_without_psnr_no_weight_keeps_to_a_budget(psnr):
    def made(**differences):
        results = sweep_of(w1=difference(None, 0.3), **differences)
        found = results.conditions['c'].differences
        found['weight 1'] = replace(found['weight 1'], quality={} if psnr is None else {'psnr': psnr})
        return results

    results = made(w2=difference(-0.01, 0.1))
    assert best_within(results, 0.1)['c'].weight == 2 and best_within(results)['c'].weight == 1
    alone = made()
    assert best_within(alone, 0.1)['c'] is None
    assert 'There is no PSNR here' in answer(alone, 0.1).conditions['c'].reason


def test_scores_that_are_not_known_are_no_gain():
    unknown = {'value': None, 'low': None, 'high': None}
    results = sweep_of(w1={'psnr': estimate(0.0, 0.1), 'scores': {'0': {'top1': unknown}}},
                       w2={'psnr': estimate(0.0, 0.1), 'scores': {}})
    assert best_within(results, 1) == {'c': None}
    assert best_within(sweep_of(), 1) == {'c': None}


def drawn_sweep(rng, gains, images, recognizers=3):
    """Results of a sweep by the package's own statistics: the gains of the weights 1, 2, ... are true ones."""
    infos = {str(i): RecognizerInfo(name=str(i), task='classification', num_classes=2) for i in range(recognizers)}
    hard = rng.random(images)
    cells = {}
    of_weights = ((f'weight {i}', gain) for i, gain in enumerate(gains, 1))
    for name, gain in ((CLEAN, 0.3), (NONE, 0.0), ('weight 0', 0.0), *of_weights):
        scores = {}
        for judge, info in infos.items():
            own = np.where(rng.random(images) < 0.3, rng.random(images), hard)
            right = np.where(rng.random(images) < 0.2, rng.random(images), own) < 0.5 + gain
            scores[judge] = build_score(info, ('top1',))
            scores[judge].update({'labels': torch.tensor(right)[:, None].long()}, torch.ones(images).long())
        psnr = 30 + rng.normal(0, 0.1, images)
        cells[name, 0] = JudgedProcessing(np.arange(images), {'psnr': psnr} if name != CLEAN else {}, scores)
    return Results(SCHEMA, 'weight 0', {'c': summary(Matrix(cells), 'weight 0')})


@pytest.mark.slow
def test_by_luck_alone_a_weight_is_named_in_five_percent_and_intervals_hold():
    rng, trials = np.random.default_rng(0), 60 * SOAK
    named = [best_within(drawn_sweep(rng, [0.0] * 5, 200), 1)['c'] for _ in range(trials)]
    assert sum(best is not None for best in named) <= 0.05 * trials + 2 * (0.05 * 0.95 * trials) ** 0.5
    truth = [0.02, 0.08, 0.14]
    found = [best_within(drawn_sweep(rng, truth, 300), 1)['c'] for _ in range(trials)]
    assert sum(best is not None for best in found) >= 0.95 * trials
    covered = sum(best.low <= truth[int(best.weight) - 1] <= best.high for best in found if best)
    assert covered >= 0.95 * trials - 2 * (0.05 * 0.95 * trials) ** 0.5


@pytest.mark.parametrize('weights, message', [([1e-3], 'expected 0 and'), ([0], 'at least one weight above'),
                                              ([0, -1], 'at least one weight above'),
                                              ([0, math.nan], 'at least one weight above'),
                                              ([0, 1e-3, 1.0000001e-3], 'differ in six digits')])
def test_weights_that_cannot_be_meant(weights, message, tmp_path):
    (tmp_path / 'run.yml').write_text(yaml.safe_dump(RUN))
    with pytest.raises(OptionError, match=message):
        sweep(tmp_path, tmp_path / 'run.yml', weights, tmp_path / 'run.yml', tmp_path / 'out')


@pytest.mark.parametrize('budget', [-0.1, math.nan, math.inf])
def test_a_budget_is_a_number_of_decibels(budget, tmp_path):
    (tmp_path / 'run.yml').write_text(yaml.safe_dump(RUN))
    with pytest.raises(OptionError, match='max_psnr_drop: expected a number of dB >= 0'):
        sweep(tmp_path, tmp_path / 'run.yml', [0, 1], tmp_path / 'run.yml', tmp_path / 'out', max_psnr_drop=budget)


def test_without_a_recognition_loss_there_is_nothing_to_vary(tmp_path):
    (tmp_path / 'run.yml').write_text(yaml.safe_dump(with_weight(RUN, 0)))
    with pytest.raises(OptionError, match='expected one recognition loss'):
        sweep(tmp_path, tmp_path / 'run.yml', [0, 1], tmp_path / 'run.yml', tmp_path / 'out')


@pytest.mark.slow
def test_networks_are_trained_once_and_evaluated_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'executable', warm_start.python())
    opt = runs.options(tmp_path, total_iter=2)
    del opt['network_t'], opt['train']['optim_t']
    opt['train']['recog_opt']['recognizer'] = recognizer('TinyVGG')
    (tmp_path / 'ra.yml').write_text(yaml.safe_dump(opt))
    (tmp_path / 'eval.yml').write_text(yaml.safe_dump({
        'name': 'small', 'audit': 2, 'images': 8, 'restorers': {},
        'datasets': {'noise': {'type': 'LabeledImageDataset', 'dataroot_gt': str(tmp_path / 'images'), 'crop_size': 16,
                               'degradation': {'type': 'GaussianNoise', 'sigma': 0.1}}},
        'recognizers': {'vgg': recognizer('TinyVGG'), 'resnet': recognizer('TinyResNet')}}))
    files = tmp_path / 'ra.yml', tmp_path / 'eval.yml', tmp_path / 'out'
    results = sweep(tmp_path, files[0], [0.01, 0], *files[1:], max_psnr_drop=9).to_json()
    assert list(results['restorers']) == ['weight 0', 'weight 0.01'] and results['baseline'] == 'weight 0'
    assert results['restorers']['weight 0.01']['used'] == ['vgg'] and not results['restorers']['weight 0']['used']
    assert list(results['conditions']['noise']['differences']) == ['weight 0.01']
    chosen = results['sweep']['conditions']['noise']
    assert results['sweep']['max_psnr_drop'] == 9 and [one['weight'] for one in chosen['weights']] == [0.01]
    assert chosen['recognizers'] == ['resnet'] and chosen['never_used']
    for written in ('report.html', 'tables.md'):
        text = (tmp_path / 'out' / written).read_text()
        assert 'weight 0.01' in text and chosen['reason'] in text
    monkeypatch.setattr(trained_runs, 'run_program', None)  # nothing is left to train
    again = sweep(tmp_path, files[0], [0, 0.01], *files[1:], max_psnr_drop=9).to_json()
    assert again == json.loads((tmp_path / 'out' / 'results.json').read_text()) == results
