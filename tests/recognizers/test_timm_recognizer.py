"""Networks of timm by task: classifiers, and networks without a head and towers of CLIP, whose vectors are compared."""
import copy
import pickle
import re

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image

from ra_plugin import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss, build_recognizer
from ra_plugin.options import OptionError
from ra_plugin.recognizers import EnsembleRecognizer, TimmRecognizer
from ra_plugin.recognizers.classification import ClassificationRecognizer
from ra_plugin.recognizers.embedding import EmbeddingRecognizer
from ra_plugin.recognizers.facts import TaskError
from ra_plugin.recognizers.timm_recognizer import TimmClassifier, TimmEmbedder
from ra_plugin.recognizers.timm_records import is_embedding, record_of
from ra_plugin.registry import RECOGNIZER_REGISTRY


def block(name='test_resnet', input_size=64, task=None, **kwargs):
    return {'type': 'TimmRecognizer', 'model_name': name, 'pretrained': False, 'input_size': input_size,
            'model_kwargs': kwargs, **({'task': task} if task else {})}


EMBEDDINGS = {
    'num_classes: 0': block(num_classes=0),
    'DINOv2': block('vit_small_patch14_dinov2', 28, img_size=28, depth=1),
    'CLIP': block('vit_base_patch32_clip_224.openai', 32, img_size=32, depth=1),
    'CLIP, its width given': block('vit_base_patch32_clip_224', 32, img_size=32, depth=1, num_classes=512),
    'SigLIP': block('vit_base_patch16_siglip_224', 32, img_size=32, depth=1),
}


@pytest.fixture(params=EMBEDDINGS)
def embedding(request):
    return build_recognizer(EMBEDDINGS[request.param])


def own_model(recognizer, options):
    """The network as timm builds it, with the weights of the recognizer."""
    model = timm.create_model(options['model_name'], pretrained=False, **options['model_kwargs']).eval()
    model.load_state_dict(recognizer.model.state_dict())
    return model


@pytest.mark.slow
@pytest.mark.parametrize('name', EMBEDDINGS)
def test_the_vectors_are_timms_own_of_the_same_picture(name):
    options = EMBEDDINGS[name]
    pixels = np.random.default_rng(0).integers(0, 256, (12, 9, 3), np.uint8)
    picture = Image.fromarray(pixels).resize((90, 120), Image.BILINEAR)
    images = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None] / 255
    recognizer = build_recognizer(options, fold_batch_norm=False)
    model = own_model(recognizer, options)
    config = {**timm.data.resolve_data_config(model=model), 'crop_pct': 1.0}
    config['input_size'] = (3, *recognizer.info.input_size)
    with torch.no_grad():
        theirs = F.normalize(model(timm.data.create_transform(**config)(picture)[None]), dim=1)
    ours = recognizer.predict(images)['embeddings']
    assert ours.shape == theirs.shape and (ours * theirs).sum() > 0.9999  # PIL rounds to 8 bit


@pytest.mark.slow
def test_a_network_without_a_head_compares_vectors_and_features(embedding):
    assert isinstance(embedding, EmbeddingRecognizer) and type(embedding) is TimmEmbedder
    assert (embedding.info.task, embedding.info.num_classes, embedding.info.classes) == ('embedding', 0, None)
    output, clean = torch.rand(2, 2, 3, 32, 32)
    vectors = [embedding.model(embedding.prepare(images)) for images in (output, clean)]
    expected = 1 - torch.cosine_similarity(*vectors)
    torch.testing.assert_close(RecogConsistencyLoss(embedding, reduction='none')(output, clean), expected,
                               rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(embedding.features(clean), embedding.model.forward_features(embedding.prepare(clean)))
    for loss in (RecogConsistencyLoss(embedding), RecogFeatureLoss(embedding)):
        gradient, = torch.autograd.grad(loss(output.requires_grad_(), clean), output)
        assert gradient.isfinite().all() and gradient.abs().max() > 0
    message = r'^RecogLoss\.recognizer: TimmRecognizer\(.*no loss against labels.*RecogConsistencyLoss'
    with pytest.raises(ValueError, match=message):
        RecogLoss(embedding)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['num_classes: 0', 'SigLIP'])
def test_the_gradient_of_the_vectors_is_that_of_finite_differences(name):
    loss = RecogConsistencyLoss(build_recognizer(EMBEDDINGS[name])).double()
    output, clean, direction = torch.rand(3, 1, 3, 40, 36, dtype=torch.float64)
    gradient, = torch.autograd.grad(loss(output.requires_grad_(), clean), output)
    step = 1e-6 * (direction - 0.5)
    with torch.no_grad():
        slope = (loss(output + step, clean) - loss(output - step, clean)) / 2
    torch.testing.assert_close((gradient * step).sum(), slope, rtol=1e-4, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize('options', [
    block(num_classes=7), block('vit_small_patch14_dinov2', 28, img_size=28, depth=1, num_classes=7),
    block('vit_base_patch32_clip_224', 32, img_size=32, depth=1, num_classes=7),
    block('vit_base_patch32_clip_224.laion2b_ft_in1k', 32, img_size=32, depth=1),
    block('vit_base_patch32_clip_224', 32, img_size=32, depth=1, num_classes=512,
          pretrained_cfg_overlay={'label_names': list(map(str, range(512)))}),
    block('vit_base_patch32_clip_224.openai', 32, 'classification', img_size=32, depth=1)],
    ids=['ResNet', 'DINOv2', 'CLIP', 'CLIP on ImageNet', 'CLIP with names', 'CLIP if the task says so'])
def test_one_with_a_head_classifies(options):
    recognizer = build_recognizer(options)
    assert type(recognizer) is TimmClassifier and isinstance(recognizer, ClassificationRecognizer)
    assert recognizer.info.task == 'classification' and recognizer.info.num_classes in (7, 512, 1000)


@pytest.mark.slow
@pytest.mark.parametrize('name, kwargs', [
    ('test_resnet', {}), ('test_efficientnet', {}), ('test_nfnet', {}), ('test_convnext', {}), ('test_mambaout', {}),
    ('test_vit', {'img_size': 64}), ('test_vit2', {'img_size': 64}), ('mobilenetv3_small_050', {}),
    ('swin_tiny_patch4_window7_224', {'img_size': 64, 'embed_dim': 16, 'depths': (1, 1),
                                                     'num_heads': (2, 4), 'window_size': 4})])
def test_the_vectors_of_a_classifier_are_what_its_head_is_given(name, kwargs):
    options = block(name, task='embedding', **kwargs)
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, **kwargs).eval()
    recognizer = build_recognizer(options, fold_batch_norm=False)
    rest = [key for key in recognizer.model.state_dict() if key not in model.state_dict()]
    model.load_state_dict(recognizer.model.state_dict(), strict=False)
    prepared = recognizer.prepare(torch.rand(2, 3, 64, 64))
    expected = model.forward_head(model.forward_features(prepared), pre_logits=True)
    assert not rest and expected.dim() == 2 and recognizer.info.num_classes == 0
    torch.testing.assert_close(recognizer.vectors(prepared * recognizer.std + recognizer.mean), expected,
                               rtol=1e-3, atol=1e-4)


def test_a_network_without_a_head_does_not_classify():
    for make in (lambda: build_recognizer(block(num_classes=0, task='classification')),
                 lambda: TimmClassifier('test_resnet', False, model_kwargs={'num_classes': 0})):
        with pytest.raises(TaskError, match=r'^TimmRecognizer\(\w+\): it has no head.*task: embedding') as error:
            make()
        assert '\n' not in str(error.value)


def test_maps_are_features_and_no_vectors():
    recognizer, images = build_recognizer(block(num_classes=0, global_pool='')), torch.rand(2, 3, 64, 64)
    assert recognizer.features(images).dim() == 4
    assert RecogFeatureLoss(recognizer)(images, images.flip(3)) > 0
    message = r'expected vectors \(N, D\) from the network, got a map .*global_pool.*RecogFeatureLoss\.$'
    with pytest.raises(ValueError, match=rf'^RecogConsistencyLoss\.recognizer: TimmRecognizer\(\w+\): {message}'):
        RecogConsistencyLoss(recognizer)
    for ask in (recognizer.predict, recognizer.outputs, recognizer.vectors):
        with pytest.raises(TaskError, match=message):
            ask(images)


def test_one_channel_is_the_luma():
    recognizer, images = build_recognizer(block(num_classes=0, in_chans=1)), torch.rand(2, 3, 64, 64)
    luma = (images * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True).expand(-1, 3, -1, -1)
    torch.testing.assert_close(recognizer.vectors(images), recognizer.vectors(luma))
    assert recognizer.info.channels == 1


@pytest.mark.slow
def test_an_ensemble_of_embeddings_compares_the_vectors_of_each():
    members = [build_recognizer(block(num_classes=0)),
               build_recognizer(block('test_efficientnet', num_classes=0))]
    output, clean = torch.rand(2, 2, 3, 64, 64)
    assert RecogFeatureLoss(EnsembleRecognizer(members))(output, clean) > 0
    expected = sum(RecogConsistencyLoss(member)(output, clean) for member in members) / 2
    torch.testing.assert_close(RecogConsistencyLoss(EnsembleRecognizer(members))(output, clean), expected)
    nested = {'type': 'EnsembleRecognizer', 'recognizers': [
        {'type': 'EnsembleRecognizer', 'recognizers': 2 * [EMBEDDINGS['num_classes: 0']], 'sample': 1}]}
    for ensemble in (EnsembleRecognizer(members), nested):
        with pytest.raises(ValueError, match=r'^RecogLoss\.recognizer: Timm.*no loss against labels'):
            RecogLoss(ensemble)


# Which task it is

@pytest.mark.slow
@pytest.mark.parametrize('name, kwargs', [
    ('test_resnet', {}), ('test_resnet', {'num_classes': 3}), ('test_resnet', {'num_classes': 0}),
    ('vit_small_patch14_dinov2', {'img_size': 28, 'depth': 1}), ('test_resnet.r160_in1k', {}),
    ('vit_base_patch32_clip_224.openai', {'img_size': 32, 'depth': 1}),
    ('vit_base_patch32_clip_224.laion2b_ft_in1k', {'img_size': 32, 'depth': 1}),
    ('vit_base_patch16_siglip_224', {'img_size': 32, 'depth': 1}),
    ('test_resnet', {'pretrained_cfg_overlay': {'num_classes': 0}})])
def test_the_record_is_that_of_the_model_once_built(name, kwargs):
    model = timm.create_model(name, pretrained=False, **kwargs)
    record = record_of(timm, name, kwargs, 'here')
    assert record['num_classes'] == model.num_classes
    assert is_embedding(timm, record) == is_embedding(timm, {**model.pretrained_cfg, 'num_classes': model.num_classes})


@pytest.mark.slow
@pytest.mark.parametrize('count, cls', [(0, TimmEmbedder), (5, TimmClassifier)])
def test_a_folder_says_which_task_it_is_for(count, cls, tmp_path):
    model = timm.create_model('test_resnet', num_classes=count)
    timm.models.save_for_hf(model, tmp_path / 'net', safe_serialization=True)
    for pretrained in (True, False):
        recognizer = build_recognizer({'type': 'TimmRecognizer', 'model_name': f'local-dir:{tmp_path / "net"}',
                                       'pretrained': pretrained})
        assert type(recognizer) is cls and recognizer.info.num_classes == count


@pytest.mark.slow
def test_the_network_is_built_once(monkeypatch):
    calls, create = [], timm.create_model
    monkeypatch.setattr(timm, 'create_model', lambda *args, **kwargs: calls.append(args) or create(*args, **kwargs))
    build_recognizer(EMBEDDINGS['num_classes: 0'])
    build_recognizer(block())
    assert len(calls) == 2


@pytest.mark.slow
def test_copies_are_of_the_same_class(embedding):
    for again in (copy.deepcopy(embedding), pickle.loads(pickle.dumps(embedding))):
        assert type(again) is TimmEmbedder
        images = torch.rand(1, 3, 32, 32)
        torch.testing.assert_close(again.vectors(images), embedding.vectors(images))


class Own(TimmRecognizer):
    """A user's class with arguments of its own."""

    def __init__(self, classes):
        super().__init__('test_resnet', False, model_kwargs={'num_classes': classes})


def test_a_class_of_a_users_own_with_other_arguments_classifies():
    assert isinstance(Own(3), TimmClassifier) and Own(3).info.num_classes == 3


@pytest.mark.parametrize('options, message', [
    ({'task': 'detection'}, r"^recognizer\.task: expected 'classification' \| 'embedding' .*, got 'detection'"),
    ({'model_name': 'resnte18'}, r"^TimmRecognizer\(resnte18\): timm has no such model\. Did you mean 'resnet18'"),
    ({'model_name': 'resnet18.a9'}, r"timm .* has no pretrained weights with the tag 'a9'"),
    ({'model_name': 'local-dir:nowhere'}, 'expected a folder with config.json'),
    ({'model_kwargs': {'num_classes': 'many'}}, r'model_kwargs\.num_classes: expected a whole number'),
    ({'task': 'embedding', 'keep_classes': [1]}, 'keep_classes is for classifiers'),
    ({'pretrained': None}, r'no weights\. Set pretrained: true')])
def test_what_does_not_fit_is_one_line(options, message):
    with pytest.raises((OptionError, ValueError), match=message) as error:
        build_recognizer({'type': 'TimmRecognizer', 'model_name': 'test_resnet', 'pretrained': False, **options})
    assert '\n' not in str(error.value)


def test_the_class_of_the_other_task_is_refused():
    with pytest.raises(TaskError, match=re.escape('task: embedding, but TimmClassifier is for classification')):
        TimmClassifier('test_resnet', False, task='embedding')


def test_options_are_checked_before_it_is_built():
    RECOGNIZER_REGISTRY.check(block(task='embedding'), 'recognizer')
    with pytest.raises(OptionError, match=r'^recognizer\.task: expected'):
        RECOGNIZER_REGISTRY.check(block(task='segmentation'), 'recognizer')
