"""Arguments of losses and recognizers from Python: one clear line at construction, and numbers of any library."""
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from ra_plugin.losses import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss
from ra_plugin.options import OptionError
from ra_plugin.recognizers import (
    BlackBoxRecognizer,
    EnsembleRecognizer,
    MMDetRecognizer,
    ModuleRecognizer,
    OnnxRecognizer,
    TimmRecognizer,
    TorchvisionRecognizer,
)

HALF = {'mean': [0.5] * 3, 'std': [0.5] * 3}


@pytest.fixture
def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


@pytest.mark.parametrize('arguments, message', [
    ({'loss_weight': '1'}, "loss_weight: expected a number, got '1'"),
    ({'loss_weight': -1}, 'loss_weight: expected a number >= 0, got -1'),
    ({'loss_weight': math.nan}, 'loss_weight: expected a number, got nan'),
    ({'loss_weight': math.inf}, 'loss_weight: expected a number >= 0, got inf'),
    ({'loss_weight': torch.ones(2)}, r'loss_weight: expected a number, got \[1.0, 1.0\]'),
    ({'reduction': 'Mean'}, "reduction: expected 'mean', 'sum'"), ({'reduction': None}, 'reduction: '),
    ({'gradient_checkpointing': 'no'}, 'gradient_checkpointing: expected true or false'),
    ({'mean': 0.5}, 'mean: expected a list of numbers'), ({'std': [0.5, '1', 1]}, 'std: expected a list of numbers'),
    ({'std': [0.5, math.nan, 1]}, 'std: expected a list of numbers')])
@pytest.mark.parametrize('loss', [RecogLoss, RecogConsistencyLoss, RecogFeatureLoss])
def test_arguments_of_every_loss_are_checked(network, loss, arguments, message):
    with pytest.raises(ValueError, match=rf'^{loss.__name__}: {message}'):
        loss(network, **{**HALF, **arguments})


@pytest.mark.parametrize('build, message', [
    (lambda net: RecogLoss(net, label_smoothing=math.nan, **HALF), 'RecogLoss: label_smoothing: expected a number'),
    (lambda net: RecogLoss('resnet18'), 'RecogLoss: recognizer: expected a block or Module'),
    (lambda net: RecogConsistencyLoss(net, temperature='2', **HALF), 'RecogConsistencyLoss: temperature: expected'),
    (lambda net: RecogConsistencyLoss(net, temperature=math.inf, **HALF), 'RecogConsistencyLoss: temperature: '),
    (lambda net: RecogConsistencyLoss(net, distance='KL', **HALF), 'RecogConsistencyLoss: distance: expected'),
    (lambda net: RecogFeatureLoss(net, distance=2, **HALF), 'RecogFeatureLoss: distance: expected'),
    (lambda net: TimmRecognizer(5, pretrained=False), 'TimmRecognizer: model_name: expected text, got 5'),
    (lambda net: TimmRecognizer('test_resnet', pretrained='no'), 'TimmRecognizer: pretrained: expected true or false'),
    (lambda net: TorchvisionRecognizer('resnet18', weights=True), 'TorchvisionRecognizer: weights: expected text'),
    (lambda net: ModuleRecognizer(net, classes='abc', **HALF), 'ModuleRecognizer: classes: expected a list of text'),
    (lambda net: ModuleRecognizer(3, **HALF), 'ModuleRecognizer: module: expected text or Module'),
    (lambda net: EnsembleRecognizer(net), 'EnsembleRecognizer: recognizers: expected a list'),
    (lambda net: EnsembleRecognizer([ModuleRecognizer(net, **HALF)], [math.inf]), 'EnsembleRecognizer: weights'),
    (lambda net: EnsembleRecognizer([ModuleRecognizer(net, **HALF)], sample=1.5), 'EnsembleRecognizer: sample: '),
    (lambda net: MMDetRecognizer('a', pretrained=False, resize='Model'), r"MMDetRecognizer\(a\): resize: expected 'm"),
    (lambda net: MMDetRecognizer('a', pretrained=False, seed=-1), r'MMDetRecognizer\(a\): seed: expected a whole'),
    (lambda net: MMDetRecognizer('a', pretrained=False, resize=math.inf), r'MMDetRecognizer\(a\): resize: expected'),
    (lambda net: OnnxRecognizer('a.onnx', [0.5] * 3, 'b'), 'OnnxRecognizer: std: expected a list of numbers'),
    (lambda net: BlackBoxRecognizer(3, 'c', command='ls'), 'BlackBoxRecognizer: command: expected a list of text')])
def test_arguments_are_checked_before_anything_is_built(network, build, message):
    with pytest.raises(ValueError, match=f'^{message}'):
        build(network)


def test_numbers_and_arrays_of_numpy_and_torch_are_those_they_hold(network):
    image, label = torch.rand(1, 3, 8, 8), torch.tensor([1])
    expected = RecogLoss(network, loss_weight=0.5, **HALF)(image, label)
    for kind in (np.asarray, torch.tensor, tuple, lambda values: [np.float64(value) for value in values]):
        for weight in (np.float32(0.5), torch.tensor(0.5)):
            loss = RecogLoss(network, loss_weight=weight, mean=kind([0.5] * 3), std=kind([0.5] * 3))
            assert torch.equal(loss(image, label), expected)
    members = nn.ModuleList([ModuleRecognizer(network, **HALF)])
    assert EnsembleRecognizer(members, weights=np.ones(1), sample=np.int64(1)).sample == 1


@pytest.mark.slow
def test_a_path_is_text(tmp_path, network):
    torch.save(network.state_dict(), tmp_path / 'net.pth')
    assert ModuleRecognizer(network, checkpoint=Path(tmp_path / 'net.pth'), **HALF).info.num_classes == 3
    with pytest.raises(FileNotFoundError, match='config: no file'):
        MMDetRecognizer(Path('none.py'), pretrained=False)


def test_a_call_that_lacks_something_fails_as_any_call():
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'recognizer'"):
        RecogLoss()
    with pytest.raises(TypeError, match="unexpected keyword argument 'lossweight'"):
        RecogLoss(nn.Identity(), lossweight=1)


def test_the_classes_of_others_are_left_to_them(network):
    class Own(ModuleRecognizer):
        def __init__(self, module, fit: int = 'crop'):
            super().__init__(module, **HALF)

    assert Own(network).info.num_classes == 3
    with pytest.raises(OptionError, match='^Own: module: expected text or Module'):
        Own(5)


def test_one_class_is_no_choice():
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1))
    for loss in (RecogLoss, RecogConsistencyLoss):
        with pytest.raises(ValueError, match=rf'^{loss.__name__}\.recognizer: ModuleRecognizer.*it has only one class'):
            loss(network, **HALF)
    assert RecogFeatureLoss(network, **HALF).recognizer.info.num_classes == 1


@pytest.mark.parametrize('classes', [dict.fromkeys('abc').keys(), dict(zip('abc', 'def', strict=True)),
                                     np.array(['a', 'b', 'c']),
                                     map(str, 'abc'), ('a', 'b', 'c')])
def test_what_has_an_order_is_a_list(network, classes):
    classes = iter(classes) if isinstance(classes, dict) else classes
    assert ModuleRecognizer(network, classes=classes, **HALF).info.classes == ('a', 'b', 'c')


@pytest.mark.parametrize('size', [np.int64(32), torch.tensor(32), [32, 32], np.array([32, 32]), torch.Size([32, 32])])
def test_sizes_of_any_library(network, size):
    assert ModuleRecognizer(network, input_size=size, **HALF).info.input_size == (32, 32)


def test_zero_and_one_are_false_and_true(network):
    loss = RecogConsistencyLoss(network, gradient_checkpointing=0, cache_reference=np.int64(1), **HALF)
    assert loss._cache is not None
    TimmRecognizer('test_resnet', pretrained=0)
    with pytest.raises(OptionError, match='gradient_checkpointing: expected true or false, got 2'):
        RecogConsistencyLoss(network, gradient_checkpointing=2, **HALF)


@pytest.mark.slow
@pytest.mark.parametrize('weights', [torchvision.models.ResNet18_Weights.DEFAULT, 'ResNet18_Weights.IMAGENET1K_V1',
                                     'IMAGENET1K_V1', 'DEFAULT'])
def test_weights_of_torchvision_as_torchvision_has_them(monkeypatch, weights):
    given = []
    monkeypatch.setattr(torchvision.models, 'get_model',
                        lambda name, weights, real=torchvision.models.resnet18: given.append(weights) or real())
    TorchvisionRecognizer('resnet18', weights=weights)
    assert given == [torchvision.models.ResNet18_Weights.IMAGENET1K_V1]
