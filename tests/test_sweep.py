"""A sweep over loss weights: options and choice by hand, and a tiny one from training to report."""
import json

import pytest
import runs
import yaml
from test_evaluation_run import ROOT, recognizer

from ra_plugin.engine import trained_runs
from ra_plugin.engine.sweep import best_within, sweep, with_weight
from ra_plugin.options import OptionError

RUN = {'name': 'run', 'network_g': {'type': 'SRResNet'}, 'network_t': {'type': 'ResnetGenerator'},
       'train': {'pixel_opt': {'type': 'MSELoss'}, 'optim_t': {'type': 'Adam'},
                 'recog_opt': {'type': 'RecogLoss', 'loss_weight': 1.0}}}


def test_a_weight_changes_that_alone_and_0_is_the_plain_run():
    weighted = with_weight(RUN, 1e-3)
    assert weighted['name'] == 'run_weight0.001' and weighted['train']['recog_opt']['loss_weight'] == 1e-3
    weighted['name'], weighted['train']['recog_opt']['loss_weight'] = 'run', 1.0
    assert weighted == RUN
    assert with_weight(RUN, 0) == {'name': 'run_weight0', 'network_g': {'type': 'SRResNet'},
                                   'train': {'pixel_opt': {'type': 'MSELoss'}}}


def difference(psnr, low, *gains):
    return {'psnr': {'value': psnr, 'low': low, 'high': 0},
            'scores': {str(i): {'top1': {'value': gain}} for i, gain in enumerate(gains)}}


def test_the_best_weight_keeps_to_the_budget_with_its_interval():
    results = {'conditions': {'a': {'differences': {
        'weight 0.0001': difference(-0.02, -0.03, 0.05, 0.01), 'weight 0.001': difference(-0.08, -0.09, 0.1, 0.04),
        'weight 0.01': difference(-0.09, -0.11, 0.3, 0.2)}}, 'b': {'differences': {
            'weight 0.001': difference(-0.01, -0.02, -0.1, 0.05)}}}}
    best = best_within(results, 0.1)
    assert best['a'].weight == 0.001 and best['b'] is None
    assert (best['a'].gain, best['a'].psnr_drop) == (pytest.approx(0.07), 0.08)
    assert best_within(results, 0.11)['a'].weight == 0.01
    assert best_within(results, 0.01)['a'] is None


@pytest.mark.parametrize('weights, message', [([1e-3], 'expected 0 and'), ([0], 'at least one weight above'),
                                              ([0, -1], 'at least one weight above')])
def test_weights_that_cannot_be_meant(weights, message, tmp_path):
    (tmp_path / 'run.yml').write_text(yaml.safe_dump(RUN))
    with pytest.raises(OptionError, match=message):
        sweep(tmp_path, tmp_path / 'run.yml', weights, tmp_path / 'run.yml', tmp_path / 'out')


def test_without_a_recognition_loss_there_is_nothing_to_vary(tmp_path):
    (tmp_path / 'run.yml').write_text(yaml.safe_dump(with_weight(RUN, 0)))
    with pytest.raises(OptionError, match='expected one recognition loss'):
        sweep(tmp_path, tmp_path / 'run.yml', [0, 1], tmp_path / 'run.yml', tmp_path / 'out')


def test_networks_are_trained_once_and_evaluated_side_by_side(tmp_path, monkeypatch):
    opt = runs.options(tmp_path, total_iter=2)
    del opt['network_t'], opt['train']['optim_t']
    opt['train']['recog_opt']['recognizer'] = recognizer('TinyVGG')
    (tmp_path / 'ra.yml').write_text(yaml.safe_dump(opt))
    (tmp_path / 'eval.yml').write_text(yaml.safe_dump({
        'name': 'small', 'audit': 2, 'images': 8, 'restorers': {},
        'datasets': {'noise': {'type': 'LabeledImageDataset', 'dataroot_gt': str(tmp_path / 'images'), 'crop_size': 16,
                               'degradation': {'type': 'GaussianNoise', 'sigma': 0.1}}},
        'recognizers': {'vgg': recognizer('TinyVGG'), 'resnet': recognizer('TinyResNet')}}))
    (tmp_path / 'tools').mkdir()
    (tmp_path / 'tools' / 'train.py').write_text(  # trains below this folder, not below the repository
        f'import sys\nfrom pathlib import Path\nsys.path.insert(0, {str(ROOT)!r})\n'
        'from ra_plugin.engine.runs import run, train_pipeline\n'
        'sys.exit(run(train_pipeline, Path(__file__).resolve().parents[1]))\n')
    results = sweep(tmp_path, tmp_path / 'ra.yml', [0.01, 0], tmp_path / 'eval.yml', tmp_path / 'out')
    assert list(results['restorers']) == ['weight 0', 'weight 0.01'] and results['baseline'] == 'weight 0'
    assert results['restorers']['weight 0.01']['used'] == ['vgg'] and not results['restorers']['weight 0']['used']
    assert list(results['conditions']['noise']['differences']) == ['weight 0.01']
    assert 'weight 0.01' in (tmp_path / 'out' / 'report.html').read_text()
    monkeypatch.setattr(trained_runs, 'run_program', None)  # nothing is left to train
    again = sweep(tmp_path, tmp_path / 'ra.yml', [0, 0.01], tmp_path / 'eval.yml', tmp_path / 'out')
    assert again == json.loads((tmp_path / 'out' / 'results.json').read_text()) == results
