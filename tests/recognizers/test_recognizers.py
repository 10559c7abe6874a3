"""Every recognizer keeps one contract: frozen, differentiable, normalized as its backend does, and clear in errors."""
import copy
import dataclasses
import hashlib
import operator
import pickle
import re
import sys
import warnings
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision.transforms import InterpolationMode, v2

from ra_plugin import RecogConsistencyLoss, RecogLoss, build_recognizer
from ra_plugin.data.class_check import check_classes
from ra_plugin.options import OptionError
from ra_plugin.recognizers import (
    ClassificationRecognizer,
    EnsembleRecognizer,
    ModuleRecognizer,
    TimmRecognizer,
    TorchvisionRecognizer,
    tiny_nets,
)
from ra_plugin.recognizers.class_names import first_difference
from ra_plugin.recognizers.facts import RecognizerInfo
from ra_plugin.recognizers.frozen.resizing import judging, resize, shared_resizes
from ra_plugin.registry import RECOGNIZER_REGISTRY
from ra_plugin.utils.optional import require

TINY = {'type': 'ModuleRecognizer', 'module': 'ra_plugin.recognizers.tiny_nets.TinyResNet', 'mean': [0.5, 0.4, 0.3],
        'std': [0.2, 0.3, 0.4]}


def timm_case(name, **kwargs):
    return {'type': 'TimmRecognizer', 'model_name': name, 'pretrained': False, 'input_size': 64, **kwargs}


def torchvision_case(name, **kwargs):
    return {'type': 'TorchvisionRecognizer', 'model_name': name, 'checkpoint': None, 'input_size': 64, **kwargs}


CASES = {
    'timm: CNN': timm_case('test_resnet'),
    'timm: CNN, depthwise': timm_case('test_efficientnet'),
    'timm: CNN without normalization': timm_case('test_nfnet'),
    'timm: ConvNeXt': timm_case('test_convnext'),
    'timm: transformer': timm_case('test_vit', model_kwargs={'img_size': 64}),
    'timm: transformer, NHWC': timm_case('swin_tiny_patch4_window7_224', model_kwargs={
        'img_size': 64, 'embed_dim': 16, 'depths': (1, 1), 'num_heads': (2, 4), 'window_size': 4}),
    'timm: state space, NHWC': timm_case('test_mambaout'),
    'timm: hybrid': timm_case('test_coatnet', model_kwargs={'img_size': 64}),
    'timm: hybrid, windows': timm_case('test_maxvit', model_kwargs={'img_size': 64}),
    'timm: hybrid, mobile': timm_case('edgenext_xx_small'),
    'torchvision: MobileNet': torchvision_case('mobilenet_v2'),
    'torchvision: SqueezeNet': torchvision_case('squeezenet1_1', feature_layer='features'),
    'torchvision: ResNet': torchvision_case('resnet18', input_size=None),
    'module': {**TINY, 'input_size': 32},
    'module: any size': TINY,
    'module: transformer': {**TINY, 'module': 'ra_plugin.recognizers.tiny_nets.TinyTransformer', 'input_size': 32},
    'onnx': {'type': 'OnnxRecognizer', 'file': 'TinyResNet', 'mean': [0.5, 0.4, 0.3], 'std': [0.2, 0.3, 0.4],
             'input_size': 32},
    'ensemble': {'type': 'EnsembleRecognizer', 'weights': [3, 1], 'recognizers': [
        {**TINY, 'input_size': 32}, {**TINY, 'module': 'ra_plugin.recognizers.tiny_nets.TinyVGG', 'input_size': 32}]},
}
CLASSIFIERS = [name for name in CASES if name != 'ensemble']


@pytest.fixture(scope='session')
def checkpoints(tmp_path_factory):
    """``checkpoints(name)``: a file with the weights of a random torchvision network."""
    folder = tmp_path_factory.mktemp('checkpoints')

    def make(name):
        path = folder / f'{name}.pth'
        if not path.exists():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                torch.save(torchvision.models.get_model(name, weights=None).state_dict(), path)
        return str(path)

    return make


@pytest.fixture(scope='module')
def built(checkpoints, tmp_path_factory):
    """``built(case)``: the recognizer, built once for this file; it is frozen, so that the tests may share it."""
    known = {}

    def build(case):
        if case not in known:
            opt = dict(CASES[case])
            if 'checkpoint' in opt:
                opt['checkpoint'] = checkpoints(opt['model_name'])
            if 'file' in opt:
                opt['file'] = onnx_file(opt['file'], tmp_path_factory.mktemp('onnx'))
            torch.manual_seed(1)
            known[case] = build_recognizer(opt)
        return known[case]

    return build


def onnx_file(name, folder):
    """A random network of this package as an ONNX file."""
    path = str(folder / f'{name}.onnx')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.onnx.export(getattr(tiny_nets, name)().eval(), (torch.rand(1, 3, 32, 32),), path, dynamo=False,
                          opset_version=17, input_names=['images'], dynamic_axes={'images': {0: 'N'}})
    return path


@pytest.fixture(params=CASES)
def recognizer(request, built):
    return built(request.param)


@pytest.fixture(params=CLASSIFIERS)
def classifier(request, built):
    return built(request.param)


@pytest.fixture
def photos():
    """Three float32 images of another size than any network's, not square."""
    return torch.rand(3, 3, 48, 40)


def labels_for(recognizer, n=3):
    return torch.arange(n) % recognizer.info.num_classes


def save_weights(net, path, wrap=lambda weights: weights):
    torch.save(wrap(net.state_dict()), path)
    return str(path)


# The contract

def test_options_of_each_case_pass_the_check():
    for opt in CASES.values():
        RECOGNIZER_REGISTRY.check(opt, 'recognizer')


@pytest.mark.slow
def test_gradient_reaches_the_image_finite_and_not_zero(recognizer, photos):
    photos.requires_grad_()
    sum(term.sum() for term in recognizer.loss(photos, labels_for(recognizer)).values()).backward()
    assert photos.grad.isfinite().all()
    assert (photos.grad.flatten(1).abs().amax(1) > 0).all()


def test_gradient_reaches_the_image_through_outputs_and_features(recognizer, photos):
    for value in (*recognizer.outputs(photos.requires_grad_()).values(), recognizer.features(photos)):
        gradient, = torch.autograd.grad(value.square().sum(), photos)
        assert gradient.isfinite().all() and gradient.abs().max() > 0


def test_training_a_parent_leaves_parameters_and_statistics_alone(recognizer, photos):
    before = copy.deepcopy(recognizer.state_dict())
    parent = nn.ModuleDict({'restorer': nn.Conv2d(3, 3, 1), 'recognizer': recognizer}).train()
    output = parent['restorer'](photos)
    sum(term.sum() for term in recognizer.loss(output, labels_for(recognizer)).values()).backward()
    assert parent['restorer'].weight.grad.abs().max() > 0
    torch.testing.assert_close(recognizer.state_dict(), before, rtol=0, atol=0)


def test_train_leaves_every_layer_in_inference_mode(recognizer):
    recognizer.train()
    nn.Sequential(recognizer).train()
    modules = [module for network in recognizer.networks() for module in network.modules()]
    assert len(modules) > 1 and not any(module.training for module in (recognizer, *modules))


def test_train_does_not_change_the_answer(recognizer, photos):
    before = recognizer.outputs(photos)
    recognizer.train()
    torch.testing.assert_close(recognizer.outputs(photos), before, rtol=0, atol=0)


def test_no_parameter_requires_or_gets_a_gradient(recognizer, photos):
    sum(term.sum() for term in recognizer.loss(photos.requires_grad_(), labels_for(recognizer)).values()).backward()
    parameters = [p for network in recognizer.networks() for p in network.parameters()]
    assert parameters and not any(p.requires_grad or p.grad is not None for p in parameters)


def test_the_answer_does_not_depend_on_batch_mates(recognizer, photos):
    alone, together = recognizer.outputs(photos[:1]), recognizer.outputs(photos)
    for name, value in together.items():
        torch.testing.assert_close(alone[name], value[:1], rtol=1e-4, atol=1e-5)


def test_the_input_is_left_as_it_was(recognizer, photos):
    before = photos.clone()
    recognizer.outputs(photos)
    assert torch.equal(photos, before)


def test_predictions_are_the_likeliest_classes_best_first(recognizer, photos):
    with judging():  # what is resized is clamped, as in the networks' own pipelines
        logits = recognizer.outputs(photos)
    weights = getattr(recognizer, 'weights', [1.0])
    probabilities = sum(w * value.softmax(1) for w, value in zip(weights, logits.values(), strict=True))
    result = recognizer.predict(photos)
    assert result['labels'].shape == result['scores'].shape == (3, 5)
    torch.testing.assert_close(result['scores'], probabilities.sort(descending=True).values[:, :5])
    torch.testing.assert_close(probabilities.gather(1, result['labels']), result['scores'])


def test_predictions_carry_no_gradient(recognizer, photos):
    assert not recognizer.predict(photos.requires_grad_())['scores'].requires_grad


def test_features_have_the_batch_first(recognizer, photos):
    features = recognizer.features(photos)
    assert len(features) == 3 and features.dim() >= 2
    torch.testing.assert_close(recognizer.features(photos[1:2]), features[1:2], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_float64_gives_the_answer_of_float32(recognizer, photos):
    double = copy.deepcopy(recognizer).double()
    for name, value in double.outputs(photos.double()).items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(value.float(), recognizer.outputs(photos)[name], rtol=1e-2, atol=1e-3)


def test_info_counts_the_classes_of_the_network(recognizer, photos):
    assert {value.shape[1] for value in recognizer.outputs(photos).values()} == {recognizer.info.num_classes}


def test_info_states_task_and_source(recognizer):
    assert recognizer.info.task == 'classification' and recognizer.info.source and recognizer.info.differentiable


def test_loss_is_the_native_cross_entropy_of_each_image(classifier, photos):
    label = labels_for(classifier)
    native = classifier.model(classifier.prepare(photos))
    expected = native.logsumexp(1) - native.gather(1, label[:, None])[:, 0]
    loss = classifier.loss(photos, label)
    assert list(loss) == ['cross_entropy']
    torch.testing.assert_close(loss['cross_entropy'], expected)


def test_a_label_that_is_no_class_is_refused(classifier, photos):
    n = classifier.info.num_classes
    message = f'{classifier}: expected labels in 0..{n - 1}, got 0..{n}. Are these the classes it was trained on?'
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        classifier.loss(photos, torch.tensor([0, n, 1]))


@pytest.mark.parametrize('wrong', [
    torch.zeros(3, 8, 8), torch.zeros(1, 1, 8, 8), torch.zeros(1, 8, 8, 3), torch.zeros(1, 3, 8, 8, dtype=torch.uint8)],
    ids=['no batch', 'gray', 'NHWC', 'uint8'])
def test_what_is_no_float_nchw_rgb_is_refused(classifier, wrong):
    with pytest.raises(ValueError, match=r'expected float images \(N, 3, H, W\), got torch\.'):
        classifier.prepare(wrong)


@pytest.mark.slow
def test_building_leaves_the_random_state_as_it_was(checkpoints):
    for opt in (CASES['timm: CNN'], CASES['module'], CASES['ensemble'],
                {**CASES['torchvision: SqueezeNet'], 'checkpoint': checkpoints('squeezenet1_1')}):
        before = torch.get_rng_state()
        build_recognizer(opt)
        assert torch.equal(torch.get_rng_state(), before)


def test_building_a_recognizer_again_returns_it(built):
    assert build_recognizer(built('module')) is built('module')


def test_weights_are_frozen_whoever_owned_the_module_before():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(2)).train()
    net(torch.rand(2, 3, 8, 8))
    recognizer = ModuleRecognizer(net, mean=[0, 0, 0], std=[1, 1, 1], input_size=8)
    assert not any(p.requires_grad for p in recognizer.model.parameters()) and not recognizer.model.training


# Preparation

def pil_image(height, width):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


@pytest.mark.parametrize('case', [name for name in CASES if name.startswith('timm')])
def test_prepare_equals_timms_own_transform_at_the_input_size(case, built):
    recognizer, image = built(case), pil_image(64, 64)
    config = timm.data.resolve_data_config(model=recognizer.model)
    transform = timm.data.create_transform(**{**config, 'input_size': (3, 64, 64), 'crop_pct': 1.0}, is_training=False)
    ours = recognizer.prepare(v2.functional.pil_to_tensor(image)[None] / 255)
    torch.testing.assert_close(ours[0], transform(image), rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize('size', [(64, 64), (48, 40), (77, 64), (64, 91), (130, 97), (33, 70)])
def test_prepare_equals_torchvisions_own_transform(size, checkpoints):
    recognizer = TorchvisionRecognizer('mobilenet_v2', checkpoint=checkpoints('mobilenet_v2'), input_size=64)
    native = torchvision.models.MobileNet_V2_Weights.DEFAULT.transforms(crop_size=64, resize_size=64)
    photos = torch.rand(2, 3, *size)
    torch.testing.assert_close(recognizer.prepare(photos), native(photos), rtol=0, atol=1e-5)


@pytest.mark.parametrize('size', [(48, 40), (47, 64), (96, 65), (31, 70)])
@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
def test_resize_equals_torchvisions_antialiased_resize_and_center_crop(interpolation, size):
    photos = torch.rand(2, 3, *size)
    native = v2.Compose([v2.Resize(32, InterpolationMode(interpolation), antialias=True), v2.CenterCrop(32)])
    torch.testing.assert_close(resize(photos, (32, 32), 'crop', interpolation), native(photos), rtol=0, atol=1e-5)


@pytest.mark.parametrize('case', ['timm: CNN', 'timm: transformer'])
def test_normalization_and_interpolation_come_from_timms_record(case, built):
    info, record = built(case).info, built(case).model.pretrained_cfg
    assert (info.mean, info.std, info.interpolation) == (record['mean'], record['std'], record['interpolation'])


def test_prepare_does_not_clamp():
    recognizer = build_recognizer({**TINY, 'mean': [0, 0, 0], 'std': [1, 1, 1]})
    photos = torch.tensor([-0.5, 1.5]).view(1, 1, 1, 2).expand(1, 3, 4, 2)
    assert torch.equal(recognizer.prepare(photos), photos)


def test_crop_keeps_the_center_of_an_image_whose_shorter_side_fits():
    photos = torch.rand(1, 3, 32, 64)
    assert torch.equal(resize(photos, (32, 32), 'crop', 'bilinear'), photos[..., 16:48])


def test_stretch_keeps_the_whole_image():
    photos = torch.rand(1, 3, 32, 64)
    expected = F.interpolate(photos, (32, 32), mode='bilinear', antialias=True)
    assert torch.equal(resize(photos, (32, 32), 'stretch', 'bilinear'), expected)


def test_recognizers_of_one_size_share_a_resize_and_its_gradient(monkeypatch):
    blocks = [{**TINY, 'input_size': size, 'fit': fit} for size, fit in ((16, 'crop'), (16, 'crop'), (16, 'stretch'),
                                                                         (8, 'crop'))]
    members = [build_recognizer(block) for block in blocks]
    sizes = []

    def interpolate(images, size, original=F.interpolate, **kwargs):
        sizes.append(tuple(size))
        return original(images, size, **kwargs)

    monkeypatch.setattr(F, 'interpolate', interpolate)
    photos, others = torch.rand(2, 3, 24, 32, requires_grad=True), torch.rand(2, 3, 24, 32)
    gradients = [torch.autograd.grad(sum(member.prepare(photos).square().sum() for member in members), photos)[0]]
    assert len(sizes) == 4
    sizes.clear()
    with shared_resizes():
        with torch.no_grad():
            assert not any(member.prepare(photos).requires_grad for member in members)
        shown = [member.prepare(photos) for member in members]
        assert not torch.equal(members[0].prepare(others), shown[0])
    assert len(sizes) == 3 + 3 + 1
    gradients.append(torch.autograd.grad(sum(image.square().sum() for image in shown), photos)[0])
    torch.testing.assert_close(*gradients)
    members[0].prepare(photos)
    assert len(sizes) == 8  # afterwards nothing is kept


def test_a_context_within_another_shares_its_resizes_and_leaves_them_to_it():
    member = build_recognizer({**TINY, 'input_size': 16})
    photos, others = torch.rand(2, 3, 24, 32), torch.rand(2, 3, 24, 32)

    def resized(images):
        return resize(images, member.info.input_size, member.fit, member.info.interpolation)

    with shared_resizes():
        with shared_resizes():
            first, other = resized(photos), resized(others)
        with shared_resizes():
            assert resized(photos) is first and resized(others) is other
        assert resized(photos) is first
        freed = [resized(torch.full((1, 3, 24, 32), float(i))).mean().item() for i in range(5)]
        assert freed == [0, 1, 2, 3, 4]  # the id of an image is not given to the next one
    kept = weakref.ref(first)
    del first
    assert kept() is None
    with shared_resizes(), pytest.raises(KeyError), shared_resizes():
        kept = weakref.ref(resized(photos))
        raise KeyError
    assert kept() is None
    assert resized(photos) is not resized(photos)


@pytest.mark.parametrize('side', [16, 48])
def test_crop_and_stretch_agree_on_a_square_image(side):
    photos = torch.rand(1, 3, side, side)
    cropped, stretched = (resize(photos, (32, 32), fit, 'bicubic') for fit in ('crop', 'stretch'))
    assert torch.equal(cropped, stretched)


@pytest.mark.parametrize('fit', ['crop', 'stretch'])
@pytest.mark.parametrize('target', [(32, 32), (24, 40), (40, 24), (1, 9)])
@pytest.mark.parametrize('size', [(32, 32), (17, 50), (50, 17), (1, 1), (200, 7)])
def test_every_size_reaches_the_input_size(size, target, fit):
    assert resize(torch.rand(1, 3, *size), target, fit, 'bilinear').shape[-2:] == target


@pytest.mark.parametrize('input_size, prepared', [
    (None, (48, 40)), (32, (32, 32)), ([32, 64], (32, 64)), ((64, 32), (64, 32)), ('model', (160, 160))])
def test_input_size_is_the_size_that_the_network_sees(input_size, prepared, photos):
    recognizer = TimmRecognizer('test_resnet', pretrained=False, input_size=input_size)
    assert recognizer.prepare(photos).shape[-2:] == prepared


def test_torchvisions_input_size_is_its_crop_size(checkpoints):
    recognizer = TorchvisionRecognizer('squeezenet1_1', checkpoint=checkpoints('squeezenet1_1'))
    assert recognizer.info.input_size == (224, 224)
    assert recognizer.info.num_classes == len(recognizer.info.classes) == 1000


@pytest.mark.parametrize('input_size', [0, -3, [32], [32, 0], [1, 2, 3], 'modell', 1.5, ['a', 'b']])
def test_an_input_size_that_is_none_is_refused(input_size, tiny_recognizer):
    with pytest.raises(ValueError, match=r"input_size: expected 'model', ~, a number or \[height, width\], got "):
        tiny_recognizer(input_size=input_size)


def test_an_unknown_fit_is_refused(tiny_recognizer):
    with pytest.raises(ValueError, match=r"^ModuleRecognizer\(TanhNet\): fit: expected 'crop', 'stretch' or 'border', "
                                         r"got 'pad'"):
        tiny_recognizer(fit='pad')


def test_an_input_size_that_the_network_cannot_take_shows_at_once():
    with pytest.raises(ValueError, match=r'TinyTransformer\): cannot take a 64x64 image \(.*\)\. Set input_size\.$'):
        build_recognizer({**CASES['module: transformer'], 'input_size': None})


def test_a_network_that_was_moved_before_is_taken_as_it_is(tiny_recognizer):
    assert tiny_recognizer().mean.dtype == torch.float64


# Features

def test_features_default_to_the_input_of_the_last_linear_layer(built, photos):
    recognizer = built('torchvision: ResNet')
    features = recognizer.features(photos)
    torch.testing.assert_close(recognizer.model.fc(features), recognizer.logits(photos))


def test_timms_features_lead_to_its_logits(built, photos):
    recognizer = built('timm: transformer, NHWC')
    torch.testing.assert_close(recognizer.model.forward_head(recognizer.features(photos)), recognizer.logits(photos))


def test_a_feature_layer_gives_its_output(photos):
    recognizer = build_recognizer({**TINY, 'feature_layer': 'blocks.1'})
    net = recognizer.model
    torch.testing.assert_close(recognizer.features(photos), net.blocks[:2](net.stem(recognizer.prepare(photos))))


def test_taking_features_leaves_no_hook_behind(built, photos):
    recognizer = built('torchvision: ResNet')
    before = [list(module._forward_hooks) for module in recognizer.model.modules()]
    recognizer.features(photos)
    assert [list(module._forward_hooks) for module in recognizer.model.modules()] == before


def test_an_unknown_feature_layer_gets_a_suggestion():
    with pytest.raises(ValueError, match=r"feature_layer: no layer 'blocks.9'\. Did you mean 'blocks\.\d'\?"):
        build_recognizer({**TINY, 'feature_layer': 'blocks.9'})


def test_a_network_without_linear_layer_asks_for_a_feature_layer(photos, checkpoints):
    recognizer = TorchvisionRecognizer('squeezenet1_1', checkpoint=checkpoints('squeezenet1_1'), input_size=None)
    with pytest.raises(ValueError, match='no linear layer to take features from. Name one: feature_layer'):
        recognizer.features(photos)


def test_a_layer_that_is_never_called_is_no_feature_layer(photos):
    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.spare = nn.Conv2d(3, 2, 1), nn.Linear(1, 1)

        def forward(self, x):
            return self.conv(x).mean((2, 3))

    recognizer = ModuleRecognizer(Unused(), mean=[0, 0, 0], std=[1, 1, 1])
    with pytest.raises(ValueError, match=r'Unused\): expected a tensor .* the network did not call it\. Name another'):
        recognizer.features(photos)


# Checkpoints

def tiny_from(checkpoint, fold_batch_norm=True, **kwargs):
    return build_recognizer({**TINY, 'checkpoint': str(checkpoint), **kwargs}, fold_batch_norm=fold_batch_norm)


@pytest.fixture
def net():
    """A TinyResNet whose statistics are not the initial ones."""
    module = __import__('ra_plugin.recognizers.tiny_nets', fromlist=['TinyResNet']).TinyResNet()
    for buffer in module.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    return module


@pytest.mark.parametrize('wrap', [
    lambda w: w,
    lambda w: {'params': w},
    lambda w: {'params_ema': w, 'params': {k: v * 0 for k, v in w.items()}},
    lambda w: {'state_dict': w, 'epoch': 3, 'meta': {'lr': 0.1}},
    lambda w: {'model': w, 'optimizer': {}},
    lambda w: {f'module.{k}': v for k, v in w.items()},
    lambda w: {'state_dict': {f'module._orig_mod.{k}': v for k, v in w.items()}},
    lambda w: {f'_orig_mod.module.{k}': v for k, v in w.items()},
    lambda w: {k: v for k, v in w.items() if 'num_batches_tracked' not in k},
], ids=['plain', 'params', 'params_ema before params', 'state_dict', 'model', 'DataParallel', 'DDP of compile',
        'compile of DDP', 'older torch'])
def test_a_checkpoint_is_read_however_it_was_wrapped(wrap, net, tmp_path):
    loaded = tiny_from(save_weights(net, tmp_path / 'net.pth', wrap), fold_batch_norm=False).model
    own = net.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in loaded.state_dict().items())


def test_a_model_whose_own_names_begin_with_module_keeps_them(net, tmp_path, tiny_recognizer):
    class Wrapped(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

        def forward(self, x):
            return self.module(x)

    path = save_weights(Wrapped(net), tmp_path / 'net.pth')
    ModuleRecognizer(Wrapped(copy.deepcopy(net)), mean=[0, 0, 0], std=[1, 1, 1], checkpoint=path)


def test_safetensors_are_read(net, tmp_path):
    save_file(net.state_dict(), tmp_path / 'net.safetensors')
    weights = tiny_from(tmp_path / 'net.safetensors', fold_batch_norm=False).model.state_dict()
    torch.testing.assert_close(weights, net.state_dict())


def test_mean_std_and_classes_come_from_the_safetensors_record(net, tmp_path):
    names = [f'class {i}' for i in range(10)]
    record = {'mean': '[0.1, 0.2, 0.3]', 'std': '[0.4, 0.5, 0.6]', 'classes': str(names).replace("'", '"'),
              'format': 'pt', 'date': '2024-05-01', 'note': '', 'comment': '[not json'}
    save_file(net.state_dict(), tmp_path / 'net.safetensors', record)
    info = tiny_from(tmp_path / 'net.safetensors', mean=None, std=None).info
    assert (info.mean, info.std, info.classes) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), tuple(names))


def test_options_win_over_the_safetensors_record(net, tmp_path):
    save_file(net.state_dict(), tmp_path / 'net.safetensors', {'mean': '[0.1, 0.2, 0.3]', 'std': '[0.4, 0.5, 0.6]'})
    info = tiny_from(tmp_path / 'net.safetensors', std=None).info
    assert (info.mean, info.std) == ((0.5, 0.4, 0.3), (0.4, 0.5, 0.6))


def test_a_pickled_module_is_refused_with_the_remedy(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / 'net.pth')
    message = (f'ModuleRecognizer(TinyResNet): {tmp_path}/net.pth contains more than tensors (a pickled '
               'torch.nn.modules.linear.Linear), and loading it could run code. '
               'Save only the weights: torch.save(model.state_dict(), NEW_FILE).')
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        tiny_from(tmp_path / 'net.pth')


class Malicious:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (exec, ('raise AssertionError("code of the file was run")', ))


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    torch.save({'state_dict': Malicious()}, tmp_path / 'net.pth')
    with pytest.raises(ValueError, match='contains more than tensors'):
        tiny_from(tmp_path / 'net.pth')


@pytest.mark.parametrize('content', [b'', b'hello world\n', b'\0' * 99, b'<!DOCTYPE html>', pickle.dumps({'a': 1})],
                         ids=['empty', 'text', 'zeros', 'web page', 'pickle'])
@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
def test_a_file_of_another_kind_is_refused_in_one_line(content, tmp_path):
    (tmp_path / 'net.pth').write_bytes(content)
    with pytest.raises(ValueError, match=r'net\.pth is damaged, or not a weights file \(\w+\)\.$') as error:
        tiny_from(tmp_path / 'net.pth')
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('name, message', [
    ('net.pth', 'is damaged'), ('net.safetensors', 'is not a readable safetensors file')])
def test_a_file_that_is_cut_off_is_refused(name, message, net, tmp_path):
    path = tmp_path / name
    save_file(net.state_dict(), path) if path.suffix == '.safetensors' else torch.save(net.state_dict(), path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=rf'{re.escape(name)} {message}'):
        tiny_from(path)


def test_a_checkpoint_without_weights_says_what_it_holds(tmp_path):
    torch.save({'epoch': 3, 'lr': 0.1}, tmp_path / 'net.pth')
    with pytest.raises(ValueError, match=r"no weights under params_ema, params, .*; found \['epoch', 'lr'\]\.$"):
        tiny_from(tmp_path / 'net.pth')


def test_a_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match=r'^ModuleRecognizer\(TinyResNet\): no checkpoint nowhere\.pth$'):
        tiny_from('nowhere.pth')


@pytest.mark.parametrize('change, message', [
    (lambda w: w.pop('head.bias'), '1 keys missing: head.bias.'),
    (lambda w: w.update(extra=torch.zeros(1)), '1 keys unexpected: extra.'),
    (lambda w: w.update({'head.weight': torch.zeros(7, 192)}),
     '1 keys of another shape: head.weight (file (7, 192), model (10, 192)).'),
], ids=['missing', 'unexpected', 'shape'])
def test_a_checkpoint_that_does_not_fit_names_the_keys(change, message, net, tmp_path):
    weights = dict(net.state_dict())
    change(weights)
    torch.save(weights, tmp_path / 'net.pth')
    with pytest.raises(ValueError, match=f'net.pth does not fit the model: {re.escape(message)}$'):
        tiny_from(tmp_path / 'net.pth')


def test_a_checkpoint_of_another_network_lists_a_few_keys_of_each_kind(tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / 'net.pth')
    with pytest.raises(ValueError, match=r'missing: (\S+, ){5}\S+ and \d+ more; 2 keys unexpected: weight, '):
        tiny_from(tmp_path / 'net.pth')


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['TimmRecognizer', 'TorchvisionRecognizer'])
def test_the_weights_in_use_are_those_of_the_checkpoint(kind, photos, tmp_path):
    if kind == 'TimmRecognizer':
        net, name = timm.create_model('test_resnet'), 'test_resnet'
    else:
        net, name = torchvision.models.squeezenet1_1(), 'squeezenet1_1'
    path = save_weights(net.eval(), tmp_path / 'net.pth')
    recognizer = build_recognizer({'type': kind, 'model_name': name, 'checkpoint': path, 'input_size': None})
    torch.testing.assert_close(recognizer.logits(photos), net(recognizer.prepare(photos)))
    assert recognizer.info.source == path


# timm and torchvision

@pytest.mark.slow
def test_timm_suggests_the_model_that_was_meant():
    with pytest.raises(ValueError, match=r"\(resnte18\): timm has no such model\. Did you mean 'resnet18'\?$"):
        TimmRecognizer('resnte18', pretrained=False)


def test_timm_asks_for_weights():
    with pytest.raises(ValueError, match=r'\(resnet18\): no weights\. Set pretrained: true, or checkpoint: FILE'):
        TimmRecognizer('resnet18')


def test_timm_refuses_two_sources_of_weights():
    with pytest.raises(ValueError, match='both pretrained and checkpoint are set. Keep one'):
        TimmRecognizer('resnet18', pretrained=True, checkpoint='a.pth')


def test_model_kwargs_reach_timm():
    recognizer = TimmRecognizer('test_resnet', pretrained=False, input_size=32, model_kwargs={'num_classes': 7})
    assert recognizer.info.num_classes == 7 and recognizer.info.classes is None


def test_timm_and_torchvision_give_the_classes_of_imagenet_the_same_names():
    names = TimmRecognizer('test_resnet', pretrained=False).info.classes
    others = torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1.meta['categories']
    assert names[240] == others[240] == 'Appenzeller'
    assert len(names) == 1000 and sum(map(operator.eq, names, others)) > 950


def test_torchvision_suggests_the_model_that_was_meant():
    with pytest.raises(ValueError, match=r"no such classifier, detector or segmenter\. Did you mean 'mobilenet_v2'\?$"):
        TorchvisionRecognizer('mobilenet_v_2', weights='DEFAULT')


@pytest.mark.parametrize('sources', [{}, {'weights': 'DEFAULT', 'checkpoint': 'a.pth'}])
def test_torchvision_takes_exactly_one_source_of_weights(sources):
    with pytest.raises(ValueError, match=r'resnet18\): set one of weights \(e\.g\. DEFAULT\) and checkpoint: FILE'):
        TorchvisionRecognizer('resnet18', **sources)


def test_torchvision_lists_the_known_weights():
    with pytest.raises(ValueError, match="no weights 'V3'. Known: IMAGENET1K_V1"):
        TorchvisionRecognizer('resnet18', weights='V3')


def test_random_weights_of_torchvision_are_asked_for():
    recognizer = TorchvisionRecognizer('squeezenet1_1', pretrained=False, feature_layer='features', input_size=64)
    assert recognizer.info.source == 'random weights' and recognizer.published is None
    assert recognizer.info.num_classes == len(recognizer.info.classes) == 1000


def test_another_head_has_no_names_of_imagenet(tmp_path):
    path = save_weights(torchvision.models.squeezenet1_1(num_classes=7), tmp_path / 'net.pth')
    info = TorchvisionRecognizer('squeezenet1_1', checkpoint=path, model_kwargs={'num_classes': 7}, input_size=64).info
    assert info.num_classes == 7 and info.classes is None


@pytest.mark.slow
@pytest.mark.parametrize('name, size', [('googlenet', 64), ('inception_v3', 75)])
def test_how_a_checkpoint_takes_images_is_asked_for(name, size, tmp_path):
    kwargs = {'num_classes': 2, 'aux_logits': False, 'init_weights': False}
    net = torchvision.models.get_model(name, weights=None, **kwargs).eval()
    path = save_weights(net, tmp_path / 'net.pth')
    with pytest.raises(ValueError, match=rf'^TorchvisionRecognizer\({name}\): .*transform_input: true.*weights=None'):
        TorchvisionRecognizer(name, checkpoint=path, input_size=size, model_kwargs=kwargs)
    images = torch.rand(2, 3, size, size)
    for transform in (False, True):
        net.transform_input = transform
        recognizer = TorchvisionRecognizer(name, checkpoint=path, input_size=size,
                                           model_kwargs={**kwargs, 'transform_input': transform})
        expected = net((images - recognizer.mean) / recognizer.std)
        torch.testing.assert_close(recognizer.logits(images), expected)


@pytest.mark.slow
def test_torchvisions_own_weights_are_known_by_their_hash(tmp_path, monkeypatch):
    net = torchvision.models.googlenet(weights=None, init_weights=False)
    path = save_weights(net, tmp_path / 'copied.pth')
    own = torchvision.models.GoogLeNet_Weights.IMAGENET1K_V1
    digest = hashlib.sha256((tmp_path / 'copied.pth').read_bytes()).hexdigest()
    changed = dataclasses.replace(own.value, url=f'https://download.pytorch.org/models/googlenet-{digest[:8]}.pth')
    monkeypatch.setattr(own, '_value_', changed)
    recognizer = TorchvisionRecognizer('googlenet', checkpoint=path, input_size=64)
    assert recognizer.model.transform_input and recognizer.published == 'IMAGENET1K_V1'


class Touch:
    """Runs code where a pickle is loaded as more than tensors."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.slow
@pytest.mark.parametrize('name, weights, kwargs', [('squeezenet1_1', 'DEFAULT', {}), (
    'lraspp_mobilenet_v3_large', None, {'weights_backbone': 'IMAGENET1K_V1'})])
def test_published_weights_in_the_cache_are_read_as_tensors_of_the_right_hash(name, weights, kwargs, tmp_path,
                                                                              monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    cache, network = tmp_path / 'checkpoints', 'squeezenet1_1' if weights else 'mobilenet_v3_large'
    cache.mkdir()
    own = torchvision.models.get_model_weights(network).IMAGENET1K_V1

    def publish(content):
        torch.save(content, cache / 'net.pth')
        digest = hashlib.sha256((cache / 'net.pth').read_bytes()).hexdigest()
        file = (cache / 'net.pth').rename(cache / f'net-{digest[:8]}.pth')
        monkeypatch.setattr(own, '_value_', dataclasses.replace(own.value, url=f'https://x.invalid/{file.name}'))
        return file

    def build():
        return TorchvisionRecognizer(name, weights, model_kwargs=kwargs, pretrained=None if weights else False)

    expected = torchvision.models.get_model(network, weights=None).state_dict()
    file, library_s = publish(expected), torchvision.models.WeightsEnum.get_state_dict
    found = build().model.state_dict()
    key = 'features.0.weight' if weights else 'backbone.0.0.weight'
    assert torch.equal(found[key], expected[key.replace('backbone', 'features')])
    file.write_bytes(file.read_bytes() + b'0')
    with pytest.raises(OptionError, match=rf'^TorchvisionRecognizer\({name}\): .*{file.name}: expected a hash that st'):
        build()
    publish({**expected, 'more': Touch(tmp_path / 'ran')})
    with pytest.raises(ValueError, match=rf'^TorchvisionRecognizer\({name}\)') as error:
        build()
    assert not (tmp_path / 'ran').exists() and '\n' not in str(error.value)
    assert torchvision.models.WeightsEnum.get_state_dict is library_s


# Any module

def test_an_unknown_recognizer_gets_a_suggestion_and_the_list():
    message = ("train.recog_opt.recognizer.type: no recognizer 'TimRecognizer'. Did you mean 'TimmRecognizer'? "
               f"Registered: {', '.join(RECOGNIZER_REGISTRY)}")
    with pytest.raises(OptionError, match=f'^{re.escape(message)}$'):
        build_recognizer({'type': 'TimRecognizer'}, 'train.recog_opt.recognizer')


def test_an_unknown_option_gets_a_suggestion():
    with pytest.raises(OptionError, match=r"^val\.r: unknown key 'pretrain'\. Did you mean 'pretrained'\?"):
        build_recognizer({'type': 'TimmRecognizer', 'model_name': 'resnet18', 'pretrain': True}, 'val.r')


@pytest.mark.parametrize('path, message', [
    ('TinyResNet', r"expected 'package\.module\.Name', got 'TinyResNet'"),
    ('ra_plugin.recognizers.tiny_nets.TinyResnet', r"tiny_nets has no 'TinyResnet'\. Did you mean 'TinyResNet'\?"),
    ('ra_plugin.nowhere.Net', r"module: no module 'ra_plugin\.nowhere'\. Is its folder on PYTHONPATH\?"),
    ('nowhere_at_all.Net', r"ModuleRecognizer\(Net\): module: no module 'nowhere_at_all'\. Is its folder"),
])
def test_a_path_that_leads_nowhere_says_where_it_ends(path, message):
    with pytest.raises(ImportError, match=message):
        build_recognizer({**TINY, 'module': path})


def test_a_module_that_misses_something_itself_raises_its_own_error(tmp_path, monkeypatch):
    (tmp_path / 'half_there.py').write_text('import not_there_at_all')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="^No module named 'not_there_at_all'$"):
        build_recognizer({**TINY, 'module': 'half_there.Net'})


def test_what_is_no_module_is_refused():
    with pytest.raises(TypeError, match=r'ModuleRecognizer\(OrderedDict\): expected an nn\.Module, got OrderedDict'):
        build_recognizer({**TINY, 'module': 'collections.OrderedDict'})


@pytest.mark.parametrize('change', [{'mean': None}, {'std': None}, {'mean': [0.5]}, {'std': [0.2, 0.0, 0.2]}])
def test_an_unknown_normalization_is_not_guessed(change):
    with pytest.raises(ValueError, match='mean and std: expected three numbers each, std positive, got .* for none'):
        build_recognizer({**TINY, **change})


def test_class_names_have_to_be_as_many_as_the_classes():
    with pytest.raises(ValueError, match='2 class names for a network that has 10'):
        build_recognizer({**TINY, 'classes': ['cat', 'dog']})


def test_module_kwargs_reach_the_module():
    assert build_recognizer({**TINY, 'module_kwargs': {'num_classes': 3}}).info.num_classes == 3


def test_module_kwargs_for_a_module_that_is_built_already_are_refused(tiny_recognizer):
    with pytest.raises(ValueError, match='module_kwargs are for a dotted path; this module is built already'):
        tiny_recognizer(module_kwargs={'num_classes': 3})


def test_a_network_without_logits_is_refused():
    with pytest.raises(ValueError, match=r'Identity\): expected logits \(N, num_classes\) .* got \(1, 3, 64, 64\)'):
        ModuleRecognizer(nn.Identity(), mean=[0, 0, 0], std=[1, 1, 1])


# Optional packages

def test_missing_timm_is_answered_with_the_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)
    message = ('TimmRecognizer(resnet18) needs timm>=1.0, which is not installed. '
               'Install it with: pip install "timm>=1.0"')
    with pytest.raises(ImportError, match=f'^{re.escape(message)}$'):
        TimmRecognizer('resnet18', pretrained=False)


class NoSafetensors:
    """An import finder that knows of no safetensors."""

    def find_spec(self, name, path=None, target=None):
        if name == 'safetensors':
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)


def test_missing_safetensors_are_not_called_a_damaged_file(monkeypatch, tmp_path):
    (tmp_path / 'net.safetensors').write_bytes(b'x')
    for name in [name for name in sys.modules if name.partition('.')[0] == 'safetensors']:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, 'meta_path', [NoSafetensors(), *sys.meta_path])
    with pytest.raises(ImportError, match='needs safetensors, which is not installed.*pip install "safetensors"'):
        tiny_from(tmp_path / 'net.safetensors')


def test_a_package_that_is_there_and_broken_raises_its_own_error(tmp_path, monkeypatch):
    (tmp_path / 'lmdb.py').write_text('import not_there_at_all')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'lmdb', raising=False)
    with pytest.raises(ModuleNotFoundError, match="^No module named 'not_there_at_all'$"):
        require('lmdb', 'a test')


# Ensembles

@pytest.fixture
def trio(tiny_recognizer):
    return [tiny_recognizer(seed=seed) for seed in range(3)]


def count_calls(members):
    """A list that grows by a member's index whenever that member's network runs."""
    calls = []
    for i, member in enumerate(members):
        member.model.register_forward_hook(lambda *_, i=i: calls.append(i))
    return calls


LABEL = torch.tensor([1, 3])


def test_the_ensembles_loss_is_the_weighted_mean_of_its_members(trio, images):
    expected = (2 * trio[0].loss(images, LABEL)['cross_entropy'] + trio[1].loss(images, LABEL)['cross_entropy']
                + 5 * trio[2].loss(images, LABEL)['cross_entropy']) / 8
    ensemble = EnsembleRecognizer(trio, weights=[2, 1, 5])
    torch.testing.assert_close(sum(ensemble.loss(images, LABEL).values()), expected)
    torch.testing.assert_close(RecogLoss(ensemble)(images, LABEL), expected.mean())


def test_members_weigh_the_same_by_default(trio, images):
    expected = sum(RecogConsistencyLoss(member)(images, images.flip(0)) for member in trio) / 3
    torch.testing.assert_close(RecogConsistencyLoss(EnsembleRecognizer(trio))(images, images.flip(0)), expected)


@pytest.mark.parametrize('sample', [1, 2])
def test_a_sample_has_the_weights_of_the_ensemble_in_the_mean(sample, trio):
    ensemble, total, draws = EnsembleRecognizer(trio, weights=[2, 1, 5], sample=sample), {}, 4000
    for _ in range(draws):
        for weight, member in ensemble.draw():
            total[id(member)] = total.get(id(member), 0) + weight / draws
    assert [total[id(member)] for member in trio] == pytest.approx([2 / 8, 1 / 8, 5 / 8], rel=0.08)  # 3.6 sigma


@pytest.mark.slow
def test_a_sampled_loss_is_the_ensembles_in_the_mean(trio, images):
    whole, sampled = (RecogLoss(EnsembleRecognizer(trio, [2, 1, 5], sample)) for sample in (None, 1))
    mean = torch.stack([sampled(images, LABEL) for _ in range(600)]).mean()
    torch.testing.assert_close(mean, whole(images, LABEL), rtol=0.15, atol=0)


def test_a_sample_draws_without_replacement(trio):
    ensemble = EnsembleRecognizer(trio, sample=2)
    assert all(len({id(member) for _, member in ensemble.draw()}) == 2 for _ in range(20))


@pytest.mark.parametrize('sample', [1, 2, None])
def test_a_step_runs_the_drawn_members_alone(sample, trio, images):
    loss = RecogLoss(EnsembleRecognizer(trio, sample=sample))
    calls = count_calls(trio)
    loss(images, LABEL)
    assert len(calls) == len(set(calls)) == (sample or 3)


def test_consistency_asks_the_same_member_about_both_images(trio, images):
    loss = RecogConsistencyLoss(EnsembleRecognizer(trio, sample=1))
    calls, drawn = count_calls(trio), set()
    for _ in range(20):
        loss(images, images)
        assert len(calls) == 2 and calls[0] == calls[1]
        drawn.add(calls[0])
        calls.clear()
    assert drawn == {0, 1, 2}


def test_drawing_leaves_the_random_state_as_it_was(trio):
    ensemble, before = EnsembleRecognizer(trio, sample=1), torch.get_rng_state()
    ensemble.draw()
    assert torch.equal(torch.get_rng_state(), before)


def drawn(ensemble, n=30):
    return [id(member) for _ in range(n) for _, member in ensemble.draw()]


def test_the_same_seed_draws_the_same_members(trio):
    first = drawn(EnsembleRecognizer(trio, sample=1, seed=5))
    torch.manual_seed(99)
    assert drawn(EnsembleRecognizer(trio, sample=1, seed=5)) == first
    assert drawn(EnsembleRecognizer(trio, sample=1, seed=6)) != first


def test_judging_asks_all_members_whatever_the_sample(trio, images):
    ensemble = EnsembleRecognizer(trio, weights=[2, 1, 5], sample=1)
    expected = sum(w / 8 * member.logits(images).softmax(1) for w, member in zip([2, 1, 5], trio, strict=True))
    torch.testing.assert_close(ensemble.predict(images)['scores'], expected.sort(descending=True).values)


def test_an_ensemble_within_an_ensemble_counts_as_its_members(trio, images):
    inner = EnsembleRecognizer(trio[1:], weights=[1, 3])
    loss = RecogConsistencyLoss(EnsembleRecognizer([trio[0], inner]))
    flat = RecogConsistencyLoss(EnsembleRecognizer(trio, weights=[4, 1, 3]))
    torch.testing.assert_close(loss(images, images.flip(0)), flat(images, images.flip(0)))


def test_an_ensemble_within_an_ensemble_draws_its_sample(trio, images):
    loss = RecogLoss(EnsembleRecognizer([trio[0], EnsembleRecognizer(trio[1:], sample=1)]))
    calls = count_calls(trio)
    loss(images, LABEL)
    assert len(calls) == 2


@pytest.mark.parametrize('kwargs, message', [
    ({'weights': [1, 2]}, r'weights: expected 3 positive numbers, got \[1, 2\]'),
    ({'weights': [1, 2, 0]}, r'weights: expected 3 positive numbers, got \[1, 2, 0\]'),
    ({'sample': 0}, r'sample: expected 1\.\.3, got 0'),
    ({'sample': 4}, r'sample: expected 1\.\.3, got 4'),
])
def test_weights_and_sample_have_to_fit_the_members(kwargs, message, trio):
    with pytest.raises(ValueError, match=f'^EnsembleRecognizer: {message}'):
        EnsembleRecognizer(trio, **kwargs)


def test_ensembles_within_ensembles_vote_as_their_members(trio, images):
    nested = EnsembleRecognizer([EnsembleRecognizer(trio[:2], weights=[1, 3]), trio[2]], weights=[2, 1])
    expected = sum(w * member.logits(images).softmax(1) for w, member in zip((1 / 6, 1 / 2, 1 / 3), trio, strict=True))
    found = nested.predict(images)
    torch.testing.assert_close(found['scores'], expected.sort(descending=True).values)
    assert torch.equal(found['labels'], expected.argsort(descending=True)) and nested.members() == list(trio)


def named(*classes):
    return {**TINY, 'module_kwargs': {'num_classes': len(classes)}, 'classes': classes}


@pytest.mark.slow
@pytest.mark.parametrize('wrap', [lambda block: block, lambda block: {
    'type': 'EnsembleRecognizer', 'recognizers': [{**block, 'classes': None}, block]}], ids=['member', 'deep'])
@pytest.mark.parametrize('classes', [('bird', 'cat', 'dog'), ('cat', 'bird', 'ship')], ids=['order', 'content'])
def test_members_that_call_a_class_by_another_name_are_refused(classes, wrap):
    ours = named('cat', 'bird', 'dog')
    with pytest.raises(ValueError, match="class [02] is '.*' to ModuleRecognizer.* and '.*' to ModuleRecognizer"):
        EnsembleRecognizer([wrap(ours), wrap(named(*classes))])
    ensemble = EnsembleRecognizer([wrap({**ours, 'classes': None}), wrap(named('Cat', 'bird', ' dog'))])
    assert ensemble.info.classes == ('Cat', 'bird', ' dog')


@pytest.mark.parametrize('ours, theirs, difference', [
    (['crane', 'maillot, tank suit'], ['crane bird', 'maillot tank suit'], None),  # ImageNet in two libraries
    (['caf\u00e9'], ['cafe\u0301'], None), (['a b', 'c'], ['A_b', 'C'], None),
    (['0', '1'], ['1', '0'], 0), (['n01440764'], ['tench'], None),
    (['n01440764', 'n01443537'], ['n01443537', 'n01440764'], 0), (['cat', 'dog'], ['cat', 'ship'], 1)])
def test_names_of_classes_are_compared_as_people_would(ours, theirs, difference):
    assert first_difference(ours, theirs) == first_difference(theirs, ours) == difference


@pytest.mark.slow
def test_a_data_set_is_compared_with_every_member():
    data = SimpleNamespace(classes=('bird', 'cat', 'dog'), num_classes=3, opt={})
    ensemble = build_recognizer({'type': 'EnsembleRecognizer', 'recognizers': [
        {**named('cat', 'bird', 'dog'), 'classes': None}, named('cat', 'bird', 'dog')]})
    with pytest.raises(OptionError, match='in another order, so labels would be mixed up'):
        check_classes(data, [ensemble], 'datasets: x')


def test_an_empty_ensemble_is_refused():
    with pytest.raises(ValueError, match='recognizers is empty. List at least one'):
        EnsembleRecognizer([])


def test_members_with_other_classes_are_refused(tiny_recognizer):
    with pytest.raises(ValueError, match=r'TanhNet\) has 4 classes for classification, .* has 5 for .*must share them'):
        EnsembleRecognizer([tiny_recognizer(), tiny_recognizer(num_classes=5)])


def test_a_mistake_in_a_members_block_is_placed():
    opt = {'type': 'EnsembleRecognizer', 'recognizers': [TINY, {**TINY, 'inputsize': 32}]}
    with pytest.raises(OptionError, match=r"^val\.e\.recognizers\[1\]: unknown key 'inputsize'\. Did you mean"):
        RECOGNIZER_REGISTRY.check(opt, 'val.e')


def test_every_classifier_is_a_classification_recognizer(classifier):
    assert isinstance(classifier, ClassificationRecognizer)


class Tokens(nn.Module):
    """Batch norm, then layer norm over transposed tokens: the gradient that comes back has a layout of its own."""

    def __init__(self):
        super().__init__()
        self.norm, self.tokens, self.head = nn.BatchNorm2d(3), nn.LayerNorm(3), nn.Linear(3, 4)

    def forward(self, images):
        return self.head(self.tokens(self.norm(images).flatten(2).transpose(1, 2)).square().mean(1))


@pytest.mark.parametrize('count', [1, 2])
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_gradient_of_a_single_image_is_that_of_finite_differences(count, layout):
    torch.manual_seed(0)
    network = Tokens().double()
    network.norm.running_var.uniform_(0.5, 2)
    recognizer = ClassificationRecognizer(network, RecognizerInfo('tokens', 'classification'))
    images = torch.rand(count, 3, 5, 7, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    label = torch.arange(count)
    direction, step = torch.randn_like(images), 1e-5
    gradient, = torch.autograd.grad(recognizer.loss(images, label)['cross_entropy'].sum(), images)
    with torch.no_grad():
        after, before = (recognizer.loss(images + sign * step * direction, label)['cross_entropy'].sum()
                         for sign in (1, -1))
    assert (gradient * direction).sum().item() == pytest.approx((after - before).item() / (2 * step), rel=1e-6)
