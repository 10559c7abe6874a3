"""Every option file below options/: it is checked, then trained or tested for two iterations, made tiny, on the CPU."""
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml
from PIL import Image

from ra_plugin.archs import SRResNet
from ra_plugin.engine.option_file import parse_options
from ra_plugin.engine.runs import test_pipeline as run_test  # under its own name pytest would collect it
from ra_plugin.engine.runs import train_pipeline as run_train

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / 'options').rglob('*.yml'))
CLASSES = ('ape', 'bee', 'cow')
TINY_NETWORKS = {'SRResNet': {'num_feat': 4, 'num_block': 1}, 'ResnetGenerator': {'num_feat': 2, 'num_block': 1}}
TINY_RECOGNIZER = {'type': 'TimmRecognizer', 'model_name': 'test_resnet', 'pretrained': False, 'input_size': 32,
                   'model_kwargs': {'num_classes': len(CLASSES)}}


def file_id(path):
    return str(path.relative_to(ROOT / 'options').with_suffix(''))


def load(path):
    return yaml.safe_load(path.read_text())


def is_training(opt):
    return 'train' in opt['datasets']


ALL = pytest.mark.parametrize('path', FILES, ids=file_id)
TRAINED = [path for path in FILES if is_training(load(path))]
TESTED = [path for path in FILES if not is_training(load(path))]
TWINS = [(path, twin) for path in TRAINED for twin in TRAINED
         if twin.parent == path.parent and twin.stem.startswith('plain_') and not path.stem.startswith('plain_')
         and path.stem.partition('_')[2].startswith(twin.stem.removeprefix('plain_'))]


def recognizers(node):
    """Every recognizer's block in the options, ensembles' members in place of the ensembles."""
    if isinstance(node, list):
        return [block for item in node for block in recognizers(item)]
    if not isinstance(node, dict):
        return []
    if str(node.get('type')).endswith('Recognizer') and node['type'] != 'EnsembleRecognizer':
        return [node]
    return recognizers(list(node.values()))


def shrink_recognizers(node):
    """The same blocks with random, tiny networks for three classes."""
    if isinstance(node, list):
        return [shrink_recognizers(item) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get('type') == 'TimmRecognizer':
        return dict(TINY_RECOGNIZER)
    if node.get('type') == 'ModuleRecognizer':
        kept = {key: value for key, value in node.items() if key != 'checkpoint'}
        return {**kept, 'mean': [0.5] * 3, 'std': [0.25] * 3, 'module_kwargs': {'num_classes': len(CLASSES)}}
    return {key: shrink_recognizers(value) for key, value in node.items()}


def shrink(opt, images):
    """The same experiment on a few small images, with small networks, for two iterations."""
    opt = deepcopy(opt)
    opt.update(num_gpu=0)
    for dataset in opt['datasets'].values():
        dataset.update(dataroot_gt=str(images), batch_size_per_gpu=2, num_worker_per_gpu=0, pin_memory=False)
        dataset.update({key: {'resize': 40, 'crop_size': 32}[key] for key in ('resize', 'crop_size') if key in dataset})
    for name in ('network_g', 'network_t'):
        if name in opt:
            opt[name].update(TINY_NETWORKS[opt[name]['type']])
    opt['val']['recognizers'] = shrink_recognizers(opt['val']['recognizers'])
    if is_training(opt):
        opt['train'].update(total_iter=2)
        if 'recog_opt' in opt['train']:
            opt['train']['recog_opt'] = shrink_recognizers(opt['train']['recog_opt'])
        opt['val'].update(val_freq=2)
        opt['logger'].update(print_freq=1, use_tb_logger=False)
    return opt


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """Class folders with two 48x48 photographs of noise each."""
    folder, rng = tmp_path_factory.mktemp('images'), np.random.default_rng(0)
    for name in CLASSES:
        (folder / name).mkdir()
        for i in range(2):
            Image.fromarray(rng.integers(0, 256, (48, 48, 3), np.uint8)).save(folder / name / f'{i}.png')
    return folder


@pytest.fixture
def pipeline(monkeypatch):
    """``pipeline(function, opt, root)`` runs what tools/train.py and tools/test.py run; returns the log."""
    monkeypatch.setattr(torch.backends.cudnn, 'benchmark', torch.backends.cudnn.benchmark)  # a run sets it

    def run(function, opt, root):
        file = root / f'{opt["name"]}.yml'
        file.write_text(yaml.safe_dump(opt))
        monkeypatch.setattr(sys, 'argv', ['program', '-opt', str(file)])
        function(root)
        log, = root.glob(f'*/{opt["name"]}/*.log')
        return log.read_text()

    return run


@ALL
def test_file_passes_the_checks(path, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, 'argv', ['program', '-opt', str(path)])
    opt, _ = parse_options(tmp_path, is_train=is_training(load(path)))
    assert opt['model_type'] == 'RecogAwareModel'


@ALL
def test_file_keeps_to_the_house_rules(path):
    opt = load(path)
    assert opt['name'] == path.stem
    assert opt['num_gpu'] == 'auto'
    assert all(not Path(dataset['dataroot_gt']).is_absolute() for dataset in opt['datasets'].values())
    pretrained = [block['model_name'] for block in recognizers(opt) if block.get('pretrained')]
    assert set(pretrained) <= set(timm.list_pretrained()), 'timm has no such weights'


@pytest.mark.parametrize('path', TRAINED, ids=file_id)
def test_two_iterations_of_training(path, images, tmp_path, pipeline):
    opt = load(path)
    log = pipeline(run_train, shrink(opt, images), tmp_path)
    assert ('l_recog' in log) == ('recog_opt' in opt['train'])
    assert ('l_recog_1' in log) == isinstance(opt['train'].get('recog_opt'), list)
    assert 'l_pix' in log
    for name in (*opt['val']['metrics'], *(f'top1_{name}' for name in opt['val']['recognizers'])):
        assert f'# {name}: ' in log
    models = tmp_path / 'experiments' / opt['name'] / 'models'
    assert (models / 'net_g_latest.pth').is_file()
    assert (models / 'net_t_latest.pth').is_file() == ('network_t' in opt)


def test_same_seed_gives_same_weights(images, tmp_path, pipeline):
    opt = shrink(load(ROOT / 'options' / 'ra_srresnet_x4_ensemble.yml'), images)  # draws members as well as images
    weights = []
    for run, seed in enumerate((0, 0, 1)):
        root = tmp_path / str(run)
        root.mkdir()
        pipeline(run_train, {**opt, 'manual_seed': seed}, root)
        weights.append(torch.load(root / 'experiments' / opt['name'] / 'models/net_g_latest.pth')['params'])
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=0)
    assert not torch.equal(weights[0]['tail.weight'], weights[2]['tail.weight'])


@pytest.mark.parametrize('path', TESTED, ids=file_id)
def test_a_test_scores_and_saves_images(path, images, tmp_path, pipeline):
    opt = shrink(load(path), images)
    network = {key: value for key, value in opt['network_g'].items() if key != 'type'}
    opt['path']['pretrain_network_g'] = str(tmp_path / 'net_g.pth')
    torch.save({'params': SRResNet(**network).state_dict()}, tmp_path / 'net_g.pth')
    log = pipeline(run_test, opt, tmp_path)
    for name in (*opt['val']['metrics'], *(f'top1_{name}' for name in opt['val']['recognizers'])):
        assert f'# {name}: ' in log
    folder = tmp_path / 'results' / opt['name'] / 'visualization' / opt['datasets']['test']['name']
    assert sorted(path.parent.name for path in folder.rglob('*.png')) == sorted(2 * CLASSES)
    with Image.open(next(folder.rglob('*.png'))) as image:
        assert image.size == (32, 32)


@pytest.mark.parametrize('path', TESTED, ids=file_id)
def test_a_test_file_is_of_its_training_file(path):
    opt = load(path)
    trained = load(path.with_name(path.name.removeprefix('test_')))
    assert opt['path']['pretrain_network_g'] == f'experiments/{trained["name"]}/models/net_g_latest.pth'
    assert opt['datasets']['test'] == trained['datasets']['val']
    for key in ('network_g', 'scale', 'model_type'):
        assert opt[key] == trained[key]
    for key in ('metrics', 'recognizers'):
        assert opt['val'][key] == trained['val'][key]


def test_every_training_file_has_its_plain_twin():
    assert {path for path, _ in TWINS} == {path for path in TRAINED if not path.stem.startswith('plain_')}


@pytest.mark.parametrize('path, twin', TWINS, ids=lambda path: file_id(path))
def test_twins_differ_in_the_recognition_loss_alone(path, twin):
    opt, plain = load(path), load(twin)
    assert opt.pop('name') != plain.pop('name')
    assert opt['train'].pop('recog_opt') and 'recog_opt' not in plain['train']
    if opt.pop('network_t', None):
        optimizer, scheduler = opt['train'].pop('optim_t'), opt['train'].pop('scheduler_t')
        assert (optimizer, scheduler) == (plain['train']['optim_g'], plain['train']['scheduler'])  # as in the paper
    assert opt == plain
