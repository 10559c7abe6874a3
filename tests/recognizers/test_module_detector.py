"""ModuleRecognizer for detectors that are called as torchvision's are."""
import pytest
import torch
from torch import nn
from torchvision_nets import DETECTORS, in_training, pair
from torchvision_nets import images as smooth_images

from ra_plugin import RecogConsistencyLoss, RecogLoss, build_recognizer
from ra_plugin.recognizers import ModuleDetector, ModuleRecognizer
from ra_plugin.recognizers.facts import TaskError

NAME = 'fasterrcnn_mobilenet_v3_large_320_fpn'
NONE = {'mean': [0, 0, 0], 'std': [1, 1, 1]}
CLASSES = ['cat', 'dog', 'bird']
BOXES = torch.tensor([[8., 6, 40, 50], [30, 20, 90, 60]])


def labels():
    return [{'boxes': BOXES, 'labels': torch.tensor([0, 2])},
            {'boxes': BOXES[:0], 'labels': torch.zeros(0, dtype=torch.long)}]


class Cells(nn.Module):
    """A detector of a few lines: a class and a score at each cell of 16x16 pixels."""

    def __init__(self, form=lambda answer: answer):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.body, self.norm, self.head = nn.Conv2d(3, 8, 16, 16), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1)
        self.form = form

    def forward(self, images, targets=None):
        found, losses = [], []
        for i, image in enumerate(images):
            scores = self.head(torch.tanh(self.norm(self.body(image[None]))))[0].flatten(1).T
            columns = image.shape[-1] // 16
            if targets is not None:
                wanted = torch.zeros(len(scores), dtype=torch.long)
                for box, kind in zip(targets[i]['boxes'], targets[i]['labels'], strict=True):
                    column, row = ((box[:2] + box[2:]) / 2 // 16).long()
                    wanted[row * columns + column] = kind
                losses.append(nn.functional.cross_entropy(scores, wanted))
            best, kinds = scores.softmax(1)[:, 1:].max(1)
            places = torch.arange(len(scores))
            corner = 16 * torch.stack([places % columns, places // columns], 1).float()
            found.append({'boxes': torch.cat([corner, corner + 16], 1), 'labels': kinds + 1, 'scores': best})
        return self.form({'cells': torch.stack(losses).mean()} if targets is not None else found)


def detector(network=None, **options):
    return ModuleRecognizer(network or Cells(), **{**NONE, 'classes': CLASSES, **options}, task='detection')


@pytest.mark.slow
def test_a_network_of_torchvision_is_what_its_own_recognizer_is():
    theirs, model = pair(NAME)
    ours = build_recognizer({'type': 'ModuleRecognizer', 'module': 'torchvision_nets.native', 'pretrained': False,
                             'module_kwargs': {'name': NAME, **DETECTORS[NAME]}, 'task': 'detection',
                             'classes': CLASSES, 'feature_layer': 'backbone.fpn.layer_blocks.1', **NONE})
    assert isinstance(ours, ModuleDetector) and ours.info.num_classes == 3 and ours.info.task == 'detection'
    ours.model.load_state_dict(model.state_dict())
    images = smooth_images()
    for name, value in theirs.loss(images, labels()).items():
        torch.testing.assert_close(ours.loss(images, labels())[name], value)
    for one, other in zip(ours.predict(images), theirs.predict(images), strict=True):
        assert set(one) == set(other)
        for key, value in other.items():
            torch.testing.assert_close(one[key], value)
    torch.testing.assert_close(ours.features(images), theirs.features(images))


def test_the_loss_is_the_network_s_own_in_training_with_frozen_statistics():
    network, images = Cells(), smooth_images()
    recognizer = detector(network, mean=[0.5, 0.4, 0.3], std=[0.2, 0.3, 0.4])
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in ([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]))
    targets = [{'boxes': item['boxes'], 'labels': item['labels'] + 1} for item in labels()]
    theirs = in_training(network)([(image - mean) / std for image in images], targets)
    restored = images.clone().requires_grad_()
    loss = RecogLoss(recognizer)(restored, labels())
    torch.testing.assert_close(loss, theirs['cells'])
    loss.backward()
    assert restored.grad.isfinite().all() and restored.grad.any()
    assert not recognizer.model.training and recognizer.model.norm.num_batches_tracked == 0


def test_the_gradient_is_the_slope():
    recognizer = detector(Cells().double())
    images = smooth_images(1, (32, 48)).double().requires_grad_()
    label = [{'boxes': torch.tensor([[2., 3, 30, 28]]), 'labels': torch.tensor([1])}]
    gradient, = torch.autograd.grad(recognizer.loss(images, label)['cells'], images)
    step = 1e-6 * torch.randn_like(images)
    with torch.no_grad():
        change = sum(sign * recognizer.loss(images + sign * step, label)['cells'] for sign in (1, -1))
    torch.testing.assert_close(change, 2 * (gradient * step).sum(), rtol=1e-6, atol=0)


def test_images_of_a_padded_batch_are_seen_without_the_padding():
    recognizer, images = detector(), smooth_images(1)
    padded = torch.cat([images, images.new_zeros(1, 3, 64, 32)], 3)
    label = [{**labels()[0], 'size': tuple(images.shape[-2:])}]
    torch.testing.assert_close(recognizer.loss(padded, label), recognizer.loss(images, labels()[:1]))


def test_classes_and_their_numbers():
    recognizer, images = detector(), smooth_images(1)
    found, = recognizer.predict(images)
    own, = recognizer.model([images[0]])
    assert torch.equal(found['labels'], own['labels'] - 1) and torch.equal(found['boxes'], own['boxes'])
    with pytest.raises(ValueError, match=r'expected labels in 0\.\.2, got 0\.\.3'):
        recognizer.loss(images, [{'boxes': BOXES, 'labels': torch.tensor([0, 3])}])


def test_layers_are_compared_and_answers_are_not():
    images = smooth_images()
    with pytest.raises(ValueError, match='before boxes are chosen have no common form, so nothing can be compared'):
        RecogConsistencyLoss(detector())
    with pytest.raises(ValueError, match='no layer to take features from. Name one: feature_layer'):
        detector().features(images)


@pytest.mark.parametrize('options, message', [
    ({'classes': None}, 'classes: expected the names of its classes, which it counts from 1'),
    ({'input_size': 64}, 'input_size and output: a detector takes images as they come'),
    ({'output': 'boxes'}, 'input_size and output: a detector takes images as they come'),
    ({'feature_layer': 'heads'}, "feature_layer: no layer 'heads'. Did you mean 'head'"),
    ({'keep_classes': ['cat']}, 'keep_classes is for classifiers'),
    ({'mean': None}, 'mean and std: expected three numbers each')])
def test_what_cannot_be_is_refused_in_one_line(options, message):
    with pytest.raises(ValueError, match=message) as error:
        detector(**options)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('network, message', [
    (nn.Conv2d(3, 4, 1), 'cannot take a list with an image of 64x64 .* Is it called as torchvision'),
    (Cells(lambda answer: {'boxes': answer}), r'expected a list of \{boxes, labels, scores\} from the .* got dict'),
    (Cells(lambda answer: [{'boxes': one['boxes']} for one in answer]), 'expected a list of .boxes, labels, scores')])
def test_networks_that_are_called_in_another_way(network, message):
    with pytest.raises(ValueError, match=message) as error:
        detector(network)
    assert '\n' not in str(error.value)


def test_losses_of_another_form():
    recognizer = detector(Cells(lambda answer: answer['cells'] if isinstance(answer, dict) else answer))
    with pytest.raises(TaskError, match='expected losses by name from the network in training mode.* got Tensor'):
        recognizer.loss(smooth_images(), labels())


def test_readers_of_words_have_a_recognizer_of_their_own():
    with pytest.raises(TaskError, match='readers of words are for CTCRecognizer.* characters: ') as error:
        build_recognizer({'type': 'ModuleRecognizer', 'module': 'tiny_recognizers.TinyReader', 'task': 'text', **NONE})
    assert '\n' not in str(error.value)
