"""A typo in any block of an option file is an error that names the key; a key that another class reads gets a line."""
import ast
import copy
import importlib
import inspect
import logging
import random
import sys

import pytest
import yaml
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import DATASET_REGISTRY, MODEL_REGISTRY
from test_option_file import base, changed

from ra_plugin.builders import option_file, unread_keys
from ra_plugin.builders.file_check import check_file
from ra_plugin.builders.loaders import build_dataset
from ra_plugin.options import OptionError
from ra_plugin.shipped.find import option_files, option_text
from ra_plugin.training.pipeline import _make_folders, _tell_unread_keys

PAIRED = {'name': 'pairs', 'type': 'PairedImageDataset', 'dataroot_gt': 'gt', 'dataroot_lq': 'lq',
          'io_backend': {'type': 'disk'}, 'labels': 'folders'}
TRAINED = {'gt_size': 16, 'use_hflip': True, 'use_rot': True, 'batch_size_per_gpu': 2, 'num_worker_per_gpu': 0}


def paired() -> dict:
    opt = base()
    opt['datasets'] = {'train': {**copy.deepcopy(PAIRED), **TRAINED}, 'val': copy.deepcopy(PAIRED)}
    return opt


def put(opt: dict, place: str, value) -> dict:
    *outer, key = place.split('.')
    node = opt
    for part in outer:
        node = node.setdefault(part, {})
    if value is None:
        del node[key]
    else:
        node[key] = value
    return opt


@pytest.mark.parametrize('place, value, message', [
    ('path.pretrained_network_g', 'x.pth',
     "path: unknown key 'pretrained_network_g'. Did you mean 'pretrain_network_g'"),
    ('path.pretrain_networkg', 'x.pth', "'pretrain_networkg'. Did you mean 'pretrain_network_g'"),
    ('path.pretrain_network_G', 'x.pth', "'pretrain_network_G'. Did you mean 'pretrain_network_g'"),
    ('path.pretrain_model_g', 'x.pth', "'pretrain_model_g'. Did you mean 'pretrain_network_g'"),
    ('path.strict_load', True, "'strict_load'. Did you mean 'strict_load_g'"),
    ('train.ema_deacy', 0.9, "train: unknown key 'ema_deacy'. Did you mean 'ema_decay'"),
    ('train.pixl_opt', {}, "train: unknown key 'pixl_opt'. Did you mean 'pixel_opt'"),
    ('val.metric', {}, "val: unknown key 'metric'. Did you mean 'metrics'"),
    ('val.sufix', 'x', "val: unknown key 'sufix'. Did you mean 'suffix'"),
    ('logger.use_tblogger', True, "logger: unknown key 'use_tblogger'. Did you mean 'use_tb_logger'"),
    ('logger.wandb.projects', 'x', "logger.wandb: unknown key 'projects'. Did you mean 'project'"),
    ('vall', {}, "option file: unknown key 'vall'. Did you mean 'val'"),
    ('datasets.train.use_hflp', True, "datasets.train: unknown key 'use_hflp'. Did you mean 'use_hflip'"),
    ('datasets.val.io_backends', {}, "datasets.val: unknown key 'io_backends'. Did you mean 'io_backend'"),
    ('datasets.train.io_backend.typ', 'disk', "'typ'. Known: |unknown key 'typ'"),
    ('datasets.train.io_backend', {'typ': 'disk'},
     "datasets.train.io_backend: 'type' is missing. Did you mean it by 'typ'"),
    ('datasets.train.io_backend', {'type': 'dsk'}, "io_backend.type: no reader 'dsk'. Did you mean 'disk'"),
    ('datasets.train.io_backend', 'disk', "datasets.train.io_backend: expected a block"),
    ('datasets.val.filename_tmpl', ['{}x4'], "datasets.val.filename_tmpl: expected text"),
    ('datasets.train.gt_size', None, "datasets.train: 'gt_size' is missing. PairedImageDataset reads it in"),
    ('datasets.train.use_rot', None, "datasets.train: 'use_rot' is missing"),
    ('datasets.val.io_backend', None, "datasets.val: 'io_backend' is missing. PairedImageDataset reads it in"),
    ('datasets.val.dataroot_lq', None, "datasets.val: 'dataroot_lq' is missing"),
    ('datasets.valid', PAIRED, "datasets.valid: expected train, val, val_<n>, test or test_<n>. Did you mean 'val'"),
    ('val.metrics.psnr.crop_bordr', 4, "val.metrics.psnr: unknown key 'crop_bordr'. Did you mean 'crop_border'"),
    ('val.metrics.psnr.crop_border', None, "val.metrics.psnr: 'crop_border' is missing"),
])
def test_a_slip_or_a_missing_key_is_named(place, value, message):
    check_file(paired())
    with pytest.raises(OptionError, match=message.replace('.', r'\.')):
        check_file(put(paired(), place, value))


SLIPS = {  # what stands in files, by block
    'path': 'pretrain_network_g', 'train': 'total_iter', 'val': 'val_freq', 'logger': 'save_checkpoint_freq',
    'datasets.train': 'batch_size_per_gpu', 'datasets.val': 'dataroot_gt', 'val.metrics.psnr': 'crop_border',
    'train.scheduler': 'milestones', 'train.optim_g': 'type', 'train.pixel_opt': 'loss_weight'}


@pytest.mark.slow
@pytest.mark.parametrize('place', SLIPS)
def test_one_letter_wrong_in_any_key_is_caught_with_the_key_that_is_meant(place):
    """Each key of each block, with a letter left out, doubled, exchanged with the next, or in upper case."""
    rng = random.Random(place)
    node = paired()
    for part in place.split('.'):
        node = node[part]
    for key in [SLIPS[place], *rng.sample(sorted(node), min(2, len(node)))]:
        if len(key) < 3:
            continue
        at = rng.randrange(len(key) - 1)
        for slip in {key[:at] + key[at + 1:], key[:at] + 2 * key[at] + key[at + 1:],
                     key[:at] + key[at + 1] + key[at] + key[at + 2:]} - {key}:
            opt = paired()
            block = opt
            for part in place.split('.'):
                block = block[part]
            block[slip] = block.pop(key, 'x.pth')
            with pytest.raises(OptionError, match=f"'{key}'") as caught:
                check_file(opt)
            assert place in str(caught.value), caught.value


def test_what_another_class_of_basicsr_reads_is_told_and_runs(caplog):
    opt = paired()
    opt['train']['gan_opt'] = {'type': 'GANLoss', 'gan_type': 'vanilla'}
    opt['crop_border'] = 4  # misplaced, as in a file that BasicSR ships
    opt['datasets']['val']['meta_info'] = 'list.txt'
    check_file(opt)
    _tell_unread_keys(opt, logging.getLogger('told'))
    assert [record.getMessage() for record in caplog.records] == [
        "option file: 'crop_border' is read by nothing (SRModel), so it has no effect.",
        "train: 'gan_opt' is read by nothing (SRModel), so it has no effect.",
        "datasets.val: 'meta_info' is read by nothing (PairedImageDataset), so it has no effect. "
        "Did you mean 'meta_info_file'?"]


@pytest.mark.parametrize('named, forced, told', [
    ({'experiments_root': '/big/disk'}, [], "path.experiments_root: '/big/disk' has no effect: BasicSR takes {root}"),
    ({}, ['path:experiments_root=/big/disk'], "path.experiments_root: '/big/disk' has no effect: BasicSR takes {root}"),
    ({'models': '/big/models'}, [], "path.models: '/big/models' has no effect: BasicSR takes {root}/models"),
    ({'experiments_root': None}, [], None), ({'experiments_root': '{root}'}, [], None), ({}, [], None)])
def test_a_folder_that_basicsr_puts_elsewhere_is_told(named, forced, told, tmp_path, monkeypatch, caplog):
    opt, root = paired(), str(tmp_path / 'experiments' / base()['name'])
    opt['path'] = {key: value and value.format(root=root) for key, value in named.items()}
    (tmp_path / 'run.yml').write_text(yaml.safe_dump(opt))
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(tmp_path / 'run.yml'),
                                      *(['--force_yml', *forced] if forced else [])])
    opt, _ = option_file.parse_options(tmp_path, is_train=True)
    _tell_unread_keys(opt, logging.getLogger('told'))
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ([f'{told.format(root=root)}. To keep it elsewhere, make that a link.'] if told else [])


def test_a_gan_without_its_loss_is_refused():
    opt = paired()
    opt.update(model_type='ESRGANModel', network_d={'type': 'UNetDiscriminatorSN', 'num_in_ch': 3})
    opt['train'].update(optim_d={'type': 'Adam', 'lr': 1e-4}, gan_opt={'type': 'GANLoss', 'gan_type': 'vanilla'})
    check_file(opt)
    del opt['train']['gan_opt']
    with pytest.raises(OptionError, match=r"train: 'gan_opt' is missing\. ESRGANModel reads it"):
        check_file(opt)


@pytest.mark.slow
def test_shipped_option_files_have_no_key_that_is_read_by_nothing():
    for file in option_files():
        opt = yaml.safe_load(option_text(file))
        if 'model_type' in opt:
            opt['is_train'] = 'train' in opt
            assert [str(unread) for unread in unread_keys.unread_keys(opt)] == [], file


class OwnModel(SRModel):
    def init_training_settings(self):
        self.weight_of_mine = self.opt['train'].get('pixel_opts')
        for name in ('emadecay',):
            self.other = self.opt['train'][name]
        super().init_training_settings()

    def test(self):
        self.window = self.opt['val']['tile_size']
        super().test()


class OwnData(PairedImageDataset):
    def __init__(self, opt):
        super().__init__({**opt, 'io_backend': {'type': 'disk'}})
        self.sizes = opt['gt_sizes']


@pytest.fixture
def own_classes(monkeypatch):
    for registry, cls in ((MODEL_REGISTRY, OwnModel), (DATASET_REGISTRY, OwnData)):
        monkeypatch.setitem(registry._obj_map, cls.__name__, cls)
    opt = paired()
    opt['model_type'] = 'OwnModel'
    opt['train'].update(pixel_opts=1, emadecay=1)  # near to BasicSR's, and read
    opt['val']['tile_size'] = 32
    opt['datasets']['train'].update(type='OwnData', gt_sizes=[1])
    return opt


def test_keys_that_a_users_own_classes_read_are_right(own_classes):
    check_file(own_classes)


@pytest.mark.parametrize('place, message', [
    ('val.tile_size', "val: 'tile_size' is missing. OwnModel reads it"),
    ('datasets.train.gt_sizes', "datasets.train: 'gt_sizes' is missing. OwnData reads it")])
def test_a_key_that_a_users_own_class_needs_is_missed(own_classes, place, message):
    with pytest.raises(OptionError, match=message):
        check_file(put(own_classes, place, None))


def test_a_users_own_schedule_is_left_to_the_class(own_classes, monkeypatch):
    own_classes['train']['scheduler'] = {'type': 'TrueCosine', 'T_max': 5}
    with pytest.raises(OptionError, match="no schedule 'TrueCosine'"):
        check_file(own_classes)
    own = type('OwnModel', (OwnModel,), {'setup_schedulers': lambda self: None})
    monkeypatch.setitem(MODEL_REGISTRY._obj_map, 'OwnModel', own)
    check_file(own_classes)


def test_a_stray_value_under_path_makes_no_folder(tmp_path):
    opt = {**base(), 'rank': 0, 'is_train': True}
    opt['path'] = {'experiments_root': str(tmp_path / 'run'), 'models': str(tmp_path / 'run/models'),
                   'something': str(tmp_path / 'x.pth'), 'nothing': None}
    _make_folders(opt, logging.getLogger())
    assert sorted(path.name for path in tmp_path.iterdir()) == ['run']


def test_a_data_set_of_an_evaluation_is_checked_as_well():
    with pytest.raises(OptionError, match="datasets: pairs: 'scale' is missing. PairedImageDataset reads it"):
        build_dataset({**PAIRED, 'phase': 'test'})


@pytest.mark.parametrize('block, key', [
    ({'mean': [0.5] * 3}, 'std'), ({'std': [0.5] * 3}, 'mean'),
    ({'mean': [123.7, 116.3, 103.5], 'std': [1] * 3}, 'mean'),
    ({'mean': [0.5] * 3, 'std': [58.4] * 3}, 'std'), ({'mean': [0.5] * 3, 'std': [0.5, 0, 0.5]}, 'std'),
    ({'mean': 0.5, 'std': 0.5}, 'mean'), ({'mean': [0.5] * 2, 'std': [0.5] * 2}, 'mean')])
def test_a_normalization_that_is_none_is_named(block, key):
    block_of_pairs = {**paired()['datasets']['train'], 'phase': 'train', 'scale': 1}
    with pytest.raises(OptionError, match=rf'^here\.{key}: expected a number for each channel on the \[0, 1\] scale'):
        unread_keys.check_dataset({**block_of_pairs, **block}, 'here')
    unread_keys.check_dataset({**block_of_pairs, 'mean': [0, 0.5, 1], 'std': [1, 0.2, 0.3]}, 'here')


def test_what_a_data_set_asserts_is_one_line(tmp_path):
    for kind, names in (('gt', 'ab'), ('lq', 'a')):
        (tmp_path / kind).mkdir()
        for name in names:
            (tmp_path / kind / f'{name}.png').touch()
    with pytest.raises(OptionError, match='datasets: pairs: .*different number of images: 1, 2'):
        build_dataset({**PAIRED, 'phase': 'test', 'scale': 2, 'dataroot_gt': str(tmp_path / 'gt'),
                       'dataroot_lq': str(tmp_path / 'lq')})


@pytest.mark.parametrize('module', ['basicsr.utils.options', 'basicsr.utils.logger', 'basicsr.utils.misc',
                                    'basicsr.train', 'basicsr.models.base_model'])
def test_every_key_that_basicsr_s_runs_read_is_known(module):
    """The table is held against BasicSR's source: ``opt['x']['y']`` and ``opt['x'].get('y')`` wherever they stand."""
    found = {}
    for node in ast.walk(ast.parse(inspect.getsource(importlib.import_module(module)))):
        keys, inner = [], node
        while True:
            if isinstance(inner, ast.Subscript) and isinstance(inner.slice, ast.Constant):
                keys, inner = [inner.slice.value, *keys], inner.value
            elif isinstance(inner, ast.Call) and getattr(inner.func, 'attr', '') == 'get' and isinstance(
                    inner.args[0], ast.Constant):
                keys, inner = [inner.args[0].value, *keys], inner.func.value
            else:
                break
        if keys and (getattr(inner, 'id', '') == 'opt' or getattr(inner, 'attr', '') == 'opt'):
            found.setdefault(tuple(keys[:-1]), set()).add(keys[-1])
    assert found
    for place, keys in found.items():
        if place in unread_keys.READ_BY_RUN:
            known = unread_keys.READ_BY_RUN[place] | unread_keys.SET_BY_RUN.get(place, set())
            assert keys <= known, place


def test_a_key_that_basicsr_misses_while_it_parses_is_looked_for(tmp_path, monkeypatch):
    opt = base()
    opt['num_gpuu'] = opt.pop('num_gpu')
    (tmp_path / 'run.yml').write_text(yaml.safe_dump(opt))
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(tmp_path / 'run.yml')])
    with pytest.raises(OptionError, match="option file: 'num_gpu' is missing. Did you mean it by 'num_gpuu'?"):
        option_file.parse_options(tmp_path, is_train=True)


def test_a_module_of_custom_imports_that_is_not_there():
    with pytest.raises(OptionError, match="custom_imports: no module 'not_there'"):
        option_file.import_own(changed('custom_imports', ['not_there.at_all']))
