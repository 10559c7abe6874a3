"""Steps on a device, without one: fake tensors have a device and no numbers.

Two devices in one operation are an error there, and so is a number that the computer would have to wait for. The kind
of device is the one whose backward pass asks for no hardware.
"""

import contextlib
import copy
import sys

import pytest
import test_recog_aware_hosts as hosts
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from ra_plugin.models import training_step
from ra_plugin.models.builder import run_ready
from ra_plugin.models.recog_aware_model import recog_aware

DEVICE = torch.device('lazy')
FEATURES = {**hosts.RECOG, 'type': 'RecogFeatureLoss'}
CONSISTENCY = {**hosts.RECOG, 'type': 'RecogConsistencyLoss'}
T = {'network_t': {'type': 'ResnetGenerator', 'num_feat': 4, 'num_block': 1}}
# the degradations of these draw on the computer, from numbers that they look up there
_ON_THE_COMPUTER = {'RealESRNetModel', 'RealESRGANModel', 'RealESRGANModel, LDL, late'}
_OWN = {'a third party step', 'a third party GAN'}  # code of a user's own finds numbers in its log, as in BasicSR


class Unread:
    """Replacement of `Later` with an available value."""

    def __init__(self, value):
        assert value.device == DEVICE

    def read(self):
        return False


@pytest.fixture
def gpu(monkeypatch):
    """``gpu(name, options, **train)``: a model on the device, which has taken its first step, and that with checks."""
    monkeypatch.setattr(training_step, 'Later', Unread)
    monkeypatch.setattr(training_step, '_FUSED_ON', DEVICE.type)
    monkeypatch.setattr(sys.modules['torch.optim.optimizer'], '_get_fused_kernels_supported_devices',
                        lambda: [DEVICE.type, 'cpu'])
    monkeypatch.setattr(torch, 'autocast', lambda *_, **__: contextlib.nullcontext())  # it does not know the device
    mode = FakeTensorMode(allow_non_fake_inputs=False)

    def fake(value):
        with mode:
            return value if value.device == DEVICE else mode.from_tensor(value).to(DEVICE)

    def build(name, options=None, **train):
        opt = {**hosts.options(name, **train), **(options or {})}
        model = run_ready(recog_aware(hosts.host_class(hosts.HOSTS[name][0])))(copy.deepcopy(opt))
        for batch in hosts.batches(train.get('accum_iter', 1), name):
            model.feed_data(batch)
            model.optimize_parameters(2)  # also of a GAN whose generator learns now and then
        with mode:
            for part in list(vars(model).values()):
                if isinstance(part, nn.Module):
                    part._apply(fake)
                    for layer in part.modules():  # SwinIR's mean
                        vars(layer).update({key: fake(value) for key, value in vars(layer).items()
                                            if isinstance(value, torch.Tensor)})
            model.device, model.optimizers, model.opt['train'] = DEVICE, [], copy.deepcopy(opt['train'])
            model.setup_optimizers()
            model.wrap_optimizers()
        return model, mode, fake

    return build


def step(model, mode, batch):
    with mode:
        model.feed_data(batch)
        model.optimize_parameters(2)


def on_gpu(batch, fake):
    return {key: fake(value) if isinstance(value, torch.Tensor) else value for key, value in batch.items()}


@pytest.mark.slow
@pytest.mark.parametrize('name, recog', [
    *((name, hosts.RECOG) for name in sorted(hosts.HOSTS.keys() - _ON_THE_COMPUTER - _OWN)),
    ('SRModel', CONSISTENCY), ('SRModel', FEATURES), ('ESRGANModel', [hosts.RECOG, CONSISTENCY])])
def test_a_step_stays_on_its_device_and_waits_for_nothing(gpu, name, recog):
    model, mode, fake = gpu(name, recog_opt=recog, log_grad_ratio=True)
    batch, = hosts.batches(1, name)
    step(model, mode, on_gpu(batch, fake))
    assert all(p.grad is None or p.grad.device == DEVICE for p in model.net_g.parameters())
    assert any(p.grad is not None for p in model.net_g.parameters())
    assert all(value.device == DEVICE for value in model.log_dict.values()) and 'l_recog' in model.log_dict
    with mode, pytest.raises(DataDependentOutputException):
        model.get_current_log()


@pytest.mark.slow
@pytest.mark.parametrize('train, options', [
    ({'channels_last': True}, {}), ({'grad_clip': 0.1}, {}), ({'accum_iter': 2}, {}),
    ({'optim_t': {'type': 'AdamW', 'lr': 1e-3}}, T)])
def test_options_of_the_step(gpu, train, options):
    model, mode, fake = gpu('SRModel', options, recog_opt=hosts.RECOG, **train)
    for batch in hosts.batches(2, 'SRModel'):
        step(model, mode, on_gpu(batch, fake))
    assert all(group['fused'] for optimizer in model.optimizers for group in optimizer.param_groups)


@pytest.mark.slow
def test_a_step_that_waits_or_leaves_its_device_is_seen(gpu):
    model, mode, fake = gpu('SRModel', recog_opt=hosts.RECOG)
    batch = on_gpu(hosts.batches(1, 'SRModel')[0], fake)
    model._is_scale_checked = False  # then values are read
    with pytest.raises(DataDependentOutputException):
        step(model, mode, batch)
    model._is_scale_checked = True
    model.cri_recog[0].recognizer.mean = mode.from_tensor(torch.zeros(1, 3, 1, 1))
    with pytest.raises(RuntimeError, match='device'):
        step(model, mode, batch)
