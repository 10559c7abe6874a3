"""Segmenters of torchvision against the library's own networks, transforms and training criterion."""
import copy
import dataclasses
import functools
import hashlib

import numpy as np
import pytest
import torch
import torchvision
import torchvision_nets
from PIL import Image
from torch.nn.functional import cross_entropy, interpolate
from torchvision_nets import HEIGHT, SEGMENTERS, WIDTH, images, in_training, native, pictures, uninitialized

from ra_plugin.losses import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss
from ra_plugin.recognizers import TorchvisionRecognizer
from ra_plugin.recognizers.frozen.resizing import judging
from ra_plugin.recognizers.torchvision_models import TorchvisionSegmenter

LRASPP, DEEPLAB, FCN = SEGMENTERS
ALL = [LRASPP, DEEPLAB, pytest.param(FCN, marks=pytest.mark.slow)]


pair = functools.partial(torchvision_nets.pair, resize=None)


def label_maps(count=2, size=(HEIGHT, WIDTH)):
    label = torch.randint(4, (count, 8, 8), generator=torch.Generator().manual_seed(2))
    label = interpolate(label[:, None].float(), size, mode='nearest')[:, 0].long()
    label[:, :7] = 255
    return label


def transforms(name):
    return torchvision.models.get_model_weights(name).DEFAULT.transforms()


def criterion(answers, target):
    """Cross-entropy of the output and half that of the auxiliary one, as torchvision trains."""
    losses = {name: cross_entropy(value, target, ignore_index=255) for name, value in answers.items()}
    return losses['out'] + 0.5 * losses['aux'] if 'aux' in losses else losses['out']


@pytest.mark.slow
@pytest.mark.parametrize('name', ALL)
def test_the_loss_is_that_of_the_library_s_training(name):
    recognizer, model = pair(name)
    normalized = torchvision.transforms.functional.normalize(images(), transforms(name).mean, transforms(name).std)
    theirs = criterion(in_training(copy.deepcopy(model))(normalized), label_maps())
    terms = recognizer.loss(images(), label_maps())
    assert set(terms) == ({'out', 'aux'} if 'aux_loss' in SEGMENTERS[name] else {'out'})
    torch.testing.assert_close(sum(terms.values()), theirs)


@pytest.mark.slow
@pytest.mark.parametrize('size', [(50, 70), (600, 530)])
def test_whole_images_are_resized_as_by_the_weights_transforms(size):
    recognizer = pair(LRASPP, resize='model')[0]
    picture = pictures(1, size)
    theirs = transforms(LRASPP)(Image.fromarray(picture[0].permute(1, 2, 0).numpy()))[None]
    with judging():
        ours = recognizer.prepare(picture.float() / 255)
    assert ours.shape == theirs.shape and ours.shape[-2:] == recognizer.resized(*size)
    levels = 255 * (ours - theirs).abs() * torch.tensor(transforms(LRASPP).std).view(3, 1, 1)
    assert levels.max() <= 1.5 and levels.mean() < 0.5  # PIL rounds after each axis
    shown = recognizer.own_preprocessing().transform(Image.fromarray(picture[0].permute(1, 2, 0).numpy()))
    torch.testing.assert_close(shown, theirs)
    assert recognizer.resizes_as_whole_images and 'transforms' in recognizer.resizing()


@pytest.mark.slow
@pytest.mark.parametrize('factor', [2, 0.5])
def test_labels_follow_the_resize(factor, monkeypatch):
    recognizer, _ = pair(LRASPP, resize=factor)
    size = int(HEIGHT * factor), int(WIDTH * factor)
    resized = [Image.fromarray(one.numpy().astype(np.uint8)).resize(size[::-1], Image.Resampling.NEAREST)
               for one in label_maps()]
    target = torch.stack([torch.from_numpy(np.array(one)) for one in resized]).long()
    answers = recognizer.model(recognizer.prepare(images()))
    assert answers['out'].shape[-2:] == size == recognizer.resized(HEIGHT, WIDTH)
    torch.testing.assert_close(sum(recognizer.loss(images(), label_maps()).values()), criterion(answers, target))


@pytest.mark.slow
@pytest.mark.parametrize('name', ALL)
def test_predictions_are_the_library_s_at_the_size_of_the_image(name):
    recognizer, model = pair(name)
    normalized = torchvision.transforms.functional.normalize(images(), transforms(name).mean, transforms(name).std)
    with torch.no_grad():
        theirs = model(normalized)['out'].argmax(1)
    masks = recognizer.predict(images())['masks']
    assert torch.equal(masks, theirs) and len(masks.unique()) > 1
    large = pair(name, resize=2)[0].predict(images())['masks']
    assert large.shape == (2, HEIGHT, WIDTH) and large.dtype == torch.long


@pytest.mark.slow
@pytest.mark.parametrize('name', ALL)
def test_it_stays_frozen_and_repeats(name):
    recognizer = pair(name)[0].train()
    before = copy.deepcopy(recognizer.state_dict())
    gradients = []
    for _ in range(2):
        x = images().requires_grad_()
        RecogLoss(recognizer)(x, label_maps()).backward()
        gradients.append(x.grad)
    assert torch.equal(*gradients) and gradients[0].isfinite().all() and all(one.any() for one in gradients[0])
    assert all(p.grad is None and not p.requires_grad for p in recognizer.model.parameters())
    assert all(torch.equal(value, before[key]) for key, value in recognizer.state_dict().items())
    assert not any(module.training for module in recognizer.model.modules())


@pytest.mark.slow
def test_the_gradient_is_the_slope():
    recognizer, image = copy.deepcopy(pair(DEEPLAB)[0]).double(), images(1).double().requires_grad_()
    gradient, = torch.autograd.grad(sum(recognizer.loss(image, label_maps(1)).values()), image)
    step = 1e-7 * gradient / gradient.norm()  # a longer one crosses a kink of the activations
    with torch.no_grad():
        ahead, behind = (sum(recognizer.loss(image + sign * step, label_maps(1)).values()) for sign in (1, -1))
    assert (ahead - behind).item() / 2e-7 == pytest.approx(gradient.norm().item(), rel=1e-5)


@pytest.mark.slow
def test_pixels_without_a_label_do_not_count():
    recognizer, x = pair(DEEPLAB)[0], images().requires_grad_()
    terms = recognizer.loss(x, torch.full((2, HEIGHT, WIDTH), 255))
    sum(terms.values()).backward()
    assert all(term == 0 for term in terms.values()) and not x.grad.any()
    half = label_maps()
    half[1] = 255
    torch.testing.assert_close(recognizer.loss(images(), half), recognizer.loss(images(1), half[:1]))


@pytest.mark.slow
@pytest.mark.parametrize('distance', ['probability', 'kl', 'l1', 'cosine'])
def test_answers_to_equal_images_are_equal_and_to_others_are_not(distance):
    loss = RecogConsistencyLoss(pair(LRASPP)[0], distance=distance)
    clean = images()
    restored = (clean + 0.1 * torch.rand_like(clean)).clamp(0, 1).requires_grad_()
    value = loss(restored, clean)
    value.backward()
    assert value > 0 and all(gradient.any() for gradient in restored.grad)
    assert loss(clean, clean).item() == pytest.approx(0, abs=1e-6)
    assert RecogFeatureLoss(loss.recognizer)(restored, clean) > 0


@pytest.mark.parametrize('name, channels', [(LRASPP, 960), (DEEPLAB, 960), pytest.param(
    FCN, 2048, marks=pytest.mark.slow)])
def test_features_are_the_last_stage(name, channels):
    assert pair(name)[0].features(images()).shape[:2] == (2, channels)


@pytest.mark.slow
def test_16_bits_of_the_network_are_those_of_the_library_s():
    recognizer, model = copy.deepcopy(pair(LRASPP)[0]), pair(LRASPP)[1]
    recognizer.autocast_to = torch.bfloat16
    own = transforms(LRASPP)
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        answers = model(torchvision.transforms.functional.normalize(images(), own.mean, own.std))
    found = recognizer.loss(images(), label_maps())['out']
    assert answers['out'].dtype == torch.bfloat16 and found.dtype == torch.float32
    torch.testing.assert_close(found, criterion({'out': answers['out'].float()}, label_maps()), rtol=1e-3, atol=0)


@pytest.mark.slow
def test_batch_norm_is_folded_on_small_images():
    recognizer = copy.deepcopy(pair(LRASPP, resize='model')[0])
    seen = []
    recognizer.model.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[-1]))
    recognizer.fold_batch_norm()
    assert recognizer.folded_norms > 40 and set(seen) == {64} and recognizer.resize == 'model'


def test_classes_have_names_with_the_weights_of_the_library_alone():
    with uninitialized():
        info = TorchvisionRecognizer(LRASPP, pretrained=False).info
    assert info.num_classes == 21 and info.source == 'random weights'
    assert info.classes is None and info.reduce_zero_label is None  # others may have 20 classes and a background, too
    assert pair(LRASPP)[0].info.classes is None and pair(LRASPP)[0].info.num_classes == 4
    assert type(pair(LRASPP)[0]) is TorchvisionSegmenter


@pytest.mark.slow
def test_published_weights_in_a_file_have_an_auxiliary_head_and_the_names_of_voc(tmp_path, monkeypatch):
    torch.save(native(DEEPLAB, num_classes=21).state_dict(), tmp_path / 'net.pth')
    own = torchvision.models.get_model_weights(DEEPLAB).DEFAULT
    digest = hashlib.sha256((tmp_path / 'net.pth').read_bytes()).hexdigest()
    monkeypatch.setattr(own, '_value_', dataclasses.replace(own.value, url=f'https://x/net-{digest[:8]}.pth'))
    recognizer = TorchvisionRecognizer(DEEPLAB, checkpoint=str(tmp_path / 'net.pth'), resize=None)
    assert recognizer.published == own.name and set(recognizer.loss(images(), label_maps())) == {'out', 'aux'}
    info = recognizer.info
    assert info.num_classes == len(info.classes) == 21 and info.classes[:2] == ('background', 'aeroplane')
    assert info.reduce_zero_label is False


@pytest.mark.slow
def test_bad_labels_and_options_are_one_line(tmp_path):
    recognizer = pair(LRASPP)[0]
    with pytest.raises(ValueError, match=r'expected labels in 0\.\.3, or 255 \(ignored\), got 0\.\.7'):
        recognizer.loss(images(1), torch.tensor([0, 7]).repeat(1, HEIGHT, WIDTH // 2))
    with pytest.raises(ValueError, match=r'expected labels of the size of the images, \(64, 96\), got \(32, 96\)'):
        recognizer.loss(images(1), torch.zeros(1, 32, 96, dtype=torch.long))
    with pytest.raises(ValueError, match=r'expected float images \(N, 3, H, W\), got torch.float32 \(3, 64, 96\)'):
        recognizer.predict(images()[0])
    for kwargs, message in (({'num_classes': 1}, 'expected 2 or more, since one is the background'),
                            ({'num_clases': 3}, "lraspp_mobilenet_v3_large takes no 'num_clases'. Did you mean")):
        with pytest.raises(ValueError, match=message):
            TorchvisionRecognizer(LRASPP, pretrained=False, model_kwargs=kwargs)
    torch.save(native(DEEPLAB).state_dict(), tmp_path / 'net.pth')
    with pytest.raises(ValueError, match=r'keys unexpected: aux_classifier'):
        TorchvisionRecognizer(DEEPLAB, checkpoint=str(tmp_path / 'net.pth'), model_kwargs={'num_classes': 4})


def test_an_error_is_about_the_size_if_another_size_is_taken(monkeypatch):
    recognizer = copy.deepcopy(pair(LRASPP)[0])
    forward = recognizer.model.forward

    def picky(images):
        if images.shape[-1] < smallest:
            raise RuntimeError('no pixel is left')
        return forward(images)

    monkeypatch.setattr(recognizer.model, 'forward', picky)
    smallest = 60
    with pytest.raises(ValueError, match=r'cannot take 1 image of 48x50 \(no pixel is left\).* it takes, as 64x64, or'):
        recognizer.predict(torch.rand(1, 3, 48, 50))
    smallest = 10_000
    with pytest.raises(RuntimeError, match='^no pixel is left$'):
        recognizer.predict(torch.rand(1, 3, 48, 50))
