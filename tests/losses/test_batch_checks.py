"""Images of the wrong shape, type or scale are an error of one line, in all losses."""
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ra_plugin.losses import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss
from ra_plugin.losses.batch_checks import check_restored
from ra_plugin.recognizers import EnsembleRecognizer, ModuleRecognizer, RecognizerInfo
from ra_plugin.recognizers.base import Recognizer
from ra_plugin.recognizers.logits_check import check_logits

LABEL = torch.tensor([1, 3])
LOSSES = [RecogLoss, RecogConsistencyLoss, RecogFeatureLoss]
REFERENCE_LOSSES = LOSSES[1:]
every_loss = pytest.mark.parametrize('cls', LOSSES)


def call(loss, output, gt=None):
    if loss.needs == 'label':
        return loss(output, LABEL[:len(output)])
    return loss(output, output.clone().clamp(0, 1) if gt is None else gt)


SCALES = {
    '0..255': lambda images: images * 255, '-1..1': lambda images: images * 2 - 1,
    'ImageNet': lambda images: (images - 0.45) / 0.225, 'ImageNet, dark': lambda images: (images * 0.3 - 0.45) / 0.225,
    'ImageNet, light': lambda images: (images * 0.4 + 0.6 - 0.4) / 0.225, '16 bit': lambda images: images * 65535,
    '-1..1, flat': lambda images: (images * 0.4 + 0.1) * 2 - 1}


@every_loss
@pytest.mark.parametrize('scale', SCALES)
def test_restored_images_on_another_scale_are_refused_on_the_first_batch(cls, tiny_recognizer, images, scale):
    loss = cls(tiny_recognizer())
    with pytest.raises(ValueError, match=r'^\w+\(TanhNet\): expected output in about \[0, 1\], got \[.*the '
                       r'recognizer normalizes\. For an untrained network, set check_range = False') as error:
        call(loss, SCALES[scale](images), images)
    assert '\n' not in str(error.value)
    call(loss, images, images)
    call(loss, SCALES[scale](images), images)  # read once alone
    free = cls(tiny_recognizer())
    free.check_range = False
    call(free, SCALES[scale](images), images)


@pytest.mark.parametrize('cls', REFERENCE_LOSSES)
@pytest.mark.parametrize('scale', SCALES)
def test_clean_images_on_another_scale_are_refused(cls, tiny_recognizer, images, scale):
    loss = cls(tiny_recognizer())
    loss.check_range = False  # which is about restored images
    with pytest.raises(ValueError, match=r'expected gt in \[0, 1\], got \['):
        loss(images, SCALES[scale](images))


@pytest.mark.parametrize('values', [
    lambda noise: 0.2 * noise.clamp(-4.5, 4.5),  # a fresh SRDenseNet, with a linear last layer
    lambda noise: 0.25 * noise.clamp(-4, 4), lambda noise: 0.5 + 0.3 * noise.clamp(-4, 4), lambda noise: 0 * noise,
    lambda noise: -0.4 + 0.05 * noise.clamp(-4, 4), lambda noise: 0.5 + 0.1 * noise])
def test_what_networks_give_before_they_have_learned_is_taken(values):
    check_restored(values(torch.randn(2, 3, 64, 64)), 'here')


BAD = {
    'uint8': lambda images: (images * 255).byte(), 'whole numbers': lambda images: images.long(),
    'gray': lambda images: images[:, :1], 'RGBA': lambda images: torch.cat([images, images[:, :1]], 1),
    'one image': lambda images: images[0], 'none': lambda images: images[:0], 'a list': lambda images: list(images),
    'NumPy': lambda images: images.numpy(), 'channels last': lambda images: images.permute(0, 2, 3, 1)}


@every_loss
@pytest.mark.parametrize('kind', BAD)
def test_restored_images_of_another_shape_or_type_are_refused_in_every_step(cls, tiny_recognizer, images, kind):
    loss = cls(tiny_recognizer())
    for _ in range(2):
        with pytest.raises(ValueError, match=r'^\w+\(TanhNet\): expected output as (a )?float (images|tensor)'):
            loss(BAD[kind](images), LABEL if cls is RecogLoss else images)
        call(loss, images, images)


@pytest.mark.parametrize('cls', REFERENCE_LOSSES)
@pytest.mark.parametrize('kind', BAD)
def test_clean_images_of_another_shape_or_type_are_refused_in_every_step(cls, tiny_recognizer, images, kind):
    loss = cls(tiny_recognizer())
    for _ in range(2):
        with pytest.raises(ValueError, match=r'^\w+\(TanhNet\): expected gt as (a )?float (images|tensor)'):
            loss(images, BAD[kind](images))
        call(loss, images, images)


@pytest.mark.parametrize('cls', REFERENCE_LOSSES)
@pytest.mark.parametrize('other', [
    lambda images: images[:1], lambda images: images.repeat(2, 1, 1, 1), lambda images: images[..., :-1],
    lambda images: images[..., ::2, ::2], lambda images: images.transpose(2, 3)])
def test_clean_images_are_never_broadcast(cls, tiny_recognizer, images, other):
    loss = cls(tiny_recognizer(input_size=8))
    for _ in range(2):
        with pytest.raises(ValueError, match=re.escape(
                f'expected gt of the shape of output, {tuple(images.shape)}, got {tuple(other(images).shape)}. Pass')):
            loss(images, other(images))
        call(loss, images, images)


def test_images_on_two_devices_are_one_line(tiny_recognizer, images):
    with pytest.raises(ValueError, match='expected gt on the device of output, cpu, got meta'):
        RecogConsistencyLoss(tiny_recognizer())(images, images.to('meta'))


@pytest.mark.parametrize('dtype', [torch.int32, torch.int16, torch.uint8])
def test_labels_of_any_whole_type_are_taken(tiny_recognizer, images, dtype):
    loss = RecogLoss(tiny_recognizer())
    torch.testing.assert_close(loss(images, LABEL.to(dtype)), loss(images, LABEL), rtol=0, atol=0)


@pytest.mark.parametrize('label', [LABEL[:1], LABEL.repeat(2), LABEL.double(), LABEL.bool(), LABEL[:, None], [1, 3],
                                   None])
def test_labels_of_another_length_or_type_are_refused(tiny_recognizer, images, label):
    with pytest.raises(ValueError, match=r'expected whole numbers \(2,\), one for each image'):
        RecogLoss(tiny_recognizer())(images, label)


# ------------------------------------------------------------------------------------------------- what is no logits
class Embedding(nn.Module):
    def __init__(self, activation, numbers=8):
        super().__init__()
        self.body, self.activation = nn.Conv2d(3, numbers, 3), activation

    def forward(self, images):
        return self.activation(3 * self.body(images).mean((2, 3)))


def recognizer_with(activation):
    return ModuleRecognizer(Embedding(activation), mean=[0.5] * 3, std=[0.2] * 3)


WRONG = {'vectors of length 1: an embedding': lambda x: F.normalize(x, dim=1), 'probabilities': lambda x: x.softmax(1)}


@pytest.mark.parametrize('cls', [RecogLoss, RecogConsistencyLoss])
@pytest.mark.parametrize('got', WRONG)
def test_embeddings_and_probabilities_are_not_taken_for_logits(cls, images, got):
    images = images.float()
    for recognizer in (recognizer_with(WRONG[got]),
                       EnsembleRecognizer([recognizer_with(lambda x: x), recognizer_with(WRONG[got])])):
        loss = cls(recognizer)
        for _ in range(2):  # an error is none that passes
            with pytest.raises(ValueError, match=rf'ModuleRecognizer\(Embedding\): expected logits, got {got}'):
                call(loss, images)
    call(cls(recognizer_with(lambda x: x)), images)
    call(cls(recognizer_with(lambda x: x.log_softmax(1))), images)


def test_features_of_an_embedding_are_compared(images):
    recognizer = ModuleRecognizer(Embedding(lambda x: F.normalize(x, dim=1)), mean=[0.5] * 3, std=[0.2] * 3,
                                  feature_layer='body')
    assert RecogFeatureLoss(recognizer)(images.float(), 1 - images.float()) > 0


def test_logits_that_happen_to_be_small_are_logits():
    check_logits(torch.tensor([[0.6, 0.8], [0.3, 0.2]]), '')
    check_logits(torch.tensor([[-0.5, 1.5], [0.5, 0.5]]), '')
    check_logits(torch.ones(2, 1), '')


class Headless(Recognizer):
    """Recognizer of a user's own class, without classes."""

    def __init__(self, **facts):
        super().__init__(nn.Conv2d(3, 4, 3), RecognizerInfo(name='net', **facts))

    def outputs(self, images, reference=None):
        return {'embedding': self.model(self.prepare(images)).mean((2, 3))}

    def features(self, images):
        return self.model(self.prepare(images))


@pytest.mark.parametrize('facts', [{'task': 'embedding'}, {'task': 'embedding', 'num_classes': 4},
                                   {'task': 'classification'}])
def test_a_recognizer_without_classes_is_for_features_alone(facts, images):
    for cls in (RecogLoss, RecogConsistencyLoss):
        with pytest.raises(ValueError, match=rf'^{cls.__name__}.*Headless\(net\).*RecogFeatureLoss'):
            cls(Headless(**facts))
    assert RecogFeatureLoss(Headless(**facts))(images.float(), images.float()) == 0


def test_outputs_without_logits_are_refused(images):
    loss = RecogConsistencyLoss(Headless(task='classification', num_classes=4))
    with pytest.raises(ValueError, match=r"expected 'logits' among the outputs of Headless\(net\), got 'embedding'"):
        loss(images.float(), images.float())


# ------------------------------------------------------------------------------------------------------ other types
@every_loss
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_images_of_another_precision_are_cast_and_so_is_their_gradient(cls, tiny_recognizer, images, dtype):
    recognizer = tiny_recognizer(input_size=8).float()
    loss = cls(recognizer)
    output, gt = images.to(dtype).requires_grad_(), (1 - images).to(dtype)
    value = call(loss, output, gt)
    value.backward()
    same = output.detach().float().requires_grad_()
    expected = call(loss, same, gt.float())
    expected.backward()
    assert torch.equal(value, expected) and value.dtype == torch.float32
    assert output.grad.dtype == dtype and torch.equal(output.grad, same.grad.to(dtype))


def test_a_recognizer_takes_images_of_any_precision(tiny_recognizer, images):
    recognizer = tiny_recognizer().float()
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        some = images.to(dtype)
        assert torch.equal(recognizer.logits(some), recognizer.logits(some.float()))
        assert torch.equal(recognizer.predict(some)['labels'], recognizer.predict(some.float())['labels'])


def test_each_member_of_an_ensemble_computes_in_its_own_precision(tiny_recognizer, images):
    single, double = tiny_recognizer(seed=0).float(), tiny_recognizer(seed=1)
    ensemble = EnsembleRecognizer([single, double])
    assert ensemble.dtype == torch.float64
    for dtype in (torch.float16, torch.float64):
        some = images.to(dtype)
        expected = (RecogLoss(single)(some, LABEL).double() + RecogLoss(double)(some, LABEL)) / 2
        torch.testing.assert_close(RecogLoss(ensemble)(some, LABEL), expected)
