"""The features that are compared by default are what the classifying layer is given, whatever the order of the code."""
import pytest
import torch
from torch import nn

from ra_plugin import RecogFeatureLoss
from ra_plugin.recognizers import ModuleRecognizer
from ra_plugin.recognizers.feature_layers import classifying_layer


class HeadFirst(nn.Module):
    """The head is defined before a squeeze-and-excitation gate, and called after it."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(8, 4)
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.squeeze, self.excite = nn.Linear(8, 2), nn.Linear(2, 8)

    def body(self, x):
        x = self.norm(self.conv(x)).relu()
        gate = self.excite(self.squeeze(x.mean((2, 3))).relu()).sigmoid()
        return (x * gate[:, :, None, None]).mean((2, 3))

    def forward(self, x):
        return self.head(self.body(x))


class ConvHead(HeadFirst):
    """A convolution classifies."""

    def __init__(self):
        super().__init__()
        self.classes = nn.Conv2d(8, 4, 1)
        del self.head

    def forward(self, x):
        return self.classes(self.body(x)[:, :, None, None]).flatten(1)


class GateLast(HeadFirst):
    """Something small is computed after the classes."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Linear(4, 1)

    def forward(self, x):
        logits = self.head(self.body(x))
        return logits * self.scale(logits).sigmoid()


NETS = [HeadFirst, ConvHead, GateLast]


def recognizer_of(net, **kwargs):
    return ModuleRecognizer(net.eval(), mean=[0] * 3, std=[1] * 3, **kwargs)


@pytest.mark.parametrize('fold', [False, True])
@pytest.mark.parametrize('cls', NETS)
def test_features_are_what_the_classifying_layer_is_given(cls, fold):
    net, images = cls(), torch.rand(2, 3, 9, 9)
    recognizer = recognizer_of(net)
    if fold:
        recognizer.fold_batch_norm()
        assert recognizer.folded_norms
    torch.testing.assert_close(recognizer.features(images).flatten(1), net.eval().body(images))


@pytest.mark.slow
@pytest.mark.parametrize('wrap', [lambda model: torch.compile(model, backend='eager'),
                                  lambda model: model.compile(backend='eager') or model], ids=['wrapped', 'in place'])
def test_features_of_a_compiled_network_are_the_same(wrap):
    recognizer, images = recognizer_of(HeadFirst()), torch.rand(2, 3, 9, 9)
    expected = recognizer.features(images)
    recognizer.model = wrap(recognizer.model)
    recognizer.logits(images)  # compiled by now
    torch.testing.assert_close(recognizer.features(images), expected)
    torch.compiler.reset()


def test_looking_for_the_layer_changes_nothing():
    net = HeadFirst().train()
    net(torch.rand(4, 3, 9, 9))
    net.eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with torch.no_grad():
        assert classifying_layer(net, lambda: net(torch.rand(1, 3, 9, 9)), 4) == 'head'
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)
    assert not any(module._forward_hooks for module in net.modules())


def test_the_feature_loss_compares_them():
    net = HeadFirst()
    output, clean = torch.rand(2, 2, 3, 9, 9)
    loss = RecogFeatureLoss(net, mean=[0] * 3, std=[1] * 3)
    expected = (net.eval().body(output) - net.body(clean)).square().mean()
    torch.testing.assert_close(loss(output, clean), expected)


def test_a_layer_of_your_own_choice_comes_first():
    net, images = HeadFirst(), torch.rand(2, 3, 9, 9)
    features = recognizer_of(net, feature_layer='squeeze').features(images)
    assert features.shape == (2, 2)


class InPlace(nn.Module):
    """What follows changes the output of a layer in place, and a layer is given its input by name."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.head = nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(input=self.relu(self.conv(x)).mean((2, 3)))


def test_features_are_the_output_of_the_layer_itself(images):
    net = InPlace().double()
    found = recognizer_of(net, feature_layer='conv').features(images)
    assert found.min() < 0
    torch.testing.assert_close(found, net.conv(images))


def test_an_input_that_is_given_by_name(images):
    net = InPlace().double()
    torch.testing.assert_close(recognizer_of(net).features(images), net.conv(images).relu().mean((2, 3)))
