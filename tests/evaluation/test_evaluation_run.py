"""Evaluations as option files have them: each image restored once, the same results however they are run."""
import copy
import json
import os
import re
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import warm_start
import yaml
from PIL import Image
from small_evaluation import rounded

import ra_plugin.basicsr  # noqa: F401  (registers)
from ra_plugin.archs import SRResNet
from ra_plugin.evaluation import judging, records
from ra_plugin.evaluation.judging import CLEAN, SPECTRUM, Batch, Judging, clean
from ra_plugin.evaluation.options import read_options
from ra_plugin.evaluation.report_examples import examples
from ra_plugin.evaluation.restorers import FolderOfImages, Network
from ra_plugin.evaluation.run import Evaluation
from ra_plugin.evaluation.statistics.perturbations import FLOAT, VIEWS, spectrum
from ra_plugin.evaluation.write_report import evaluate, run_evaluation
from ra_plugin.metrics.psnr_ssim import psnr, to_uint8
from ra_plugin.options import OptionError
from ra_plugin.registry import RECOGNIZER_REGISTRY
from ra_plugin.results import Results
from ra_plugin.studies.boundary.run import BoundaryOptions, BoundaryStudy
from ra_plugin.studies.sweep.weight_choice import answer
from ra_plugin.training.pipeline import run as run_program

ROOT = Path(__file__).resolve().parents[2]
COUNT = 30


def recognizer(net):
    return {'type': 'ModuleRecognizer', 'module': f'ra_plugin.recognizers.tiny_nets.{net}', 'input_size': 32,
            'checkpoint': str(ROOT / f'ra_plugin/weights/cifar10_{net.removeprefix("Tiny").lower()}.safetensors')}


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """Thirty images in ten classes, two networks of which one has two seeds, and an option file."""
    root = tmp_path_factory.mktemp('evaluation')
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        folder = root / 'images' / f'{"abcdefghij"[i % 10]}'
        folder.mkdir(parents=True, exist_ok=True)
        smooth = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).resize((32, 32), Image.BICUBIC)
        smooth.save(folder / f'{i}.png')
    for name in ('plain', 'ra_0', 'ra_1'):
        torch.manual_seed(len(name) + int(name[-1] == '1'))
        torch.save({'params': SRResNet(num_feat=4, num_block=1, upscale=2).state_dict()}, root / f'net_g_{name}.pth')
    network = {'type': 'SRResNet', 'num_feat': 4, 'num_block': 1, 'upscale': 2}
    (root / 'opt.yml').write_text(yaml.safe_dump({
        'name': 'small', 'audit': 8,
        'datasets': {'images': {'type': 'LabeledImageDataset', 'dataroot_gt': str(root / 'images')}},
        'degradations': {'x2': {'type': 'Compose', 'steps': [{'type': 'BicubicDownsample', 'scale': 2},
                                                             {'type': 'GaussianNoise', 'sigma': 0.02}]}},
        'restorers': {'plain': {'network_g': network, 'checkpoint': str(root / 'net_g_plain.pth')},
                      'RA': {'network_g': network, 'used': ['vgg'],
                             'checkpoint': [str(root / f'net_g_ra_{i}.pth') for i in range(2)]}},
        'recognizers': {'vgg': recognizer('TinyVGG'), 'resnet': recognizer('TinyResNet')}}, sort_keys=False))
    return root


def changed(place, tmp_path, **changes):
    opt = {**yaml.safe_load((place / 'opt.yml').read_text()), **changes}
    (tmp_path / 'opt.yml').write_text(yaml.safe_dump(opt, sort_keys=False))
    return tmp_path / 'opt.yml'


def build(root, file):
    return Evaluation(root, read_options(file))


def run(root, file, out, **settings):
    return build(root, file).run(out, **settings)[0].to_json()


@pytest.fixture(scope='module')
def results(place):
    return run(place, place / 'opt.yml', place / 'out', batch_size=1)


@pytest.mark.slow
@pytest.mark.parametrize('batch_size, num_workers', [(7, 0), (64, 2)])
def test_batches_and_workers_change_nothing(place, results, tmp_path, batch_size, num_workers):
    again = run(place, place / 'opt.yml', tmp_path, batch_size=batch_size, num_workers=num_workers)
    assert_alike(again, results)


def assert_alike(ours, theirs):
    """Equal but for the last digits: sums of floats depend on how many are added at a time."""
    assert json.dumps(rounded(ours)) == json.dumps(rounded(theirs))


@pytest.mark.slow
def test_stopped_anywhere_it_goes_on(place, results, tmp_path, monkeypatch):
    monkeypatch.setattr(judging, '_IMAGES_IN_FILE', 4)
    original = judging.Judging.__call__
    calls = []

    def stopped(self, batch):
        calls.append(batch.index)
        if len(calls) in (3, 9):
            raise KeyboardInterrupt
        return original(self, batch)

    monkeypatch.setattr(judging.Judging, '__call__', stopped)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(place, place / 'opt.yml', tmp_path, batch_size=3)
    last = sorted((tmp_path / 'records' / '0').glob('*.pt'))[-1]
    last.write_bytes(last.read_bytes()[:-100])  # damaged, as by a full disk
    again = run(place, place / 'opt.yml', tmp_path, batch_size=3)
    assert_alike(again, results)
    judged = [number for batch in calls for number in batch]
    assert set(judged) == set(range(COUNT)) and len(judged) < COUNT + 3 * 5  # what was done is not done again


@pytest.mark.slow
def test_sigterm_keeps_what_is_judged_and_says_how_to_go_on(place, results, tmp_path, monkeypatch, capsys):
    original, calls = judging.Judging.__call__, []

    def signaled(self, batch):
        calls.append(batch.index)
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, batch)

    monkeypatch.setattr(judging.Judging, '__call__', signaled)
    monkeypatch.setattr(sys, 'argv', ['evaluate.py'])
    status = run_program(lambda root: run(place, place / 'opt.yml', tmp_path, batch_size=3), place)
    assert status == 128 + signal.SIGTERM
    assert 'Stopped by SIGTERM at image 9 of 30 of images x2; the same command resumes it' in capsys.readouterr().err
    assert_alike(run(place, place / 'opt.yml', tmp_path, batch_size=3), results)
    assert calls[4] == [9, 10, 11]


@pytest.mark.slow
def test_a_finished_evaluation_restores_nothing(place, results, monkeypatch):
    monkeypatch.setattr(Network, '__call__', None)
    assert run(place, place / 'opt.yml', place / 'out', batch_size=5) == results


@pytest.mark.slow
def test_each_image_is_restored_once_whatever_the_number_of_recognizers(place, tmp_path, monkeypatch):
    original, restored = Network.__call__, []

    def counted(self, batch):
        restored.extend(batch.index)
        return original(self, batch)

    monkeypatch.setattr(Network, '__call__', counted)
    run(place, changed(place, tmp_path, audit=0), tmp_path, batch_size=8)
    assert sorted(restored) == sorted(3 * list(range(COUNT)))  # plain, and two seeds of RA


@pytest.mark.slow
def test_scores_are_those_of_each_image_alone(place, results):
    """By hand: degrade, restore, round, judge, one image at a time."""
    evaluation = build(place, place / 'opt.yml')
    dataset, condition = evaluation.conditions[0].dataset, results['conditions']['images x2']
    nets = {name: r.processings for name, r in evaluation.restorers.items()}
    right = {('plain', 0): [], ('RA', 0): [], ('RA', 1): []}
    quality = {key: [] for key in right}
    before = []
    vgg = evaluation.recognizers['vgg']
    with torch.no_grad():
        for item in dataset:
            gt = item['gt'][None]
            for name, seed in right:
                image = to_uint8(nets[name][seed].fitted.network(item['lq'][None]))
                quality[name, seed].append(psnr(image, to_uint8(gt)).item())
                right[name, seed].append(vgg.logits(image.float() / 255).argmax().item() == item['label'])
            bicubic = torch.nn.functional.interpolate(item['lq'][None], (32, 32), mode='bicubic', antialias=True)
            before.append(vgg.logits(to_uint8(bicubic).float() / 255).argmax().item() == item['label'])
    ra = np.mean([right['RA', 0], right['RA', 1]], 0)
    entry = condition['processings']['RA']['scores']['vgg']['top1']
    assert condition['n'] == COUNT and entry['value'] == pytest.approx(ra.mean())
    assert entry['seeds']['values'] == pytest.approx([np.mean(right['RA', i]) for i in range(2)])
    assert entry['seeds']['std'] == pytest.approx(np.std(entry['seeds']['values'], ddof=1))
    assert condition['processings']['plain']['psnr'] == pytest.approx(np.mean(quality['plain', 0]), abs=1e-6)
    difference = condition['differences']['RA']
    assert difference['scores']['vgg']['top1']['value'] == pytest.approx(np.mean(ra - right['plain', 0]))
    assert difference['psnr']['value'] == pytest.approx(
        np.mean([quality['RA', 0], quality['RA', 1]]) - np.mean(quality['plain', 0]), abs=1e-6)
    harm = condition['harm']['plain']['vgg']
    assert harm['hurt']['value'] == pytest.approx(np.mean(np.array(before) & ~np.array(right['plain', 0])))
    assert harm['helped']['value'] == pytest.approx(np.mean(~np.array(before) & np.array(right['plain', 0])))
    assert sum(of_class['n'] for of_class in harm['by_class'].values()) == COUNT
    assert results['restorers']['RA'] == {'seeds': 2, 'used': ['vgg'], 'method': 'RA'}
    assert condition['clean_input']['n'] == condition['audit']['n'] == 8


@pytest.mark.slow
def test_audit_and_clean_input_are_means_over_all_seeds(place, tmp_path):
    """By hand; and the order of the seeds does not matter."""
    opt = yaml.safe_load((place / 'opt.yml').read_text())
    found = {}
    for order in (1, -1):
        opt['restorers']['RA']['checkpoint'] = [str(place / f'net_g_ra_{i}.pth') for i in range(2)][::order]
        file = changed(place, tmp_path, audit=COUNT, restorers=opt['restorers'])
        found[order] = run(place, file, tmp_path / str(order), batch_size=16)['conditions']['images x2']
    evaluation, view = build(place, file), VIEWS['JPEG 75']
    vgg, items = evaluation.recognizers['vgg'], list(evaluation.conditions[0].dataset)
    labels = torch.tensor([item['label'] for item in items])
    lq, gt = (torch.stack([item[key] for item in items]) for key in ('lq', 'gt'))

    @torch.no_grad()
    def accuracy(images):
        return (vgg.logits(images.float() / 255).argmax(1) == labels).float().mean().item()

    with torch.no_grad():
        scores, clean = {}, []
        for name in ('plain', 'RA'):
            networks = [process.fitted.network for process in evaluation.restorers[name].processings]
            scores[name] = [accuracy(view(to_uint8(network(lq)))) for network in networks]
            made = [torch.nn.functional.interpolate(network(gt), gt.shape[-2:], mode='bicubic', antialias=True)
                    for network in networks]
            clean.append([accuracy(to_uint8(images)) - accuracy(to_uint8(gt)) for images in made])
    assert scores['RA'][0] != scores['RA'][1]
    for entry in found.values():
        audited = entry['audit']['restorers']['RA']
        assert audited['seeds'] == 2 and audited['gains']['vgg']['JPEG 75']['value'] == pytest.approx(
            np.mean(scores['RA']) - scores['plain'][0])
        for name, changes in zip(('plain', 'RA'), clean, strict=True):
            assert entry['clean_input']['restorers'][name]['scores']['vgg']['top1']['value'] == pytest.approx(
                np.mean(changes), abs=1e-6)
    first, second = (entry['audit']['restorers']['RA'] for entry in found.values())
    assert first['spectrum']['difference'] == pytest.approx(second['spectrum']['difference'], nan_ok=True)
    assert first['verdict'] == second['verdict']


def test_the_spectrum_is_of_the_difference_to_the_baseline_of_the_same_seed():
    images = {('plain', 0): 10, ('plain', 1): 20, ('RA', 0): 30, ('RA', 1): 30, ('one', 0): 30, (CLEAN, 0): 40}
    made = {key: torch.full((1, 3, 16, 16), value / 255) for key, value in images.items()}
    judge = Judging(processings={key: lambda batch, key=key: made[key] for key in images}, recognizers={}, metrics={},
                    baseline='plain', audited={0})
    batch = Batch(made['plain', 0], made[CLEAN, 0], torch.zeros(1), [0], ['x.png'])
    table = judge(batch)

    def power(*differences):  # of a constant image all is in the lowest band
        return pytest.approx(np.mean([spectrum(torch.full((1, 3, 16, 16), step / 255))[0, 0] for step in differences]))

    found = {key[:2]: column.values[SPECTRUM][0][0] for key, column in table.items() if key[2] == FLOAT}
    assert found == {('plain', 0): power(0), ('plain', 1): power(0), ('RA', 0): power(20), ('RA', 1): power(10),
                     ('one', 0): power(20), (CLEAN, 0): power(30, 20)}


def test_a_batch_without_clean_images_has_the_size_of_its_results_and_says_what_it_lacks():
    batch = Batch(torch.zeros(1, 3, 4, 5), None, None, [0], ['x.png'], scale=3)
    assert batch.size == (12, 15)
    with pytest.raises(ValueError, match=r'^judging: expected clean images, got none\. .*dataroot_gt\.$'):
        clean(batch)


@pytest.mark.slow
def test_records_of_other_images_are_refused(place, results, tmp_path):
    file = changed(place, tmp_path, degradations={'x2': {'type': 'BicubicDownsample', 'scale': 2}})
    with pytest.raises(OptionError, match='--restart'):
        run(place, file, place / 'out')
    (tmp_path / 'records').mkdir()
    assert run(place, file, tmp_path, restart=True)['baseline'] == 'plain'


@pytest.mark.slow
def test_images_that_something_else_restored_score_as_the_network_that_made_them(place, results, tmp_path):
    evaluation = build(place, place / 'opt.yml')
    dataset, network = evaluation.conditions[0].dataset, evaluation.restorers['plain'].processings[0].fitted.network
    for item in dataset:
        file = tmp_path / 'restored' / Path(item['gt_path']).relative_to(place / 'images')
        file.parent.mkdir(parents=True, exist_ok=True)
        with torch.no_grad():
            image = to_uint8(network(item['lq'][None]))[0]
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file)
    opt = yaml.safe_load((place / 'opt.yml').read_text())
    opt['restorers']['tool'] = {'folder': str(tmp_path / 'restored')}
    again = run(place, changed(place, tmp_path, **opt), tmp_path / 'out')['conditions']['images x2']
    assert again['processings']['tool']['scores'] == again['processings']['plain']['scores']
    assert again['differences']['tool']['psnr']['value'] == 0
    assert 'tool' not in again['clean_input']['restorers'] and 'tool' in again['audit']['restorers']
    with pytest.raises(FileNotFoundError, match='no restored image of b/x.jpg'):
        FolderOfImages(tmp_path / 'restored')(Batch(torch.zeros(1), torch.zeros(1), None, [0], ['b/x.jpg']))


class Halo(torch.nn.Module):
    """Sees two pixels around each one."""

    def __init__(self):
        super().__init__()
        self.blur = torch.nn.Conv2d(3, 12, 5, padding=2)

    def forward(self, images):
        return torch.nn.functional.pixel_shuffle(self.blur(images), 2)


@pytest.mark.parametrize('tile', [5, 8, 16])
def test_tiles_that_see_enough_make_the_whole_image(tile):
    torch.manual_seed(0)
    net, images = Halo(), torch.rand(2, 3, 17, 16)
    batch = Batch(images, images, None, [0, 1], [])
    with torch.no_grad():
        whole = Network(net)(batch)
        torch.testing.assert_close(Network(net, tile, tile_overlap=2)(batch), whole, rtol=0, atol=1e-6)
        assert not torch.allclose(Network(net, tile, tile_overlap=0)(batch), whole, atol=1e-3)
        assert torch.equal(Network(net, 17, 0)(batch), whole)
        assert Network(net, multiple_of=4)(batch).shape == whole.shape


@pytest.mark.parametrize('change, message', [
    ({'baseline': 'plian'}, "no restorer 'plian' for images x2. Did you mean 'plain'"),
    ({'restorers': {'clean': {'folder': 'x'}}}, 'restorers.clean: this is always there'),
    ({'restorers': {'plain': {'folder': 'x', 'network_g': {'type': 'SRResNet'}}}}, 'got network_g and folder'),
    ({'restorers': {'plain': {'network_g': {'type': 'SRResNt'}}}}, "no architecture 'SRResNt'. Did you mean"),
    ({'restorers': {'plain': {'network_g': {'type': 'SRResNet'}}}}, 'random weights'),
    ({'restorers': {'plain': {'folder': 'x', 'used': ['vgh']}}}, "used: no recognizer 'vgh'"),
    ({'recognizers': {}}, 'recognizers: expected at least one'),
    ({'audit': -1}, 'audit: expected a whole number >= 0, got -1'),
    ({'images': 0}, 'images: expected a whole number >= 1, got 0'),
    ({'recognition_metrics': {'detecton': 'coco'}}, "no task 'detecton'. Did you mean 'detection'"),
    ({'datasets': {'images': {'type': 'LabelledImageDataset'}}}, "no data set 'LabelledImageDataset'"),
    ({'datasets': {'images': {'type': 'SingleImageDataset', 'dataroot_lq': '.', 'io_backend': {'type': 'disk'}}},
      'degradations': {}}, 'evaluation needs labels or clean images, but SingleImageDataset has neither'),
    ({'recognizers': {'vgg': {**recognizer('TinyVGG'), 'conditions': ['images']}}},
     "recognizers.vgg.conditions: no condition 'images'. Did you mean 'images x2'"),
    ({'recognizers': {'vgg': {**recognizer('TinyVGG'), 'conditions': 'images x2'}}},
     'recognizers.vgg.conditions: expected a list of text'),
    ({'recognizers': {'vgg': {**recognizer('TinyVGG'), 'conditions': []}}},
     'recognizers: expected at least one that judges images x2, got none'),
    ({'restorers': {'plain': {'folder': '.', 'conditions': ['x4']}}}, "restorers.plain.conditions: no condition 'x4'"),
    ({'degradation': {}}, "unknown key 'degradation'. Did you mean 'degradations'"),
])
def test_a_file_that_cannot_be_meant_is_one_line(place, tmp_path, change, message):
    with pytest.raises(OptionError) as error:
        build(place, changed(place, tmp_path, **change))
    assert message in str(error.value) and '\n' not in str(error.value)


def judge(net, *conditions, classes=None):
    return {**recognizer(net), 'checkpoint': None, 'module_kwargs': {'num_classes': 5}, 'mean': [0.5] * 3,
            'std': [0.25] * 3, 'classes': classes, **({'conditions': list(conditions)} if conditions else {})}


@pytest.fixture
def halves(place):
    """Two halves of the classes, recognizers of each, and one whose five classes have no names, for both."""
    block = {'type': 'LabeledImageDataset', 'dataroot_gt': str(place / 'images')}
    datasets = {name: {**block, 'keep_classes': list(classes)} for name, classes in (('A', 'abcde'), ('B', 'jihgf'))}
    judges = {'vgg A': judge('TinyVGG', 'A x2', classes=list('abcde')),
              'vgg B': judge('TinyVGG', 'B x2', classes=list('jihgf')), 'both': judge('TinyDenseNet'),
              'resnet B': judge('TinyResNet', 'B x2', classes=list('jihgf'))}
    restorers = yaml.safe_load((place / 'opt.yml').read_text())['restorers']
    restorers['RA']['used'] = ['vgg B']
    return {'datasets': datasets, 'recognizers': judges, 'restorers': restorers, 'audit': 3}


@pytest.mark.slow
def test_recognizers_judge_their_own_conditions(place, tmp_path, halves):
    evaluation = build(place, changed(place, tmp_path, **halves))
    results = evaluate(evaluation, tmp_path / 'out', batch_size=8).to_json()
    judges = {'A x2': ['vgg A', 'both'], 'B x2': ['vgg B', 'both', 'resnet B']}
    for condition in evaluation.conditions:
        found, expected = results['conditions'][condition.name], judges[condition.name]
        assert found['n'] == 15
        for entries in (found['processings'], found['differences'], found['clean_input']['restorers']):
            assert all(list(entry['scores']) == expected for entry in entries.values())
        assert list(found['harm']['RA']) == list(found['audit']['restorers']['RA']['gains']) == expected
        for name in expected:
            answers = [evaluation.recognizers[name].logits(item['gt'][None]).argmax().item()
                       for item in condition.dataset]
            right = [answer == 'abcdejihgf'.index(Path(path).parent.name) % 5
                     for answer, path in zip(answers, condition.dataset.paths, strict=True)]
            assert found['processings']['clean']['scores'][name]['top1']['value'] == pytest.approx(np.mean(right))
    tables, page = ((tmp_path / 'out' / name).read_text() for name in ('tables.md', 'report.html'))
    assert '| processing | A x2: vgg A | A x2: both | B x2: vgg B | B x2: both | B x2: resnet B |' in ' '.join(
        tables.split()).replace(' |', ' |')
    assert 'resnet B' in page and list(results['recognizers']) == list(halves['recognizers'])


@pytest.mark.slow
def test_boundaries_are_those_of_the_recognizers_that_judge_the_first_condition(place, tmp_path, halves):
    evaluation = build(place, changed(place, tmp_path, **halves))
    with pytest.raises(OptionError, match='RA says of no recognizer that it was trained with it'):
        BoundaryStudy(evaluation, BoundaryOptions(names=('plain', 'RA')))  # none of them in the condition A x2
    evaluation.conditions.reverse()
    study = BoundaryStudy(evaluation, BoundaryOptions(names=('plain', 'RA')))
    assert (study.source, study.targets) == ('vgg B', ['both', 'resnet B'])
    with pytest.raises(OptionError, match="boundary: no recognizer 'vgg A'"):
        BoundaryStudy(evaluation, BoundaryOptions(names=('plain', 'RA'), source='vgg A'))


@pytest.mark.slow
def test_a_recognizer_of_the_other_half_does_not_judge_this_one(place, tmp_path, halves):
    del halves['recognizers']['vgg A']['conditions']
    with pytest.raises(OptionError, match="datasets: B x2: keep_classes has 'j', which is no class of"):
        build(place, changed(place, tmp_path, **halves))


@pytest.mark.slow
def test_a_run_used_a_recognizer_whatever_conditions_it_judges(place, tmp_path, halves):
    block = {key: value for key, value in halves['recognizers']['vgg B'].items() if key != 'conditions'}
    run = {'name': 'run', 'network_g': halves['restorers']['plain']['network_g'],
           'train': {'recog_opt': {'type': 'RecogLoss', 'recognizer': block}}}
    (tmp_path / 'run.yml').write_text(yaml.safe_dump(run))
    halves['restorers'] = {'plain': {'option_file': str(tmp_path / 'run.yml'),
                                     'checkpoint': str(place / 'net_g_plain.pth')}}
    evaluation = build(place, changed(place, tmp_path, **halves))
    assert evaluation.restorers['plain'].options.used == ['vgg B']


def test_a_users_own_recognizer_is_found_through_custom_imports(place, tmp_path, monkeypatch):
    (tmp_path / 'own_judges.py').write_text(
        'from ra_plugin.recognizers import ModuleRecognizer\nfrom ra_plugin.registry import RECOGNIZER_REGISTRY\n\n\n'
        '@RECOGNIZER_REGISTRY.register\nclass OwnJudge(ModuleRecognizer):\n    pass\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(RECOGNIZER_REGISTRY, '_entries', dict(RECOGNIZER_REGISTRY._entries))  # other tests count them
    block = {**recognizer('TinyVGG'), 'type': 'OwnJudge'}
    file = changed(place, tmp_path, custom_imports=['own_judges'], recognizers={'own': block, 'vgg': block})
    assert type(build(place, file).recognizers['own']).__name__ == 'OwnJudge'


def test_missing_weights_name_the_run_to_train(place, tmp_path):
    run = copy.deepcopy(yaml.safe_load((ROOT / 'options/demo/ra_srresnet_x2_cifar10.yml').read_text()))
    (tmp_path / 'run.yml').write_text(yaml.safe_dump(run))
    file = changed(place, tmp_path, restorers={'plain': {'option_file': str(tmp_path / 'run.yml')}})
    with pytest.raises(FileNotFoundError, match='net_g_latest.pth does not exist. Train it first'):
        build(tmp_path, file)


def test_the_recognizers_that_a_run_used_are_known(place, tmp_path):
    run = {'name': 'run', 'network_g': {'type': 'SRResNet', 'num_feat': 4, 'num_block': 1, 'upscale': 2},
           'train': {'recog_opt': [{'type': 'RecogLoss', 'recognizer': {
               'type': 'EnsembleRecognizer', 'recognizers': [recognizer('TinyResNet')]}}]}}
    (tmp_path / 'run.yml').write_text(yaml.safe_dump(run))
    opt = {'restorers': {'plain': {'option_file': str(tmp_path / 'run.yml'),
                                   'checkpoint': str(place / 'net_g_plain.pth')}}}
    assert build(tmp_path, changed(place, tmp_path, **opt)).restorers['plain'].options.used == ['resnet']


@pytest.mark.slow
def test_the_tool_writes_results_and_tables(place, tmp_path):
    file = changed(place, tmp_path, images=5, audit=2)
    done = warm_start.run([ROOT / 'tools' / 'evaluate.py', '-opt', file, '--out', tmp_path / 'out'])
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert results['schema'] == 'ra_plugin.results/1' and results['conditions']['images x2']['n'] == 5
    assert (tmp_path / 'out' / 'tables.md').read_text() in done.stdout
    assert 'images x2' in (tmp_path / 'out' / 'report.html').read_text()
    file.write_text('restorers: 3')
    done = warm_start.run([ROOT / 'tools' / 'evaluate.py', '-opt', file])
    assert done.returncode == 2 and done.stderr.count('\n') == 2  # the first line says that it loads


@pytest.mark.slow
def test_examples_are_what_their_rule_says(place, results, tmp_path):
    evaluation = build(place, place / 'opt.yml')
    evaluation.run(place / 'out')
    shown = examples(evaluation)
    assert len({example.index for example in shown}) == len(shown) and {e.kind for e in shown} >= {'any'}
    dataset = evaluation.conditions[0].dataset
    for example in shown:
        assert example.truth == dataset.classes[dataset[example.index]['label']]
        assert list(example.images) == ['clean', 'no processing', 'plain', 'RA']
        read = {name: answers['vgg'] for name, answers in example.answers.items()}
        names = evaluation.recognizers['vgg'].info.classes  # its own; the data set's are letters
        assert all((names.index(answer.text) == dataset.classes.index(example.truth)) == answer.right
                   for answer in read.values())
        if example.kind == 'helped':
            assert (example.rule, example.recognizer) == ('plain wrong, RA right', 'vgg')
            assert read['RA'].right and not read['plain'].right
        if example.kind == 'hurt':
            assert read['no processing'].right and not read['RA'].right
        gt = (dataset[example.index]['gt'] * 255).round().byte().permute(1, 2, 0).numpy()
        assert np.array_equal(example.images['clean'], gt)
    assert [e.index for e in shown] == [e.index for e in examples(evaluation)]


@pytest.mark.slow
def test_a_costly_recognizer_is_asked_about_each_result_once(place, tmp_path):
    evaluation = build(place, changed(place, tmp_path, images=6, audit=4))
    costly, asked = evaluation.recognizers['resnet'], []
    costly.costly, costly.cost = True, 0.5
    predict = costly.predict
    costly.predict = lambda images: asked.append(len(images)) or predict(images)
    results = evaluation.run(tmp_path)[0].to_json()
    found = results['conditions']['images x2']
    assert results['recognizers']['resnet']['cost'] == 0.5 and 'cost' not in results['recognizers']['vgg']
    assert sum(asked) == 6 * 5  # clean, no processing, plain, two seeds of RA
    assert list(found['audit']['restorers']['RA']['gains']) == ['vgg']
    assert list(found['clean_input']['restorers']['plain']['scores']) == ['vgg']
    assert list(found['processings']['plain']['scores']) == ['vgg', 'resnet']


@pytest.mark.slow
def test_keys_in_headers_are_not_shown(place, tmp_path, monkeypatch):
    opt = yaml.safe_load((place / 'opt.yml').read_text())
    opt['recognizers']['cloud'] = {'type': 'BlackBoxRecognizer', 'classes': 10, 'cache': str(tmp_path / 'cache'),
                                   'url': 'http://127.0.0.1:9/', 'headers': {'key': 'sesame', 'name': 'Key $NAME'}}
    monkeypatch.setenv('NAME', 'mellon')
    evaluation = build(place, changed(place, tmp_path, recognizers=opt['recognizers'], images=1, audit=0))
    cloud = evaluation.recognizers['cloud']
    cloud.predict = lambda images: {'labels': torch.zeros(len(images), 1).long(), 'scores': torch.ones(len(images), 1)}
    results = json.dumps(evaluation.run(tmp_path)[0].to_json())
    assert 'sesame' not in results and 'mellon' not in results and 'Key $NAME' in results
    assert 'sesame' not in (tmp_path / 'records' / '0' / 'plan.json').read_text()


@pytest.mark.slow
def test_images_that_are_restored_exactly_are_left_out_of_psnr(place, tmp_path):
    rng, quality = np.random.default_rng(0), {}
    names = sorted(path.relative_to(place / 'images') for path in (place / 'images').rglob('*.png'))
    for restorer, sigma, exact in (('weight 0', 6, (0, 1)), ('weight 0.1', 3, (1, 2, 3)),
                                   ('weight 1', 0, range(COUNT))):
        for i, name in enumerate(names):
            pixels = np.asarray(Image.open(place / 'images' / name)).astype(float)
            noisy = pixels + rng.normal(0, sigma, pixels.shape) * (i not in exact)
            saved = noisy.round().clip(0, 255)
            with np.errstate(divide='ignore'):
                quality[restorer, i] = 10 * np.log10(255 ** 2 / np.mean((saved - pixels) ** 2))
            (tmp_path / restorer / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(saved.astype(np.uint8)).save(tmp_path / restorer / name)
    folders = {restorer: {'folder': str(tmp_path / restorer)} for restorer, _ in quality}
    file = changed(place, tmp_path, restorers=folders, baseline='weight 0', degradations={}, audit=0)
    results = evaluate(build(place, file), tmp_path / 'out', 8).to_json()
    assert json.loads((tmp_path / 'out' / 'results.json').read_text(), parse_constant=lambda word: 1 / 0) == results
    found = results['conditions']['images']

    def mean(*restorers):
        both = [i for i in range(COUNT) if all(np.isfinite(quality[name, i]) for name in restorers)]
        return [np.mean([quality[name, i] for i in both]) for name in restorers]

    for restorer, exact in (('weight 0', 2), ('weight 0.1', 3)):
        entry = found['processings'][restorer]
        assert entry['psnr'] == pytest.approx(mean(restorer)[0], rel=1e-6) and entry['exact'] == exact
    before, after = mean('weight 0', 'weight 0.1')
    change = found['differences']['weight 0.1']['psnr']
    assert change['value'] == pytest.approx(after - before, rel=1e-6)
    assert change['low'] < change['value'] < change['high']
    same = found['processings']['weight 1']
    assert same['psnr'] is None and same['exact'] == COUNT and found['differences']['weight 1']['psnr']['value'] is None
    said = (tmp_path / 'out' / 'tables.md').read_text()
    assert 'left out of its mean: no processing 30 of 30, weight 0 2 of 30, weight 0.1 3 of 30' in said
    assert re.search(r'weight 1 +[|] exact', said) and 'exact' in (tmp_path / 'out' / 'report.html').read_text()
    answer(Results.from_json(results), 0.1)  # which reads the differences


@pytest.mark.slow
def test_memory_holds_no_more_than_one_file_of_records(place, tmp_path, monkeypatch):
    monkeypatch.setattr(judging, '_IMAGES_IN_FILE', 4)
    held, write = [], records.Records.write

    def counted(self, first, last, table):
        held.append(max(len(column.index) for column in table.values()))
        write(self, first, last, table)

    monkeypatch.setattr(records.Records, 'write', counted)
    run_evaluation(place, changed(place, tmp_path, audit=0), tmp_path, 2, 0)
    assert held == [4] * 7 + [2]
