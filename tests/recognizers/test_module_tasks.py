"""ModuleRecognizer for segmenters and embedding networks, and the part of an answer that counts."""
import math
import sys
from collections import namedtuple
from types import SimpleNamespace

import pytest
import segmentation_models_pytorch as smp
import test_option_file as files
import torch
import torch.nn.functional as F
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image
from torch import nn

from ra_plugin import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss, build_recognizer
from ra_plugin.builders.file_check import check_file
from ra_plugin.options import OptionError
from ra_plugin.recognizers import ModuleRecognizer
from ra_plugin.recognizers.answer_path import picked
from ra_plugin.recognizers.frozen.resizing import judging
from ra_plugin.registry import RECOGNIZER_REGISTRY

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
SCALE = {'mean': MEAN, 'std': STD}
SMP = {'type': 'ModuleRecognizer', 'module': 'segmentation_models_pytorch.Unet', 'pretrained': False,
       'task': 'segmentation', 'module_kwargs': {'encoder_name': 'resnet18', 'encoder_weights': None, 'classes': 3}}


class Segmenter(nn.Module):
    """Logits at half the resolution."""

    def __init__(self, channels=3):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.body, self.head = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, channels, 1)

    def forward(self, x):
        return self.head(torch.tanh(self.body(x)))


class Answers(nn.Module):
    """What a network gives, as one of many forms."""

    def __init__(self, form, network=None):
        super().__init__()
        self.form, self.network = form, network or Segmenter()

    def forward(self, x):
        return self.form(self.network(x))


Named = namedtuple('Named', ['aux', 'masks'])
FORMS = {
    'logits': lambda x: {'aux': -x, 'logits': x}, '0': lambda x: (x, -x), '-1': lambda x: [-x, x],
    'out.0': lambda x: {'out': [x]}, 'masks': lambda x: Named(-x, x), 'answer.logits':
    lambda x: SimpleNamespace(answer=SimpleNamespace(logits=x))}


def normalized(images):
    return (images - images.new_tensor(MEAN).view(3, 1, 1)) / images.new_tensor(STD).view(3, 1, 1)


def segmenter(network=None, **options):
    return ModuleRecognizer(network or Segmenter(), **{**SCALE, **options}, task='segmentation')


@pytest.fixture
def images():
    return F.interpolate(torch.rand(2, 3, 6, 8), (30, 44), mode='bicubic').clamp(0, 1)


@pytest.fixture
def label():
    label = torch.randint(3, (2, 30, 44))
    label[0, :9] = 255
    return label


# ----------------------------------------------------------------------------------------------------- segmentation
def test_the_loss_is_the_cross_entropy_at_the_resolution_of_the_labels(images, label):
    recognizer = segmenter()
    logits = F.interpolate(Segmenter()(normalized(images)), (30, 44), mode='bilinear').double()
    counted = label != 255
    chosen = logits.log_softmax(1).gather(1, label.where(counted, 0)[:, None])[:, 0]
    expected = -(chosen * counted).sum() / counted.sum()
    assert recognizer.loss(images, label)['cross_entropy'].item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.equal(recognizer.predict(images)['masks'], logits.argmax(1))
    torch.testing.assert_close(recognizer.outputs(images)['logits'], Segmenter()(normalized(images)))
    assert recognizer.loss(images, torch.full_like(label, 255))['cross_entropy'] == 0  # no pixel counts


def test_its_gradient_is_that_of_finite_differences(label):
    recognizer, images = segmenter().double(), torch.rand(1, 3, 6, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: recognizer.loss(x, label[1:, :6, :5])['cross_entropy'], images)


def test_one_channel_is_a_class_against_the_background(images, label):
    recognizer, label = segmenter(Segmenter(1)), label.where(label == 255, label % 2)
    logits = F.interpolate(Segmenter(1)(normalized(images)), (30, 44), mode='bilinear')[:, 0]
    counted = label != 255
    expected = F.binary_cross_entropy_with_logits(logits[counted], label[counted].float())
    torch.testing.assert_close(recognizer.loss(images, label)['cross_entropy'], expected)
    assert recognizer.info.num_classes == 2
    assert torch.equal(recognizer.predict(images)['masks'], (logits > 0).long())
    with pytest.raises(ValueError, match=r'ModuleRecognizer\(Segmenter\): 1 class name for a network that has 2 with'):
        segmenter(Segmenter(1), classes=['road'])


def test_a_border_is_added_as_pillow_pastes_it_and_not_judged(images):
    """The longer side is resized to 32, and the mean color fills the rest."""
    images = (images[:1] * 255).round() / 255
    recognizer = segmenter(input_size=32, fit='border')
    picture = Image.fromarray((images[0] * 255).permute(1, 2, 0).byte().numpy())
    canvas = Image.new('RGB', (32, 32), tuple(round(255 * value) for value in MEAN))
    canvas.paste(picture.resize((32, 22), Image.Resampling.BILINEAR), (0, 5))
    prepared = normalized(torch.tensor(list(canvas.getdata())).view(32, 32, 3).permute(2, 0, 1)[None] / 255)
    whole = F.interpolate(Segmenter()(prepared), (32, 32), mode='bilinear')
    expected = F.interpolate(whole[..., 5:27, :], (30, 44), mode='bilinear')
    with judging():
        torch.testing.assert_close(recognizer.pixel_logits(images), expected, atol=0.05, rtol=0)  # of 8-bit rounding
    assert recognizer.outputs(images)['logits'].shape == (1, 3, 12, 16)  # rows 2 to 13 of 16 see the image


def test_stretching_shows_the_whole_image_and_a_crop_is_refused(images):
    recognizer = segmenter(input_size=[16, 20], fit='stretch')
    resized = F.interpolate(images, (16, 20), mode='bilinear', antialias=True)
    expected = F.interpolate(Segmenter()(normalized(resized)), (30, 44), mode='bilinear')
    torch.testing.assert_close(recognizer.pixel_logits(images), expected)
    with pytest.raises(ValueError, match=r"Segmenter\): fit: expected 'stretch' or 'border', got 'crop', which cuts"):
        segmenter(input_size=32)


def test_features_are_what_the_classifying_layer_is_given(images):
    network = Segmenter()
    torch.testing.assert_close(segmenter().features(images), torch.tanh(network.body(normalized(images))))
    torch.testing.assert_close(segmenter(feature_layer='body').features(images), network.body(normalized(images)))
    with pytest.raises(ValueError, match='no layer to take features from. Name one: feature_layer'):
        segmenter(nn.Conv2d(3, 4, 1)).features(images)
    with pytest.raises(ValueError, match="feature_layer: no layer 'bodi'. Did you mean 'body'"):
        segmenter(feature_layer='bodi')


def test_padded_images_of_two_sizes_count_without_their_padding(images, label):
    loss = RecogLoss(segmenter())
    images[1, :, 20:], images[1, :, :, 30:] = 0.9, 0.1
    value = loss(images, label, [(30, 44), (20, 30)])
    alone = [loss(images[:1], label[:1]), loss(images[1:, :, :20, :30], label[1:, :20, :30])]
    torch.testing.assert_close(value, sum(alone) / 2)


def test_it_learns_where_it_is_to(images, label):
    loss = RecogLoss({'type': 'ModuleRecognizer', 'module': f'{__name__}.Segmenter', 'pretrained': False, **SCALE,
                      'task': 'segmentation', 'trainable': True}, loss_weight=0.5)
    loss(images, label).backward()
    network = Segmenter()
    (0.5 * F.cross_entropy(F.interpolate(network(normalized(images)), (30, 44), mode='bilinear'), label,
                           ignore_index=255)).backward()
    torch.testing.assert_close(loss.recognizer.model.head.weight.grad, network.head.weight.grad)


@pytest.mark.parametrize('network, message', [
    (nn.Flatten(), r'expected logits \(N, C, h, w\) from the network, got \(1, 12288\)\. Is it a segmenter\? Name'),
    (Answers(FORMS['logits']), r'got dict\. Is it a segmenter\? Name the part that is \(output: logits\)'),
    (Answers(lambda x: x.softmax(1)), 'expected logits, got probabilities'),
    (nn.Conv2d(5, 3, 1), 'cannot take a 64x64 image .*Its first layer takes 5 channels'),
], ids=['vector', 'dict', 'softmax', 'five channels'])
def test_what_is_no_segmenter_is_refused_in_one_line(network, message):
    with pytest.raises(ValueError, match=message) as error:
        segmenter(network)
    assert '\n' not in str(error.value) and len(str(error.value)) < 400


# ----------------------------------------------------------------------------------------------------------- output
@pytest.mark.parametrize('path', FORMS)
def test_output_names_the_part_that_counts(path, images, label):
    plain, one = segmenter(), segmenter(Answers(FORMS[path]), output=path)
    torch.testing.assert_close(one.loss(images, label), plain.loss(images, label), rtol=0, atol=0)
    torch.testing.assert_close(one.outputs(images), plain.outputs(images), rtol=0, atol=0)
    assert one.model.form is FORMS[path]  # the network itself: what is trained and saved


def test_output_is_for_every_task(images):
    vectors = nn.Sequential(Segmenter(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    wrapped = Answers(lambda x: (None, {'logits': x}), vectors)
    for task in ('classification', 'embedding'):
        plain = ModuleRecognizer(vectors, **SCALE, task=task)
        torch.testing.assert_close(ModuleRecognizer(wrapped, **SCALE, task=task, output='1.logits').outputs(images),
                                   plain.outputs(images))
    assert ModuleRecognizer(Answers(lambda x: (x, x), vectors), **SCALE, output=0).info.num_classes == 3


@pytest.mark.parametrize('answer, path, message', [
    (torch.zeros(2, 3), '0', r"X: output: no '0' in the network's answer, a tensor \(2, 3\)\. Leave out"),
    ({'logit': 1}, 'logits', r"no 'logits' in the network's answer, a dict with logit\. Did you mean 'logit'"),
    ((1, 2), 2, r"no '2' in the network's answer, a tuple with 0, 1\."),
    ({'out': [1]}, 'out.one', r"no 'one' in out, a list with 0\."),
    (SimpleNamespace(masks=1), 'mask', r"a SimpleNamespace with masks\. Did you mean 'masks'"),
    (None, 'logits', "no 'logits' in the network's answer, a NoneType"),
], ids=['tensor', 'key', 'index', 'nested', 'attribute', 'nothing'])
def test_a_part_that_is_not_there_is_named_in_one_line(answer, path, message):
    with pytest.raises(ValueError, match=message) as error:
        picked(answer, path, 'X')
    assert '\n' not in str(error.value)


# ------------------------------------------------------------------------------------------------------- embeddings
def test_an_embedding_is_compared_by_its_direction(images):
    network = nn.Sequential(Segmenter(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    recognizer, other = ModuleRecognizer(network, **SCALE, task='embedding'), torch.rand_like(images)
    vectors = [network(normalized(x)) for x in (images, other)]
    torch.testing.assert_close(recognizer.features(images), vectors[0])
    torch.testing.assert_close(RecogConsistencyLoss(recognizer, reduction='none')(images, other),
                               1 - F.cosine_similarity(*vectors), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(recognizer.predict(images)['embeddings'], F.normalize(vectors[0]))
    by_layer = ModuleRecognizer(network, **SCALE, task='embedding', feature_layer='0.body')
    torch.testing.assert_close(by_layer.features(images), network[0].body(normalized(images)))
    torch.testing.assert_close(by_layer.outputs(images), recognizer.outputs(images))
    with pytest.raises(ValueError, match='an embedding has no classes, so no loss against labels'):
        RecogLoss(recognizer)
    with pytest.raises(ValueError, match='ModuleRecognizer cannot learn'):
        recognizer.unfreeze()


@pytest.mark.parametrize('form, got', [
    (lambda x: x, r'a map \(2, 3, 32, 32\) for 2 images'),
    (lambda x: x.flatten(2).mT, r'tokens \(2, 1024, 3\) for 2 images'),
    (lambda x: x.flatten(2).mT.flatten(0, 1), r'a tensor \(2048, 3\) for 2 images'),
    (lambda x: x.mean((0, 2, 3), keepdim=True).flatten(1), r'a tensor \(1, 3\) for 2 images'),
    (lambda x: x.mean((1, 2, 3))[:, None], r'a tensor \(2, 1\) for 2 images'),
    (lambda x: x.mean((2, 3)) > 0, r'a tensor of torch.bool \(2, 3\) for 2 images'),
    (lambda x: {'pooler_output': x}, 'dict')], ids=['map', 'tokens', 'rows', 'batch', 'number', 'bits', 'dict'])
def test_what_is_no_vector_is_refused_with_what_to_do(form, got):
    message = rf'expected vectors \(N, D\) from the network, got {got}\. Name the .*AdaptiveAvgPool2d.*layer_weights'
    with pytest.raises(ValueError, match=message) as error:
        ModuleRecognizer(Answers(form), **SCALE, task='embedding')
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('factor', [math.nan, math.inf, 0, 1e30])
def test_a_network_none_of_whose_vectors_has_a_direction_is_refused(factor):
    with pytest.raises(ValueError, match=r'^ModuleRecognizer\(Answers\): its vectors of gray and of random images are '
                                         r'all zero, not finite, or too large for float32.*Check its weights') as error:
        ModuleRecognizer(Answers(lambda x: x.mean((2, 3)) * factor), **SCALE, task='embedding')
    assert '\n' not in str(error.value)


def test_a_network_that_gives_zeros_for_gray_alone_is_sound():
    flat = Answers(lambda x: x.std((2, 3)))
    assert ModuleRecognizer(flat, **SCALE, task='embedding').predict(torch.rand(2, 3, 16, 16))['embeddings'].all()


def test_an_embedding_has_no_classes():
    network = nn.Sequential(Segmenter(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ValueError, match=r'^ModuleRecognizer\(Sequential\): classes: an embedding has none\. Leave'):
        ModuleRecognizer(network, **SCALE, task='embedding', classes=['anna', 'bert', 'carl'])


@pytest.mark.parametrize('task, head', [('embedding', False), ('embedding', True), ('classification', True)])
def test_a_network_that_flattens_takes_images_of_one_size(task, head):
    network = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), *([nn.Linear(192, 5)] if head else []))
    recognizer = ModuleRecognizer(network, **SCALE, task=task)
    recognizer.predict(torch.rand(2, 3, 64, 64))
    with pytest.raises(ValueError, match=r'^ModuleRecognizer\(Sequential\): .*80x80.*[Ss]et input_size\.') as error:
        recognizer.predict(torch.rand(2, 3, 80, 80))
    assert '\n' not in str(error.value)
    resized = ModuleRecognizer(network, **SCALE, task=task, input_size=64)
    for side in (64, 80):
        resized.predict(torch.rand(2, 3, side, side))


# ------------------------------------------------------------------------------------------------------------ tasks
def test_detectors_are_sent_to_their_recognizers_and_unknown_tasks_get_a_suggestion():
    for build in (lambda **task: ModuleRecognizer(Segmenter(), **SCALE, **task),
                  lambda **task: RecogLoss(Segmenter(), **SCALE, **task)):
        with pytest.raises(ValueError, match='task: readers of words are for CTCRecognizer'):
            build(task='text')
        with pytest.raises(OptionError, match=r"task: expected .*got 'segmentatoin'. Did you mean 'segmentation'"):
            build(task='segmentatoin')
    with pytest.raises(OptionError, match=r"r\.task: expected 'classification' | .*Did you mean 'segmentation'"):
        RECOGNIZER_REGISTRY.check({**SMP, 'task': 'segmentaton'}, 'r')


class Own(ModuleRecognizer):
    def __init__(self, network):
        super().__init__(network, **SCALE, task='segmentation')


class OwnSegmenter(ModuleRecognizer):
    def loss(self, images, label):
        return {name: 2 * value for name, value in super().loss(images, label).items()}


def test_classes_of_a_users_own_are_of_the_task_of_their_call(images, label):
    own = OwnSegmenter(Segmenter(), **SCALE, task='segmentation')
    torch.testing.assert_close(own.loss(images, label)['cross_entropy'],
                               2 * segmenter().loss(images, label)['cross_entropy'])
    with pytest.raises(TypeError, match=r'Own\(Segmenter\): task: segmentation, but its class is made for classifica'):
        Own(Segmenter())
    assert type(own).__mro__[2].__name__ == 'ModuleSegmenter'


def test_its_messages_have_the_name_that_its_users_know():
    with pytest.raises(OptionError, match='^ModuleRecognizer: mean: expected a list of numbers'):
        ModuleRecognizer(Segmenter(), mean='0.5', std=STD, task='segmentation')
    with pytest.raises(ValueError, match=r'^ModuleRecognizer\(Segmenter\): mean and std: expected them on the'):
        segmenter(mean=[128, 128, 128])


# ---------------------------------------------------------------------------------------- segmentation_models_pytorch
@pytest.mark.slow
def test_a_unet_is_a_segmenter(images, label):
    recognizer = build_recognizer({**SMP, **SCALE})
    assert recognizer.info.num_classes == 3 and recognizer.folded_norms
    network = build_recognizer({**SMP, **SCALE}, fold_batch_norm=False).model
    logits = network(normalized(images))
    torch.testing.assert_close(recognizer.loss(images, label)['cross_entropy'],
                               F.cross_entropy(logits, label, ignore_index=255), rtol=1e-4, atol=1e-4)
    assert RecogFeatureLoss({**SMP, **SCALE}, layer_weights=['encoder.layer2'])(images, images.flip(3)) > 0


@pytest.mark.slow
@pytest.mark.parametrize('name', ['FPN', 'Linknet', 'DeepLabV3Plus'])
def test_sizes_that_a_network_cannot_take_are_padded_by_their_border(name, images, label):
    recognizer = build_recognizer({**SMP, **SCALE, 'module': f'segmentation_models_pytorch.{name}'})
    with pytest.raises(RuntimeError, match='divisible'):
        recognizer.model(images)
    step = recognizer.model.encoder.output_stride
    below, right = -30 % step, -44 % step
    padded = F.pad(normalized(images), (0, right, 0, below), mode='replicate')
    logits = recognizer.model(padded)[..., :30, :44]
    torch.testing.assert_close(recognizer.loss(images.requires_grad_(), label)['cross_entropy'],
                               F.cross_entropy(logits, label, ignore_index=255))
    gradient, = torch.autograd.grad(RecogLoss(recognizer)(images, label), images)
    assert gradient.isfinite().all() and gradient.any()
    assert recognizer.predict(images)['masks'].shape == (2, 30, 44)


@pytest.mark.slow
def test_mean_and_std_are_those_of_the_encoder():
    block = {**SMP, 'module_kwargs': {**SMP['module_kwargs'], 'encoder_name': 'tu-resnet18'}}
    record = smp.encoders.get_preprocessing_params('tu-resnet18')
    for recognizer in (build_recognizer(block), build_recognizer(smp.Unet(**block['module_kwargs']),
                                                                 task='segmentation')):
        assert (list(recognizer.info.mean), list(recognizer.info.std)) == (record['mean'], record['std'])
    assert build_recognizer({**block, **SCALE}).info.mean == tuple(MEAN)


@pytest.mark.slow
@pytest.mark.parametrize('record', [
    {'input_space': 'BGR'}, {'input_range': [0, 255]}, LocalEntryNotFoundError('unreachable'),
    ValueError('Available pretrained options')], ids=str)
def test_what_the_encoder_does_not_know_is_asked_for(record, monkeypatch):
    asked = []

    def params(name, weights):
        asked.append((name, weights))
        if isinstance(record, Exception):
            raise record
        return {'input_space': 'RGB', 'input_range': [0, 1], 'mean': MEAN, 'std': STD, **record}

    monkeypatch.setattr(smp.encoders, 'get_preprocessing_params', params)
    with pytest.raises(ValueError, match=r'Unet\): mean and std: expected three numbers each'):
        build_recognizer(SMP)
    assert asked == [('resnet18', 'imagenet')]


def test_a_network_of_smp_without_its_task_is_told_of_it():
    model = type('Unet', (nn.Module,), {'__module__': 'segmentation_models_pytorch.decoders.unet.model'})()
    with pytest.raises(OptionError, match=r"expected a classifier, got Unet\. Give task='segmentation', or {type: Mod"):
        RecogLoss(model, **SCALE)


def test_the_package_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, 'segmentation_models_pytorch', None)
    message = r'needs segmentation-models-pytorch>=0\.6,<0\.7, which is not installed\. Install it with: pip install'
    with pytest.raises(ImportError, match=message):
        build_recognizer({**SMP, **SCALE})


@pytest.mark.slow
def test_a_path_of_indices_may_be_quoted_in_an_option_file():
    """YAML reads 0.1 as a number."""
    opt = files.base()
    opt['val']['recognizers'] = {'judge': {**files.RECOGNIZER, 'output': '0.1'}}
    check_file(opt)
    opt['val']['recognizers']['judge']['output'] = 0.1
    with pytest.raises(OptionError, match=r"output: expected text or a whole number.* got 0\.1\. .*'0\.1'"):
        check_file(opt)
