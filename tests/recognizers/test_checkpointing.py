"""gradient_checkpointing: the same gradient bit for bit, with less kept for the backward pass."""
from typing import get_args

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

import ra_plugin.basicsr  # noqa: F401  (registers)
from ra_plugin import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss
from ra_plugin.builders.own_keys import LossBlock
from ra_plugin.options import OptionError
from ra_plugin.recognizers import EnsembleRecognizer, ModuleRecognizer, build_recognizer
from ra_plugin.recognizers.frozen.checkpointing import checkpoint_blocks
from ra_plugin.recognizers.trainable import frozen

LABEL = torch.tensor([1, 3])


def kept_and_gradient(loss, target):
    """Bytes that the graph keeps besides weights, and the gradient at the images."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand((2, 3, 64, 64), generator=generator).requires_grad_()
    weights = {tensor.untyped_storage().data_ptr() for network in loss.recognizer.networks()
               for tensor in (*network.parameters(), *network.buffers())}
    kept = {}

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        value = loss(images, target)
    return sum(kept.values()), torch.autograd.grad(value, images)[0]


@pytest.mark.slow
@pytest.mark.parametrize('name, share', [
    ('resnet50', 0.5), ('vgg11_bn', 0.2), ('densenet121', 0.3), ('mobilenetv2_100', 0.2), ('inception_v3', 0.7),
    ('regnetx_002', 0.6), ('convnext_atto', 0.3), ('deit_tiny_patch16_224', 0.2)])
def test_a_classifier_has_the_same_gradient_and_keeps_less(name, share):
    kwargs = {'deit_tiny_patch16_224': {'img_size': 64}, 'vgg11_bn': {'mlp_ratio': 0.01}}.get(name, {})
    size = 75 if name == 'inception_v3' else 64
    block = {'type': 'TimmRecognizer', 'model_name': name, 'pretrained': False, 'input_size': size,
             'model_kwargs': {'num_classes': 10, **kwargs}}
    torch.manual_seed(0)
    recognizer = build_recognizer(block)
    kept, gradient = kept_and_gradient(RecogLoss(recognizer), LABEL)
    less, same = kept_and_gradient(RecogLoss(recognizer, gradient_checkpointing=True), LABEL)
    assert recognizer.checkpointed and torch.equal(same, gradient)
    assert less <= share * kept


@pytest.mark.slow
@pytest.mark.parametrize('cls', [RecogConsistencyLoss, RecogFeatureLoss])
def test_the_losses_against_clean_images_have_it(cls):
    block = {'type': 'TimmRecognizer', 'model_name': 'resnet50', 'pretrained': False, 'input_size': 64}
    recognizer, clean = build_recognizer(block), torch.rand((2, 3, 64, 64))
    kept, gradient = kept_and_gradient(cls(recognizer), clean)
    less, same = kept_and_gradient(cls(recognizer, gradient_checkpointing=True), clean)
    assert torch.equal(same, gradient) and less < 0.6 * kept


BOXES = [{'boxes': torch.tensor([[5., 5., 40., 50.]]), 'labels': torch.tensor([1])}] * 2
MASKS = torch.randint(2, (2, 64, 64), generator=torch.Generator().manual_seed(0))


@pytest.mark.slow
@pytest.mark.parametrize('kind, config, label', [
    ('MMDetRecognizer', 'faster-rcnn_r50_fpn_1x_coco', BOXES), ('MMDetRecognizer', 'retinanet_r18_fpn_1x_coco', BOXES),
    ('MMSegRecognizer', 'fcn_r18-d8_4xb2-80k_cityscapes-512x1024', MASKS),
    # heads that ask whether they are trained, that draw, and that count
    ('MMSegRecognizer', 'ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024', MASKS),
    ('MMSegRecognizer', 'segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512', MASKS),
    ('MMSegRecognizer', 'emanet_r50-d8_4xb2-80k_cityscapes-512x1024', MASKS)])
def test_a_detector_and_a_segmenter_have_it(kind, config, label):
    recognizer = build_recognizer({'type': kind, 'config': config, 'pretrained': False, 'resize': None})
    before = [buffer.clone() for buffer in recognizer.buffers()]
    kept, gradient = kept_and_gradient(RecogLoss(recognizer), label)
    random_state = torch.get_rng_state()
    less, same = kept_and_gradient(RecogLoss(recognizer, gradient_checkpointing=True), label)
    assert torch.equal(same, gradient) and less < kept
    assert torch.equal(random_state, torch.get_rng_state())
    assert all(map(torch.equal, before, recognizer.buffers()))


@pytest.mark.slow
def test_a_detector_is_asked_about_a_small_image(monkeypatch):
    recognizer = build_recognizer({'type': 'MMDetRecognizer', 'config': 'retinanet_r18_fpn_1x_coco',
                                   'pretrained': False})
    sizes, backbone = [], recognizer.model.backbone
    backbone.register_forward_pre_hook(lambda module, args: sizes.append(tuple(args[0].shape[-2:])))
    RecogLoss(recognizer, gradient_checkpointing=True)
    assert set(sizes) == {(64, 64)}


@pytest.mark.slow
def test_a_detector_without_answers_to_compare_has_it():
    recognizer = build_recognizer({'type': 'MMDetRecognizer', 'config': 'solo_r50_fpn_1x_coco', 'pretrained': False,
                                   'resize': None})
    RecogLoss(recognizer, gradient_checkpointing=True)
    assert recognizer.checkpointed


@pytest.mark.slow
def test_a_recognizer_of_two_losses_and_the_members_of_an_ensemble_are_wrapped_once():
    block = {'type': 'TimmRecognizer', 'model_name': 'resnet18', 'pretrained': False, 'input_size': 64}
    member = build_recognizer(block)
    for recognizer in (member, member, EnsembleRecognizer([member])):
        RecogLoss(recognizer, gradient_checkpointing=True)
    wrapped = {name for name, module in member.model.named_modules() if 'forward' in vars(module)}
    assert wrapped == {f'layer{i}' for i in range(1, 5)} and member.checkpointed == 4


def test_blocks_are_the_smallest_with_two_layers_and_are_not_within_each_other():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 3, 1), nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())

    body = nn.Sequential(Block(), nn.Sequential(Block(), Block()), nn.Conv2d(3, 3, 1))
    model = nn.ModuleDict({'body': body, 'head': nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))})
    blocks = checkpoint_blocks(model)
    wrapped = {name for name, module in model.named_modules() if 'forward' in vars(module)}
    assert wrapped == {'body.0', 'body.1', 'head'} and len(blocks) == 3


class ChangesItsInput(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(Shift(), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 4, 3))
        self.first = nn.Conv2d(3, 8, 3)

    def forward(self, x):
        return self.block(self.first(x)).mean((2, 3))


class Shift(nn.Module):
    def forward(self, x):
        return x.mul_(x.detach() + 2)


def test_a_network_whose_gradient_changes_is_refused():
    recognizer = ModuleRecognizer(ChangesItsInput(), mean=[0, 0, 0], std=[1, 1, 1])
    for _ in range(2):  # it is left as it was
        with pytest.raises(ValueError, match='gradient_checkpointing: its gradient changes'):
            RecogLoss(recognizer, gradient_checkpointing=True)
    kept_and_gradient(RecogLoss(recognizer), LABEL)


@pytest.mark.slow
def test_one_that_learns_is_refused():
    block = {'type': 'TimmRecognizer', 'model_name': 'resnet18', 'pretrained': False, 'trainable': True}
    with pytest.raises(ValueError, match='for frozen recognizers'):
        RecogLoss(block, gradient_checkpointing=True)
    recognizer = build_recognizer(frozen(block), fold_batch_norm=False)
    recognizer.set_grad_checkpointing()
    with pytest.raises(ValueError, match='so it cannot learn'):
        recognizer.unfreeze()
    with pytest.raises(OptionError, match=r'train.recog_opt.recognizer.trainable: gradient_checkpointing is for'):
        get_args(LossBlock)[1].check(
            {'type': 'RecogLoss', 'recognizer': block, 'gradient_checkpointing': True}, 'train.recog_opt')
