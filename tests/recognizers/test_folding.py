"""Batch norm within convolutions: the same function, in float64 to its rounding, and never where it would not be."""
import copy

import pytest
import test_mm_recognizers as mm
import timm
import torch
import torch.nn.functional as F
from test_mm_recognizers import detector, segmenter  # noqa: F401  (fixtures)
from torch import nn
from torch.utils.checkpoint import checkpoint

from ra_plugin.losses import RecogConsistencyLoss, RecogLoss
from ra_plugin.recognizers import ModuleRecognizer, build_recognizer
from ra_plugin.recognizers.frozen.folding import fold_batch_norm


def randomized(model):
    """Statistics, scales and shifts as no network begins with."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for name, tensor in (*module.named_parameters(), *module.named_buffers()):
                if tensor is not None and tensor.is_floating_point():
                    spread = torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype)
                    tensor.data.copy_(0.5 + spread if name in ('weight', 'running_var') else spread - 0.5)
    return model


class Net(nn.Module):
    """A classifier of ten classes out of some layers with 8 channels at the end."""

    def __init__(self, forward, **layers):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.head = nn.Linear(8, 10)
        self._forward = forward

    def forward(self, x):
        return self.head(self._forward(self, x).mean((2, 3)))


def conv(in_ch=3, out_ch=8, **kwargs):
    return nn.Conv2d(in_ch, out_ch, 3, padding=1, **kwargs)


class Standardized(nn.Conv2d):
    """Its weight is changed before it is used, as timm's StdConv2d does."""

    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(x, weight / weight.std((1, 2, 3), keepdim=True), self.bias)


class Same(nn.Conv2d):
    """Pads by itself, as the networks that come from TensorFlow do."""

    def forward(self, x):
        return super().forward(F.pad(x, (0, 1, 0, 1)))


def looks_inside(net, x):
    x = net.conv(x)
    return F.relu(net.norm(x)) * net.norm.weight.sum()


FOLDED = {
    'plain': (lambda net, x: F.relu_(net.norm(net.conv(x))), {'conv': conv(), 'norm': nn.BatchNorm2d(8)}),
    'no bias, no affine': (lambda net, x: net.norm(net.conv(x)),
                           {'conv': conv(bias=False), 'norm': nn.BatchNorm2d(8, affine=False)}),
    'groups': (lambda net, x: net.norm(net.conv(net.stem(x))),
               {'stem': conv(out_ch=4), 'conv': conv(4, 8, groups=2), 'norm': nn.BatchNorm2d(8)}),
    'padded, dilated': (lambda net, x: net.norm(net.conv(x)),
                        {'conv': Same(3, 8, 3, dilation=2), 'norm': nn.BatchNorm2d(8)}),
    'padded': (lambda net, x: net.norm(net.conv(x)), {'conv': Same(3, 8, 2), 'norm': nn.BatchNorm2d(8)}),
    'both used twice': (lambda net, x: net.norm(net.conv(net.norm(net.conv(net.stem(x))))),
                        {'stem': conv(), 'conv': conv(8, 8), 'norm': nn.BatchNorm2d(8)}),
    'synchronized': (lambda net, x: net.norm(net.conv(x)), {'conv': conv(), 'norm': nn.SyncBatchNorm(8)}),
    'shortcut': (lambda net, x: net.norm(net.conv(x)) + net.stem(x),
                 {'stem': conv(), 'conv': conv(), 'norm': nn.BatchNorm2d(8)}),
    'with activation': (lambda net, x: net.norm(net.conv(x)),
                        {'conv': conv(), 'norm': timm.layers.BatchNormAct2d(8, act_layer=nn.SiLU)}),
}
LEFT = {
    'output used beside': (lambda net, x: net.norm(y := net.conv(x)) + y, {'conv': conv(), 'norm': nn.BatchNorm2d(8)}),
    'two batch norms': (lambda net, x: net.norm(net.conv(x)) + net.other(net.conv(x)),
                        {'conv': conv(), 'norm': nn.BatchNorm2d(8), 'other': nn.BatchNorm2d(8)}),
    'two convolutions': (lambda net, x: net.norm(net.conv(x)) + net.norm(net.other(x)),
                         {'conv': conv(), 'other': conv(), 'norm': nn.BatchNorm2d(8)}),
    'something between': (lambda net, x: net.norm(net.conv(x).abs()), {'conv': conv(), 'norm': nn.BatchNorm2d(8)}),
    'batch norm first': (lambda net, x: net.conv(net.norm(x)), {'conv': conv(), 'norm': nn.BatchNorm2d(3)}),
    'weight standardized': (lambda net, x: net.norm(net.conv(x)),
                            {'conv': Standardized(3, 8, 3), 'norm': nn.BatchNorm2d(8)}),
    'weight parametrized': (lambda net, x: net.norm(net.conv(x)),
                            {'conv': nn.utils.parametrizations.weight_norm(conv()), 'norm': nn.BatchNorm2d(8)}),
    'checkpointed': (lambda net, x: checkpoint(lambda y: net.norm(net.conv(y)), net.stem(x), use_reentrant=True),
                     {'stem': conv(out_ch=3), 'conv': conv(), 'norm': nn.BatchNorm2d(8)}),
    'by the batch': (lambda net, x: net.norm(net.conv(x)),
                     {'conv': conv(), 'norm': nn.BatchNorm2d(8, track_running_stats=False)}),
    'looks inside': (looks_inside, {'conv': conv(), 'norm': nn.BatchNorm2d(8)}),
}


def build(forward, layers):
    torch.manual_seed(0)
    return randomized(Net(forward, **copy.deepcopy(layers)))


def recognizer_of(net, **kwargs):
    return ModuleRecognizer(net, mean=[0.4] * 3, std=[0.2] * 3, input_size=16, **kwargs)


def gradient(loss, images, target):
    images = images.clone().requires_grad_()
    loss(images, target).backward()
    return images.grad


@pytest.mark.parametrize('case', FOLDED)
def test_a_folded_network_is_the_same_function(case):
    net = build(*FOLDED[case]).double()
    own = recognizer_of(copy.deepcopy(net))
    folded = recognizer_of(net)
    folded.fold_batch_norm()
    assert folded.folded_norms == 1
    assert not any(type(module) in (nn.BatchNorm2d, nn.SyncBatchNorm) for module in folded.model.modules())
    images, label = torch.rand(3, 3, 16, 16, dtype=torch.float64), torch.tensor([1, 0, 7])
    torch.testing.assert_close(folded.logits(images), own.logits(images), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient(RecogLoss(folded), images, label), gradient(RecogLoss(own), images, label),
                               rtol=1e-10, atol=1e-14)
    assert all(not parameter.requires_grad for parameter in folded.model.parameters())


@pytest.mark.parametrize('case', LEFT)
def test_where_it_would_not_be_the_same_the_network_is_left_alone(case):
    recognizer = recognizer_of(build(*LEFT[case]))
    net = recognizer.model
    modules, weights = list(net.modules()), copy.deepcopy(net.state_dict())
    recognizer.fold_batch_norm()
    assert recognizer.folded_norms == 0 and list(net.modules()) == modules
    torch.testing.assert_close(net.state_dict(), weights, rtol=0, atol=0)


def test_what_does_not_hold_is_undone(monkeypatch):
    """A convolution that another layer takes the weight of: the graph cannot tell."""
    net = build(lambda net, x: net.norm(net.conv(x)) + F.conv2d(x, net.conv.weight, padding=1), FOLDED['plain'][1])
    recognizer = recognizer_of(net)
    net = recognizer.model
    weights = copy.deepcopy(net.state_dict())
    recognizer.fold_batch_norm()
    assert recognizer.folded_norms == 0 and isinstance(net.norm, nn.BatchNorm2d)
    torch.testing.assert_close(net.state_dict(), weights, rtol=0, atol=0)


@pytest.mark.parametrize('layer, folded', [('conv', 0), ('norm', 1)])
def test_features_stay_what_they_were(layer, folded):
    net = build(*FOLDED['plain'])
    images = torch.rand(2, 3, 16, 16)
    own = recognizer_of(copy.deepcopy(net), feature_layer=layer).features(images)
    recognizer = recognizer_of(net, feature_layer=layer)
    recognizer.fold_batch_norm()
    assert recognizer.folded_norms == folded
    torch.testing.assert_close(recognizer.features(images), own)


@pytest.mark.slow
@pytest.mark.parametrize('model_name, count', [('resnet18', 20), ('tf_efficientnet_lite0', 49), ('densenet121', 59),
                                               ('repvgg_a0', 44), ('hrnet_w18_small', 91)])
def test_classifiers_of_timm(model_name, count):
    """DenseNet's other batch norms take what was put together; RepVGG's are branches of their own."""
    block = {'type': 'TimmRecognizer', 'model_name': model_name, 'pretrained': False, 'input_size': 64}
    recognizer = build_recognizer(block, fold_batch_norm=False)
    randomized(recognizer.model)
    images = torch.rand(2, 3, 64, 64)
    own = recognizer.logits(images)
    recognizer.fold_batch_norm()
    assert recognizer.folded_norms == count
    torch.testing.assert_close(recognizer.logits(images), own, rtol=0, atol=1e-4 * own.abs().max().item())


@pytest.mark.slow
def test_blocks_are_folded_objects_and_learners_are_not(tiny_recognizer):
    block = {'type': 'ModuleRecognizer', 'module': 'ra_plugin.recognizers.tiny_nets.TinyResNet', 'input_size': 32,
             'mean': [0.4] * 3, 'std': [0.2] * 3}
    state = torch.random.get_rng_state()
    build_recognizer({'type': 'TimmRecognizer', 'model_name': 'tf_efficientnet_lite0', 'pretrained': False})
    assert RecogConsistencyLoss(block).recognizer.folded_norms == 10
    ensemble = RecogLoss({'type': 'EnsembleRecognizer', 'recognizers': [block, block]}).recognizer
    assert ensemble.model[1].folded_norms == 10
    assert torch.equal(torch.random.get_rng_state(), state)
    assert RecogLoss({**block, 'trainable': True}).recognizer.folded_norms == 0
    given = tiny_recognizer()
    assert RecogLoss(given).recognizer is given and given.folded_norms == 0
    with pytest.raises(ValueError, match='batch norm is folded.* fold_batch_norm=False'):
        build_recognizer(block).unfreeze()


def test_a_network_without_answers_is_left_alone(monkeypatch):
    recognizer = recognizer_of(build(*FOLDED['plain']))

    def outputs(*args):
        raise KeyError('levels')

    monkeypatch.setattr(recognizer, 'outputs', outputs)
    recognizer.fold_batch_norm()
    assert recognizer.folded_norms == 0 and isinstance(recognizer.model.norm, nn.BatchNorm2d)


def test_training_mode_is_not_folded():
    net = build(*FOLDED['plain']).train()
    images = torch.rand(1, 3, 16, 16, requires_grad=True)
    assert fold_batch_norm(net, lambda: [net(images)]) == 0


def losses(recognizer, images, label):
    images = images.clone().requires_grad_()
    terms = recognizer.loss(images, label)
    return terms, torch.autograd.grad(sum(terms.values()), images)[0]


@pytest.mark.slow
@pytest.mark.parametrize('name', ['retinanet', 'fcos', 'faster_rcnn', 'fcn'])  # masks are not for float64
def test_detectors_and_segmenters(name, detector, segmenter):  # noqa: F811
    images = mm.as_images(mm.photograph(0), mm.photograph(1))
    label = mm.labels()
    if name == 'fcn':
        label = torch.randint(3, (2, mm.HEIGHT, mm.WIDTH), generator=torch.Generator().manual_seed(0))
    own, folded = (segmenter() if name == 'fcn' else detector(name) for _ in range(2))
    for recognizer in (own, folded):
        randomized(recognizer.model)
        mm.in_float64(recognizer.model)
    geometry = folded.geometry
    folded.fold_batch_norm()
    assert folded.folded_norms >= 20 and folded.geometry is geometry
    (terms, gradient), (own_terms, own_gradient) = (losses(r, images.double(), label) for r in (folded, own))
    torch.testing.assert_close(terms, own_terms, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(gradient, own_gradient, rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(folded.predict(images.double()), own.predict(images.double()))
