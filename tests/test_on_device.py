"""What a device can change, on a GPU where there is one: against float64 on the CPU, with a stated tolerance.

Without a GPU the same checks compare float32 on the CPU, so that they are right when there is one.
"""
import contextlib
import copy
import functools
from pathlib import Path

import mm_configs as small
import pytest
import test_recog_aware_hosts as hosts
import torch
from golden.make_mmcv_ops import outputs
from tiny_recognizers import TinyReader
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from ra_plugin import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss
from ra_plugin.models.builder import run_ready
from ra_plugin.models.recog_aware_model import recog_aware
from ra_plugin.recognizers import CTCRecognizer, build_recognizer
from ra_plugin.recognizers.classification import ClassificationRecognizer
from ra_plugin.training.device_batches import on_device
from ra_plugin.utils.random_streams import seeded

CPU = torch.device('cpu')
GOLDEN = torch.load(Path(__file__).with_name('golden') / 'mmcv_ops.pt', weights_only=True)
T = {'network_t': {'type': 'ResnetGenerator', 'num_feat': 4, 'num_block': 1}}
SGD = {'optim_g': {'type': 'SGD', 'lr': 1e-3}, 'optim_d': {'type': 'SGD', 'lr': 1e-3}}
MOMENTUM = {name: {**block, 'momentum': 0.9} for name, block in SGD.items()}
# the degradations of these draw on the device, other numbers than on the CPU
_DRAW = {'RealESRNetModel', 'RealESRGANModel', 'RealESRGANModel, LDL, late'}


@pytest.fixture(autouse=True)
def deterministic(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'deterministic', True)
    monkeypatch.setattr(torch.backends.cudnn, 'benchmark', False)


def build(name, device, paths=None, more=None, recog=hosts.RECOG, **train):
    opt = {**hosts.options(name, recog_opt=recog, **train), **(more or {}), 'num_gpu': int(device.type == 'cuda')}
    opt['path'] = paths or {}
    if name == 'SwinIRModel':
        opt['network_g']['drop_path_rate'] = 0.0  # drawn on the device
    hosts.seed_everything()
    model = run_ready(recog_aware(hosts.host_class(hosts.HOSTS[name][0])))(opt)
    hosts.seed_everything()
    return model


def double(model):
    for part in vars(model).values():
        if isinstance(part, nn.Module):
            part.double()
    return model


def take(model, data, first=1):
    """Take steps on these batches, in the dtype of the networks."""
    dtype = next(model.net_g.parameters()).dtype
    for i, batch in enumerate(data, first):
        model.update_learning_rate(i)
        model.feed_data(tree_map_only(torch.Tensor, lambda t: t.to(dtype, copy=True) if t.is_floating_point() else t,
                                      batch))
        model.optimize_parameters(i)
    return model


def contents(model):
    return {f'{name}.{key}': value.double().cpu() for name, net in vars(model).items()
            if name.startswith('net_') and isinstance(net, nn.Module) for key, value in net.state_dict().items()}


def gradients(model):
    return {f'{name}.{key}': p.grad.double().cpu() for name, net in vars(model).items()
            if name.startswith('net_') and isinstance(net, nn.Module)
            for key, p in net.named_parameters() if p.grad is not None}


def assert_near(ours, theirs, tolerance):
    """Assert that weights are close, relative to the largest number of each network."""
    assert ours.keys() == theirs.keys() and theirs
    for network in {key.split('.')[0] for key in theirs}:
        parts = [key for key in theirs if key.split('.')[0] == network]
        largest = max(theirs[key].abs().max().item() for key in parts)
        for key in parts:
            error = (ours[key] - theirs[key]).abs().max().item()
            assert error <= tolerance * largest, f'{key}: {error:.2g} of {largest:.2g}'


# ---------------------------------------------------------------------------------------------- losses, recognizers
@pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
@pytest.mark.parametrize('loss, options', [
    (RecogLoss, {}), (RecogLoss, {'label_smoothing': 0.1}), (RecogLoss, {'gradient_checkpointing': True}),
    (RecogFeatureLoss, {}), (RecogFeatureLoss, {'cache_reference': True}),
    *((RecogConsistencyLoss, {'distance': distance}) for distance in ('kl', 'probability', 'l1', 'cosine')),
    (RecogConsistencyLoss, {'cache_reference': True})])
def test_losses(loss, options, reduction, device):
    found = []
    images, clean = torch.rand(4, 3, 20, 24), torch.rand(4, 3, 20, 24)
    for place, dtype in ((device, torch.float32), (CPU, torch.float64)):
        cri = loss(hosts.RECOGNIZER, reduction=reduction, **options).to(place, dtype)
        output = images.to(place, dtype).requires_grad_()
        target = torch.tensor([0, 3, 9, 5], device=place) if cri.needs == 'label' else clean.to(place, dtype)
        for _ in range(2):  # the second time from the cache
            value = cri(output, target)
            gradient, = torch.autograd.grad(value.sum(), output)
        found.append({'loss': value.detach().double().cpu(), 'gradient': gradient.double().cpu()})
    # the divergence of answers that hardly differ is a small difference of large numbers
    assert_near(*found, 1e-3 if loss is RecogConsistencyLoss and options.get('distance', 'kl') == 'kl' else 1e-5)


def test_folded_recognizer(device):
    recognizer = build_recognizer(hosts.RECOGNIZER, fold_batch_norm=False)
    norm = next(layer for layer in recognizer.model.modules() if isinstance(layer, nn.BatchNorm2d))
    for values in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
        values.data.uniform_(0.5, 1.5)
    folded = copy.deepcopy(recognizer)
    folded.fold_batch_norm()
    assert folded.folded_norms == 1
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        ours = folded.to(device).logits(images.to(device)).double().cpu()
        theirs = recognizer.double().logits(images.double())
    assert_near({'logits': ours}, {'logits': theirs}, 1e-5)


@pytest.mark.parametrize('name', GOLDEN)
def test_operators_of_mmcv(name, device):
    case = tree_map_only(torch.Tensor, lambda t: t.to(device), GOLDEN[name])
    found = outputs(case)
    assert len(found) == len(case['outputs'])
    for value, expected in zip(found, case['outputs'], strict=True):
        atol = 1e-5 * max(expected.abs().max().item() if expected.numel() else 0, 1)
        torch.testing.assert_close(value.cpu(), expected.cpu(), rtol=0, atol=atol)


def spatial_label(recognizer, place):
    """Labels of two images of 64x64 pixels for a detector or a segmenter."""
    if recognizer.info.task == 'detection':
        return [{'boxes': torch.tensor([[4., 6, 44, 50], [20, 2, 60, 30]]), 'labels': torch.tensor([0, 2])},
                {'boxes': torch.tensor([[8., 8, 40, 40]]), 'labels': torch.tensor([1])}]
    return (torch.arange(2 * 64 * 64).view(2, 64, 64) % 3).to(place)


@pytest.mark.slow
@pytest.mark.parametrize('kind, model, library', [
    ('MMDetRecognizer', small.RETINANET, 'mmdet'), ('MMDetRecognizer', small.FCOS, 'mmdet'),
    ('MMDetRecognizer', small.FASTER_RCNN, 'mmdet'), ('MMSegRecognizer', small.FCN, 'mmseg')])
def test_recognizers_of_openmmlab(kind, model, library, device, tmp_path):
    """Two-stage detectors draw their samples, others on another device: their loss is finite alone."""
    config = small.write_config(tmp_path / 'config.py', model, library, classes=small.CLASSES)
    found = []
    images = torch.rand(2, 3, 64, 64)
    for place in (device, CPU):
        torch.manual_seed(3)
        recognizer = build_recognizer({'type': kind, 'config': config, 'pretrained': False, 'resize': None}).to(place)
        label = spatial_label(recognizer, place)
        output = images.to(place).requires_grad_()
        total = sum(term.mean() for term in recognizer.loss(output, label).values())
        gradient, = torch.autograd.grad(total, output)
        assert gradient.isfinite().all() and gradient.any()
        recognizer.predict(output.detach())
        with torch.no_grad():
            answers = recognizer.outputs(images.to(place))
        if model is not small.FASTER_RCNN:
            found.append({'loss': total.detach().double().cpu(), 'gradient': gradient.double().cpu(),
                          'logits': answers['logits'].double().cpu()})
    if found:
        assert_near(*found, 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['ssdlite320_mobilenet_v3_large', 'fcos_resnet50_fpn',
                                  'fasterrcnn_mobilenet_v3_large_320_fpn', 'lraspp_mobilenet_v3_large'])
def test_recognizers_of_torchvision(name, device):
    """Two-stage detectors draw their samples, others on another device: their loss is finite alone."""
    found = []
    images = torch.rand(2, 3, 64, 64)
    for place in (device, CPU):
        torch.manual_seed(3)
        recognizer = build_recognizer({'type': 'TorchvisionRecognizer', 'model_name': name, 'pretrained': False,
                                       'resize': None, 'model_kwargs': {'num_classes': 4}}).to(place)
        label = spatial_label(recognizer, place)
        output = images.to(place).requires_grad_()
        total = sum(term.mean() for term in recognizer.loss(output, label).values())
        gradient, = torch.autograd.grad(total, output)
        assert gradient.isfinite().all()
        recognizer.predict(output.detach())
        recognizer.features(images.to(place))
        with torch.no_grad():
            answers = recognizer.outputs(images.to(place))
        if 'rcnn' not in name:
            found.append({'loss': total.detach().double().cpu(), 'logits': answers['logits'].double().cpu()})
    if found:
        assert_near(*found, 1e-3)


@pytest.mark.parametrize('checkpointing', [False, True])
def test_recognizers_with_recurrent_layers(checkpointing, device):
    """Their backward pass in inference mode, also where the forward pass is computed again."""
    images, found = torch.rand(2, 3, 32, 48), []
    with seeded(3, CPU):
        network = TinyReader()
    for place, dtype in ((device, torch.float32), (CPU, torch.float64)):
        cri = RecogLoss(CTCRecognizer(network, characters='abcdef'), gradient_checkpointing=checkpointing).to(
            place, dtype)
        output = images.to(place, dtype).requires_grad_()
        value = cri(output, ['ab', 'fed'])
        gradient, = torch.autograd.grad(value, output)
        found.append({'loss': value.detach().double().cpu(), 'gradient': gradient.double().cpu()})
    assert_near(*found, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['crnn_mobilenet_v3_small', 'sar_resnet31'])
def test_recurrent_readers_of_doctr(name, device):
    found = []
    for place in (device, CPU):
        torch.manual_seed(3)
        recognizer = build_recognizer({'type': 'DoctrRecognizer', 'model_name': name, 'pretrained': False,
                                       'model_kwargs': {'vocab': 'abcdef'}}).to(place)
        torch.manual_seed(4)
        output = torch.rand(2, 3, 32, 128).to(place).requires_grad_()
        value = RecogLoss(recognizer)(output, ['ab', 'fed'])
        gradient, = torch.autograd.grad(value, output)
        found.append({'loss': value.detach().double().cpu(), 'gradient': gradient.double().cpu()})
    assert_near(*found, 1e-2)


def test_only_recurrent_layers_do_without_cudnn():
    recognizer = CTCRecognizer(TinyReader(), characters='abcdef')
    seen = {}
    recognizer.model.rnn.flatten_parameters()
    recognizer.model.layers[0].register_forward_hook(lambda *_: seen.update(conv=torch.backends.cudnn.enabled))
    inner = recognizer.model.rnn.check_forward_args
    recognizer.model.rnn.check_forward_args = lambda *args: seen.update(
        rnn=torch.backends.cudnn.enabled) or inner(*args)
    recognizer.logits(torch.rand(1, 3, 32, 32))
    assert seen == {'conv': True, 'rnn': False} and torch.backends.cudnn.enabled


# ---------------------------------------------------------------------------------------------------------- steps
@pytest.mark.slow
@pytest.mark.parametrize('name', sorted(hosts.HOSTS))
def test_a_step_of_each_class(name, device):
    data = hosts.batches(2, name)
    ours = take(build(name, device, **SGD), data, first=3)
    assert all(value.isfinite().all() for value in contents(ours).values())
    assert all(abs(value) < 1e4 for value in ours.get_current_log().values())
    if name not in _DRAW:
        theirs = take(double(build(name, CPU, **SGD)), data, first=3)
        assert_near(gradients(ours), gradients(theirs), 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize('options, more, tolerance', [
    ({}, {}, 1e-4), ({'accum_iter': 2}, {}, 1e-4), ({'grad_clip': 1e-3}, {}, 1e-4), ({'channels_last': True}, {}, 1e-4),
    ({'optim_t': {'type': 'SGD', 'lr': 1e-3}}, T, 1e-4), ({'recog_every': 2}, {}, 1e-4),
    ({'precision': 'bf16'}, {}, 0.1), ({'compile': True}, {}, 1e-3),
    ({'precision': 'bf16', 'channels_last': True, 'compile': True}, {}, 0.1)])
def test_options_of_a_step(options, more, tolerance, device, monkeypatch):
    if device == CPU:  # whose own compiler takes a minute to build
        monkeypatch.setattr(torch, 'compile', functools.partial(torch.compile, backend='aot_eager'))
    data = hosts.batches(4, 'SRModel')
    plain = {key: value for key, value in options.items() if key not in ('precision', 'channels_last', 'compile')}
    ours = take(build('SRModel', device, more=more, **SGD, **options), data)
    theirs = take(double(build('SRModel', CPU, more=more, **SGD, **plain)), data)
    assert_near(gradients(ours), gradients(theirs), tolerance)
    assert_near(contents(ours), contents(theirs), max(tolerance / 10, 1e-4))
    torch.compiler.reset()


@pytest.mark.slow
@pytest.mark.parametrize('bad', [(), (2,), (2, 3)])
def test_adam_ema_and_bad_steps(bad, device):
    """Networks, averages and statistics are those of the CPU, also where the device itself skips a step."""
    data = hosts.batches(5, 'ESRGANModel')
    for i in bad:
        data[i - 1]['lq'][0, 0, 0, 0] = float('nan')
    ours = take(build('ESRGANModel', device), data)
    assert_near(contents(ours), contents(take(double(build('ESRGANModel', CPU)), data)), 1e-3)
    if device.type == 'cuda':
        assert all(group['fused'] for optimizer in ours.optimizers for group in optimizer.param_groups)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['SRModel', 'ESRGANModel', 'RealESRGANModel'])
def test_resumed_is_uninterrupted(name, device, tmp_path):
    """Also where images are degraded on the device: its random stream is in the state.

    Not with Adam, which makes a whole step of a gradient of nearly nothing, so of what a device rounds otherwise.
    """
    data = hosts.batches(8, name)
    paths = {key: str(tmp_path / key) for key in ('models', 'training_states')}
    for folder in paths.values():
        Path(folder).mkdir()
    whole = contents(take(build(name, device, paths, **MOMENTUM), data))
    first = take(build(name, device, paths, **MOMENTUM), data[:5])
    first.save(0, 5)
    saved = {f'pretrain_network_{path.name[4]}': str(path) for path in (tmp_path / 'models').glob('net_?_5.pth')}
    second = build(name, device, {**paths, **saved}, **MOMENTUM)
    torch.rand(7, device=device)  # whatever happened before
    second.resume_training(torch.load(tmp_path / 'training_states' / '5.state', weights_only=False))
    assert_near(contents(take(second, data[5:], first=6)), whole, 1e-5)


def test_one_seed_one_result(device):
    data = hosts.batches(4, 'SRModel')
    first, second = (contents(take(build('SRModel', device), data)) for _ in range(2))
    assert_near(first, second, 1e-4)


class NoReading(TorchDispatchMode):
    """On a CPU, where reading a number costs nothing, it is an error all the same."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func is not torch.ops.aten._local_scalar_dense.default, 'a number is read'
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def not_waiting(device):
    if device == CPU:
        with NoReading():
            yield
        return
    torch.cuda.set_sync_debug_mode('error')
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode('default')


@pytest.mark.slow
@pytest.mark.parametrize('name, recog', [('SRModel', hosts.RECOG), ('ESRGANModel', hosts.RECOG),
                                         ('SRModel', {**hosts.RECOG, 'type': 'RecogConsistencyLoss'}),
                                         ('SRModel', {**hosts.RECOG, 'type': 'RecogFeatureLoss'})])
def test_a_step_waits_for_nothing(name, recog, device, monkeypatch):
    if device == CPU:  # where labels are checked, before they would be copied
        monkeypatch.setattr(ClassificationRecognizer, 'check_label', lambda *_: None)
    fused = {f'optim_{net}': {'type': 'Adam', 'lr': 1e-3, 'fused': True} for net in 'gd'}
    model = build(name, device, recog=recog, **fused)
    first, *data = hosts.batches(3, name)
    data = [{key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in batch.items()}
            for batch in data]
    take(model, [first])
    model._read_steps(1)
    with not_waiting(device):
        take(model, data[:1], first=2)
    model._read_steps(1)
    with not_waiting(device):
        take(model, data[1:], first=3)


# ----------------------------------------------------------------------------------------------------------- data
@pytest.mark.slow
@pytest.mark.parametrize('ahead', [False, True])
def test_batches_arrive_whole(ahead, device):
    """While the device is at work on one batch, the next one is on its way."""
    generator = torch.Generator().manual_seed(0)
    batches = [{'lq': torch.rand(8, 3, 128, 128, generator=generator), 'label': torch.arange(8) + i,
                'size': torch.tensor([[128, 128]] * 8), 'gt_path': [str(i)]} for i in range(12)]
    pinned = [{key: value.pin_memory() if device.type == 'cuda' and isinstance(value, torch.Tensor) else value
               for key, value in batch.items()} for batch in batches]
    work = torch.rand(1024, 1024, device=device)
    checked, sums = [], []
    for batch in on_device(iter(pinned), lambda batch: checked.append(batch['lq'].device), device, ahead):
        for _ in range(20 if device.type == 'cuda' else 1):
            work = (work @ work).clamp_max(1)
        sums.append(batch['lq'].double().sum((1, 2, 3)) + batch['label'] + 0 * work[0, 0])
        assert batch['lq'].device.type == batch['label'].device.type == device.type
        assert batch['size'].device == CPU and isinstance(batch['gt_path'], list)
        del batch
    for found, batch in zip(sums, batches, strict=True):
        torch.testing.assert_close(found.cpu(), batch['lq'].double().sum((1, 2, 3)) + batch['label'])
    assert all(place == CPU for place in checked) and len(checked) == (len(batches) if device.type == 'cuda' else 0)
