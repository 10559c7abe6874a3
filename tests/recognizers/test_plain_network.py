"""Networks that are given as they are: a classifier with mean and std becomes a loss, all else one short line."""
import logging
import re

import pytest
import torch
import torchvision
from torch import nn

from ra_plugin import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss, build_recognizer
from ra_plugin.options import OptionError
from ra_plugin.recognizers import EnsembleRecognizer, ModuleRecognizer, Recognizer, RecognizerInfo
from ra_plugin.registry import RECOGNIZER_REGISTRY
from ra_plugin.utils.text import shown

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
LOSSES = [RecogLoss, RecogConsistencyLoss, RecogFeatureLoss]


@pytest.fixture(scope='module')
def network():
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=5).eval()


@pytest.mark.slow
@pytest.mark.parametrize('cls', LOSSES)
def test_a_classifier_with_mean_and_std_is_a_loss(cls, network):
    images, clean = torch.rand(2, 2, 3, 32, 32)
    target = torch.tensor([1, 4]) if cls is RecogLoss else clean
    value = cls(network, mean=MEAN, std=STD)(images, target)
    block = {'type': 'ModuleRecognizer', 'module': network, 'mean': MEAN, 'std': STD}
    torch.testing.assert_close(value, cls(block)(images, target), rtol=0, atol=0)
    if cls is RecogLoss:
        normalized = (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
        expected = nn.functional.cross_entropy(network(normalized), target)
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('cls', LOSSES)
@pytest.mark.parametrize('given', [{}, {'mean': MEAN}, {'std': STD}], ids=['neither', 'mean', 'std'])
def test_mean_and_std_are_asked_for_in_one_line(cls, given, network):
    message = rf'^{cls.__name__}\.recognizer: mean and std of ResNet are not known\. '
    with pytest.raises(OptionError, match=message) as error:
        cls(network, **given)
    assert len(str(error.value)) < 400


@pytest.mark.slow
@pytest.mark.parametrize('make, kind', [
    (lambda: torchvision.models.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None),
     'TorchvisionRecognizer, model_name'),
    (lambda: torchvision.models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None),
     'TorchvisionRecognizer, model_name'),
    (lambda: of_library('mmdet.models.detectors.base'), 'MMDetRecognizer, config'),
    (lambda: of_library('mmseg.models.segmentors.base'), 'MMSegRecognizer, config'),
    (lambda: of_library('ultralytics.nn.tasks'), 'UltralyticsRecognizer, model'),
    (lambda: of_library('transformers.models.detr.modeling_detr'), 'TransformersRecognizer, model'),
], ids=['detector', 'segmenter', 'mmdet', 'mmseg', 'ultralytics', 'transformers'])
def test_networks_of_other_tasks_are_sent_to_their_recognizer(make, kind):
    message = rf'^RecogLoss\.recognizer: expected a classifier, got .* Give {{type: {kind}: '
    with pytest.raises(OptionError, match=message) as error:
        RecogLoss(make(), mean=MEAN, std=STD)
    assert len(str(error.value)) < 300


def of_library(module):
    """A network whose base class is defined in a module of a library."""
    return type('Model', (type('Base', (nn.Module,), {'__module__': module}),), {})()


@pytest.mark.slow
def test_a_network_of_another_task_is_a_loss_once_its_task_is_given():
    network = torchvision.models.segmentation.lraspp_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=3).eval()
    images, label = torch.rand(2, 3, 32, 48), torch.randint(3, (2, 32, 48))
    value = RecogLoss(network, mean=MEAN, std=STD, task='segmentation', output='out')(images, label)
    normalized = (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(value, nn.functional.cross_entropy(network(normalized)['out'], label),
                               rtol=1e-4, atol=1e-5)
    for cls in (RecogConsistencyLoss, RecogFeatureLoss):
        assert cls(network, mean=MEAN, std=STD, task='segmentation', output='out')(images, images.flip(3)) > 0
    recognizer = build_recognizer(network, mean=MEAN, std=STD, task='segmentation', output='out')
    assert recognizer.info.task == 'segmentation'


def test_task_and_output_of_a_block_are_set_there(network):
    block = {'type': 'ModuleRecognizer', 'module': network, 'mean': MEAN, 'std': STD}
    with pytest.raises(OptionError, match=r'^RecogLoss\.recognizer: mean, std, task and output go with a network'):
        RecogLoss(block, task='classification')


class Boxes(nn.Module):
    def forward(self, images):
        return [{'boxes': images.new_zeros(1, 4)} for _ in images]


class NotImplemented_(nn.Module):
    def forward(self, images):
        raise NotImplementedError


class TwoArguments(nn.Module):
    def forward(self, images, depth):
        return images.mean((2, 3))


@pytest.mark.parametrize('network, message', [
    (Boxes(), r'expected logits \(N, num_classes\) from the network, got list\. Is it a classifier\? .*MMDetRecogn'),
    (nn.Conv2d(3, 4, 1), r'expected logits \(N, num_classes\) from the network, got \(1, 4, 64, 64\)'),
    (NotImplemented_(), r'cannot take a 64x64 image \(NotImplementedError\)'),
    (TwoArguments(), r"cannot take a 64x64 image \(.*missing 1 required positional argument: 'depth'"),
    (nn.Module(), r'cannot take a 64x64 image \(Module \[Module\] is missing the required "forward" function'),
], ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else '')
def test_what_gives_no_logits_is_refused_in_one_line(network, message):
    with pytest.raises(ValueError, match=message) as error:
        RecogLoss(network, mean=MEAN, std=STD)
    assert len(str(error.value)) < 400 and '\n' not in str(error.value)


def test_an_ensemble_asks_for_the_block_of_a_network(network):
    for place, build in (('EnsembleRecognizer', lambda: EnsembleRecognizer([network])),
                         ('RecogLoss.recognizer',
                          lambda: RecogLoss({'type': 'EnsembleRecognizer', 'recognizers': [network]}))):
        with pytest.raises(OptionError, match=rf'^{place}\.recognizers\[0\]: mean and std of ResNet are not'):
            build()


@pytest.mark.slow
def test_mean_and_std_of_a_block_are_set_there(network):
    block = {'type': 'ModuleRecognizer', 'module': network, 'mean': MEAN, 'std': STD}
    for recognizer in (block, build_recognizer(block)):
        with pytest.raises(OptionError, match=r'^RecogLoss\.recognizer: mean and std go with a network of your own'):
            RecogLoss(recognizer, mean=MEAN, std=STD)


@pytest.mark.parametrize('opt', [
    lambda net: {'type': net}, lambda net: {'type': 'ModuleRecognizer', 'module': [net], 'mean': MEAN, 'std': STD},
    lambda net: {'type': 'ModuleRecognizer', 'module': net, 'mean': net, 'std': STD},
    lambda net: {'type': 'EnsembleRecognizer', 'recognizers': net}, lambda net: [net], lambda net: {'x': net}])
def test_no_message_has_the_whole_network(opt, network):
    with pytest.raises((OptionError, ValueError)) as error:
        build_recognizer(opt(network))
    assert len(str(error.value)) < 600


def test_a_value_is_shown_in_a_short_line(network):
    assert shown({'a': [1, 'b', None], 'c': (0.5,)}) == "{'a': [1, 'b', None], 'c': (0.5,)}"
    assert shown(network) == '<ResNet>' and shown([{'module': network}]) == "[{'module': <ResNet>}]"
    assert len(shown('x' * 10000)) < 400 and len(shown(torch.rand(100, 100))) < 100


def test_a_recognizer_without_a_task_says_what_it_lacks():
    recognizer = Recognizer(nn.Identity(), RecognizerInfo('nothing', 'classification'))
    images = torch.rand(1, 3, 4, 4)
    for name, more in {'loss': (None,), 'outputs': (), 'features': (), 'predict': ()}.items():
        with pytest.raises(NotImplementedError, match=rf'Recognizer\(nothing\): Recognizer has no {name}\(\)\. Use'):
            getattr(recognizer, name)(images, *more)


# Whose weights they are

BLOCK = {'type': 'ModuleRecognizer', 'module': 'ra_plugin.recognizers.tiny_nets.TinyVGG', 'input_size': 32,
         'mean': MEAN, 'std': STD}


def test_random_weights_that_nobody_asked_for_are_warned_of(monkeypatch):
    monkeypatch.setattr(logging.getLogger('basicsr'), 'handlers', [])  # no run has a log
    with pytest.warns(UserWarning, match=r'^ModuleRecognizer\(TinyVGG\): no checkpoint, so random weights unless .*'
                                         r'checkpoint: FILE.*pretrained: true.*false') as warned:
        recognizer = build_recognizer(BLOCK)
    assert len(warned) == 1 and '\n' not in str(warned[0].message)
    assert recognizer.info.num_classes == 10


@pytest.mark.parametrize('pretrained, source', [(False, 'random weights'), (True, BLOCK['module'])])
def test_a_choice_is_silent_and_on_record(pretrained, source, recwarn):
    assert build_recognizer({**BLOCK, 'pretrained': pretrained}).info.source == source
    assert not recwarn


def test_a_network_or_a_checkpoint_is_a_choice(network, tmp_path, recwarn):
    ModuleRecognizer(network, mean=MEAN, std=STD)
    torch.save(build_recognizer({**BLOCK, 'pretrained': False}, fold_batch_norm=False).model.state_dict(),
               tmp_path / 'net.pth')
    build_recognizer({**BLOCK, 'checkpoint': str(tmp_path / 'net.pth')})
    assert not recwarn


def test_two_choices_are_refused(tmp_path):
    with pytest.raises(ValueError, match='both pretrained and checkpoint are set. Keep one'):
        build_recognizer({**BLOCK, 'pretrained': True, 'checkpoint': 'net.pth'})


def test_the_keys_pass_the_check_of_options():
    RECOGNIZER_REGISTRY.check({**BLOCK, 'pretrained': False}, 'r')
    with pytest.raises(OptionError, match=re.escape("r.pretrained: expected true or false or nothing (~), got 'no'")):
        RECOGNIZER_REGISTRY.check({**BLOCK, 'pretrained': 'no'}, 'r')


@pytest.mark.parametrize('mean, std', [([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]), ([0, 0, 0], [255] * 3)])
def test_mean_and_std_of_the_255_scale_are_refused(mean, std, network):
    with pytest.raises(ValueError, match=r'mean and std: expected them on the \[0, 1\] scale, got .* by 255'):
        RecogLoss(network, mean=mean, std=std)


@pytest.mark.slow
def test_a_torchscript_program_is_one_line(network):
    program = torch.jit.trace(network, torch.rand(1, 3, 32, 32))
    with pytest.raises(ValueError, match='got a TorchScript program. Build the network'):
        RecogLoss(program, mean=MEAN, std=STD)
