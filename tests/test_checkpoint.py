"""Weights files: those written by mmengine are read, those that contain code are rejected."""
import argparse
import collections
import datetime
import importlib
import itertools
import os
import pathlib
import pickle
import re
import sys
import types
import uuid
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
import warm_start
from safetensors.torch import save_file

from ra_plugin.checkpoint import load_weights, read_checkpoint, read_weights

TRAINING = """
import sys
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner

class Net(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)
    def forward(self, x, mode):
        return {'loss': self.layer(torch.stack(x)).square().mean()}

class Data(torch.utils.data.Dataset):
    metainfo = {'classes': ('cat', 'dog'), 'palette': [(220, 20, 60), (119, 11, 32)]}
    def __len__(self):
        return 4
    def __getitem__(self, index):
        return {'x': torch.full((2, ), float(index))}

runner = Runner(
    Net(), work_dir=sys.argv[1], train_cfg=dict(by_epoch=True, max_epochs=2),
    train_dataloader=dict(dataset=Data(), batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler')),
    optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
    param_scheduler=[dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=2),
                     dict(type='MultiStepLR', milestones=[1])],
    default_hooks=dict(logger=dict(type='LoggerHook', interval=1)), randomness=dict(seed=0))
runner.train()
torch.save(runner.model.state_dict(), sys.argv[1] + '/weights.pth')
"""


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Return the folder of an mmengine training: ``epoch_2.pth``, and only its weights in ``weights.pth``."""
    folder = tmp_path_factory.mktemp('trained')
    done = warm_start.run(['-c', TRAINING, folder], folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_a_checkpoint_of_mmengine_gives_its_weights(trained):
    with pytest.raises(pickle.UnpicklingError):  # else the file is not what this is about
        torch.load(trained / 'epoch_2.pth', weights_only=True)
    weights = read_weights(trained / 'epoch_2.pth', 'Test')
    expected = torch.load(trained / 'weights.pth', weights_only=True)
    assert list(weights) == list(expected) == ['layer.weight', 'layer.bias']
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


@pytest.mark.slow
def test_a_checkpoint_of_mmengine_gives_its_classes(trained):
    record = read_checkpoint(trained / 'epoch_2.pth', 'Test')[1]
    assert record['dataset_meta']['classes'] == ('cat', 'dog')
    assert (record['epoch'], record['iter']) == (2, 4)


@pytest.mark.slow
def test_reading_needs_no_mmengine_and_leaves_what_torch_allows(trained, monkeypatch):
    for name in [name for name in sys.modules if name.split('.')[0] == 'mmengine']:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'mmengine', None)
    allowed = torch.serialization.get_safe_globals()
    read_checkpoint(trained / 'epoch_2.pth', 'Test')
    assert set(torch.serialization.get_safe_globals()) == set(allowed)


def test_numbers_and_curves_beside_the_weights_do_not_hinder(tmp_path):
    history_buffer = importlib.import_module('mmengine.logging').HistoryBuffer
    content = {
        'state_dict': {'weight': torch.ones(2)},
        'message_hub': {'log_scalars': OrderedDict({'train/loss': history_buffer([1., 2.], [1, 1])})},
        'optimizer': {'state': {0: {'step': torch.tensor(3.)}}, 'loss_scaler': {'scale': np.float64(2**16)}},
        'meta': {'seed': np.int64(5), 'std': np.array([0.5, 0.25], 'f4'), 'name': np.str_('net'), 'done': np.True_}}
    torch.save(content, tmp_path / 'net.pth')
    weights, record = read_checkpoint(tmp_path / 'net.pth', 'Test')
    assert weights['weight'].tolist() == [1, 1]
    assert (record['seed'], record['std'].tolist(), record['name'], record['done']) == (5, [0.5, 0.25], 'net', True)


def test_numbers_of_numpy_1_are_read(tmp_path):
    """Numpy 2 renamed numpy.core: the file is from numpy 2, with the old name."""
    torch.save({'state_dict': {}, 'meta': {'seed': np.int64(5), 'std': np.array([0.5])}}, tmp_path / 'new.pth')
    with zipfile.ZipFile(tmp_path / 'new.pth') as new, zipfile.ZipFile(tmp_path / 'old.pth', 'w') as old:
        for name in new.namelist():
            data = new.read(name)
            if name.endswith('data.pkl'):
                assert b'numpy._core.multiarray\n' in data or np.__version__ < '2'
                data = data.replace(b'numpy._core.multiarray\n', b'numpy.core.multiarray\n')
            old.writestr(name, data)
    record = read_checkpoint(tmp_path / 'old.pth', 'Test')[1]
    assert (record['seed'], record['std'].tolist()) == (5, [0.5])


@pytest.mark.parametrize('content, expected', [
    ({'weight': torch.ones(1)}, {}),
    ({'weight': torch.ones(1), 'meta': torch.ones(1)}, {}),  # a parameter of that name
    ({'params': {'weight': torch.ones(1)}, 'meta': 'text'}, {}),
    ({'state_dict': {'weight': torch.ones(1)}, 'meta': {'CLASSES': ('cat', )}}, {'CLASSES': ('cat', )}),
], ids=['plain', 'a weight called meta', 'text', 'mmcv 1'])
def test_the_record_is_what_meta_holds(content, expected, tmp_path):
    torch.save(content, tmp_path / 'net.pth')
    weights, record = read_checkpoint(tmp_path / 'net.pth', 'Test')
    assert weights['weight'].tolist() == [1] and record == expected


def test_the_record_of_a_safetensors_file_comes_with_its_weights(tmp_path):
    save_file({'weight': torch.ones(1)}, tmp_path / 'net.safetensors', {'classes': '["cat", "dog"]'})
    weights, record = read_checkpoint(tmp_path / 'net.safetensors', 'Test')
    assert weights['weight'].tolist() == [1] and record == {'classes': ['cat', 'dog']}


class Call:
    """Object that calls ``function(*arguments)`` when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __call__(self):
        """To pickle, what this finds may be the function of another call."""

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize('code, name', [
    (lambda mark: Call(os.system, f'touch {mark}'), f'{os.system.__module__}.system'),
    (lambda mark: Call(exec, f'open({mark!r}, "w")'), 'exec'),
    (lambda mark: Call(open, mark, 'w'), r'(\w+\.)?open'),
    (lambda mark: Call(Call(getattr, Call(__import__, 'os'), 'mkdir'), mark), '__import__'),
    (lambda mark: torch.nn.Linear(2, 2), 'torch.nn.modules.linear.Linear'),
], ids=['system', 'exec', 'open', 'getattr', 'module'])
def test_code_is_refused_and_not_run(code, name, tmp_path):
    mark = str(tmp_path / 'the code was run')
    torch.save({'state_dict': {'weight': torch.ones(1)}, 'meta': {'note': code(mark)}}, tmp_path / 'net.pth')
    message = (rf'^Test: {re.escape(str(tmp_path))}/net\.pth contains more than tensors \(a pickled {name}\), and '
               r'loading it could run code\. Save only the weights: torch\.save\(.*\)\.$')
    with pytest.raises(ValueError, match=message):
        read_weights(tmp_path / 'net.pth', 'Test')
    assert not os.path.exists(mark)


def test_getattr_in_a_file_finds_nothing(tmp_path):
    torch.save({'state_dict': {}, 'meta': {'found': Call(getattr, 'text', 'upper')}}, tmp_path / 'net.pth')
    assert read_checkpoint(tmp_path / 'net.pth', 'Test')[1] == {'found': None}


@pytest.mark.parametrize('code', [
    lambda mark: Call(Call(getattr, 'text', 'upper')),
    lambda mark: np.array([Call(os.mkdir, mark)], dtype=object),
], ids=['method', 'array of objects'])
def test_what_would_take_more_than_the_stand_ins_is_refused(code, tmp_path):
    mark = str(tmp_path / 'the code was run')
    torch.save({'state_dict': {}, 'meta': {'note': code(mark)}}, tmp_path / 'net.pth')
    with pytest.raises(ValueError, match=r'net\.pth is damaged, or not a weights file \(UnpicklingError\)\.$'):
        read_weights(tmp_path / 'net.pth', 'Test')
    assert not os.path.exists(mark)


class Net(torch.nn.Module):
    """Network of two layers, one of them batch norm."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 2, 1)
        self.norm = torch.nn.BatchNorm2d(2)

    def forward(self, x):
        return self.norm(self.conv(x))


def given(prefix: str = '', seed: int = 1) -> dict:
    """Return weights of a Net that depend on the seed."""
    torch.manual_seed(seed)
    return {f'{prefix}{name}': value for name, value in Net().state_dict().items()}


def assert_loads(content, tmp_path, weights=None, name='net.pth'):
    torch.save(content, tmp_path / name)
    net = Net()
    load_weights(net, tmp_path / name, 'Test')
    for key, value in (weights or given()).items():
        assert torch.equal(net.state_dict()[key], value), key


WRAPPERS = {'module': torch.nn.DataParallel, 'compiled': lambda net: torch.compile(net, backend='eager'),
            'averaged': torch.optim.swa_utils.AveragedModel}


@pytest.mark.parametrize('wrappers', [
    order for length in (1, 2, 3) for order in itertools.permutations(WRAPPERS, length)], ids='-'.join)
@pytest.mark.parametrize('attribute', ['', 'model', 'a.b'])
def test_wrappers_in_any_order_are_taken_off(wrappers, attribute, tmp_path):
    net = Net()
    net.load_state_dict(given())
    for wrapper in wrappers:
        net = WRAPPERS[wrapper](net)
    for name in filter(None, attribute.split('.')):
        outer = torch.nn.Module()
        setattr(outer, name, net)
        net = outer
    assert_loads({'state_dict': net.state_dict()}, tmp_path)


def test_a_compiled_part_of_a_model_has_its_own_names(tmp_path):
    assert_loads({name.replace('norm.', 'norm._orig_mod.'): value for name, value in given('model.').items()}, tmp_path)


@pytest.mark.parametrize('key', ['params', 'state_dict', 'model', 'ema', 'model_ema', 'weights', 'network', 'teacher',
                                 'my_net'])
def test_the_usual_keys_and_the_only_set_that_fits_are_found(key, tmp_path):
    assert_loads({'epoch': 1, 'optimizer': {'state': {0: {'step': torch.ones(1)}}}, key: given('module.')}, tmp_path)
    assert_loads({key: {'state_dict': given()}, 'epoch': 1} if key != 'my_net' else {key: given()}, tmp_path)


@pytest.mark.parametrize('key', ['state_dict_ema', 'params_ema', 'model_ema'])
def test_averaged_weights_come_first(key, tmp_path):
    assert_loads({'state_dict': given(seed=2), 'params': given(seed=2), 'model': given(seed=2), key: given()}
                 if key == 'params_ema' else {'model': given(seed=2), key: given()}, tmp_path)


def test_what_lies_beside_the_weights_is_named(tmp_path):
    with pytest.warns(UserWarning, match=r"under 'model\.' are used; 2 keys ignored: criterion\.weight, "):
        assert_loads({'state_dict': {**given('model.'), 'criterion.weight': torch.ones(5),
                                     'metric.total': torch.ones(1)}}, tmp_path)


@pytest.mark.parametrize('prefix', ['', 'model.'])
def test_no_warning_for_the_counter_of_an_average(prefix, tmp_path, recwarn):
    assert_loads({f'{prefix}n_averaged': torch.tensor(3), **given(f'{prefix}module.')}, tmp_path)
    assert not [w for w in recwarn if 'aside' in str(w.message)]


@pytest.mark.parametrize('content, message', [
    ({**given('student.'), **given('teacher.', 2)}, r"contains the model 2 times, under 'student\.' and 'teacher\.'"),
    ({'a': given(), 'b': given(seed=2)}, 'several sets of weights that fit the model: a, b'),
    ({**given(), 'more.weight': torch.ones(1)}, r'1 keys unexpected: more\.weight\.$'),
    ({**given('model.'), 'model.more': torch.ones(1)}, r'1 keys unexpected: model\.more\.$'),
    ({key: value for key, value in given('model.').items() if 'conv.bias' not in key},
     r'1 keys missing: model\.conv\.bias\.$'),
    ({**given('net.'), 'net.conv.bias': torch.ones(7)}, r'net\.conv\.bias \(file \(7,\), model \(2,\)\)\.$'),
    ({'epoch': 3}, r"has no weights under .*; found \['epoch'\]"),
    ([torch.ones(1)], 'has no weights under .*; found list'),
], ids=['twice', 'two keys', 'more', 'more inside', 'missing', 'shape', 'no weights', 'list'])
def test_weights_that_leave_a_doubt_are_refused(content, message, tmp_path):
    torch.save(content, tmp_path / 'net.pth')
    with pytest.raises(ValueError, match=message):
        load_weights(Net(), tmp_path / 'net.pth', 'Test')


def test_weights_of_a_training_that_broke_down_are_refused_and_masks_of_infinity_are_not(tmp_path):
    class Masked(Net):
        def __init__(self):
            super().__init__()
            self.register_buffer('mask', torch.tensor([0.0, -torch.inf]))

    weights = Masked().state_dict()
    torch.save(weights, tmp_path / 'net.pth')
    load_weights(Masked(), tmp_path / 'net.pth', 'Test')
    name, value = next(Masked().named_parameters())
    torch.save({**weights, name: value.detach() * torch.nan}, tmp_path / 'net.pth')
    with pytest.raises(ValueError, match=f'net.pth contains NaN: 1 keys with NaN: {name}. Its training diverged'):
        load_weights(Masked(), tmp_path / 'net.pth', 'Test')


def test_of_two_prefixes_the_one_whose_shapes_fit_is_meant(tmp_path):
    other = {f'other.{name}': torch.ones(9, *value.shape) for name, value in Net().state_dict().items()}
    with pytest.warns(UserWarning, match='ignored'):
        assert_loads({**other, **given('model.')}, tmp_path)


class AttrDict(dict):
    """Dict with attributes, as used for settings."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.__dict__['frozen'] = True


AttrDict.__module__ = 'yacs.config'


@pytest.mark.parametrize('settings', [
    argparse.Namespace(lr=0.1, inner=argparse.Namespace(name='x')), pathlib.Path('runs'), pathlib.PurePosixPath('a'),
    pathlib.PureWindowsPath('a'), collections.defaultdict(list, {'a': [1]}), collections.defaultdict(int, a=1),
    collections.Counter(a=2), types.SimpleNamespace(a=1), datetime.datetime(2024, 5, 1), datetime.timedelta(1),
    uuid.UUID(int=3), AttrDict(a=AttrDict(b=1)), {'types': (int, str, list)},
], ids=lambda value: type(value).__name__)
def test_settings_beside_the_weights_do_not_hinder(settings, tmp_path, monkeypatch):
    config = types.ModuleType('yacs.config')
    config.AttrDict = AttrDict
    monkeypatch.setitem(sys.modules, 'yacs', types.ModuleType('yacs'))
    monkeypatch.setitem(sys.modules, 'yacs.config', config)
    allowed = torch.serialization.get_safe_globals()
    assert_loads({'args': settings, 'state_dict': given(), 'after': [settings, settings]}, tmp_path)
    torch.save({'args': settings, 'state_dict': given()}, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    load_weights(Net(), tmp_path / 'old.pth', 'Test')
    assert set(torch.serialization.get_safe_globals()) == set(allowed)


def test_weights_in_a_defaultdict_are_read(tmp_path):
    assert_loads({'state_dict': collections.defaultdict(dict, given())}, tmp_path)


def test_settings_are_neither_imported_nor_called(tmp_path, monkeypatch):
    """A file with an object made by ``yacs.config.run`` must not reach that function."""
    mark = tmp_path / 'was called'
    config = types.ModuleType('yacs.config')
    exec('def run(path): open(path, "w").close()', config.__dict__)
    config.run.__module__ = 'yacs.config'
    monkeypatch.setitem(sys.modules, 'yacs', types.ModuleType('yacs'))
    monkeypatch.setitem(sys.modules, 'yacs.config', config)
    torch.save({'args': Call(config.run, str(mark)), 'state_dict': given()}, tmp_path / 'net.pth')
    load_weights(Net(), tmp_path / 'net.pth', 'Test')
    assert not mark.exists()


def test_a_checkpoint_of_timm_is_read(tmp_path):
    timm, saver = (importlib.import_module(name) for name in ('timm', 'timm.utils.checkpoint_saver'))
    net = timm.create_model('test_resnet', num_classes=3)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    average = importlib.import_module('timm.utils').ModelEmaV3(net)
    with torch.no_grad():
        average.module.fc.bias.add_(1)
    saver.CheckpointSaver(net, optimizer, args=argparse.Namespace(model='test_resnet', lr=0.1), model_ema=average,
                          checkpoint_dir=str(tmp_path)).save_checkpoint(0, 1.0)
    read = timm.create_model('test_resnet', num_classes=3)
    load_weights(read, next(tmp_path.glob('checkpoint*')), 'Test')
    assert torch.equal(read.fc.bias, average.module.fc.bias)  # as timm.models.load_checkpoint has it by default
    assert torch.equal(read.conv1[0].weight if hasattr(read.conv1, '__getitem__') else read.conv1.weight,
                       net.conv1[0].weight if hasattr(net.conv1, '__getitem__') else net.conv1.weight)


def test_a_torchscript_program_is_not_run(tmp_path, recwarn):
    torch.jit.save(torch.jit.script(Net()), str(tmp_path / 'net.pt'))
    recwarn.clear()
    with pytest.raises(ValueError, match=r'net\.pt is a TorchScript program, .*state_dict\(\), NEW_FILE\)'):
        load_weights(Net(), tmp_path / 'net.pt', 'Test')
    assert not recwarn.list


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match='is a folder. Name the file in it.'):
        load_weights(Net(), tmp_path, 'Test')


def test_the_user_s_own_safe_globals_stay(tmp_path):
    torch.save({'params': {'a': torch.ones(1)}}, tmp_path / 'x.pth')
    before = torch.serialization.get_safe_globals()
    try:
        torch.serialization.add_safe_globals([np.ndarray, np.dtype, ValueError])
        own = set(torch.serialization.get_safe_globals())
        assert read_weights(tmp_path / 'x.pth', 'here').keys() == {'a'}
        assert set(torch.serialization.get_safe_globals()) == own
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)
