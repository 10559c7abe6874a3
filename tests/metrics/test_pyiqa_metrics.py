"""Metrics of pyiqa in evaluations and in validation; nothing is downloaded, weights are random or BasicSR's own."""
import json
import os
import shutil
import socket
import sys

import numpy as np
import pyiqa
import pytest
import scipy.io
import scipy.ndimage
import torch
import yaml
from basicsr.metrics import calculate_metric
from basicsr.metrics import niqe as basicsr_niqe
from basicsr.metrics.psnr_ssim import calculate_ssim
from PIL import Image
from pyiqa.archs.pieapp_arch import PieAPP
from test_option_file import base
from test_recog_aware_model import RECOG, RECOGNIZER, Items, build
from test_recog_aware_model import options as host_options

import ra_plugin.basicsr  # noqa: F401  (registers)
from ra_plugin.builders.file_check import check_file
from ra_plugin.evaluation.run import Evaluation
from ra_plugin.evaluation.write_report import run_evaluation
from ra_plugin.metrics import pyiqa_metrics
from ra_plugin.metrics.calculate_pyiqa import calculate_pyiqa
from ra_plugin.metrics.psnr_ssim import psnr, ssim
from ra_plugin.metrics.pyiqa_metrics import QualityMetric
from ra_plugin.options import OptionError
from ra_plugin.report.html_table import shown_table
from ra_plugin.report.markdown import to_markdown
from ra_plugin.report.tables import color_scale, difference_table, score_table
from ra_plugin.results import Results
from ra_plugin.training.pipeline import run as run_program

SIDE = 48
COUNT = 10


@pytest.fixture
def pair():
    reference = torch.randint(0, 256, (3, 3, SIDE, SIDE - 4), dtype=torch.uint8)
    noisy = (reference.float() + 12 * torch.randn(reference.shape)).clamp(0, 255).round().to(torch.uint8)
    return noisy, reference


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """Names of hosts are not found, and nothing has been downloaded before; the hosts that were asked for."""
    asked = []

    def refused(host, *args, **kwargs):
        asked.append(host)
        raise OSError('no network')

    monkeypatch.setattr(socket, 'getaddrinfo', refused)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.setattr('pyiqa.utils.download_util.DEFAULT_CACHE_DIR', str(tmp_path / 'torch' / 'hub' / 'pyiqa'))
    return asked


@pytest.fixture(scope='module')
def niqe_weights(tmp_path_factory):
    """BasicSR brings the numbers that NIQE needs, pyiqa does not."""
    folder = os.path.dirname(basicsr_niqe.__file__)
    params = np.load(os.path.join(folder, 'niqe_pris_params.npz'))
    path = tmp_path_factory.mktemp('weights') / 'niqe.mat'
    scipy.io.savemat(path, {'mu_prisparam': params['mu_pris_param'], 'cov_prisparam': params['cov_pris_param']})
    return str(path)


def evaluation_options(root, **changes):
    """Ten images with noise, one of each class, and a restorer that is a folder of images with less of it."""
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        smooth = Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)).resize((SIDE, SIDE), Image.BICUBIC)
        better = np.clip(np.asarray(smooth) + rng.normal(0, 4, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
        for kind, image in (('clean', smooth), ('restored', Image.fromarray(better))):
            (root / kind / 'abcdefghij'[i]).mkdir(parents=True, exist_ok=True)
            image.save(root / kind / 'abcdefghij'[i] / f'{i}.png')
    return {'name': 'small', 'audit': 0, 'baseline': 'no processing',
            'datasets': {'images': {'type': 'LabeledImageDataset', 'dataroot_gt': str(root / 'clean'),
                                    'degradation': {'type': 'GaussianNoise', 'sigma': 0.1}}},
            'restorers': {'tool': {'folder': str(root / 'restored')}},
            'recognizers': {'vgg': {'type': 'ModuleRecognizer', 'module': 'ra_plugin.recognizers.tiny_nets.TinyVGG',
                                    'mean': [0.5] * 3, 'std': [0.25] * 3, 'input_size': 32}}, **changes}


METRICS = {'ssimc': None, 'gmsd': {'test_y_channel': False}, 'piqe': None}


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp('evaluation')
    opt = evaluation_options(root, quality_metrics=METRICS)
    (root / 'opt.yml').write_text(yaml.safe_dump(opt, sort_keys=False))
    run_evaluation(root, root / 'opt.yml', root / 'out', batch_size=4, num_workers=0)
    return root


@pytest.fixture(scope='module')
def results(place):
    return json.loads((place / 'out' / 'results.json').read_text())


def gmsd_by_hand(image, reference):
    """Xue et al. 2014 in float64, ``(3, H, W)``: the deviation of the similarity of gradients, at half the size."""
    maps = []
    for x in (image.astype(np.float64), reference.astype(np.float64)):
        x = (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4
        smooth = [1 / 3, 1 / 3, 1 / 3]
        gradients = [scipy.ndimage.correlate1d(scipy.ndimage.correlate1d(x, smooth, axis, mode='constant'), [-1, 0, 1],
                                               3 - axis, mode='constant') for axis in (1, 2)]
        maps.append(np.hypot(*gradients))
    a, b = maps
    return np.std((2 * a * b + 170) / (a ** 2 + b ** 2 + 170), ddof=1)


@pytest.mark.slow
def test_psnr_and_ssim_of_pyiqa_are_ours(pair):
    images, reference = (part.float() / 255 for part in pair)
    np.testing.assert_allclose(QualityMetric('psnr', {})(images, reference), psnr(*pair), rtol=1e-4)
    np.testing.assert_allclose(QualityMetric('ssimc', {})(images, reference), ssim(*pair), rtol=1e-5)
    assert not images.requires_grad


@pytest.mark.slow
def test_an_evaluation_has_them_beside_psnr_and_ssim(place, results):
    condition, evaluation = results['conditions']['images'], Evaluation(place, yaml.safe_load(
        (place / 'opt.yml').read_text()))
    processings = condition['processings']
    for name in ('no processing', 'tool'):
        assert processings[name]['ssimc'] == pytest.approx(processings[name]['ssim'], rel=1e-5)
    assert processings['clean']['ssimc'] is processings['clean']['gmsd'] is None
    by_hand, clean_piqe, piqe = [], [], pyiqa.create_metric('piqe', device='cpu')
    for item in evaluation.conditions[0].dataset:
        gt, lq = ((item[key] * 255).round().numpy() for key in ('gt', 'lq'))
        clean_piqe.append(piqe(item['gt'][None]).item())
        restored = np.asarray(Image.open(item['gt_path'].replace('clean', 'restored'))).transpose(2, 0, 1)
        by_hand.append([gmsd_by_hand(image, gt) for image in (restored, lq)])
    assert processings['clean']['piqe'] == pytest.approx(np.mean(clean_piqe), rel=1e-4)  # needs no clean image
    tool, none = np.mean(by_hand, 0)
    assert processings['tool']['gmsd'] == pytest.approx(tool, rel=1e-4)
    difference = condition['differences']['tool']['gmsd']
    assert difference['value'] == pytest.approx(tool - none, rel=1e-4)
    assert difference['low'] < difference['value'] < difference['high'] < 0
    assert results['quality_metrics'] == {
        name: {'better': better, 'source': f'pyiqa {pyiqa.__version__}'}
        for name, better in (('ssimc', 'higher'), ('gmsd', 'lower'), ('piqe', 'lower'))}


def test_tables_have_a_column_with_an_arrow(place, results):
    text = (place / 'out' / 'tables.md').read_text()
    scores, differences = ([[cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines()
                            if line.startswith('|') and cells in line] for cells in ('| SSIM', 'minus no'))
    assert scores[0][:6] == ['processing', 'PSNR', 'SSIM', 'ssimc \u2191', 'gmsd \u2193', 'piqe \u2193']
    assert differences[0][:5] == ['minus no processing', 'PSNR', 'ssimc \u2191', 'gmsd \u2193', 'piqe \u2193']
    condition = results['conditions']['images']
    value = condition['differences']['tool']['gmsd']
    assert f'{value["value"]:+.4f} [{value["low"]:+.4f}, {value["high"]:+.4f}]' in text
    assert f'{condition["processings"]["tool"]["piqe"]:.4f}' in text
    widths = {line.count('|') for line in text.split('## ')[1].splitlines() if line.startswith('| tool')}
    assert len(widths) <= 3  # rows of one table have one width
    typed = Results.from_json(results)
    scores = shown_table(score_table(typed, 'images').select(['main'], ['quality']))
    differences = difference_table(typed, 'images', color_scale(typed)).select(['main'], ['quality'])
    for table in (scores, shown_table(differences)):
        assert [(head.text, head.note) for head in table.heads[-5:]] == [
            ('PSNR', 'dB'), ('SSIM', ''), ('ssimc', '\u2191 higher is better'), ('gmsd', '\u2193 lower is better'),
            ('piqe', '\u2193 lower is better')]
        assert all(len(cells) == len(table.heads) - 1 for _, cells in table.rows)
    shown = {name.text: cells for name, cells in scores.rows}
    assert shown['tool'][-2].text == f'{condition["processings"]["tool"]["gmsd"]:.4f}'
    assert [cell.text for cell in shown['clean'][-4:-1]] == ['\u2013'] * 3 and shown['clean'][-1].text != '\u2013'
    assert 'gmsd' in (place / 'out' / 'report.html').read_text()
    assert '\u2193' not in to_markdown(Results.from_json({**results, 'quality_metrics': {}}))


@pytest.mark.slow
@pytest.mark.parametrize('metrics', [['ssimc', 'gmsd', 'piqe'], {**METRICS, 'nlpd': None}, []])
def test_records_of_other_metrics_are_kept_in_what_has_not_changed(place, metrics, tmp_path):
    opt = {**yaml.safe_load((place / 'opt.yml').read_text()), 'quality_metrics': metrics}
    shutil.copytree(place / 'out', tmp_path / 'again')
    again, anew = (Evaluation(place, opt).run(tmp_path / folder)[0].to_json()['conditions']
                   for folder in ('again', 'anew'))
    assert again == anew


@pytest.mark.slow
def test_a_metric_that_needs_larger_images_is_nan_and_says_so(place, tmp_path):
    opt = {**yaml.safe_load((place / 'opt.yml').read_text()), 'quality_metrics': ['ms_ssim']}
    with pytest.warns(UserWarning, match=f'ms_ssim is not defined for images of {SIDE}x{SIDE} pixels, and is NaN'):
        found = Evaluation(place, opt).run(tmp_path)[0].to_json()
    condition = found['conditions']['images']
    assert condition['processings']['tool']['ms_ssim'] is None
    assert condition['differences']['tool']['ms_ssim'] == {'value': None, 'low': None, 'high': None}
    assert '\u2193' not in to_markdown(Results.from_json(found))


def test_what_fails_on_large_images_is_an_error(monkeypatch, pair):
    metric = QualityMetric('ms_ssim', {})
    monkeypatch.setattr(pyiqa_metrics, '_TRIED', 32)
    with pytest.raises(RuntimeError):
        metric(*(part.float() / 255 for part in pair))


@pytest.mark.parametrize('metrics, message', [
    (['lpisp'], r"quality_metrics\.lpisp: pyiqa has no metric 'lpisp'\. Did you mean 'lpips'\?"),
    (['psnr'], r'quality_metrics\.psnr: this is always there'),
    ({'gmsd': 3}, r'quality_metrics\.gmsd: expected a block'),
    ({'gmsd': {'chanel': 1}}, r"quality_metrics\.gmsd: pyiqa cannot build gmsd: TypeError: .*argument 'chanel'"),
    ('gmsd', r'^quality_metrics: expected'),
])
def test_wrong_options_are_named(place, metrics, message):
    with pytest.raises(OptionError, match=message):
        Evaluation(place, {**yaml.safe_load((place / 'opt.yml').read_text()), 'quality_metrics': metrics})


class OfAll(torch.nn.Module):
    """One value of a whole batch; its class swallows unknown keys, as LPIPS' does."""

    lower_better, metric_mode = True, 'FR'

    def __init__(self, net='alex', **kwargs):
        super().__init__()
        self.net = self

    def forward(self, images, reference):
        return (images - reference).square().mean()


@pytest.mark.parametrize('options, message', [
    ({'net': 'vgg'}, 'm: fid gives no value to each image of a batch'),
    ({'nett': 'vgg'}, r"m: unknown key 'nett'\. Did you mean 'net'\? Known: net$"),
])
def test_what_pyiqa_would_not_notice(monkeypatch, options, message):
    monkeypatch.setattr(OfAll, '__setattr__', object.__setattr__)  # torch would walk in a circle
    monkeypatch.setattr(pyiqa, 'create_metric', lambda name, device, **options: OfAll(**options))
    with pytest.raises(OptionError, match=message):
        QualityMetric('fid', options, where='m')


@pytest.mark.slow
@pytest.mark.parametrize('name, host', [('lpips', 'download.pytorch.org'), ('dists', 'download.pytorch.org'),
                                        ('pieapp', 'huggingface.co'), ('niqe', 'huggingface.co')])
def test_weights_that_are_not_there_are_one_line_before_anything_runs(name, host, place, tmp_path, no_network, capsys,
                                                                      monkeypatch):
    (tmp_path / 'opt.yml').write_text(yaml.safe_dump({
        **yaml.safe_load((place / 'opt.yml').read_text()), 'quality_metrics': [name]}))
    monkeypatch.setattr(sys, 'argv', ['evaluate.py'])
    assert run_program(lambda root: run_evaluation(root, tmp_path / 'opt.yml', tmp_path / 'out', 4, 0), place) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith(f"evaluate.py: quality_metrics.{name}: the weights of pyiqa's {name} are not on the disk "
                           'and cannot be fetched (<urlopen error no network>)')
    assert f'below {tmp_path / "torch" / "hub"} (pyiqa, checkpoints). Run this once with a network' in line
    assert no_network == [host] and not (tmp_path / 'out').exists()


@pytest.mark.slow
def test_weights_at_hand_are_taken_without_a_network(no_network, niqe_weights, tmp_path):
    rng = np.random.default_rng(0)
    image = np.asarray(Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).resize((224, 224), 3))
    images = torch.from_numpy(image.transpose(2, 0, 1).copy())[None].float() / 255
    expected = basicsr_niqe.calculate_niqe(image[..., ::-1].astype(np.float64), crop_border=0)
    metric = QualityMetric('niqe', {'pretrained_model_path': niqe_weights})
    assert metric(images).item() == pytest.approx(float(expected), rel=0.02)
    assert (metric.better, metric.needs_reference) == ('lower', False)
    cache = tmp_path / 'torch' / 'hub' / 'pyiqa'
    cache.mkdir(parents=True)
    os.symlink(niqe_weights, cache / 'niqe_modelparameters.mat')
    assert QualityMetric('niqe', {})(images) == metric(images)
    assert not no_network


class Code:

    def __reduce__(self):
        return os.mkdir, ('code_ran',)


@pytest.mark.slow
def test_weights_that_hold_code_are_refused(tmp_path, monkeypatch, no_network):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pyiqa_metrics, '_TRIED', 64)  # one patch
    weights = PieAPP(pretrained=False).state_dict()
    torch.save(weights, 'right.pth')
    torch.save({**weights, 'x': Code()}, 'wrong.pth')
    metric = QualityMetric('pieapp', {'pretrained_model_path': 'right.pth'})
    assert metric.better == 'lower' and not any(p.requires_grad for p in metric.metric.parameters())
    assert not metric.metric.net.training
    before = dict(os.environ)
    with pytest.raises(OptionError, match='m: pyiqa cannot build pieapp: UnpicklingError: Weights only load failed'):
        QualityMetric('pieapp', {'pretrained_model_path': 'wrong.pth'}, where='m')
    assert not os.path.exists('code_ran') and dict(os.environ) == before


@pytest.mark.slow
def test_basicsr_calls_it_with_its_own_images(pair):
    image, reference = (part[0].permute(1, 2, 0).numpy()[..., ::-1] for part in pair)  # BGR
    block = {'type': 'calculate_pyiqa', 'metric': 'ssimc', 'crop_border': 3, 'better': 'higher'}
    found = calculate_metric({'img': image, 'img2': reference}, block)
    assert found == pytest.approx(calculate_ssim(image, reference, crop_border=3), rel=1e-5)
    luma = {'type': 'calculate_pyiqa', 'metric': 'gmsd'}
    rgb = QualityMetric('gmsd', {})(*(part[:1].float() / 255 for part in pair)).item()
    assert calculate_metric({'img': image, 'img2': reference}, luma) == pytest.approx(rgb, rel=1e-6)
    assert calculate_metric({'img': image[..., 0], 'img2': reference[..., :1]}, luma) > 0  # gray, both ways
    with pytest.raises(OptionError, match='gmsd compares with clean images, and the data set gives none'):
        calculate_pyiqa(image, metric='gmsd')


@pytest.mark.slow
@pytest.mark.parametrize('metric, better', [('gmsd', 'lower'), ('ssimc', 'higher')])
def test_a_training_keeps_the_best_in_the_metrics_direction(metric, better):
    opt = base()
    opt['val']['metrics'] = {'m': {'type': 'calculate_pyiqa', 'metric': metric}}
    check_file(opt)
    assert opt['val']['metrics']['m']['better'] == better
    opt['val']['metrics']['m']['better'] = 'higher'
    check_file(opt)
    assert opt['val']['metrics']['m']['better'] == 'higher'


def test_a_validation_scores_with_it_and_keeps_the_lowest(tmp_path):
    opt = host_options(tmp_path, recog_opt=RECOG)
    opt['val'] = {'recognizers': {'small': RECOGNIZER}, 'metrics': {
        'ours': {'type': 'calculate_psnr', 'crop_border': 0}, 'theirs': {'type': 'calculate_pyiqa', 'metric': 'psnr'},
        'gmsd': {'type': 'calculate_pyiqa', 'metric': 'gmsd', 'better': 'lower'}}}
    model, found = build(opt), []
    for iteration in (1, 2):
        model.validation(torch.utils.data.DataLoader(Items(), 4), iteration, None)
        found.append(dict(model.metric_results))
        for parameter in model.net_g.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    assert found[0]['theirs'] == pytest.approx(found[0]['ours'], rel=1e-4)
    lowest = min((1, 2), key=lambda iteration: found[iteration - 1]['gmsd'])
    assert model.best_metric_results['items']['gmsd'] == {
        'better': 'lower', 'val': found[lowest - 1]['gmsd'], 'iter': lowest}


@pytest.mark.parametrize('block, message', [
    ({'metric': 'lpisp'}, r"val\.metrics\.m: pyiqa has no metric 'lpisp'\. Did you mean 'lpips'\?"),
    ({}, r'val\.metrics\.m\.metric: expected the name of one of'),
    ({'metric': 'gmsd', 'crop': 2}, r'val\.metrics\.m: pyiqa cannot build gmsd: TypeError'),
])
def test_wrong_options_of_a_training_are_named(block, message):
    opt = base()
    opt['val']['metrics'] = {'m': {'type': 'calculate_pyiqa', **block}}
    with pytest.raises(OptionError, match=message):
        check_file(opt)
