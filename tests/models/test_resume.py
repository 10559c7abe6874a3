"""All model classes resume from a saved state as if uninterrupted: networks, pools, labels, random states."""
import copy
import random

import numpy as np
import pytest
import test_recog_aware_hosts as hosts
import torch
from basicsr.utils.registry import MODEL_REGISTRY

from ra_plugin.models.builder import run_ready
from ra_plugin.models.recog_aware_model import recog_aware
from ra_plugin.models.resume.reader import load_resume_state
from ra_plugin.models.resume.writer import packed, random_streams, set_random_streams, unpacked

STOP, STEPS = 5, 8


def build(name, tmp_path, recog=True):
    opt = hosts.options(name, **({'recog_opt': hosts.RECOG} if recog else {}))
    opt['path'] = {key: str(tmp_path / key) for key in ('models', 'training_states')}
    for folder in opt['path'].values():
        (tmp_path / folder).mkdir(exist_ok=True)
    opt['auto_resume'], opt['path']['resume_state'] = True, None
    state = load_resume_state(opt)
    cls = hosts.host_class(hosts.HOSTS[name][0])
    hosts.seed_everything()
    model = run_ready(recog_aware(cls) if recog else cls)(opt)
    if state is not None:
        hosts.seed_everything()
        torch.rand(7), random.random(), np.random.rand(3)  # whatever happened before
        model.resume_training(state)
    return model


def train(model, data, first, last):
    logs = []
    for i in range(first, last + 1):
        model.update_learning_rate(i)
        model.feed_data(copy.deepcopy(data[i - 1]))
        model.optimize_parameters(i)
        logs.append(dict(model.get_current_log()))
    return logs


def contents(model):
    networks = {f'{name}.{key}': value for name, net in vars(model).items() if isinstance(net, torch.nn.Module)
                and name.startswith('net_') for key, value in net.state_dict().items()}
    return {**networks, **{name: getattr(model, name) for name in ('queue_lr', 'queue_gt', 'queue_label')
                           if hasattr(model, name)}}


@pytest.mark.slow
@pytest.mark.parametrize('name, recog', [*((name, True) for name in hosts.HOSTS), ('SRModel', False),
                                         ('RealESRGANModel', False)])
def test_resumed_is_uninterrupted(name, recog, tmp_path):
    data = hosts.batches(STEPS, name)
    (tmp_path / 'whole').mkdir()
    whole = build(name, tmp_path / 'whole', recog)
    logs = train(whole, data, 1, STEPS)

    first = build(name, tmp_path, recog)
    assert train(first, data, 1, STOP) == logs[:STOP]
    first.save(0, STOP)
    second = build(name, tmp_path, recog)
    assert train(second, data, STOP + 1, STEPS) == logs[STOP:]
    ours, theirs = contents(second), contents(whole)
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        assert torch.equal(ours[key], value), key
    assert ('queue_gt' in theirs) == ('RealESR' in name)


def test_stock_basicsr_reads_our_states(tmp_path):
    model = build('SRModel', tmp_path, recog=False)
    train(model, hosts.batches(2, 'SRModel'), 1, 2)
    model.save(0, 2)
    opt = hosts.options('SRModel')
    opt['path'] = {'models': str(tmp_path / 'models'), 'pretrain_network_g': str(tmp_path / 'models' / 'net_g_2.pth')}
    stock = MODEL_REGISTRY.get('SRModel')(opt)
    stock.resume_training(torch.load(tmp_path / 'training_states' / '2.state', weights_only=False))
    for ours, theirs in zip(stock.net_g.parameters(), model.net_g.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_random_streams_come_back():
    hosts.seed_everything()
    np.random.randn(3)  # leaves a second normal number for the next call
    random.gauss(0, 1)
    kept = random_streams()
    drawn = [random.gauss(0, 1), np.random.randn(), torch.rand(3).tolist(), random.random(), np.random.rand()]
    set_random_streams(kept)
    assert drawn == [random.gauss(0, 1), np.random.randn(), torch.rand(3).tolist(), random.random(), np.random.rand()]


@pytest.mark.parametrize('value, dtype', [
    (torch.arange(256).view(1, 1, 16, 16) / 255, torch.uint8), (torch.rand(2, 3, 4, 4), torch.float32),
    (torch.tensor([0.5, 2.0]), torch.float32), (torch.tensor([0, 1, 300]), torch.int64), (7, None)])
def test_packing_loses_nothing(value, dtype):
    small = packed(value)
    back = unpacked(small, torch.device('cpu'))
    if dtype is None:
        assert back == small == value
    else:
        assert small.dtype == dtype and back.dtype == value.dtype and torch.equal(back, value)
