"""Files of weights: those that a training with mmengine writes are read, those that carry code are refused."""
import importlib
import os
import pickle
import re
import subprocess
import sys
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ra_plugin.checkpoint import read_checkpoint, read_weights

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
    """The folder of a training with mmengine: ``epoch_2.pth``, and its ``weights.pth`` alone."""
    folder = tmp_path_factory.mktemp('trained')
    done = subprocess.run([sys.executable, '-c', TRAINING, str(folder)], cwd=folder, capture_output=True, text=True,
                          timeout=300, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    assert done.returncode == 0, done.stderr
    return folder


def test_a_checkpoint_of_mmengine_gives_its_weights(trained):
    with pytest.raises(pickle.UnpicklingError):  # else the file is not what this is about
        torch.load(trained / 'epoch_2.pth', weights_only=True)
    weights = read_weights(trained / 'epoch_2.pth', 'Test')
    expected = torch.load(trained / 'weights.pth', weights_only=True)
    assert list(weights) == list(expected) == ['layer.weight', 'layer.bias']
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_a_checkpoint_of_mmengine_gives_its_classes(trained):
    record = read_checkpoint(trained / 'epoch_2.pth', 'Test')[1]
    assert record['dataset_meta']['classes'] == ('cat', 'dog')
    assert (record['epoch'], record['iter']) == (2, 4)


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
    """Numpy 2 renamed numpy.core: the file is one of numpy 2 with the name put back."""
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
    """Calls ``function(*arguments)`` when it is unpickled."""

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
    message = (rf'^Test: {re.escape(str(tmp_path))}/net\.pth holds more than tensors \(a pickled {name}\), and loading '
               r'it could run code that it carries\. In the program that made it: torch\.save\(.*\)\.$')
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
    with pytest.raises(ValueError, match=r'net\.pth is damaged, or no file of weights \(UnpicklingError\)\.$'):
        read_weights(tmp_path / 'net.pth', 'Test')
    assert not os.path.exists(mark)
