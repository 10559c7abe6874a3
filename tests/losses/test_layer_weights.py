"""layer_weights of RecogFeatureLoss: several layers from one pass, each against hooks written out here."""
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from test_recognizers import onnx_file
from tiny_recognizers import TinyDetector, TinySegmenter
from torch import nn

from ra_plugin import RecogFeatureLoss, build_recognizer
from ra_plugin.options import OptionError, check_arguments
from ra_plugin.recognizers import ModuleRecognizer

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
SCALE = {'mean': MEAN, 'std': STD}
VIT = {'type': 'TimmRecognizer', 'model_name': 'test_vit', 'pretrained': False, 'input_size': 160}
DISTANCES = {
    'l1': lambda a, b: (a - b).abs().flatten(1).mean(1), 'l2': lambda a, b: (a - b).square().flatten(1).mean(1),
    'cosine': lambda a, b: 1 - (a * b).flatten(1).sum(1) / a.flatten(1).norm(dim=1) / b.flatten(1).norm(dim=1)}


@pytest.fixture
def pair():
    clean = F.interpolate(torch.rand(2, 3, 8, 8), (32, 32), mode='bicubic').clamp(0, 1)
    return (clean + 0.05 * torch.randn(clean.shape)).requires_grad_(), clean


def normalized(images):
    return (images - images.new_tensor(MEAN).view(3, 1, 1)) / images.new_tensor(STD).view(3, 1, 1)


def resnet(**options):
    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=5).eval()
    for module in network.modules():  # statistics as no network begins with
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(), module.running_var.uniform_(0.5, 1.5)
    return network if not options else ModuleRecognizer(network, **SCALE, **options)


def outputs_by_hand(network, names, images):
    """The outputs of layers, computed with float64 weights."""
    seen = {}
    hooks = [network.get_submodule(name).register_forward_hook(
        lambda _, args, output, name=name: seen.__setitem__(name, output.clone())) for name in names]
    network(images)
    for hook in hooks:
        hook.remove()
    return seen


# --------------------------------------------------------------------------------------------------------- the value
@pytest.mark.slow
@pytest.mark.parametrize('distance', DISTANCES)
def test_it_is_the_weighted_sum_over_the_layers(distance, pair):
    """A map before an in-place activation, a map, and the logits; and tokens of a transformer."""
    network = resnet().double()
    weights = {'bn1': 0.5, 'layer3.1': 2.0, 'fc': 0.25}
    loss = RecogFeatureLoss(resnet(), **SCALE, distance=distance, layer_weights=weights, reduction='none')
    ours, theirs = (outputs_by_hand(network, weights, normalized(images.double())) for images in pair)
    expected = sum(weight * DISTANCES[distance](ours[name], theirs[name]) for name, weight in weights.items())
    torch.testing.assert_close(loss(*pair).double(), expected, rtol=1e-4, atol=1e-6)
    gradients = [torch.autograd.grad(value.sum(), pair[0])[0] for value in (loss(*pair), expected)]
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_tokens_are_compared_as_they_are(pair):
    recognizer = build_recognizer(VIT)
    weights = {'blocks.0': 0.5, 'blocks.1': 1.0}
    loss = RecogFeatureLoss(recognizer, layer_weights=weights, reduction='none')
    ours, theirs = (outputs_by_hand(recognizer.model, weights, recognizer.prepare(images)) for images in pair)
    assert ours['blocks.0'].dim() == 3  # (N, L, C)
    expected = sum(weight * (ours[name] - theirs[name]).square().mean((1, 2)) for name, weight in weights.items())
    torch.testing.assert_close(loss(*pair), expected)
    listed = RecogFeatureLoss(recognizer, layer_weights=list(weights), reduction='none')
    even = RecogFeatureLoss(recognizer, layer_weights=dict.fromkeys(weights, 1.0), reduction='none')
    assert torch.equal(listed(*pair), even(*pair)) and not torch.equal(listed(*pair), loss(*pair))


def test_by_default_it_compares_the_recognizers_own_features(pair):
    recognizer = build_recognizer(VIT)
    expected = (recognizer.features(pair[0]) - recognizer.features(pair[1])).square().mean()
    torch.testing.assert_close(RecogFeatureLoss(recognizer)(*pair), expected)


@pytest.mark.slow
def test_all_layers_come_from_one_pass(pair):
    loss, calls = RecogFeatureLoss(resnet(), **SCALE, layer_weights=['layer1', 'layer2', 'layer4']), []
    hook = loss.recognizer.model.conv1.register_forward_hook(lambda *_: calls.append(1))
    loss(*pair)
    hook.remove()
    assert len(calls) == 2  # one for each image
    assert not any(module._forward_hooks for name, module in loss.recognizer.model.named_modules()
                   if name in ('layer1', 'layer2', 'layer4'))


def test_a_network_without_a_head_has_layers(pair):
    block = {**VIT, 'model_kwargs': {'num_classes': 0}}
    assert RecogFeatureLoss(block, layer_weights=['blocks.1'])(*pair) > 0


@pytest.mark.parametrize('cls', [TinyDetector, TinySegmenter])
def test_networks_of_other_tasks_have_layers(cls, pair):
    recognizer = cls()
    ours, theirs = (recognizer.model[0](recognizer.prepare(images)) for images in pair)
    torch.testing.assert_close(RecogFeatureLoss(recognizer, layer_weights=['0'])(*pair),
                               (ours - theirs).square().mean())


@pytest.mark.slow
def test_an_onnx_file_of_one_image_at_a_time_has_them(tmp_path, pair):
    recognizer = build_recognizer({'type': 'OnnxRecognizer', 'file': onnx_file('TinyVGG', tmp_path), **SCALE})
    name = [name for name, _ in recognizer.model.named_modules() if name.startswith('Relu')][-1]
    loss = RecogFeatureLoss(recognizer, layer_weights=[name], reduction='none')
    together = loss(*pair)
    recognizer.batch = 1
    torch.testing.assert_close(loss(*pair), together)


# ------------------------------------------------------------------------------ what is done to a network beforehand
@pytest.mark.slow
def test_a_convolution_that_is_compared_keeps_its_batch_norm_outside(pair):
    block = {'type': 'ModuleRecognizer', 'module': resnet(), **SCALE}
    loss = RecogFeatureLoss(block, layer_weights={'layer2.0.conv1': 1.0, 'layer3.0.bn1': 1.0})
    network = resnet()
    ours, theirs = (outputs_by_hand(network, loss.layer_weights, normalized(images)) for images in pair)
    torch.testing.assert_close(loss(*pair), sum((ours[name] - theirs[name]).square().mean() for name in ours),
                               rtol=1e-4, atol=1e-6)
    assert isinstance(loss.recognizer.model.layer2[0].bn1, nn.BatchNorm2d)
    assert loss.recognizer.folded_norms == 19  # of 20
    folded = build_recognizer(block)
    with pytest.raises(ValueError, match=r"^RecogFeatureLoss: layer_weights: .*layer 'conv1': the batch norm after it"):
        RecogFeatureLoss(folded, layer_weights=['conv1'])
    assert RecogFeatureLoss(folded, layer_weights=['bn1'])(*pair) > 0  # an identity now


@pytest.mark.slow
def test_checkpointing_compiling_and_caching_change_nothing(pair):
    weights = {'layer1.0.conv2': 1.0, 'layer2': 0.5, 'layer3.1.bn1': 2.0}
    plain = RecogFeatureLoss(resnet(), **SCALE, layer_weights=weights)
    expected = plain(*pair), *torch.autograd.grad(plain(*pair), pair[0])
    for options in ({'gradient_checkpointing': True}, {'cache_reference': True}, {}):
        loss = RecogFeatureLoss(resnet(), **SCALE, layer_weights=weights, **options)
        if not options:
            loss.recognizer.compile_network()
        assert bool(loss.recognizer.checkpointed) == ('gradient_checkpointing' in options)
        for _ in range(2):
            found = loss(*pair), *torch.autograd.grad(loss(*pair), pair[0])
            torch.testing.assert_close(found, expected)


@pytest.mark.slow
def test_layers_in_bfloat16_are_compared_in_float32(pair):
    loss = RecogFeatureLoss(resnet(), **SCALE, layer_weights=['layer1'], reduction='none')
    expected = loss(*pair)
    loss.recognizer.autocast_to = torch.bfloat16
    value = loss(*pair)
    assert value.dtype == torch.float32 and not torch.equal(value, expected)
    torch.testing.assert_close(value, expected, rtol=0.1, atol=0)


# ---------------------------------------------------------------------------------------------------------- refusals
class Odd(nn.Module):
    """Layers that no loss can compare."""

    def __init__(self):
        super().__init__()
        self.spare, self.attention, self.box = nn.Identity(), nn.MultiheadAttention(4, 1), Box()
        self.stem, self.head = nn.Conv2d(3, 4, 8, 8), nn.Linear(4, 5)

    def forward(self, x):
        tokens = self.stem(x).flatten(2).permute(2, 0, 1)  # (L, N, C)
        return self.head(self.box(self.attention(tokens, tokens, tokens)[0])['x'].mean(0))


class Box(nn.Module):
    def forward(self, x):
        return {'x': x}


@pytest.mark.parametrize('layers, message', [
    (['haed'], "RecogFeatureLoss: layer_weights: .*no layer 'haed'. Did you mean 'head'"),
    ([''], "no layer ''"), (['spare'], "layer 'spare': expected a tensor, got nothing: the network did not call it"),
    (['box'], "layer 'box': expected a tensor, got dict"),
    (['attention'], r"layer 'attention': expected an output with the batch first, \(1, \.\.\.\), got \(64, 1, 4\)"),
    ([], r'expected names of layers, each once, got \[\]'), (['head', 'head'], 'each once'),
    ({'head': 0}, 'layer_weights: head: expected a number > 0, got 0'),
    ({'head': -1.0}, 'head: expected a number > 0, got -1.0'),
], ids=str)
def test_layers_that_cannot_be_compared_are_named_in_one_line(layers, message):
    with pytest.raises(ValueError, match=message) as error:
        RecogFeatureLoss(Odd(), **SCALE, layer_weights=layers)
    assert '\n' not in str(error.value)


def test_layers_of_an_ensemble_are_refused():
    block = {'type': 'ModuleRecognizer', 'module': Odd(), **SCALE}
    with pytest.raises(ValueError, match='layers are of one network, and Ensemble.* has several. Use a loss for each'):
        RecogFeatureLoss({'type': 'EnsembleRecognizer', 'recognizers': [block, block]}, layer_weights=['head'])


def test_weights_in_an_option_file_are_checked():
    good = {'recognizer': VIT, 'layer_weights': {'blocks.1': 1}}
    check_arguments(RecogFeatureLoss, good, 'l')
    check_arguments(RecogFeatureLoss, {**good, 'layer_weights': ['blocks.1']}, 'l')
    with pytest.raises(OptionError, match=r'l\.layer_weights\.blocks\.1: expected a number > 0, got 0'):
        check_arguments(RecogFeatureLoss, {**good, 'layer_weights': {'blocks.1': 0}}, 'l')
    assert timm.create_model('test_vit').get_submodule('blocks.1')
