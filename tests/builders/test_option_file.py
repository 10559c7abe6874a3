"""An invalid option file gets one clear line before any folder is made or network built."""
import contextlib
import copy
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import warm_start
import yaml
from PIL import Image

import ra_plugin.basicsr  # noqa: F401  (registers)
from ra_plugin.builders import option_file
from ra_plugin.builders.file_check import BLOCKS, check_file
from ra_plugin.builders.option_paths import resolve_paths, training_file
from ra_plugin.data.class_check import check_classes
from ra_plugin.options import OptionError
from ra_plugin.recognizers import build_recognizer
from ra_plugin.registry import RECOGNIZER_REGISTRY

ROOT = Path(__file__).resolve().parents[2]
NET = 'ra_plugin.recognizers.tiny_nets.TinyVGG'
RECOGNIZER = {'type': 'ModuleRecognizer', 'module': NET, 'mean': [0.5] * 3, 'std': [0.2] * 3, 'input_size': 32}


def base() -> dict:
    return {
        'name': 'run', 'model_type': 'SRModel', 'scale': 2, 'num_gpu': 0, 'manual_seed': 0, 'is_train': True,
        'datasets': {
            'train': {'name': 'train', 'type': 'LabeledImageDataset', 'dataroot_gt': 'data', 'batch_size_per_gpu': 2,
                      'num_worker_per_gpu': 0, 'use_shuffle': True,
                      'degradation': {'type': 'BicubicDownsample', 'scale': 2}},
            'val': {'name': 'val', 'type': 'LabeledImageDataset', 'dataroot_gt': 'data', 'batch_size_per_gpu': 2,
                    'degradation': {'type': 'BicubicDownsample', 'scale': 2}}},
        'network_g': {'type': 'SRResNet', 'num_feat': 4, 'num_block': 1, 'upscale': 2},
        'path': {'pretrain_network_g': None, 'strict_load_g': True, 'resume_state': None},
        'train': {'optim_g': {'type': 'Adam', 'lr': 1e-3},
                  'scheduler': {'type': 'MultiStepLR', 'milestones': [9], 'gamma': 0.1},
                  'total_iter': 2, 'warmup_iter': -1, 'pixel_opt': {'type': 'MSELoss', 'loss_weight': 1.0},
                  'recog_opt': {'type': 'RecogLoss', 'loss_weight': 0.001, 'recognizer': dict(RECOGNIZER)}},
        'val': {'val_freq': 2, 'save_img': True, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}},
                'recognizers': {'vgg': dict(RECOGNIZER)}},
        'logger': {'print_freq': 1, 'save_checkpoint_freq': 2, 'use_tb_logger': False},
    }


def changed(path: str, value) -> dict:
    opt = base()
    node = opt
    *parents, last = path.split('.')
    for key in parents:
        node = node[key]
    if value is None:
        del node[last]
    else:
        node[last] = value
    return opt


def test_a_right_file_passes():
    check_file(base())


@pytest.mark.parametrize('change', [
    lambda opt: opt['train'].pop('pixel_opt'),
    lambda opt: opt['train']['recog_opt']['recognizer'].update(trainable=True)])
def test_recog_every_is_refused_where_the_steps_between_would_have_no_loss(change):
    opt = base()
    change(opt)
    check_file(opt)
    opt['train']['recog_every'] = 2
    with pytest.raises(OptionError, match='train.recog_every: the steps between would have no loss'):
        check_file(opt)


@pytest.mark.parametrize('every, rests, is_refused', [(2, 2, True), (3, 6, True), (3, 2, False), (2, None, False)])
def test_recog_every_and_a_generator_that_rests_must_not_fall_together(every, rests, is_refused):
    opt = base()
    opt['train'].update(recog_every=every, net_d_iters=rests)
    with pytest.raises(OptionError, match='without a common divisor') if is_refused else contextlib.nullcontext():
        check_file(opt)


@pytest.mark.slow
@pytest.mark.parametrize('path, value, message', [
    ('train.recog_opt.recognizer.type', 'ModulRecognizer',
     r"train\.recog_opt\.recognizer\.type: no recognizer 'ModulRecognizer'\. Did you mean 'ModuleRecognizer'\?"),
    ('train.recog_opt.type', 'RecogLos',
     r"train\.recog_opt\.type: no recognition loss 'RecogLos'\. Did you mean 'RecogLoss'"),
    ('train.recog_opt.type', 'L1Loss', r"no recognition loss 'L1Loss'"),
    ('train.recog_opt.loss_wieght', 1.0, r"train\.recog_opt: unknown key 'loss_wieght'\. Did you mean 'loss_weight'\?"),
    ('train.recog_opt.loss_weight', '1e-3', r"train\.recog_opt\.loss_weight: '1e-3' is text.*!!float 1e-3"),
    ('train.optim_g.lr', '1e-4', r"train\.optim_g\.lr: '1e-4' is text"),
    ('train.recog_opt.loss_weight', [1], r'train\.recog_opt\.loss_weight: expected a number, got \[1\]'),
    ('train.recog_opt.recognizer', None, r"train\.recog_opt: 'recognizer' is missing"),
    ('train.recog_opt.recognizer.input_sise', 32, r"unknown key 'input_sise'\. Did you mean 'input_size'\?"),
    ('train.recog_opts', {}, r"train: unknown key 'recog_opts'\. Did you mean 'recog_opt'\?"),
    ('recog_opt', {}, r"'recog_opt' belongs under train"),
    ('val.recogniser', {}, r"val: unknown key 'recogniser'\. Did you mean 'recognizers'\?"),
    ('train.network_t', {}, r"train: 'network_t' belongs under the top level"),
    ('datasets.train.degradation.type', 'BicubicDownsampel',
     r"datasets\.train\.degradation\.type: no degradation 'BicubicDownsampel'\. Did you mean 'BicubicDownsample'\?"),
    ('datasets.train.degradation.factor', 2, r"datasets\.train\.degradation: unknown key 'factor'"),
    ('datasets.train.crop_sise', 32, r"datasets\.train: unknown key 'crop_sise'\. Did you mean 'crop_size'\?"),
    ('datasets.train.type', 'LabelledImageDataset',
     r"no data set 'LabelledImageDataset'\. Did you mean 'LabeledImageDataset'"),
    ('datasets.train.type', 'PairedImageDataset', r'RecogLoss needs labels, but PairedImageDataset has none'),
    ('train.recog_opt.reduction', 'none', r"reduction: training needs one number"),
    ('datasets.val.type', 'SingleImageDataset',
     r'val\.recognizers: datasets\.val: evaluation needs labels or clean images, but SingleImageDataset has neither'),
    ('datasets.train', None, r"datasets: 'train' is missing.*ra-plugin test"),
    ('train', None, r"option file: 'train' is missing"),
    ('train.total_iter', None, r"train: 'total_iter' is missing"),
    ('val.val_freq', None, r"val: 'val_freq' is missing"),
    ('logger.print_freq', 'often', r'logger\.print_freq: expected a number'),
    ('val', 'none', r"val: expected a block .*got 'none'"),
    ('val.recognizers', [], r'val\.recognizers: expected a block'),
    ('train.optim_g.type', 'Adamm', r"train\.optim_g\.type: no optimizer 'Adamm'\. Did you mean 'Adam'\?"),
    ('datasets.train.prefetch_mode', 'cuda', r"prefetch_mode: expected ~, 'cpu', or 'cuda' with pin_memory"),
    ('model_type', 'RecogAwareModel', r"base_model_type: 'RecogAwareModel' is made from another class"),
    ('network_g.type', 'SRResnet', r"network_g\.type: no architecture 'SRResnet'\. Did you mean 'SRResNet'\?"),
    ('network_g.num_feats', 4, r"network_g: unknown key 'num_feats'\. Did you mean 'num_feat'\?"),
    ('model_type', 'SRModl', r"model_type: no model 'SRModl'\. Did you mean 'SRModel'\?"),
    ('model_type', 'StyleGAN2Model', r'StyleGAN2Model does not support recognition losses'),
    ('train.optim_t', {'type': 'Adam', 'lr': 0.1}, r'train\.optim_t: there is no network_t'),
    ('path.pretrain_network_t', 't.pth', r'path\.pretrain_network_t: there is no network_t'),
    ('train.total_iter', '2', r"train\.total_iter: '2' is text.*Write 2 without quotes"),
    ('name', 'a/b', 'name: expected the name of a folder'),
    ('val.metrics.psnr.type', 'calculate_psrn', r"no metric 'calculate_psrn'\. Did you mean 'calculate_psnr'\?"),
    ('val.recognizers.vgg.type', 'Timm', r"val\.recognizers\.vgg\.type: no recognizer 'Timm'"),
    ('train.log_grad_ratio', 'yes', r'train\.log_grad_ratio: expected true or false'),
    ('train.recog_every', 0, r'train\.recog_every: expected a whole number >= 1, got 0'),
    ('train.recog_every', 0.5, r'train\.recog_every: expected a whole number'),
    ('name', '.', "name: expected the name of a folder below experiments or results, got '.'"),
    ('name', '../other', 'name: expected the name of a folder'),
    ('datasets.val.name', '/etc', 'datasets.val.name: expected the name of a folder'),
    ('logger.print_freq', 0, 'logger.print_freq: expected a whole number >= 1, got 0'),
    ('val.val_freq', 0.5, 'val.val_freq: expected a whole number >= 1, got 0.5'),
    ('train.optim_g.type', 'LBFGS', "train.optim_g.type: no optimizer 'LBFGS'"),
    ('train.optim_g.lr', None, "train.optim_g: 'lr' is missing"),
    ('train.scheduler.type', 'MultiStep', "no schedule 'MultiStep'. Did you mean 'MultiStepLR'?"),
    ('train.warmup_iter', 'no', 'train.warmup_iter: expected a number'),
    ('model_type', ['SRModel'], r"model_type: no model '\['SRModel'\]'"),
    ('datasets.val', 'folder', 'datasets.val: expected a block'),
    ('val.metrics', ['psnr'], 'val.metrics: expected'),
])
def test_a_wrong_value_is_named(path, value, message):
    with pytest.raises(OptionError, match=message):
        check_file(changed(path, value))


def test_what_only_looks_wrong_passes():
    opt = changed('datasets.train.classes', ['0', '1', '1e5'])  # digits as the names of classes
    opt['network_e'] = dict(opt['network_g'])  # of somebody's own model class
    check_file(opt)


@pytest.mark.parametrize('key, value, message', [
    ('name', 3, 'name: expected text, got 3'),
    ('manual_seed', 'a', "manual_seed: expected a whole number, got 'a'"),
    ('manual_seed', 1.0, r'manual_seed: expected a whole number, got 1\.0'),
    ('manual_seed', 2 ** 40, 'manual_seed: expected a whole number >= 0 and <= '),
    ('path', 'x', r"path: expected a block or nothing \(~\), got 'x'"),
    ('datasets', ['x'], r"datasets: expected a block or nothing \(~\), got \['x'\]"),
])
def test_what_basicsr_uses_while_it_reads_the_file_is_named(key, value, message, tmp_path, monkeypatch):
    opt = base()
    opt.pop('is_train')
    (tmp_path / 'run.yml').write_text(yaml.safe_dump({**opt, 'num_gpu': 0, key: value}))
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(tmp_path / 'run.yml')])
    with pytest.raises(OptionError, match=message):
        option_file.parse_options(tmp_path, is_train=True)


def test_a_launcher_without_torchrun_says_how_to_start(tmp_path, monkeypatch):
    monkeypatch.delenv('RANK', raising=False)
    opt = base()
    opt.pop('is_train')
    (tmp_path / 'run.yml').write_text(yaml.safe_dump(opt))
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(tmp_path / 'run.yml'), '--launcher', 'pytorch'])
    with pytest.raises(OptionError, match='start it with torchrun'):
        option_file.parse_options(tmp_path, is_train=True)


def test_a_transformer_without_a_recognition_loss_is_refused():
    opt = changed('network_t', {'type': 'ResnetGenerator'})
    del opt['train']['recog_opt']
    with pytest.raises(OptionError, match=r'network_t: .*Add train\.recog_opt'):
        check_file(opt)


def test_reading_an_option_file_runs_no_code(tmp_path, monkeypatch):
    file = tmp_path / 'evil.yml'
    file.write_text('name: !!python/object/apply:os.mkdir ["%s"]\n' % (tmp_path / 'made'))
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(file)])
    with pytest.raises(OptionError, match='could not determine a constructor'):
        option_file.parse_options(tmp_path, is_train=True)
    assert not (tmp_path / 'made').exists()


def test_a_seed_given_on_the_command_line_counts(tmp_path, monkeypatch):
    opt = base()
    opt.pop('is_train')
    (tmp_path / 'run.yml').write_text(yaml.safe_dump(opt))
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(tmp_path / 'run.yml'), '--force_yml', 'manual_seed=5'])
    option_file.parse_options(tmp_path, is_train=True)
    assert torch.initial_seed() == 5


@pytest.mark.parametrize('text', ['', '- a\n- b\n', 'word', 'name: x\nnum_gpu: 0\ndatasets: []\npath: {}\n'])
def test_a_file_that_is_no_option_file_is_one_line(tmp_path, monkeypatch, text):
    (tmp_path / 'run.yml').write_text(text)
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(tmp_path / 'run.yml')])
    expected = 'datasets: expected a block' if 'datasets' in text else 'option file: expected blocks of keys'
    with pytest.raises(OptionError, match=expected):
        option_file.parse_options(tmp_path, is_train=True)


def test_a_users_own_recognizer_is_found_through_custom_imports(tmp_path, monkeypatch):
    (tmp_path / 'my_recognizers.py').write_text(
        'from ra_plugin.recognizers import ModuleRecognizer\n'
        'from ra_plugin.registry import RECOGNIZER_REGISTRY\n'
        '@RECOGNIZER_REGISTRY.register\nclass MyRecognizer(ModuleRecognizer):\n    pass\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(RECOGNIZER_REGISTRY, '_entries', dict(RECOGNIZER_REGISTRY._entries))  # other tests count them
    opt = changed('train.recog_opt.recognizer.type', 'MyRecognizer')
    opt.pop('is_train')
    opt['custom_imports'] = ['my_recognizers']
    (tmp_path / 'run.yml').write_text(yaml.safe_dump(opt))
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(tmp_path / 'run.yml')])
    parsed, _ = option_file.parse_options(tmp_path, is_train=True)
    assert parsed['model_type'] == 'RecogAwareModel' and parsed['base_model_type'] == 'SRModel'

    opt['custom_imports'] = 'my_recognizers'
    (tmp_path / 'run.yml').write_text(yaml.safe_dump(opt))
    with pytest.raises(OptionError, match='custom_imports: expected a list of text'):
        option_file.parse_options(tmp_path, is_train=True)


def test_every_block_of_a_list_is_checked():
    opt = base()
    opt['train']['recog_opt'] = [opt['train']['recog_opt'], {'type': 'RecogFeatureLoss'}]
    with pytest.raises(OptionError, match=r"train\.recog_opt\[1\]: 'recognizer' is missing"):
        check_file(opt)


def test_labels_must_mean_the_same_to_data_and_recognizer():
    class Data:
        num_classes, classes = 12, None

    recognizer = build_recognizer({**RECOGNIZER, 'classes': list('abcdefghij')})
    with pytest.raises(OptionError, match='12 classes, but .* tells 10 apart'):
        check_classes(Data, [recognizer], 'train')
    Data.num_classes, Data.classes = 10, tuple('jihgfedcba')
    with pytest.raises(OptionError, match='in another order'):
        check_classes(Data, [recognizer], 'train')
    Data.classes = tuple('abcdefghij')
    check_classes(Data, [recognizer], 'train')
    Data.opt = {'keep_classes': list(Data.classes)}
    check_classes(Data, [recognizer], 'train')
    Data.classes = tuple('abcdefghiz')  # as many as the recognizer's, and one of another part
    with pytest.raises(OptionError, match="train: keep_classes has 'z', which is no class of"):
        check_classes(Data, [recognizer], 'train')
    Data.opt = {}  # names may be written in another way, as those of ImageNet's folders are
    check_classes(Data, [recognizer], 'train')
    Data.num_classes, Data.classes = 7, None  # labels are numbers, the highest is 6: ten classes may be meant
    check_classes(Data, [recognizer], 'train')


@pytest.fixture(scope='module')
def place(tmp_path_factory) -> Path:
    """A folder with ten classes of two images, and an option file beside it."""
    root = tmp_path_factory.mktemp('place')
    rng = np.random.default_rng(0)
    for label in 'abcdefghij':
        (root / 'data' / label).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(root / 'data' / label / f'{label}{i}.png')
    return root


def launch(tool: str, opt: dict, place: Path, *flags: str, cwd: Path | None = None):
    """Run a tool as a user does, with its experiments below ``place``."""
    opt = copy.deepcopy(opt)
    opt.pop('is_train')
    (place / 'run.yml').write_text(yaml.safe_dump(opt, sort_keys=False))
    code = ('import sys, pathlib; from ra_plugin.training import pipeline as runs; '
            f'sys.exit(runs.run(runs.{tool}_pipeline, pathlib.Path({str(place)!r})))')
    return warm_start.run(['-c', code, '-opt', place / 'run.yml', *flags], cwd or place, {
        **os.environ, 'PYTHONPATH': str(ROOT)})


@pytest.mark.slow
def test_train_resume_and_test_from_another_folder(place, tmp_path):
    done = launch('train', base(), place, cwd=tmp_path)  # dataroot_gt is relative: found beside the experiments
    assert done.returncode == 0, done.stderr
    models = place / 'experiments' / 'run' / 'models'
    assert {path.name for path in models.iterdir()} == {'net_g_2.pth', 'net_g_latest.pth'}
    log = next((place / 'experiments' / 'run').glob('train_*.log')).read_text()
    assert 'l_recog' in log and 'top1_vgg' in log and 'psnr' in log

    opt = base()
    opt['train']['total_iter'] = 4
    done = launch('train', opt, place, '--auto_resume', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (models / 'net_g_4.pth').is_file() and (models / 'net_g_2.pth').is_file()
    assert 'Resuming from epoch' in done.stderr

    opt['datasets'] = {'test': {**opt['datasets']['val'], 'name': 'held-out'}}
    opt['path']['pretrain_network_g'] = 'experiments/run/models/net_g_4.pth'
    done = launch('test', opt, place, '--force_yml', 'val:save_img=True', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'top1_vgg' in done.stderr
    assert len(list((place / 'results' / 'run' / 'visualization' / 'held-out').rglob('*.png'))) == 20


@pytest.mark.slow
def test_a_wrong_file_is_one_line_and_touches_no_run(place):
    kept = place / 'experiments' / 'mine'
    kept.mkdir(parents=True)
    (kept / 'weights').write_text('precious')
    for path, value in (('train.recog_opt.recognizer.module', f'{NET}x'), ('datasets.train.dataroot_gt', 'nowhere'),
                        ('datasets.train.batch_size_per_gpu', 50)):
        opt = changed(path, value)
        opt['name'] = 'mine'
        done = launch('train', opt, place)
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert (kept / 'weights').read_text() == 'precious'


@pytest.mark.slow
def test_a_bad_image_in_the_middle_is_one_line_that_names_it(place):
    bad = place / 'data' / 'c' / 'c1.png'
    content = bad.read_bytes()
    for workers in (0, 1):
        bad.write_bytes(content[:200])
        opt = changed('datasets.train.num_worker_per_gpu', workers)
        opt['train']['total_iter'] = 30
        try:
            done = launch('train', opt, place)
        finally:
            bad.write_bytes(content)
        assert done.returncode == 2
        last = done.stderr.strip().splitlines()[-1]
        assert 'data/c/c1.png' in last and 'Traceback' not in done.stderr
        log = sorted((place / 'experiments' / 'run').glob('train_*.log'))[-1].read_text()
        assert 'Traceback' in log
        saved = list((place / 'experiments' / 'run' / 'models').glob('net_g_*.pth'))
        assert bool(saved) == bool(re.search(r'iter: +\d+, lr', log))  # what was learned before it is kept


@pytest.mark.distributed
def test_two_processes_train_and_validate_a_network_with_batch_norm(place):
    """Both validate, each its share, and train on: no forward pass in that may wait for the other."""
    opt = base()
    opt['name'], opt['train']['total_iter'], opt['val']['val_freq'] = 'ddp', 4, 2
    script = place / 'ddp.py'
    script.write_text('import sys, pathlib\nfrom ra_plugin.training import pipeline as runs\n'
                      f'status = runs.run(runs.train_pipeline, pathlib.Path({str(place)!r}))\n'
                      'tasks = pathlib.Path("/proc/self/task").glob("*/comm")\n'
                      'assert "gloo" not in str([task.read_text() for task in tasks])\n'  # may abort at the end
                      'sys.exit(status)\n')
    opt.pop('is_train')
    (place / 'ddp.yml').write_text(yaml.safe_dump(opt, sort_keys=False))
    done = subprocess.run([warm_start.python(), '-m', 'torch.distributed.run', '--nproc_per_node', '2',
                           '--rdzv-backend', 'c10d', '--rdzv-endpoint', '127.0.0.1:0', str(script),
                           '-opt', str(place / 'ddp.yml'), '--launcher', 'pytorch'],
                          cwd=place, capture_output=True, text=True, timeout=300,
                          env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'})
    assert done.returncode == 0, done.stderr[-3000:]
    log = next((place / 'experiments' / 'ddp').glob('train_*.log')).read_text()
    assert log.count('top1_vgg') >= 2 and 'l_recog' in log


def test_relative_paths_are_looked_up_below_the_root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / 'root'
    (root / 'options').mkdir(parents=True)
    (root / 'options/mine.py').touch()
    (tmp_path / 'here.json').touch()
    opt = {'recognizer': {'type': 'MMDetRecognizer', 'config': 'options/mine.py', 'checkpoint': 'w.pth'},
           'zoo': {'type': 'MMSegRecognizer', 'config': 'retinanet_r50'},
           'train': {'type': 'DetectionDataset', 'annotation_file': ['a.json', 'here.json'], 'classes': ['w.pth']},
           'masks': {'type': 'SegmentationDataset', 'dataroot_mask': '/abs', 'classes': 'names.txt'},
           'blocks': [{'type': 'PairedImageDataset', 'dataroot_gt': 'data', 'dataroot_lq': ['a', 'b']}],
           'path': {'pretrain_network_g': 'net_g.pth', 'resume_state': None, 'param_key_g': 'params'}}
    expected = copy.deepcopy(opt)
    expected['recognizer'].update(config=str(root / 'options/mine.py'), checkpoint=str(root / 'w.pth'))
    expected['train']['annotation_file'][0] = str(root / 'a.json')
    expected['masks']['classes'] = str(root / 'names.txt')
    expected['blocks'][0].update(dataroot_gt=str(root / 'data'), dataroot_lq=[str(root / 'a'), str(root / 'b')])
    expected['path']['pretrain_network_g'] = str(root / 'net_g.pth')
    resolve_paths(opt, root, training_file(opt))
    assert opt == expected  # the name of a config that its package brings stays


@pytest.mark.parametrize('kind', ['RealESRGANDataset', 'RealESRGANPairedDataset'])
def test_paths_of_data_sets_that_basicsr_registers_with_its_suffix_are_looked_up_too(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / 'root'
    opt = {'datasets': {'train': {'type': kind, 'dataroot_gt': 'data', 'meta_info': 'list.txt', 'name': 'data'}}}
    resolve_paths(opt, root, training_file(opt))
    assert opt['datasets']['train'] == {'type': kind, 'dataroot_gt': str(root / 'data'), 'name': 'data',
                                        'meta_info': str(root / 'list.txt')}


@pytest.mark.parametrize('block, place', [
    (None, 'option file'), ('path', 'path'), ('train', 'train'), ('val', 'val'), ('logger', 'logger')])
@pytest.mark.parametrize('key', [None, 5, True])
def test_keys_that_are_no_text_are_refused(block, place, key):
    opt = base()
    (opt[block] if block else opt)[key] = 1
    with pytest.raises(OptionError, match=rf'^{place}: key {key}: expected text, got {key}\.'):
        check_file(opt)


@pytest.mark.parametrize('path', ['val.recognizers.vgg', 'train.recog_opt.recognizer', 'train.recog_opt', 'network_g',
                                  'datasets.train', 'datasets.val.degradation', 'train.optim_g', 'train.scheduler',
                                  'train.pixel_opt', 'val.metrics.psnr'])
def test_what_is_no_block_is_told_how_to_become_one(path):
    with pytest.raises(OptionError, match=rf'^{re.escape(path)}: expected a block.* got 3\. Write {{type: \.\.\., '):
        check_file(changed(path, 3))


@pytest.mark.parametrize('path', [where for where in BLOCKS if base().get(where)] + ['val.metrics', 'val.recognizers'])
@pytest.mark.parametrize('value', [3, 'x', ['x'], True])
def test_whatever_stands_in_the_place_of_a_block_is_told_so_with_a_remedy(path, value):
    message = rf'^{re.escape(path)}: expected .*block.* got {re.escape(repr(value))}\. Write '
    with pytest.raises(OptionError, match=message):
        check_file(changed(path, value))


@pytest.mark.parametrize('metrics, message', [
    ({'detectoin': 'coco'}, "val.recognition_metrics: no task 'detectoin'. Did you mean 'detection'?"),
    ('coco', 'val.recognition_metrics: expected a block'),
])
def test_recognition_metrics(metrics, message):
    with pytest.raises(OptionError, match=re.escape(message)):
        check_file(changed('val.recognition_metrics', metrics))


def test_processes_that_talk_through_gpus_cannot_train_on_the_cpu(tmp_path, monkeypatch):
    file = tmp_path / 'opt.yml'
    file.write_text(yaml.safe_dump(base()))
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(file)])
    parsed = option_file.basicsr_parse_options
    monkeypatch.setattr(option_file, 'basicsr_parse_options',
                        lambda *args, **kwargs: ({**parsed(*args, **kwargs)[0], 'dist': True}, None))
    monkeypatch.setattr(torch.distributed, 'get_backend', lambda: 'nccl')
    with pytest.raises(OptionError, match='num_gpu: 0 .*CUDA_VISIBLE_DEVICES='):
        option_file.parse_options(tmp_path, is_train=True)


@pytest.mark.parametrize('place, message', [
    ('num_gpu', "num_gpu: expected a whole number or 'auto', got None"),
    ('train.ema_decay', r'train\.ema_decay: expected a number, got ~\. Leave the key out'),
    ('datasets.train.dataset_enlarge_ratio', r'datasets\.train\.dataset_enlarge_ratio: expected a number, got ~')])
def test_what_basicsr_does_not_take_empty_is_named(place, message):
    opt = base()
    *outer, key = place.split('.')
    node = opt
    for part in outer:
        node = node[part]
    node[key] = None
    with pytest.raises(OptionError, match=message):
        check_file(opt)
