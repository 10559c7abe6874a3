"""Networks of open_clip: their own zero-shot answers, their own preprocessing, their weights, and nothing fetched."""
import copy
import gc
import json
import logging
import pickle
import socket
import sys
import urllib.error
import urllib.request
import weakref

import numpy as np
import open_clip
import pytest
import tiny_open_clip as tiny
import torch
import torch.nn.functional as F
import warm_start
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image
from torch import nn

from ra_plugin import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss, build_recognizer
from ra_plugin.builders.identity import canonical, digest, named_files, same_network, weights_digest
from ra_plugin.losses.reference_cache import ReferenceCache
from ra_plugin.options import OptionError
from ra_plugin.recognizers import OpenClipRecognizer
from ra_plugin.recognizers.classification import ClassificationRecognizer
from ra_plugin.recognizers.embedding import EmbeddingRecognizer
from ra_plugin.recognizers.facts import TaskError
from ra_plugin.recognizers.frozen.resizing import judging
from ra_plugin.recognizers.open_clip_models.recognizer import OpenClipClassifier, OpenClipEmbedder
from ra_plugin.registry import RECOGNIZER_REGISTRY

pytestmark = pytest.mark.slow

CLASSES = ['cat', 'dog', 'fire engine']
PROMPTS = ['a photo of a {}.', 'a sketch of one {}', '{}']


@pytest.fixture
def folder(tmp_path):
    """``folder(kind, ...)``: the name of a small model with its weights."""
    return lambda kind='CLIP', **further: tiny.save(tmp_path / kind, kind, **further)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args):
        raise AssertionError('a connection is made')

    monkeypatch.setattr(socket.socket, 'connect', refuse)


@pytest.fixture
def listed(monkeypatch):
    """``listed(kind, tags)``: a small model among those of the package by name, and tags of its weights."""

    def add(kind='CLIP', tags=None, **text):
        config = json.loads(json.dumps(tiny.CONFIGS[kind]))
        config['text_cfg'].update(text)
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, 'tiny', config)
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, 'tiny', tags or {})
        return 'tiny'

    return add


def picture(height, width):
    pixels = np.random.default_rng(0).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.NEAREST)


def as_images(image):
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None] / 255


def library_logits(model, tokenizer, prepared, prompts=PROMPTS):
    """Zero-shot logits as the package computes them."""
    with torch.no_grad():
        vectors = open_clip.build_zero_shot_classifier(model, tokenizer, CLASSES, prompts)
        logits = model.logit_scale.exp() * model.encode_image(prepared, normalize=True) @ vectors
        return logits if model.logit_bias is None else logits + model.logit_bias


def weights_file(path, kind='CLIP', wrap=lambda weights: weights, seed=0):
    torch.save(wrap(tiny.make(kind, seed).state_dict()), path)
    return str(path)


# Answers

@pytest.mark.parametrize('kind', tiny.CONFIGS)
def test_the_logits_are_the_packages_own_zero_shot_ones(kind, folder):
    name = folder(kind)
    model, preprocess = open_clip.create_model_from_pretrained(name)
    recognizer = OpenClipRecognizer(name, True, CLASSES, PROMPTS)
    assert isinstance(recognizer, ClassificationRecognizer) and recognizer.info.classes == tuple(CLASSES)
    photo = picture(90, 70)
    prepared = torch.cat([preprocess(photo)[None], torch.randn(2, 3, *recognizer.info.input_size)])
    expected = library_logits(model.eval(), open_clip.get_tokenizer(name), prepared)
    torch.testing.assert_close(recognizer.model(prepared), expected, rtol=1e-4, atol=1e-4)
    found = recognizer.predict(as_images(photo))
    torch.testing.assert_close(found['log_probabilities'], expected[:1].log_softmax(1), rtol=0.02, atol=0.02)
    tower = OpenClipRecognizer(name, True, task='embedding')
    assert isinstance(tower, EmbeddingRecognizer) and (tower.info.classes, tower.info.num_classes) == (None, 0)
    torch.testing.assert_close(F.normalize(tower.model(prepared), dim=1), model.encode_image(prepared, normalize=True),
                               rtol=1e-4, atol=1e-5)


def test_a_class_is_the_mean_of_its_texts(folder):
    name = folder()
    model, tokenizer = open_clip.create_model_from_pretrained(name)[0].eval(), open_clip.get_tokenizer(name)
    means = []
    for label in CLASSES:
        texts = [model.encode_text(tokenizer([prompt.format(label)]))[0].double() for prompt in PROMPTS]
        mean = sum(text / text.norm() for text in texts) / len(texts)
        means.append(mean / mean.norm())
    vectors = OpenClipRecognizer(name, True, CLASSES, PROMPTS).model.vectors
    torch.testing.assert_close(vectors.double(), torch.stack(means, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('mode', ['shortest', 'squash', 'longest'])
@pytest.mark.parametrize('interpolation', ['bicubic', 'bilinear'])
def test_images_are_prepared_as_the_package_does(mode, interpolation, folder):
    preprocess = {'mean': [0.4, 0.5, 0.6], 'std': [0.2, 0.3, 0.4], 'resize_mode': mode, 'interpolation': interpolation}
    recognizer = OpenClipRecognizer(folder(), True, CLASSES, preprocess=preprocess)
    own = recognizer.own_preprocessing()
    assert (own.mean, own.std) == ((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    theirs_of = open_clip.image_transform(32, is_train=False, **preprocess)
    for height, width in ((32, 32), (64, 64), (48, 40), (33, 70), (97, 131), (20, 90)):
        theirs = theirs_of(picture(height, width))
        torch.testing.assert_close(own.transform(picture(height, width))[0], theirs, rtol=0, atol=0)
        with judging():
            ours = recognizer.prepare(as_images(picture(height, width)))[0]
        levels = ((ours - theirs) * recognizer.std[0] * 255).abs()
        assert levels.mean() < 0.6 and levels.max() < 2  # PIL rounds to 8 bit after each axis


def test_the_preprocessing_is_that_on_record(folder):
    recognizer = OpenClipRecognizer(folder('SigLIP'), True, CLASSES)
    assert (recognizer.fit, recognizer.info.mean, recognizer.info.input_size) == ('stretch', (0.5,) * 3, (160, 160))
    clip = OpenClipRecognizer(folder(), True, CLASSES)
    assert (clip.fit, clip.info.interpolation, clip.info.mean) == ('crop', 'bicubic', open_clip.OPENAI_DATASET_MEAN)


def test_the_text_tower_is_not_kept(folder, monkeypatch):
    made, create = [], open_clip.create_model

    def watched(*args, **kwargs):
        model = create(*args, **kwargs)
        made.append([weakref.ref(model), weakref.ref(model.token_embedding), weakref.ref(model.transformer)])
        return model

    monkeypatch.setattr(open_clip, 'create_model', watched)
    recognizer = OpenClipRecognizer(folder(), True, CLASSES)
    gc.collect()
    assert [part() for part in made[0]] == [None, None, None]
    own = sum(p.numel() for p in tiny.make('CLIP').visual.parameters())
    assert sum(p.numel() for p in recognizer.model.parameters()) == own


# As losses

@pytest.mark.parametrize('kind', ['CLIP', 'SigLIP'])
def test_the_gradient_of_each_loss_is_that_of_finite_differences(kind, folder):
    name = folder(kind)
    layers = {'CLIP': ['visual.transformer.resblocks.0', 'visual.transformer.resblocks.1'],
              'SigLIP': ['visual.trunk.blocks.0', 'visual.trunk.blocks.1']}[kind]
    block = {'type': 'OpenClipRecognizer', 'model': name, 'pretrained': True, 'classes': CLASSES}
    tower = {'type': 'OpenClipRecognizer', 'model': name, 'pretrained': True, 'task': 'embedding'}
    output, clean, direction = torch.rand(3, 2, 3, 40, 36, dtype=torch.float64)
    for loss, target in ((RecogLoss(block), torch.tensor([2, 0])), (RecogConsistencyLoss(block), clean),
                         (RecogConsistencyLoss(tower), clean), (RecogFeatureLoss(block), clean),
                         (RecogFeatureLoss(block, layer_weights={layers[0]: 1.0, layers[1]: 0.5}), clean)):
        loss.double()
        images = output.clone().requires_grad_()
        gradient, = torch.autograd.grad(loss(images, target), images)
        step = 1e-6 * (direction - 0.5)
        with torch.no_grad():
            slope = (loss(output + step, target) - loss(output - step, target)) / 2
        torch.testing.assert_close((gradient * step).sum(), slope, rtol=1e-4, atol=0)


def test_the_losses_are_their_formulas(folder):
    name = folder()
    classifier = OpenClipRecognizer(name, True, CLASSES)
    tower = OpenClipRecognizer(name, True, task='embedding')
    output, clean = torch.rand(2, 2, 3, 32, 32)
    label = torch.tensor([1, 2])
    torch.testing.assert_close(RecogLoss(classifier)(output, label), F.cross_entropy(classifier.logits(output), label))
    vectors = [tower.vectors(images) for images in (output, clean)]
    torch.testing.assert_close(RecogConsistencyLoss(tower, reduction='none')(output, clean),
                               1 - torch.cosine_similarity(*vectors), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(classifier.features(clean), vectors[1])
    layer = 'visual.transformer.resblocks.0'
    by_layer = OpenClipRecognizer(name, True, CLASSES, feature_layer=layer)
    assert by_layer.features(clean).shape == (2, 17, 16)
    with pytest.raises(ValueError, match=r'^RecogLoss\.recognizer: OpenClipRecognizer\(CLIP\): .*no loss against'):
        RecogLoss(tower)


def test_a_constant_bias_changes_no_probability(folder):
    recognizer, images = OpenClipRecognizer(folder('SigLIP'), True, CLASSES), torch.rand(2, 3, 50, 60)
    before = recognizer.predict(images)['log_probabilities']
    assert recognizer.model.bias == -10
    recognizer.model.bias.fill_(3)
    torch.testing.assert_close(recognizer.predict(images)['log_probabilities'], before)


@pytest.mark.parametrize('further', [{'classes': CLASSES}, {'task': 'embedding'}], ids=['classification', 'embedding'])
def test_copies_answer_alike(further, folder):
    recognizer = build_recognizer({'type': 'OpenClipRecognizer', 'model': folder(), 'pretrained': True, **further})
    images = torch.rand(2, 3, 32, 32)
    name, = recognizer.outputs(images)
    for again in (copy.deepcopy(recognizer), pickle.loads(pickle.dumps(recognizer))):
        assert type(again) is (OpenClipClassifier if 'classes' in further else OpenClipEmbedder)
        torch.testing.assert_close(again.outputs(images)[name], recognizer.outputs(images)[name])
    recognizer.autocast_to = torch.bfloat16
    assert recognizer.outputs(images)[name].dtype == torch.float32


def test_an_embedding_reads_no_text(folder, monkeypatch):
    name = folder()
    monkeypatch.setattr(open_clip, 'get_tokenizer', lambda *args: pytest.fail('a tokenizer is made'))
    OpenClipRecognizer(name, True, task='embedding')
    with pytest.raises(ValueError, match='classes and prompts are for classification'):
        OpenClipRecognizer(name, True, CLASSES, task='embedding')


# Which recognizer it is

def test_texts_are_part_of_what_it_is_and_not_of_its_network(tmp_path):
    block = {'type': 'OpenClipRecognizer', 'model': tiny.save(tmp_path / 'net'), 'pretrained': True,
             'classes': CLASSES, 'prompts': PROMPTS}
    file = tmp_path / 'prompts.txt'
    file.write_text('\n'.join(PROMPTS))
    others = [{**block, 'prompts': PROMPTS[:1]}, {**block, 'classes': ['cat', 'dog', 'bird']}]
    ours = build_recognizer(block)
    for other in others:
        assert digest(canonical(other)) != digest(canonical(block))
        assert weights_digest(build_recognizer(other)) != weights_digest(ours)
        assert same_network(other, block)  # an image tower that a loss has used is no unseen judge
    assert not same_network(block, {**block, 'pretrained': False})
    listed = {**block, 'prompts': str(file)}
    torch.testing.assert_close(build_recognizer(listed).model.vectors, ours.model.vectors, rtol=0, atol=0)
    before = digest(canonical(listed), named_files(listed))
    file.write_text('a photo of a {}.')
    assert digest(canonical(listed), named_files(listed)) != before


def test_answers_to_other_texts_are_not_shared(folder):
    name, images, cache = folder(), torch.rand(2, 3, 32, 32), ReferenceCache()
    first, second = (OpenClipRecognizer(name, True, CLASSES, prompts) for prompts in (PROMPTS, PROMPTS[:1]))
    expected = [one.outputs(images)['logits'] for one in (first, second)]
    for _ in range(2):
        for one, answer in zip((first, second), expected, strict=True):
            torch.testing.assert_close(cache(one, images, one.outputs)['logits'], answer)
    assert not torch.allclose(*expected)


# Weights

class Unsafe:
    def __reduce__(self):
        return print, ('code was run',)


def of_ddp(weights):
    return {'epoch': 3, 'name': 'run', 'state_dict': {f'module.{name}': value for name, value in weights.items()}}


@pytest.mark.parametrize('wrap', [lambda weights: weights, of_ddp, lambda weights: {
    **weights, 'logit_scale': weights['logit_scale'][None]}], ids=['weights', 'training', 'scale of one dimension'])
def test_a_file_of_weights_is_loaded_as_the_package_does(wrap, listed, tmp_path):
    path = weights_file(tmp_path / 'net.pt', wrap=wrap)
    recognizer = OpenClipRecognizer(listed(), path, CLASSES, PROMPTS)
    model, preprocess = open_clip.create_model_from_pretrained('tiny', path)
    prepared = preprocess(picture(40, 50))[None]
    torch.testing.assert_close(recognizer.model(prepared), library_logits(
        model.eval(), open_clip.get_tokenizer('tiny'), prepared), rtol=1e-4, atol=1e-4)
    assert recognizer.info.source == path


def test_older_names_and_another_size_are_changed_as_the_package_does(listed, tmp_path):
    path = weights_file(tmp_path / 'net.pt')  # of CLIP, whose text tower has no name
    recognizer = OpenClipRecognizer(listed('CustomTextCLIP'), path, CLASSES, PROMPTS, input_size=48)
    model, preprocess = open_clip.create_model_from_pretrained('tiny', path, force_image_size=48)
    prepared = preprocess(picture(90, 90))[None]
    assert prepared.shape[-1] == 48 and recognizer.info.input_size == (48, 48)
    torch.testing.assert_close(recognizer.model(prepared), library_logits(
        model.eval(), open_clip.get_tokenizer('tiny'), prepared), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_resnet_takes_square_images_of_another_size():
    block = {'type': 'OpenClipRecognizer', 'model': 'RN50', 'pretrained': False, 'task': 'embedding'}
    recognizer = build_recognizer({**block, 'input_size': 96})
    assert recognizer.info.input_size == (96, 96)
    assert recognizer.predict(torch.rand(1, 3, 40, 50))['embeddings'].shape == (1, 1024)
    with pytest.raises(ValueError, match=r'RN50\): input_size: expected equal sides, got \[64, 96\]'):
        build_recognizer({**block, 'input_size': [64, 96]})


def test_a_tower_of_timm_takes_another_size(folder):
    name = folder('SigLIP')
    recognizer = OpenClipRecognizer(name, True, task='embedding', input_size=[96, 128])
    model = open_clip.create_model_from_pretrained(name, force_image_size=(96, 128), return_transform=False)
    prepared = torch.randn(2, 3, 96, 128)
    torch.testing.assert_close(recognizer.model(prepared), model.eval().encode_image(prepared), rtol=1e-4, atol=1e-4)
    assert recognizer.prepare(torch.rand(1, 3, 50, 60)).shape == (1, 3, 96, 128)


@pytest.mark.parametrize('content, message', [
    (Unsafe(), 'contains more than tensors'), ({'state_dict': Unsafe()}, 'contains more than tensors'),
    ({'visual.proj': torch.ones(3)}, 'does not fit the model'), ({'epoch': 3}, 'has no weights under')])
def test_a_file_that_has_code_in_it_or_does_not_fit_is_one_line(content, message, listed, tmp_path, capfd):
    torch.save(content, tmp_path / 'net.pt')
    with pytest.raises(ValueError, match=rf'^OpenClipRecognizer\(tiny\): .*{message}') as error:
        OpenClipRecognizer(listed(), str(tmp_path / 'net.pt'), CLASSES)
    assert '\n' not in str(error.value) and 'code was run' not in capfd.readouterr().out


def test_weights_of_another_model_are_refused(listed, tmp_path):
    for kind in ('ResNet', 'CoCa'):
        path = weights_file(tmp_path / f'{kind}.pt', kind)
        with pytest.raises(ValueError, match=r'^OpenClipRecognizer\(tiny\): .* does not fit the model: ') as error:
            OpenClipRecognizer(listed(), path, CLASSES)
        assert '\n' not in str(error.value)


def test_a_program_of_torchscript_is_refused(listed, tmp_path):
    torch.jit.save(torch.jit.trace(nn.Conv2d(3, 4, 1), torch.rand(1, 3, 4, 4)), str(tmp_path / 'ViT-B-32.pt'))
    with pytest.raises(ValueError, match=r'is a TorchScript program, and loading it could run code'):
        OpenClipRecognizer(listed(), str(tmp_path / 'ViT-B-32.pt'), CLASSES)


def test_random_weights_are_the_same_each_time(listed):
    block = {'type': 'OpenClipRecognizer', 'model': listed(), 'pretrained': False, 'classes': CLASSES}
    images = torch.rand(2, 3, 32, 32)
    torch.manual_seed(5)
    first, second = build_recognizer(block), build_recognizer(block)
    assert torch.equal(first.logits(images), second.logits(images)) and first.info.source == 'random weights'


# Tags, and what is fetched

@pytest.mark.parametrize('quick', [True, False])
def test_a_tag_brings_its_preprocessing_and_activation(quick, listed, tmp_path, monkeypatch):
    path, asked = weights_file(tmp_path / 'net.pt'), []
    tags = {'openai': {'hf_hub': 'timm/tiny/', 'mean': (0.1, 0.2, 0.3), 'std': (0.5, 0.6, 0.7), 'resize_mode': 'squash',
                       'interpolation': 'bilinear', 'quick_gelu': quick}}
    monkeypatch.setattr(open_clip.pretrained, 'download_pretrained', lambda cfg: asked.append(cfg) or path)
    recognizer = OpenClipRecognizer(listed(tags=tags), 'openai', CLASSES, PROMPTS)
    assert len(asked) == 1 and asked[0]['hf_hub'] == 'timm/tiny/'
    assert (recognizer.info.source, recognizer.fit, recognizer.info.interpolation, recognizer.info.mean) == (
        'open_clip tiny openai', 'stretch', 'bilinear', (0.1, 0.2, 0.3))
    model = open_clip.create_model('tiny', path, force_quick_gelu=quick).eval()
    prepared = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(recognizer.model(prepared), library_logits(
        model, open_clip.get_tokenizer('tiny'), prepared), rtol=1e-4, atol=1e-4)


def test_a_file_whose_preprocessing_would_be_a_guess_asks_for_it(listed, tmp_path):
    path = weights_file(tmp_path / 'net.pt')
    tags = {'openai': open_clip.pretrained._pcfg(), 'webli': open_clip.pretrained._slpcfg()}
    name = listed(tags=tags)
    with pytest.raises(ValueError, match=r'a file does not say how images are prepared.*preprocess: TAG.*webli'):
        OpenClipRecognizer(name, path, CLASSES)
    for word, mean in (('webli', (0.5,) * 3), ('openai', open_clip.OPENAI_DATASET_MEAN),
                       ({'mean': [0.1, 0.2, 0.3]}, (0.1, 0.2, 0.3))):
        assert OpenClipRecognizer(name, path, CLASSES, preprocess=word).info.mean == mean
    assert OpenClipRecognizer(listed(tags={'openai': tags['openai']}), path, CLASSES).fit == 'crop'


def unreachable(*args, **kwargs):
    raise LocalEntryNotFoundError('no connection\nto the hub')


def offline(*args, **kwargs):
    raise urllib.error.URLError('no connection')


@pytest.mark.parametrize('cfg', [{'hf_hub': 'timm/tiny/'}, {'url': 'https://nowhere.invalid/net.pt'}])
def test_weights_that_cannot_be_fetched_are_one_line(cfg, listed, monkeypatch, tmp_path):
    monkeypatch.setattr(open_clip.pretrained, 'hf_hub_download', unreachable)
    monkeypatch.setattr(urllib.request, 'urlopen', offline)
    monkeypatch.setenv('HOME', str(tmp_path))
    message = r'^train\.recog_opt\.recognizer: OpenClipRecognizer\(tiny\): tiny a_tag cannot be fetched, and is not in '
    with pytest.raises(OptionError, match=message) as error:
        build_recognizer({'type': 'OpenClipRecognizer', 'model': listed(tags={'a_tag': cfg}), 'pretrained': 'a_tag',
                          'classes': CLASSES}, 'train.recog_opt.recognizer')
    assert '\n' not in str(error.value) and 'pretrained: FILE' in str(error.value)


def test_a_model_of_the_hub_that_cannot_be_fetched_is_one_line(monkeypatch):
    monkeypatch.setattr(open_clip.pretrained, 'hf_hub_download', unreachable)
    with pytest.raises(OptionError, match=r'^OpenClipRecognizer\(laion/CLIP\): hf-hub:laion/CLIP cannot be fetched'):
        OpenClipRecognizer('hf-hub:laion/CLIP', True, CLASSES)
    monkeypatch.setattr(open_clip.pretrained, 'hf_hub_download', lambda **kwargs: pytest.fail('something is fetched'))
    with pytest.raises(ValueError, match='pretrained: expected true for the weights of the hub, got False'):
        OpenClipRecognizer('hf-hub:laion/CLIP', False, CLASSES)


def test_a_model_of_the_hub_is_that_of_its_files(folder, monkeypatch):
    path = folder().removeprefix('local-dir:')
    monkeypatch.setattr(open_clip.pretrained, 'hf_hub_download', lambda filename, **kwargs: f'{path}/{filename}')
    of_hub = OpenClipRecognizer('hf-hub:laion/CLIP', True, CLASSES)
    images = torch.rand(1, 3, 32, 32)
    assert of_hub.info.source == 'hf-hub:laion/CLIP' and str(of_hub) == 'OpenClipRecognizer(laion/CLIP)'
    assert torch.equal(of_hub.logits(images), OpenClipRecognizer(folder(), True, CLASSES).logits(images))


@pytest.mark.parametrize('name, further, what', [
    ('ViT-B-16-SigLIP', {'classes': CLASSES}, r'its tokenizer \(timm/ViT-B-16-SigLIP\)'),
    ('roberta-ViT-B-32', {'classes': CLASSES}, r'the config of its text tower \(roberta-base\)'),
    ('roberta-ViT-B-32', {'task': 'embedding'}, r'the config of its text tower \(roberta-base\)')])
def test_nothing_is_fetched_that_was_not_named(name, further, what, tmp_path):
    for pretrained in (False, weights_file(tmp_path / 'net.pt')):
        with pytest.raises(ValueError, match=rf'^OpenClipRecognizer\({name}\): {what} would have to be fetched'):
            OpenClipRecognizer(name, pretrained, **further)


@pytest.mark.parametrize('part, change, message', [
    ('vision_cfg', {'timm_model_name': 'hf-hub:OWNER/NAME'}, r'image tower \(hf-hub:OWNER/NAME\) would have to be fet'),
    ('text_cfg', {'hf_model_name': 'OWNER/NAME'}, r'text tower \(OWNER/NAME\) would have to be fetched'),
    ('text_cfg', None, r'its config has no text_cfg\. Is it one of open_clip')])
def test_a_config_of_a_folder_fetches_nothing(part, change, message, folder, tmp_path):
    name, file = folder(), tmp_path / 'CLIP' / 'open_clip_config.json'
    content = json.loads(file.read_text())
    if change is None:
        del content['model_cfg'][part]
    else:
        content['model_cfg'][part].update(change)
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        OpenClipRecognizer(name, True, CLASSES)
    file.write_text('{')
    with pytest.raises(OptionError, match=r'^OpenClipRecognizer\(CLIP\): ') as error:
        OpenClipRecognizer(name, True, CLASSES)
    assert '\n' not in str(error.value)


def test_a_folder_without_the_tokenizer_that_it_names_is_one_line(tmp_path, monkeypatch):
    name = tiny.save(tmp_path / 'net', 'CustomTextCLIP', text={'hf_tokenizer_name': 'OWNER/NAME'})
    with pytest.raises(OptionError, match=r'^OpenClipRecognizer\(net\): ') as error:
        OpenClipRecognizer(name, True, CLASSES)
    assert '\n' not in str(error.value)
    assert OpenClipRecognizer(name, True, task='embedding').info.task == 'embedding'
    monkeypatch.setitem(sys.modules, 'transformers', None)
    with pytest.raises(ImportError, match=r'^OpenClipRecognizer\(net\) needs transformers'):
        OpenClipRecognizer(name, True, CLASSES)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'open_clip', None)
    with pytest.raises(ImportError, match=r'^OpenClipRecognizer\(ViT-B-32\) needs open_clip_torch>=3\.3,<4, which is '
                                          r'not installed\. Install it with: pip install "open_clip_torch>=3\.3,<4"$'):
        OpenClipRecognizer('ViT-B-32', 'openai', CLASSES)


def test_it_is_imported_only_when_used():
    code = 'import sys, ra_plugin.recognizers; assert "open_clip" not in sys.modules'
    assert warm_start.run(['-c', code]).returncode == 0


def test_a_folder_brings_its_own_tokenizer(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    words = {word: i for i, word in enumerate(['<pad>', '?', 'a', 'photo', 'of', 'cat', 'dog', 'fire', 'engine'])}
    own = Tokenizer(models.WordLevel(words, unk_token='?'))
    own.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=own, pad_token='<pad>', unk_token='?').save_pretrained(tmp_path / 'net')
    name = tiny.save(tmp_path / 'net', 'CustomTextCLIP', text={
        'hf_tokenizer_name': 'OWNER/NAME', 'tokenizer_kwargs': {'trust_remote_code': True}})
    recognizer = OpenClipRecognizer(name, True, CLASSES)
    model, tokens = tiny.make('CustomTextCLIP'), torch.zeros(3, 16, dtype=torch.long)
    for row, label in zip(tokens, CLASSES, strict=True):
        ids = [words.get(word, 1) for word in ('a', 'photo', 'of', 'a', *label.split(), '.')]
        row[:len(ids)] = torch.tensor(ids)
    torch.testing.assert_close(recognizer.model.vectors, model.encode_text(tokens, normalize=True).T, rtol=1e-4,
                               atol=1e-5)


# What is refused, and what is left as it was

@pytest.mark.parametrize('options, message', [
    ({'model': 'ViT-B-33', 'pretrained': False}, r"open_clip has no such model\. Did you mean 'ViT-B-32'"),
    ({'model': 'local-dir:nowhere'}, r'expected a folder with open_clip_config\.json, .* got no folder: nowhere'),
    ({'pretrained': None}, r'pretrained: expected true for the weights that are there, or false .* got None'),
    ({'model': 'ViT-B-32', 'pretrained': None}, r'no weights\. Set pretrained: TAG .*tags openai, laion400m_e31'),
    ({'model': 'ViT-B-32', 'pretrained': True}, r'no weights\. Set pretrained: TAG'),
    ({'model': 'ViT-B-32', 'pretrained': 'opanai'}, r"no tag and no file 'opanai'\. Did you mean 'openai'"),
    ({'classes': None}, r'no classes to tell apart\. Set classes'),
    ({'classes': ['cat', 'cat']}, "classes: expected each once, got 'cat' more than once"),
    ({'classes': ['cat', 'Cat']}, "classes: 'cat' and 'Cat' are the same text to its tokenizer"),
    ({'classes': []}, 'classes: expected a name for each, got none'),
    ({'classes': ['cat']}, r"classes: expected two or more to tell apart, got \['cat'\]"),
    ({'classes': 'no.txt'}, r'classes: no file no\.txt'),
    ({'prompts': 'a photo of a {}.'}, r"prompts: no file a photo of a \{\}\.\. Write a list, \['a photo of"),
    ({'prompts': ['a photo']}, r"prompts: expected \{\} for the class, as in 'a photo of a \{\}\.', got 'a photo'"),
    ({'prompts': ' '.join(['word'] * 20) + ' {}'}, 'prompts: no file word'),
    ({'prompts': [' '.join(['word'] * 20) + ' {}']}, 'are the same text to its tokenizer.* shorten the prompts'),
    ({'task': 'embedding'}, 'classes and prompts are for classification'),
    ({'task': 'detection'}, r"task: expected 'classification' \| 'embedding', got 'detection'"),
    ({'input_size': 33.5}, 'input_size: expected'),
    ({'input_size': None}, r'cannot take a 64x64 image .*Set input_size'),
    ({'preprocess': 'openai'}, r'preprocess: expected a tag of local-dir.*got .openai.'),
    ({'preprocess': {'maen': [0, 0, 0]}}, r"preprocess: unknown key 'maen'\. Did you mean 'mean'"),
    ({'preprocess': {'resize_mode': 'crop'}}, r"preprocess\.resize_mode: expected 'shortest'"),
    ({'feature_layer': 'visual.transformer.resblocks.9'}, 'feature_layer: no layer')])
def test_what_does_not_fit_is_one_line(options, message, folder):
    block = {'type': 'OpenClipRecognizer', 'model': folder(), 'pretrained': True, 'classes': CLASSES, **options}
    with pytest.raises((OptionError, ValueError, TaskError), match=message) as error:
        build_recognizer(block)
    assert '\n' not in str(error.value) and len(str(error.value)) < 700


def test_a_folder_without_weights_is_one_line(folder, tmp_path):
    name = folder()
    (tmp_path / 'CLIP' / 'open_clip_model.safetensors').unlink()
    with pytest.raises(ValueError, match=r'CLIP has no weights \(open_clip_model\.safetensors\)\. Put them there'):
        OpenClipRecognizer(name, True, CLASSES)
    assert OpenClipRecognizer(name, False, CLASSES).info.source == 'random weights'


def test_options_are_checked_before_it_is_built():
    block = {'type': 'OpenClipRecognizer', 'model': 'ViT-B-32', 'pretrained': 'openai', 'classes': CLASSES,
             'prompts': PROMPTS, 'preprocess': {'mean': [0.5, 0.5, 0.5]}}
    RECOGNIZER_REGISTRY.check(block, 'recognizer')
    for key, value in (('task', 'detection'), ('pretrained', 3), ('classes', 5)):
        with pytest.raises(OptionError, match=rf'^recognizer\.{key}: expected'):
            RECOGNIZER_REGISTRY.check({**block, key: value}, 'recognizer')


def test_the_package_says_nothing_and_leaves_the_log_as_it_was(folder, caplog, monkeypatch):
    root = logging.getLogger()
    monkeypatch.setattr(root, 'handlers', [])
    OpenClipRecognizer(folder(), True, CLASSES)
    assert root.handlers == [] and root.filters == []
    monkeypatch.undo()
    with caplog.at_level(logging.INFO):
        OpenClipRecognizer(folder(), True, CLASSES)
        root.warning('of others')
    assert [record.message for record in caplog.records] == ['of others']
