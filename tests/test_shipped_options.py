"""Every option file, shipped or written: checked, then trained or tested for two iterations, made tiny, on the CPU."""
import sys
from copy import deepcopy
from pathlib import Path

import mm_configs as small
import numpy as np
import pytest
import timm
import torch
import yaml
from basicsr.archs import build_network
from mmdet.datasets import VOCDataset
from PIL import Image

from ra_plugin.archs import SRResNet
from ra_plugin.builders.option_file import parse_options
from ra_plugin.compat.random_vgg import random_vgg
from ra_plugin.data import cifar10
from ra_plugin.data.class_split import split_classes
from ra_plugin.evaluation.options import EvaluationOptions
from ra_plugin.options import check_arguments
from ra_plugin.recognizers.openmmlab import model as openmmlab
from ra_plugin.recognizers.trainable import frozen
from ra_plugin.shipped.find import option_files, option_text
from ra_plugin.training.pipeline import test_pipeline as run_test  # under its own name pytest would collect it
from ra_plugin.training.pipeline import train_pipeline as run_train

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
NAMES = [Path(name) for name in option_files()]  # options/..., of those in the folder and those that are written
EVALUATIONS = [path for path in NAMES if path.parent.name == 'eval']
FILES = [path for path in NAMES if path.parent.name not in ('eval', 'experiments')]  # the latter: see test_reproduce
CLASSES = ('ape', 'bee', 'cow')
TINY_NETWORKS = {'SRResNet': {'num_feat': 4, 'num_block': 1}, 'ResnetGenerator': {'num_feat': 2, 'num_block': 1},
                 'SRDenseNet': {'num_feat': 4, 'num_block': 1, 'num_layer': 2, 'num_grow_ch': 2,
                                'num_bottleneck_ch': 4},
                 'RDN': {'num_feat': 4, 'num_block': 1, 'num_layer': 2, 'num_grow_ch': 2},
                 'DBPN': {'num_init_feat': 4, 'num_feat': 2, 'num_block': 2}, 'Interpolation': {},
                 'SRVGGNetCompact': {'num_feat': 4, 'num_conv': 1},
                 'RRDBNet': {'num_feat': 4, 'num_block': 1, 'num_grow_ch': 2}}
TINY_RECOGNIZER = {'type': 'TimmRecognizer', 'model_name': 'test_resnet', 'pretrained': False, 'input_size': 32,
                   'model_kwargs': {'num_classes': len(CLASSES)}}
LIBRARIES = {'MMDetRecognizer': 'mmdet', 'MMSegRecognizer': 'mmseg'}
TINY_READER = {'type': 'CTCRecognizer', 'module': 'tiny_recognizers.TinyReader', 'pretrained': False,
               'characters': 'oneSvt'}
TINY_MODELS = {'fcos': small.FCOS, 'faster_rcnn': small.FASTER_RCNN}
SCORES = {'exact_match': 'exact_match', 'cer': 'cer',  # asked for -> in the log
          'voc07': 'voc07_mAP', 'voc12': 'voc12_mAP', 'mIoU': 'mIoU', 'aAcc': 'aAcc'}


def file_id(path):
    return str(path.relative_to('options').with_suffix(''))


def load(path):
    return yaml.safe_load(option_text(str(path)))


def is_training(opt):
    return 'train' in opt['datasets']


def plain_twin(path):
    """The plain file of the same experiment, of which the name says most; None: there is none."""
    experiment = path.stem.partition('_')[2]
    found = [twin for twin in FILES if twin.parent == path.parent and twin.stem.startswith('plain_')
             and f'{experiment}_'.startswith(f'{twin.stem.removeprefix("plain_")}_')]
    return max(found, key=lambda twin: len(twin.stem), default=None)


ALL = pytest.mark.parametrize('path', FILES, ids=file_id)
TRAINED = [path for path in FILES if is_training(load(path))]
TESTED = [path for path in FILES if not is_training(load(path))]
# Appendix A: file -> the one that it is compared with, and what they differ in beside the name
LEARNS = ['train.optim_r', 'train.recog_opt.recognizer.trainable']
ALTERNATIVES = {
    'joint_srresnet_x4_resnet18': ('ra_srresnet_x4_resnet18', [*LEARNS, 'val.recognizers.resnet18_joint']),
    'recog_only_srresnet_x4_resnet18': ('ra_srresnet_x4_resnet18', ['train.pixel_opt']),
    'perceptual_srresnet_x4_vgg16': ('plain_srresnet_x4', ['train.perceptual_opt']),
    'scratch_srresnet_x4_resnet18': ('plain_srresnet_x4', [
        'datasets.train.batch_size_per_gpu', 'logger', 'path.pretrain_network_g', 'train', 'val']),
    'scratch_interpolation_x4_resnet18': ('scratch_srresnet_x4_resnet18', ['network_g', 'path']),
    'small/joint_srresnet_x2_cifar10': ('demo/ra_srresnet_x2_cifar10', [*LEARNS, 'val.recognizers.resnet_joint']),
    'small/sr4ir_srresnet_x2_cifar10': ('small/joint_srresnet_x2_cifar10', ['train.pixel_opt', 'train.recog_opt']),
    'small/recog_only_srresnet_x2_cifar10': ('demo/ra_srresnet_x2_cifar10', ['train.pixel_opt']),
    'small/perceptual_srresnet_x2_cifar10': ('demo/unsupervised_srresnet_x2_cifar10', ['train.recog_opt']),
}
OTHERS = [path for path in TRAINED
          if not path.stem.startswith(('plain_', 'tune_')) and file_id(path) not in ALTERNATIVES]
TWINS = [(path, plain_twin(path)) for path in OTHERS if plain_twin(path)]


def recognizers(node):
    """Every recognizer's block in the options, ensembles' members in place of the ensembles."""
    if isinstance(node, list):
        return [block for item in node for block in recognizers(item)]
    if not isinstance(node, dict):
        return []
    if str(node.get('type')).endswith('Recognizer') and node['type'] != 'EnsembleRecognizer':
        return [node]
    return recognizers(list(node.values()))


OPENMMLAB = [(path, block) for path in FILES for block in recognizers(load(path)) if block['type'] in LIBRARIES]


def shrink_recognizers(node, classes, root):
    """The same blocks with random, tiny networks for these classes; configs of OpenMMLab are written below ``root``."""
    if isinstance(node, list):
        return [shrink_recognizers(item, classes, root) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get('type') == 'TimmRecognizer':
        return {**TINY_RECOGNIZER, **{key: node[key] for key in ('trainable',) if key in node}}
    kept = {key: value for key, value in node.items() if key != 'checkpoint'}
    if node.get('type') == 'ModuleRecognizer':
        return {**kept, 'mean': [0.5] * 3, 'std': [0.25] * 3, 'module_kwargs': {'num_classes': len(CLASSES)}}
    if node.get('type') == 'CTCRecognizer':
        return dict(TINY_READER)
    if node.get('type') in LIBRARIES:
        name, library = Path(node['config']).stem, LIBRARIES[node['type']]
        model = next((tiny for key, tiny in TINY_MODELS.items() if name.startswith(key)), small.FCN)
        config = small.write_config(root / f'{name}.py', for_classes(model, len(classes)), library, classes=classes)
        return {**kept, 'config': config, 'pretrained': False}
    return {key: shrink_recognizers(value, classes, root) for key, value in node.items()}


def for_classes(model, count):
    """A model's config with another number of classes."""
    if not isinstance(model, dict):
        return model
    return {key: count if key == 'num_classes' else for_classes(value, count) for key, value in model.items()}


def classes_of(dataset):
    """Names of the classes that a dataset block stands for."""
    if dataset['type'] in ('LabeledImageDataset', 'TextDataset'):
        return CLASSES
    return tuple(dataset.get('classes') or VOCDataset.METAINFO['classes'])


def shrink(opt, root):
    """The same experiment on a few small images, with small networks, for two iterations."""
    opt = deepcopy(opt)
    opt.update(num_gpu=0)
    for phase, dataset in opt['datasets'].items():
        dataset.update(num_worker_per_gpu=0, pin_memory=False)
        dataset['batch_size_per_gpu'] = min(2, dataset['batch_size_per_gpu'])
        if 'resize' in dataset:
            dataset['resize'] = 40
        if 'crop_size' in dataset:
            dataset['crop_size'] = 32 if isinstance(dataset['crop_size'], int) else [32, 40]
        if 'keep_classes' in dataset:
            dataset['keep_classes'] = list(CLASSES)
        for key in ('dataroot_gt', 'dataroot_mask', 'label_file'):
            if key in dataset:
                dataset[key] = str(root / phase / dataset[key])
        MAKERS[dataset['type']](dataset)
    for name in ('network_g', 'network_t'):
        if name in opt:
            opt[name].update(TINY_NETWORKS[opt[name]['type']])
    if is_training(opt) and opt['path'].get('pretrain_network_g'):
        opt['path']['pretrain_network_g'] = str(root / 'trained.pth')
        key = opt['path'].get('param_key_g', 'params')
        torch.save({key: build_network(opt['network_g']).state_dict()}, root / 'trained.pth')
    classes = classes_of(next(iter(opt['datasets'].values())))
    opt['val']['recognizers'] = shrink_recognizers(opt['val']['recognizers'], classes, root)
    if is_training(opt):
        opt['train'].update(total_iter=2)
        if 'recog_opt' in opt['train']:
            opt['train']['recog_opt'] = shrink_recognizers(opt['train']['recog_opt'], classes, root)
            if 'layer_weights' in opt['train']['recog_opt']:
                opt['train']['recog_opt']['layer_weights'] = ['layers.0']  # of the tiny reader
        opt['val'].update(val_freq=2)
        opt['logger'].update(print_freq=1, use_tb_logger=False)
    return opt


def noise(path, height=48, width=48):
    """Save a photograph of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(path.stem.encode()))
    Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(path)


def make_class_folders(dataset):
    """Two images of each class."""
    for name in CLASSES:
        for i in range(2):
            noise(Path(dataset['dataroot_gt']) / name / f'{i}.png')


def make_voc(dataset):
    """In each folder two images that differ in size, with two boxes each."""
    names = classes_of(dataset)
    for number, subfolder in enumerate(dataset.get('subfolders') or ['.']):
        folder = Path(dataset['dataroot_gt']) / subfolder
        for name in ('Annotations', 'ImageSets/Main'):
            (folder / name).mkdir(parents=True)
        stems = [f'{number}{i}' for i in range(2)]
        (folder / f'ImageSets/Main/{dataset["split"]}.txt').write_text('\n'.join(stems))
        for i, stem in enumerate(stems):
            noise(folder / f'JPEGImages/{stem}.jpg', 50 + 8 * i, 70)
            objects = [f'<object><name>{name}</name><bndbox><xmin>{x}</xmin><ymin>8</ymin><xmax>{x + 25}</xmax>'
                       '<ymax>45</ymax></bndbox></object>' for name, x in ((names[0], 5), (names[-1], 30))]
            (folder / f'Annotations/{stem}.xml').write_text(f'<annotation>{"".join(objects)}</annotation>')


def make_masks(dataset):
    """Three images in two folders, and masks of every value that has a meaning."""
    values = list(dataset.get('label_map') or range(len(dataset['classes'])))
    values += [dataset.get('ignore_index', 255), 255]
    for name in ('a/0', 'a/1', 'b/2'):
        noise(Path(dataset['dataroot_gt']) / f'{name}{dataset.get("image_suffix", ".png")}', 48, 64)
        mask = Path(dataset['dataroot_mask']) / f'{name}{dataset.get("mask_suffix", ".png")}'
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.resize(np.array(values, np.uint8), (64, 48)).T.copy()).save(mask)


def make_words(dataset):
    """Three images of words, of two lengths."""
    for name in ('0', '1', '2'):
        noise(Path(dataset['dataroot_gt']) / f'{name}.png', 32, 64)
    Path(dataset['label_file']).write_text('path,text\n0.png,one\n1.png,Seven\n2.png,vote\n')


MAKERS = {'LabeledImageDataset': make_class_folders, 'DetectionDataset': make_voc, 'SegmentationDataset': make_masks,
          'TextDataset': make_words}


def scores_in_log(opt):
    """What validation has to log."""
    asked = [name for names in opt['val'].get('recognition_metrics', {}).values()
             for name in ([names] if isinstance(names, str) else names)]
    keys = [SCORES[name] for name in asked] or ['top1', 'top5']
    return [*opt['val']['metrics'], *(f'{key}_{name}' for key in keys for name in opt['val']['recognizers'])]


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
    file = tmp_path / path.name
    file.write_text(option_text(str(path)))
    monkeypatch.setattr(sys, 'argv', ['program', '-opt', str(file)])
    opt, _ = parse_options(tmp_path, is_train=is_training(load(path)))
    assert opt['model_type'] == 'RecogAwareModel'


@ALL
def test_file_keeps_to_the_house_rules(path):
    opt = load(path)
    assert opt['name'] == path.stem
    assert opt['num_gpu'] == 'auto'
    places = [value for node in (*opt['datasets'].values(), *recognizers(opt)) for key, value in node.items()
              if key.startswith('dataroot_') or key in ('config', 'checkpoint')]
    assert places and not any(Path(place).is_absolute() for place in places)
    pretrained = [block['model_name'] for block in recognizers(opt)
                  if block.get('pretrained') and block['type'] == 'TimmRecognizer']
    assert set(pretrained) <= set(timm.list_pretrained()), 'timm has no such weights'


@pytest.mark.parametrize('block', {str(block): block for _, block in OPENMMLAB}.values(),
                         ids=lambda block: Path(block['config']).stem)
def test_configs_and_weights_of_openmmlab_are_there(block):
    library = LIBRARIES[block['type']]
    file = ROOT / block['config']
    assert ('checkpoint' in block) != block.get('pretrained', False)
    if block.get('pretrained'):
        assert not file.exists()  # the zoo's
        file = openmmlab.find_config(block['config'], library, '')
        assert openmmlab.published_weights(file, library, '').startswith('https://')
    settings = openmmlab.read_config(file, None, '')
    openmmlab.model_class(settings, library, '')  # registers the library's data sets, which know their classes
    names = openmmlab.class_names(settings, library)
    for path in (path for path, other in OPENMMLAB if other == block):
        assert all(classes_of(dataset) == names for dataset in load(path)['datasets'].values())


@pytest.mark.parametrize('path', TRAINED, ids=file_id)
def test_two_iterations_of_training(path, tmp_path, pipeline):
    opt = load(path)
    with random_vgg():
        log = pipeline(run_train, shrink(opt, tmp_path), tmp_path)
    assert ('l_recog' in log) == ('recog_opt' in opt['train'])
    assert ('l_recog_1' in log) == isinstance(opt['train'].get('recog_opt'), list)
    assert ('l_pix' in log) == ('pixel_opt' in opt['train'])
    assert ('l_percep' in log) == ('perceptual_opt' in opt['train'])
    for name in scores_in_log(opt):
        assert f'# {name}: ' in log
    models = tmp_path / 'experiments' / opt['name'] / 'models'
    assert (models / 'net_g_latest.pth').is_file()
    assert (models / 'net_t_latest.pth').is_file() == ('network_t' in opt)
    assert (models / 'net_r_latest.pth').is_file() == ('optim_r' in opt['train'])


def test_same_seed_gives_same_weights(tmp_path, pipeline):
    opt = shrink(load(Path('options/ra_srresnet_x4_ensemble.yml')), tmp_path)  # draws members as well as images
    weights = []
    for run, seed in enumerate((0, 0, 1)):
        root = tmp_path / str(run)
        root.mkdir()
        pipeline(run_train, {**opt, 'manual_seed': seed}, root)
        weights.append(torch.load(root / 'experiments' / opt['name'] / 'models/net_g_latest.pth')['params'])
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=0)
    assert not torch.equal(weights[0]['tail.weight'], weights[2]['tail.weight'])


@pytest.mark.parametrize('path', TESTED, ids=file_id)
def test_a_test_scores_and_saves_images(path, tmp_path, pipeline):
    opt = shrink(load(path), tmp_path)
    network = {key: value for key, value in opt['network_g'].items() if key != 'type'}
    opt['path']['pretrain_network_g'] = str(tmp_path / 'net_g.pth')
    torch.save({'params': SRResNet(**network).state_dict()}, tmp_path / 'net_g.pth')
    log = pipeline(run_test, opt, tmp_path)
    for name in scores_in_log(opt):
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
    assert [path for path, _ in TWINS] == OTHERS
    plain = {path for path in TRAINED if path.stem.startswith('plain_')}
    assert {twin for _, twin in TWINS} == plain, 'a plain file is the twin of none'


@pytest.mark.parametrize('path, twin', TWINS, ids=lambda path: file_id(path))
def test_twins_differ_in_the_recognition_loss_alone(path, twin):
    opt, plain = load(path), load(twin)
    assert opt.pop('name') != plain.pop('name')
    assert opt['train'].pop('recog_opt') and 'recog_opt' not in plain['train']
    if opt.pop('network_t', None):
        optimizer, scheduler = opt['train'].pop('optim_t'), opt['train'].pop('scheduler_t')
        if path.parent.name == 'demo':  # its plain rate, for 1200 steps, is too fast for T, as the file says
            assert optimizer.pop('lr') == plain['train']['optim_g'].pop('lr') / 30
            opt['train']['optim_g'].pop('lr')
        assert (optimizer, scheduler) == (plain['train']['optim_g'], plain['train']['scheduler'])  # as in the paper
    assert opt == plain


def differences(node, other, where=''):
    """The places in which two option files differ."""
    if not isinstance(node, dict) or not isinstance(other, dict):
        return [] if node == other else [where]
    return [place for key in {**node, **other}
            for place in differences(node.get(key), other.get(key), f'{where}.{key}' if where else key)]


@pytest.mark.parametrize('name', ALTERNATIVES)
def test_an_alternative_differs_in_what_its_head_says(name):
    other, places = ALTERNATIVES[name]
    path, twin = (Path('options', f'{file}.yml') for file in (name, other))
    found = [place for place in differences(load(path), load(twin)) if place != 'name']
    assert found and all(any(f'{place}.'.startswith(f'{known}.') for known in places) for place in found), found
    assert all(any(f'{place}.'.startswith(f'{known}.') for place in found) for known in places)
    assert twin.name in option_text(str(path)).partition('name:')[0]


# ------------------------------------------------------------------------------------------------------ evaluations
@pytest.mark.parametrize('path', EVALUATIONS, ids=file_id)
def test_an_evaluation_is_of_what_its_runs_are(path):
    opt = load(path)
    for block in opt['recognizers'].values():
        block.pop('conditions', None)  # no key of a recognizer
    check_arguments(EvaluationOptions, opt, path.name)
    assert f' options/eval/{path.name}' in option_text(str(path))  # the command that it is for
    for name, restorer in opt['restorers'].items():
        run = load(restorer['option_file'])
        block = (run['train'].get('recog_opt') or {}).get('recognizer')
        used = restorer.get('used') or [key for key, one in opt['recognizers'].items() if one == frozen(block)]
        assert bool(used) == (name != opt['baseline']) and set(used) <= opt['recognizers'].keys()
        for block in opt['datasets'].values():
            assert block['degradation'] == run['datasets']['train']['degradation']
            assert block['type'] == run['datasets']['val']['type']
            assert block.get('classes') == run['datasets']['val'].get('classes')


def test_halves_of_the_classes_are_those_of_the_tool():
    opts = [load(f'options/eval/cifar10_half_{letter}.yml') for letter in 'ab']
    halves = dict(zip('AB', split_classes(cifar10.CLASSES), strict=True))
    for letter, opt in zip('AB', opts, strict=True):
        for name, classes in halves.items():
            assert opt['datasets'][f'half {name}']['keep_classes'] == classes
            own = [key for key, block in opt['recognizers'].items() if block['conditions'] == [f'half {name}']]
            assert own == [f'resnet {name}', f'vgg {name}']
            assert all(f'_half_{name.lower()}_' in opt['recognizers'][key]['checkpoint'] for key in own)
        for restorer in opt['restorers'].values():
            run = load(restorer['option_file'])
            assert all(block['keep_classes'] == halves[letter] for block in run['datasets'].values())
            assert f"--classes {' '.join(halves[letter])} " in option_text(restorer['option_file'])
    for opt in opts:
        del opt['name'], opt['restorers']
    assert opts[0] == opts[1]
