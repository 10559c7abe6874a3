"""The experiments: what is trained, by hand and against the shipped option files; tables by hand; a tiny run."""
import copy
import json
import sys
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import runs
import torch
import warm_start
import yaml
from test_evaluation_run import ROOT, recognizer

from ra_plugin.builders.file_check import check_file
from ra_plugin.cli.reproduce import scales
from ra_plugin.evaluation.statistics.bootstrap import Sampled
from ra_plugin.options import OptionError
from ra_plugin.paper import reproduce
from ra_plugin.paper.exhibits import SHOW, untouched
from ra_plugin.paper.experiments import Experiments, Restorer
from ra_plugin.paper.option_files import ExperimentOptions, changed
from ra_plugin.paper.reproduce import Reproduction
from ra_plugin.paper.tables import JudgedRestorer, paper_numbers, paper_table
from ra_plugin.results import Condition, from_plain
from ra_plugin.shipped.find import option_text
from ra_plugin.training import train_if_needed as trained_runs

pytestmark = pytest.mark.slow

SMALL = Experiments(ROOT, 'small')
OPTIONS = ExperimentOptions(SMALL, ROOT, ROOT / 'results')
PAPER_OPTIONS = ExperimentOptions(Experiments(ROOT, 'paper'), ROOT, ROOT / 'results')


def groups_of(name, seeds):
    return OPTIONS.groups(name, seeds, SMALL.restorers(SMALL.studies[name]))


def test_changed_options_leave_the_others_alone():
    options = {'a': {'b': 1, 'c': [2]}}
    assert changed(options, {'a.b': 3, 'd.e.f': 4}) == {'a': {'b': 3, 'c': [2]}, 'd': {'e': {'f': 4}}}
    assert options == {'a': {'b': 1, 'c': [2]}}


def test_a_study_is_the_product_of_its_lists():
    found = SMALL.restorers(SMALL.studies['architectures'])
    assert len(found) == 3 * (1 + 3 * 5) == len(set(found))
    assert Restorer(domain='classification', task='JPEG', method='RA with T', recognizer='vgg') in found
    weights = [one.loss_weight for one in SMALL.restorers(SMALL.studies['weights']) if one.task == 'SR']
    assert weights == [None, 1e-4, 1e-3, 1e-2]
    assert {one.recognizer for one in SMALL.restorers(SMALL.studies['networks'])} == {None, 'resnet'}


def test_runs_have_one_name_exactly_where_they_train_the_same():
    names, seen = {}, []
    for restorer in {one for study in SMALL.studies.values() for one in SMALL.trained(study, SMALL.restorers(study))}:
        options = OPTIONS.training_options(restorer, 0)
        names.setdefault(options.pop('name'), []).append(options)
    for runs_of_a_name in names.values():
        assert all(run == runs_of_a_name[0] for run in runs_of_a_name) and runs_of_a_name[0] not in seen
        seen.append(runs_of_a_name[0])
    ra = Restorer(domain='classification', task='SR', method='RA', recognizer='vgg')
    assert OPTIONS.run_name(ra, 1) != OPTIONS.run_name(ra, 0) == OPTIONS.run_name(replace(ra, loss_weight=1e-3), 0)
    assert OPTIONS.run_name(replace(ra, network='SRResNet'), 0) == OPTIONS.run_name(ra, 0)
    assert OPTIONS.run_name(replace(ra, loss_weight=1e-2), 0).endswith('weight_0.01_seed0')


@pytest.mark.parametrize('restorer, expected', [
    ({'method': 'plain'}, {}),
    ({'method': 'RA', 'recognizer': 'vgg'}, {'type': 'RecogLoss', 'loss_weight': 1e-3}),
    ({'method': 'RA', 'recognizer': 'vgg', 'loss_weight': 0.5}, {'type': 'RecogLoss', 'loss_weight': 0.5}),
    ({'method': 'unsupervised RA', 'recognizer': 'vgg'},
     {'type': 'RecogConsistencyLoss', 'distance': 'probability', 'loss_weight': 0.03}),
])
def test_a_training_is_the_plain_one_with_its_loss(restorer, expected):
    run = OPTIONS.training_options(Restorer(domain='classification', task='SR', **restorer), 3)
    plain = yaml.safe_load((ROOT / 'options/demo/plain_srresnet_x2_cifar10.yml').read_text())
    loss = run['train'].pop('recog_opt', {})
    assert loss.pop('recognizer', SMALL.domains['classification'].recognizers['vgg']) == \
        SMALL.domains['classification'].recognizers['vgg']
    assert loss == expected and run['manual_seed'] == 3
    plain['train'].update(total_iter=1500)
    plain['train']['scheduler']['milestones'] = [1050, 1350]
    plain['network_g'].update(num_feat=16, num_block=3)
    plain['datasets']['train']['batch_size_per_gpu'] = 8
    assert run == {**plain, 'val': None, 'name': run['name'], 'manual_seed': 3}


@pytest.mark.parametrize('restorer, file', [
    ({'method': 'RA', 'recognizer': 'R18'}, 'ra_srresnet_x4_resnet18'),
    ({'method': 'unsupervised RA', 'recognizer': 'R18'}, 'unsupervised_srresnet_x4_resnet18'),
    ({'method': 'RA with T', 'recognizer': 'R18', 'task': 'denoising'}, 'transformer_srresnet_noise0.1_resnet18'),
    ({'method': 'RA', 'recognizer': 'R18', 'task': 'JPEG'}, 'ra_srresnet_jpeg10_resnet18'),
    ({'method': 'RA', 'recognizer': 'R18', 'network': 'RDN'}, 'ra_rdn_x4'),
    ({'method': 'RA with T', 'recognizer': 'R18', 'network': 'DBPN'}, 'transformer_dbpn_x4'),
    ({'method': 'unsupervised RA', 'recognizer': 'R18', 'task': 'snow 5'}, 'unsupervised_srresnet_snow5_resnet18'),
    ({'method': 'RA', 'recognizer': 'V16', 'domain': 'detection'}, 'ra_srresnet_x4_voc_faster_rcnn_vgg16'),
    ({'method': 'RA with T', 'recognizer': 'R18', 'domain': 'detection'},
     'transformer_srresnet_x4_voc_faster_rcnn_r18'),
    ({'method': 'RA', 'recognizer': 'HRNet-W48', 'domain': 'segmentation'}, 'ra_srresnet_x4_cityscapes_hrnet'),
    ({'method': 'RA with R', 'recognizer': 'R18'}, 'joint_srresnet_x4_resnet18'),
    ({'method': 'perceptual loss'}, 'perceptual_srresnet_x4_vgg16'),
    ({'method': 'RA alone', 'recognizer': 'R18'}, 'recog_only_srresnet_x4_resnet18'),
    ({'method': 'R on interpolated images'}, 'scratch_interpolation_x4_resnet18'),
    ({'method': 'R on restored images'}, 'scratch_srresnet_x4_resnet18'),
])
def test_trainings_at_paper_scale_are_the_shipped_option_files(restorer, file):
    run = PAPER_OPTIONS.training_options(Restorer(**{'domain': 'classification', 'task': 'SR', **restorer}), 0)
    shipped = yaml.safe_load(option_text(f'options/{file}.yml'))
    if restorer['method'] == 'RA alone':
        assert run['train'].pop('pixel_opt') is None
    if restorer['method'] == 'R on restored images':  # which begins with another training's network
        shipped['path']['pretrain_network_g'] = \
            'experiments/paper_classification_SR_plain_seed0/models/net_g_latest.pth'
    assert run == {**shipped, 'name': run['name'], 'val': None}


def test_corruptions_share_one_task():
    run = OPTIONS.training_options(Restorer(domain='classification', task='snow 4', method='plain'), 0)
    assert run['datasets']['train']['degradation'] == {
        'type': 'ImageNetC', 'corruption': 'snow', 'severity': 4, 'constants': 'cifar10'}
    assert run['scale'] == 1


@pytest.mark.parametrize('name', SMALL.studies)
def test_every_training_can_be_meant(name):
    study = SMALL.studies[name]
    by_kind = {(one.domain, one.task.split()[0], one.method, one.network): one
               for one in SMALL.trained(study, SMALL.restorers(study))}
    for restorer in by_kind.values():
        run = copy.deepcopy(OPTIONS.training_options(restorer, 0))
        check_file({**run, 'is_train': True})


def test_data_of_another_folder():
    options = ExperimentOptions(SMALL, ROOT, ROOT, '/elsewhere')
    run = options.training_options(Restorer(domain='classification', task='SR', method='plain'), 0)
    assert run['datasets']['train']['dataroot_gt'] == '/elsewhere/cifar10/train'


@pytest.mark.parametrize('restorer, message', [
    ({'task': 'SR', 'method': 'AR'}, "no method 'AR'"),
    ({'task': 'deblurring', 'method': 'plain'}, "no task 'deblurring'"),
    ({'task': 'SR', 'method': 'plain', 'network': 'RND'}, "no network 'RND' at this scale. Did you mean 'RDN'")])
def test_unknown_names(restorer, message):
    with pytest.raises(OptionError, match=message):
        OPTIONS.training_options(Restorer(domain='classification', **restorer), 0)


def test_plan_counts_trainings_once_and_names_what_is_missing(tmp_path):
    reproduction = Reproduction(ROOT, 'small', data=str(tmp_path), out=tmp_path)
    plan = reproduction.plan(['T1', 'T2', 'T10'])
    assert len(plan.runs) == 48 and plan.tables == ['T1', 'T2', 'T10']
    assert str(tmp_path / 'cifar10' / 'train') in plan.missing
    assert '48 different trainings' in reproduction.describe(plan)
    with pytest.raises(FileNotFoundError, match='does not exist, nor do'):
        reproduction.run(plan)
    assert len(Reproduction(ROOT, 'small', seeds=3).plan(['T1']).runs) == 3 * 48
    assert len(Reproduction(ROOT, 'small').plan(['appendix_B']).runs) == 20  # five seeds each
    with pytest.raises(OptionError, match="no table 'T99'"):
        reproduction.plan(['T99'])


def test_a_table_needs_what_it_shows(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce, 'is_trained', lambda *_: False)
    reproduction = Reproduction(ROOT, 'small', out=tmp_path)
    alone = reproduction.plan(['T2'])
    assert len(alone.runs) == 18 and len(reproduction.plan(['T16']).runs) == 4
    assert {restorer.method for restorer in alone.judged['architectures']} == {'plain', 'RA'}
    labels = [name for group in reproduction._groups('architectures', alone.judged['architectures'])
              for name in group.options['restorers']]
    assert labels == 3 * ['plain', *(f'RA {name}' for name in SMALL.domains['classification'].recognizers)]
    there = OPTIONS.run_name(Restorer(domain='classification', task='SR', method='RA with T', recognizer='vgg'), 0)
    monkeypatch.setattr(reproduce, 'is_trained', lambda root, run: run['name'] == there)
    with_more = reproduction.plan(['T2'])  # what is there stays judged
    assert len(with_more.runs) == 19 and len(with_more.judged['architectures']) == 19


def test_estimates_are_by_images_and_what_they_cost():
    def minutes(options, **coordinates):
        return options.minutes(Restorer(**{'domain': 'classification', 'task': 'SR', 'method': 'plain', **coordinates}))

    whole = minutes(PAPER_OPTIONS)
    assert minutes(PAPER_OPTIONS, method='RA', recognizer='R18') == 2 * whole
    assert minutes(PAPER_OPTIONS, network='RDN') == 16 * whole
    snow = minutes(PAPER_OPTIONS, task='snow 5', method='RA with T', recognizer='R18')
    assert snow == pytest.approx(whole * 7500 / 384348 * (4.9 + 7))
    assert minutes(PAPER_OPTIONS, domain='half A') == whole / 2


def test_what_is_missing_are_files_and_no_characters_or_names(tmp_path):
    plan = Reproduction(ROOT, 'small', data=str(tmp_path), out=tmp_path).plan(['text'])
    assert str(tmp_path / 'words') in plan.missing
    assert all(name.startswith((str(tmp_path), 'weights/')) for name in plan.missing)


def test_plan_says_how_much_of_a_table_there_is_and_what_can_be_done_without_the_missing(tmp_path):
    reproduction = Reproduction(ROOT, 'imagenet_sample', data=str(tmp_path), out=tmp_path)
    shown = reproduction.describe(reproduction.plan(['T7', 'ours']))
    assert 'by method (5 of 7 methods at this scale)' in shown and shown.endswith('nothing of that: T7')
    small = Reproduction(ROOT, 'small', data=str(tmp_path))
    assert 'Segmentation (1 of 3 tasks at this scale)' in small.describe(small.plan(['T17']))


def test_metrics_of_image_quality_are_built_before_anything_is_trained(tmp_path, monkeypatch):
    def refuse(name, *_, where):
        raise ImportError(f'{where} needs pyiqa')

    monkeypatch.setattr(reproduce, 'QualityMetric', refuse)
    monkeypatch.setattr(reproduce, 'run_all', lambda *_: pytest.fail('something was trained'))
    reproduction = Reproduction(ROOT, 'paper', out=tmp_path)
    with pytest.raises(ImportError, match='quality_metrics.pieapp needs pyiqa'):
        reproduction.run(replace(reproduction.plan(['T5']), missing=[]))


def test_halves_at_paper_scale_are_trained_for_as_many_epochs():
    half, whole = (PAPER_OPTIONS.training_options(Restorer(domain=domain, task='SR', method='plain'), 0)['train']
                   for domain in ('half A', 'classification'))
    assert 2 * half['total_iter'] == whole['total_iter']
    assert [2 * milestone for milestone in half['scheduler']['milestones']] == whole['scheduler']['milestones']


def test_what_is_made_needs_files_that_nobody_makes_until_it_is_there(tmp_path):
    reproduction = Reproduction(ROOT, 'small', data=str(tmp_path))
    reproduction.root = tmp_path  # where nothing is
    plan = reproduction.plan(['T17'])
    file, backbone = 'weights/sem_fpn_mobilenetv2_camvid.pth', 'weights/mobilenet_v2_mm.pth'
    assert len(plan.makes) == 2 and file not in plan.missing and backbone in plan.missing
    command = plan.makes[file].command
    assert command[command.index('--data') + 1] == str(tmp_path)
    (tmp_path / 'weights').mkdir()
    for made in plan.makes:
        (tmp_path / made).touch()
    assert backbone not in reproduction.plan(['T17']).missing


def test_every_table_has_a_study_and_the_papers_rows():
    for name, spec in SMALL.tables.items():
        assert spec['study'] in SMALL.studies and spec.get('show', 'table') in SHOW, name
        for group, rows in spec.get('paper', {}).items():
            of_group = [rows] if group in ('columns', 'clean') else rows.values()
            assert all(len(values) == len(spec['paper']['columns']) for values in of_group), (name, group)


def test_what_a_scale_has_nothing_of_says_so(tmp_path):
    reproduction = Reproduction(ROOT, 'imagenet_sample', out=tmp_path)
    plan = reproduction.plan(['T7'])  # there are no other networks
    assert not plan.runs and '(nothing at this scale)' in reproduction.describe(plan)
    assert 'Other restoration networks: nothing at this scale.' in reproduction.run(plan)


def test_all_experiments_of_the_paper_have_a_name():
    names = Reproduction(ROOT, 'small').names
    assert {f'T{number}' for number in range(1, 19)} | {f'figure_{number}' for number in range(3, 7)} | {
        'appendix_A', 'appendix_B', 'cloud'} <= set(names) and len(set(names)) == len(names)
    assert Reproduction(ROOT, 'small').plan(['figure_6', 'T6', 'figure_4']).tables == ['T6']
    for scale in scales():
        plan = Reproduction(ROOT, scale).plan(names)
        assert all(run['name'].startswith(f'{scale}_') for run in plan.runs.values())


def test_halves_are_judged_on_both():
    groups = groups_of('categories', [0])
    assert len(groups) == 12  # three tasks, trained on either half, judged on either
    for group in groups:
        block, = group.options['datasets'].values()
        other = group.restorers[0].domain != group.judged_on
        run = OPTIONS.training_options(group.restorers[1], 0)
        kept = run['datasets']['train']['keep_classes']
        assert set(block['keep_classes']).isdisjoint(kept) == other and (block['keep_classes'] == kept) != other
        used = [restorer['used'] for restorer in group.options['restorers'].values()]
        assert used == ([[], []] if other else [[], ['resnet']])
        file = f'experiments/small_resnet_half_{group.judged_on[-1].lower()}.safetensors'
        assert group.options['recognizers']['resnet']['checkpoint'] == file
        assert block['dataroot_gt'] == 'datasets/cifar10/test'
    assert len({group.options['name'] for group in groups}) == 12


def test_recognizers_are_made_before_or_after_the_trainings():
    plan = Reproduction(ROOT, 'small').plan(['T3', 'appendix_A'])
    assert len(plan.makes) == 4 and len(plan.runs) == 12 + 7 and not set(plan.missing).intersection(plan.makes)
    for file, make in plan.makes.items():
        assert make.command[:3] == ['-m', 'ra_plugin', 'train-recognizer'] and file in make.command
    restored = plan.makes['experiments/small_resnet_restored.safetensors']
    run, = (OPTIONS.run_name(restorer, 0) for restorer in restored.after)
    assert run in plan.runs and restored.command[7].endswith(f'{run}.yml')
    judges = groups_of('alternatives', [3])[0].options['recognizers']
    assert judges['R with RA']['checkpoint'] == \
        'experiments/small_classification_SR_RA_with_R_resnet_seed3/models/net_r_latest.pth'
    assert 'checkpoint' not in judges['R with RA'].get('mean', {}) and judges['resnet']['input_size'] == 32


def test_networks_that_others_begin_with_are_trained_before(tmp_path, monkeypatch):
    reproduction = Reproduction(ROOT, 'paper', out=tmp_path)
    plan = replace(reproduction.plan(['appendix_A']), missing=[])
    rounds = []
    monkeypatch.setattr(reproduce, 'run_all', lambda tasks, jobs: rounds.append([task.args[-1] for task in tasks]))
    monkeypatch.setattr(reproduce, 'SHOW', {'table': lambda *_: ''})
    reproduction.run(plan)
    names = [[run['name'] for run in runs] for runs in rounds]
    assert names[0] == [] and names[2] == ['paper_classification_SR_R_on_restored_images_seed0']
    assert len(names[1]) == len(plan.runs) - 1 and 'paper_classification_SR_plain_seed0' in names[1]


def test_all_trainings_of_a_task_begin_with_the_same_network_where_the_task_says_so(tmp_path):
    plan = Reproduction(ROOT, 'imagenet_sample', out=tmp_path).plan(['T1'])
    starts = {name: run['path']['pretrain_network_g'] for name, run in plan.runs.items() if '_SR_' in name}
    first = 'imagenet_sample_classification_SR_start_seed0'
    assert starts.pop(first) is None and 'imagenet_sample_classification_SR_plain_seed0' in starts
    assert set(starts.values()) == {f'experiments/{first}/models/net_g_latest.pth'}
    begin, plain = plan.runs[first], plan.runs['imagenet_sample_classification_SR_plain_seed0']
    assert begin['train'] == changed(plain['train'], {'optim_g.lr': 0.001})


def test_an_ensemble_is_judged_by_the_one_left_out():
    restorer = Restorer(domain='classification', task='SR', method='RA by an ensemble without', recognizer='vgg')
    block = OPTIONS.training_options(restorer, 0)['train']['recog_opt']['recognizer']
    known = SMALL.domains['classification'].recognizers
    assert block['recognizers'] == [known[name] for name in known if name != 'vgg'] and block['sample'] == 1
    group, = groups_of('ours', range(3))
    assert group.options['restorers'][restorer.label]['used'] == ['resnet', 'densenet', 'mobilenetv2', 'transformer']
    assert len(group.options['restorers'][restorer.label]['checkpoint']) == 3


@pytest.mark.parametrize('jobs', [1, 2])
def test_after_a_failure_no_other_training_begins(jobs, tmp_path, monkeypatch):
    begun = []

    def task(name, threads):
        begun.append(name)
        if name == 'bad':
            raise RuntimeError('ended early')
        time.sleep(0.2)

    with pytest.raises(RuntimeError, match='ended early'):
        trained_runs.run_all([partial(task, name) for name in ('bad', *'abcdefgh')], jobs)
    assert begun[0] == 'bad' and len(begun) < 5


def test_what_is_made_is_made_once(tmp_path):
    (tmp_path / 'make.py').write_text('import sys\nif len(sys.argv) > 1:\n'
                                      "    with open(sys.argv[1], 'a') as file:\n        file.write('made ')")
    for _ in range(2):
        trained_runs.make(tmp_path, 'file', ['make.py', 'file'], 1)
    assert (tmp_path / 'file').read_text() == 'made '
    (tmp_path / 'module.py').write_text("open('by_module', 'w').close()")
    trained_runs.make(tmp_path, 'by_module', ['-m', 'module'])
    assert (tmp_path / 'by_module').exists()
    with pytest.raises(ChildProcessError, match='other was not made'):
        trained_runs.make(tmp_path, 'other', ['make.py'])


# ----------------------------------------------------------------------------------------------------------- tables
def estimate(value, low, high, seeds=None):
    return {'value': value, 'low': low, 'high': high, 'seeds': seeds}


def judged(recognizer_name, scores, differences):
    def of(values):
        return {'psnr': 20.0, 'ssim': 0.5, 'scores': {name: {'top1': estimate(value, value - 0.01, value + 0.01)}
                                                      for name, value in values.items()}}

    condition = {
        'n': 2000,
        'processings': {'clean': of({'a': 0.9, 'b': 0.8}), 'no processing': of({'a': 0.3, 'b': 0.2}),
                        'plain': of({'a': 0.5, 'b': 0.4}), 'RA x': of(scores)},
        'differences': {'RA x': {'psnr': estimate(-0.5, -0.6, -0.4), 'ssim': estimate(0.25, 0.125, 0.375),
                                 'scores': {name: {'top1': estimate(*values)}
                                            for name, values in differences.items()}}}}
    coordinates = {'task': 'SR', 'method': 'RA', 'recognizer': recognizer_name, 'network': None, 'loss_weight': None,
                   'judged_on': 'classification'}
    return JudgedRestorer(coordinates, 'RA x', 'plain', (recognizer_name,), 3,
                          from_plain(Condition, condition, 'made up'))


FIRST = judged('a', {'a': 0.7, 'b': 0.6}, {'a': (0.2, 0.1, 0.3), 'b': (0.2, -0.1, 0.5)})
SECOND = judged('b', {'a': 0.65, 'b': 0.75}, {'a': (0.15, 0.1, 0.2), 'b': (-0.05, -0.1, -0.01)})
LEFT = ' of what plain leaves to clean.'
PAPER = {'columns': ['A', 'B'], 'clean': [7.5, 8.5], 'SR': {'plain': [1.5, 2.5], 'A': [3.5, 4.5]}}


def lines(text):
    return [' '.join(line.split()) for line in text.splitlines()]


def test_transfer_has_a_row_for_each_recognizer_used():
    text = lines(paper_table({'title': 'Transfer', 'rows': 'recognizer', 'columns': 'judge', 'of': {'method': 'RA'},
                              'baselines': ['plain'], 'paper': PAPER}, [FIRST, SECOND]))
    assert ('Judged on 2,000 images; trainings of each: 3. Scores in %, with 95 % intervals over the images, and over '
            'trainings where there are several.') in text
    assert '| plain | 50.0 [49.0, 51.0] | 40.0 [39.0, 41.0] |' in text
    assert '| b | 65.0 [64.0, 66.0] | 75.0 [74.0, 76.0] |' in text
    assert '- a: above plain on 1 of 2, below on 0, open on 1; +20.0 points on average, 50 %' + LEFT in text
    assert '- b: above plain on 1 of 2, below on 1, open on 0; +5.0 points on average, 12 %' + LEFT in text
    assert ('- all, on recognizers never used: above plain on 1 of 2, below on 0, open on 1; +17.5 points on average, '
            '44 %' + LEFT) in text
    assert "The paper's:" in text and '| clean | 7.5 | 8.5 |' in text and '| A | 3.5 | 4.5 |' in text
    assert '| minus plain | a | b |' in text and '| a | +20.0 [+10.0, +30.0] | +20.0 [-10.0, +50.0] |' in text


def test_a_negative_share_of_what_plain_leaves_is_no_share():
    worse = judged('a', {'a': 0.3, 'b': 0.3}, {'a': (-0.2, -0.3, -0.1), 'b': (-0.1, -0.2, 0.1)})
    text = lines(paper_table({'title': 'Same', 'rows': 'method', 'columns': 'judge', 'judge': 'the one used',
                              'baselines': ['no processing']}, [worse]))
    assert ('- RA: above plain on 0 of 1, below on 1, open on 0; -20.0 points on average, further from clean than '
            'plain is, by 50 % of what that leaves.') in text


def test_the_papers_numbers_of_other_tasks_have_their_names():
    assert paper_numbers({'paper': PAPER}, 'denoising')[0] == "The paper's, SR:"
    assert paper_numbers({}, 'denoising') == []


def test_the_recognizer_used_judges_its_own():
    text = lines(paper_table({'title': 'Same', 'rows': 'method', 'columns': 'judge', 'judge': 'the one used',
                              'baselines': ['no processing'], 'note': 'A note'}, [FIRST, SECOND]))
    assert '| RA | 70.0 [69.0, 71.0] | 75.0 [74.0, 76.0] |' in text
    assert '- RA: above plain on 1 of 2, below on 1, open on 0; +7.5 points on average, 19 %' + LEFT in text
    assert '| no processing | 30.0 [29.0, 31.0] | 20.0 [19.0, 21.0] |' in text and text[-1] == 'A note.'


def test_measures_are_columns():
    text = lines(paper_table({'title': 'Weights', 'rows': 'recognizer', 'columns': 'measure', 'baselines': ['plain']},
                             [FIRST]))
    assert '| recognizer | PSNR | SSIM | a |' in text and '| a | 20.00 | 0.5000 | 70.0 [69.0, 71.0] |' in text
    assert '| minus plain | PSNR | SSIM | a |' in text
    assert '| a | -0.50 [-0.60, -0.40] | +0.2500 [+0.1250, +0.3750] | +20.0 [+10.0, +30.0] |' in text


def test_those_that_never_used_a_judge_have_a_share():
    third = judged('b', {'a': 0.55, 'b': 0.85}, {'a': (0.05, -0.1, 0.2), 'b': (0.0, -0.1, 0.1)})
    text = lines(paper_table({'title': 'Ours', 'rows': 'method', 'columns': 'judge', 'judge': 'never used',
                              'baselines': ['plain']}, [FIRST, SECOND, third]))
    assert '| RA | 60.0 [59.0, 61.0] | 60.0 [59.0, 61.0] |' in text  # a: of 65 and 55, not of its own 70; b: 60
    assert '- RA: above plain on 0 of 2, below on 0, open on 2; +15.0 points on average, 38 %' + LEFT in text


def test_domains_are_rows_and_columns():
    def on(trained_on, judged_on, method, score):
        one = judged('a', {'a': score, 'b': 0.1}, {'a': (0.1, 0.05, 0.15), 'b': (0.1, 0.05, 0.15)})
        coordinates = {**one.coordinates, 'domain': trained_on, 'judged_on': judged_on, 'method': method}
        return replace(one, coordinates=coordinates, label='plain' if method == 'plain' else 'RA x')

    found = [on(a, b, method, 0.3) for a in 'AB' for b in 'AB' for method in ('plain', 'RA')]
    found[3] = on('A', 'B', 'RA', 0.9)
    text = lines(paper_table({'title': 'Categories', 'rows': ['domain', 'method'], 'columns': 'judged_on',
                              'baselines': ['no processing']}, found))
    assert '| domain, method | A | B |' in text and '| A plain | 50.0 [49.0, 51.0] | 50.0 [49.0, 51.0] |' in text
    assert '| A RA | 30.0 [29.0, 31.0] | 90.0 [89.0, 91.0] |' in text
    assert '| A RA | +10.0 [+5.0, +15.0] | +10.0 [+5.0, +15.0] |' in text
    assert not any(line.startswith('| A plain | +') for line in text)
    assert '- B RA: above plain on 4 of 4, below on 0, open on 0; +10.0 points on average, 25 %' + LEFT in text


def test_measures_and_judges_are_columns():
    text = lines(paper_table({'title': 'Alternatives', 'rows': 'method', 'columns': 'measure and judge',
                              'baselines': ['no processing', 'plain']}, [FIRST]))
    assert '| method | PSNR | SSIM | a | b |' in text
    assert '| RA | 20.00 | 0.5000 | 70.0 [69.0, 71.0] | 60.0 [59.0, 61.0] |' in text


def test_a_network_beside_a_transformer_is_compared_with_the_plain_one(tmp_path):
    group, = groups_of('seeds', [0, 1])
    blocks = group.options['restorers']
    networks = {file: {'params': {'weight': torch.full((3,), float(file.split('_seed')[-1][0]))}}
                for block in blocks.values() for file in block['checkpoint']}
    for file, network in networks.items():
        (tmp_path / file).parent.mkdir(parents=True)
        torch.save(network, tmp_path / file)
    for block in blocks.values():
        file = tmp_path / block['option_file']
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('network_t: {}' if block['method'] != 'RA with T' else 'network_t: {type: ResnetGenerator}')
    assert 'In 2 of 2 trainings with a transformer P is the plain network' in untouched(tmp_path, {}, [group])
    assert untouched(tmp_path, {'of': {'method': 'RA'}}, [group]) == ''
    other = blocks['RA with T resnet']['checkpoint'][1]
    torch.save({'params': {'weight': torch.full((3,), 1.0000001)}}, tmp_path / other)
    assert 'In 1 of 2 trainings' in untouched(tmp_path, {'of': {'method': ['RA with T']}}, [group])


class Draws:
    """Scores of every way of processing, as of a `Matrix`."""

    def __init__(self, **columns):
        self.columns = columns

    def mean(self, name, *column):
        value, *draws = self.columns['_'.join(column)]
        return Sampled(value, np.array(draws, float))


def test_rows_are_compared_on_the_same_resamples():
    """Of judge a the second restorer's scores count, of b the first one's: those that never used them."""
    def one(method, recognizer_name, **columns):
        found = judged(recognizer_name, {'a': 0.6, 'b': 0.6}, {'a': (0.1, 0.0, 0.2), 'b': (0.1, 0.0, 0.2)})
        return replace(found, coordinates={**found.coordinates, 'method': method}, matrix=Draws(**columns))

    rows = [one('RA', 'a', psnr=(20, 20, 21), a_top1=(0.9, 0.9, 0.9), b_top1=(0.5, 0.4, 0.6)),
            one('RA', 'b', psnr=(22, 22, 23), a_top1=(0.7, 0.6, 0.8), b_top1=(0.9, 0.9, 0.9)),
            one('KL', 'a', psnr=(23, 23, 24), a_top1=(0.9, 0.9, 0.9), b_top1=(0.6, 0.5, 0.7)),
            one('KL', 'b', psnr=(23, 23, 24), a_top1=(0.8, 0.7, 0.9), b_top1=(0.9, 0.9, 0.9))]
    spec = {'title': 'Ours', 'rows': 'method', 'columns': 'measure and judge', 'judge': 'never used',
            'baselines': ['plain'], 'compare': [['KL', 'RA'], ['KL', 'not at this scale']]}
    text = lines(paper_table(spec, rows))
    assert '- KL minus RA: +10.00 points [+10.00, +10.00], +2.000 dB [+2.000, +2.000].' in text
    assert '| RA | 20.00 | 0.5000 | 60.0 [59.0, 61.0] | 60.0 [59.0, 61.0] |' in text
    with pytest.raises(ValueError, match=r'^RA x: expected the scores of its images to compare rows by, got none\.'):
        paper_table(spec, [replace(row, matrix=None) for row in rows])


# --------------------------------------------------------------------------------------------------------- a tiny run
def test_from_experiments_to_a_table(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'executable', warm_start.python())
    opt = runs.options(tmp_path, total_iter=2)
    for key in ('optim_t', 'recog_opt'):
        del opt['train'][key]
    del opt['network_t']
    folder = tmp_path / 'options' / 'experiments'
    folder.mkdir(parents=True)
    (folder / 'plain.yml').write_text(yaml.safe_dump(opt))
    (folder / 'small.yml').write_text(yaml.safe_dump({'classification': {
        'recognizers': {'vgg': recognizer('TinyVGG'), 'resnet': recognizer('TinyResNet')}, 'images': 8,
        'tasks': {'noise': {'option_file': 'options/experiments/plain.yml'}},
        'judges': {'cloud': recognizer('TinyTransformer')},
        'methods': {'RA': {'set': {
            'train.optim_g.lr': 0.3,  # so that two steps make a difference
            'train.recog_opt': {'type': 'RecogLoss', 'loss_weight': 0.01, 'recognizer': '$recognizer'}}}}}},
        sort_keys=False))
    (folder / 'experiments.yml').write_text(yaml.safe_dump({
        'studies': {'transfer': {'tasks': ['noise', 'SR'], 'restorers': [
            {'method': 'plain'}, {'method': ['RA', 'RA with T'], 'recognizer': 'all'}], 'judges': ['cloud']}},
        'tables': {
            'T6': {'also': ['figure_4'], 'title': 'Boundaries', 'study': 'transfer', 'show': 'boundaries', 'maps': 1,
                   'paper': {'columns': ['random', 'RA'], 'R18 and R50': {'BD(Rs)': [34.7, 14.1]}}},
            'figure_3': {'title': 'Images', 'study': 'transfer', 'show': 'images', 'number': 2},
            'cloud': {'title': 'Cloud', 'study': 'transfer', 'show': 'survey', 'judge': 'cloud', 'number': 3},
            'T2': {'title': 'Transfer', 'study': 'transfer', 'rows': 'recognizer', 'columns': 'judge',
                   'of': {'method': 'RA'}, 'baselines': ['plain']}}}))
    reproduction = Reproduction(tmp_path, 'small')
    plan = reproduction.plan(['T2'])
    assert len(plan.runs) == 3 and not plan.missing  # there is no SR, nor a method with T
    text = reproduction.run(plan, jobs=2)
    assert [line.split('|')[1].strip() for line in text.splitlines() if line.startswith('| ')][1:] == [
        'clean', 'plain', 'vgg', 'resnet', 'minus plain', 'vgg', 'resnet']
    out = tmp_path / 'results' / 'reproduce' / 'small'
    assert (out / 'T2.md').read_text() in text
    results = json.loads((out / 'evaluations' / 'small_transfer_noise' / 'results.json').read_text())
    assert results['restorers']['RA vgg']['used'] == ['vgg'] and results['baseline'] == 'plain'
    monkeypatch.setattr(trained_runs, 'run_program', None)  # nothing is left to train
    assert reproduction.run(reproduction.plan(['T2'])) == text
    assert '1 of 2 tasks at this scale' in reproduction.describe(plan)
    text = reproduction.run(reproduction.plan(['figure_4', 'figure_3', 'cloud']))
    assert '# T6, figure_4\n' in text and '| BD(Rs) | 34.7   | 14.1 |' in text
    assert '# figure_3\n' in text and '# cloud\n' in text and 'Answers that are the label' in text
    assert {'T6/boundary.html', 'figure_3.html', 'cloud/survey.html', 'cloud/key.json'} <= {
        str(path.relative_to(out)) for path in out.rglob('*.*')}
    network = tmp_path / 'experiments' / 'small_classification_noise_RA_vgg_seed0' / 'models' / 'net_g_latest.pth'
    torch.save({'params': {name: 0 * weight for name, weight in torch.load(network)['params'].items()}}, network)
    before = (out / 'T2.md').read_text()
    anew = Reproduction(tmp_path, 'small').run(plan)
    assert anew != before and 'Judged on 8 images' in anew
