"""Every registered recognizer, and a small one of each task, keeps the contract of its task's class.

A new recognizer has one line in `BLOCKS`, and one more for each further task.
"""
import re
import sys
from types import SimpleNamespace

import mm_configs as small
import pytest
import tiny_open_clip
import tiny_transformers
import torch
import torchvision
from test_onnx_recognizer import lite  # noqa: F401  (fixture)
from test_recognizers import onnx_file
from tiny_recognizers import TinyDetector, TinyEmbedder, TinySegmenter
from torchvision_nets import weights_of

from ra_plugin.losses import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss
from ra_plugin.metrics.task_scores import build_score
from ra_plugin.recognizers import ModuleDetector, build_recognizer
from ra_plugin.recognizers.base import Recognizer
from ra_plugin.recognizers.classification import ClassificationRecognizer
from ra_plugin.recognizers.detection import DetectionRecognizer
from ra_plugin.recognizers.embedding import EmbeddingRecognizer
from ra_plugin.recognizers.own_preprocessing import OwnPreprocessing
from ra_plugin.recognizers.segmentation import SegmentationRecognizer
from ra_plugin.recognizers.text import TextRecognizer
from ra_plugin.registry import RECOGNIZER_REGISTRY

SCALE = {'mean': [0.5, 0.4, 0.3], 'std': [0.2, 0.3, 0.4]}
MODULE = {'type': 'ModuleRecognizer', 'module': 'ra_plugin.recognizers.tiny_nets.TinyVGG', 'pretrained': False, **SCALE}

WORDS = {'type': 'CTCRecognizer', 'module': 'tiny_recognizers.TinyReader', 'pretrained': False, 'characters': 'abcdef'}

BLOCKS = {  # registered name, and the task where it has several -> its block, given files to name in it
    'BlackBoxRecognizer': lambda files: {
        'classes': ['cat', 'dog'], 'cache': files.folder,
        'command': [sys.executable, '-c', 'print(\'["dog"]\')', '{image}']},
    'CTCRecognizer': lambda files: WORDS,
    'DoctrRecognizer': lambda files: {'model_name': 'crnn_mobilenet_v3_small', 'pretrained': False,
                                      'model_kwargs': {'vocab': 'abcdef'}},
    'EnsembleRecognizer': lambda files: {'recognizers': [MODULE, MODULE], 'weights': [3, 1]},
    'MMDetRecognizer': lambda files: {'config': files.mmdet(), 'pretrained': False, 'resize': None},
    'MMSegRecognizer': lambda files: {'config': files.mmseg(), 'pretrained': False, 'resize': None},
    'ModuleRecognizer': lambda files: MODULE,
    'ModuleRecognizer: segmentation': lambda files: {
        **MODULE, 'module': 'tiny_recognizers.tiny_network', 'module_kwargs': {'channels': 3, 'stride': 2},
        'task': 'segmentation'},
    'ModuleRecognizer: segmentation_models_pytorch': lambda files: {
        **MODULE, 'module': 'segmentation_models_pytorch.FPN', 'task': 'segmentation',
        'module_kwargs': {'encoder_name': 'resnet18', 'encoder_weights': None, 'classes': 3}},
    'ModuleRecognizer: detection': lambda files: {
        'module': 'torchvision_nets.native', 'pretrained': False, 'task': 'detection', 'mean': [0, 0, 0],
        'std': [1, 1, 1], 'classes': ['cat', 'dog', 'bird'], 'feature_layer': 'backbone.fpn.layer_blocks.1',
        'module_kwargs': {'name': 'fasterrcnn_mobilenet_v3_large_320_fpn'}},
    'ModuleRecognizer: embedding': lambda files: {
        **MODULE, 'module': 'tiny_recognizers.tiny_embedding_network', 'task': 'embedding'},
    'OnnxRecognizer': lambda files: {'file': files.onnx(), **SCALE},
    'OnnxRecognizer: embedding': lambda files: {'file': files.onnx(), **SCALE, 'task': 'embedding'},
    'OpenClipRecognizer': lambda files: {
        'model': files.open_clip(), 'pretrained': True, 'classes': ['cat', 'dog', 'bird']},
    'OpenClipRecognizer: embedding': lambda files: {
        'model': files.open_clip(), 'pretrained': True, 'task': 'embedding'},
    'TFLiteRecognizer': lambda files: {'file': files.tflite(), **SCALE},
    'TFLiteRecognizer: embedding': lambda files: {'file': files.tflite(), **SCALE, 'task': 'embedding'},
    'TimmRecognizer': lambda files: {'model_name': 'test_resnet', 'pretrained': False, 'input_size': 32},
    'TimmRecognizer: embedding': lambda files: {
        'model_name': 'test_resnet', 'pretrained': False, 'input_size': 32, 'task': 'embedding'},
    'TorchvisionRecognizer': lambda files: {
        'model_name': 'squeezenet1_1', 'checkpoint': files.torchvision(), 'feature_layer': 'features',
        'input_size': 64},
    'TransformersRecognizer: classification': lambda files: {'model': files.transformers('ResNet')},
    'TransformersRecognizer: detection': lambda files: {'model': files.transformers('Detr'), 'resize': None},
    'TransformersRecognizer: embedding': lambda files: {'model': files.transformers('Dinov2', 'Dinov2Model')},
    'TransformersRecognizer: segmentation': lambda files: {
        'model': files.transformers('Segformer'), 'resize': None},
    'TorchvisionRecognizer: detection': lambda files: {
        'model_name': 'ssdlite320_mobilenet_v3_large', 'checkpoint': files.native('ssdlite320_mobilenet_v3_large'),
        'resize': None, 'model_kwargs': {'num_classes': 4}},
    'TorchvisionRecognizer: segmentation': lambda files: {
        'model_name': 'lraspp_mobilenet_v3_large', 'pretrained': False, 'resize': None,
        'model_kwargs': {'num_classes': 4}},
    'UltralyticsRecognizer': lambda files: {
        'model': 'yolov8n.yaml', 'pretrained': False, 'classes': 3, 'resize': None},
    'UltralyticsRecognizer: classification': lambda files: {
        'model': 'yolov8n-cls.yaml', 'checkpoint': files.ultralytics(), 'classes': 3, 'imgsz': 64},
}
SMALL = {'detector of a few lines': TinyDetector, 'segmenter of a few lines': TinySegmenter,
         'embedding of a few lines': TinyEmbedder}
TASK_CLASSES = {'classification': ClassificationRecognizer, 'detection': DetectionRecognizer,
                'segmentation': SegmentationRecognizer, 'embedding': EmbeddingRecognizer, 'text': TextRecognizer}
OWN_BASE = {'BlackBoxRecognizer', 'EnsembleRecognizer'}  # neither has a network of its own
SIZE = 64


def registered(case):
    return case.partition(':')[0]


@pytest.fixture
def files(tmp_path, lite):  # noqa: F811

    def torchvision_weights():
        torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), tmp_path / 'net.pth')
        return str(tmp_path / 'net.pth')

    def native_weights(name):
        torch.save(weights_of(name), tmp_path / 'net.pth')
        return str(tmp_path / 'net.pth')

    def ultralytics_weights():
        fresh = build_recognizer({'type': 'UltralyticsRecognizer', 'model': 'yolov8n-cls.yaml', 'pretrained': False,
                                  'classes': 3, 'imgsz': 32}, fold_batch_norm=False)
        # fresh ones answer alike to all images
        weights = {name: value * (2 if value.dim() == 4 else 1) for name, value in fresh.state_dict().items()}
        torch.save(weights, tmp_path / 'yolo.pth')
        return str(tmp_path / 'yolo.pth')

    return SimpleNamespace(
        folder=str(tmp_path), tflite=lite, torchvision=torchvision_weights, native=native_weights,
        ultralytics=ultralytics_weights,
        transformers=lambda *names: tiny_transformers.save(tmp_path / names[0], *names),
        onnx=lambda: onnx_file('TinyVGG', tmp_path),
        open_clip=lambda: tiny_open_clip.save(tmp_path / 'clip'),
        mmdet=lambda: small.write_config(tmp_path / 'retinanet.py', small.RETINANET, 'mmdet'),
        mmseg=lambda: small.write_config(tmp_path / 'fcn.py', small.FCN, 'mmseg'))


@pytest.fixture(params=[*BLOCKS, *SMALL])
def recognizer(request, files):
    if request.param in SMALL:
        return SMALL[request.param]()
    return build_recognizer({'type': registered(request.param), **BLOCKS[request.param](files)})


@pytest.fixture
def images():
    """Two smooth images."""
    return torch.nn.functional.interpolate(torch.rand(2, 3, 8, 8), (SIZE, SIZE), mode='bicubic').clamp(0, 1)


def label_of(recognizer):
    """Labels of two images in the format of the task; one of a detector's images has no object."""
    boxes = torch.tensor([[8., 6, 40, 50], [30, 20, 62, 60]])
    return {
        'classification': torch.tensor([0, 1]),
        'detection': [{'boxes': boxes, 'labels': torch.tensor([0, 2])},
                      {'boxes': boxes[:0], 'labels': torch.zeros(0, dtype=torch.long)}],
        'segmentation': torch.randint(3, (2, 8, 8)).repeat_interleave(8, 1).repeat_interleave(8, 2),
        'text': ['abba', 'f'],
    }.get(recognizer.info.task)


def compares_nothing(recognizer):
    """A detector of nobody's library says so; all others have outputs."""
    if not isinstance(recognizer, ModuleDetector):
        return False
    assert not gives(recognizer, 'outputs')
    with pytest.raises(ValueError, match='before boxes are chosen have no common form'):
        RecogConsistencyLoss(recognizer)
    return True


def gives(recognizer, method):
    try:
        recognizer.check_gives(method, 'here')
    except ValueError as error:
        assert str(error).startswith('here: ') and '\n' not in str(error)
        return False
    return True


def judges_alone(recognizer, method, images, *label, loss, **settings):
    """Return True for a recognizer that has no gradient to give, once the loss has refused it."""
    if recognizer.info.differentiable:
        return False
    try:
        found = getattr(recognizer, method)(images.requires_grad_(), *label)
    except ValueError as error:
        assert re.search('it can judge|gives answers, and no features', str(error)) and '\n' not in str(error)
    else:
        assert not any(value.requires_grad for value in found.values())
    with pytest.raises(ValueError, match='is not differentiable: it can be used for evaluation') as error:
        loss(recognizer, **settings)
    assert str(error.value).startswith(f'{loss.__name__}: {recognizer} ')
    return True


def test_every_registered_recognizer_has_a_case():
    assert set(map(registered, BLOCKS)) == set(RECOGNIZER_REGISTRY)


@pytest.mark.slow
@pytest.mark.parametrize('name', BLOCKS)
def test_the_options_pass_the_check(name, files):
    RECOGNIZER_REGISTRY.check({'type': registered(name), **BLOCKS[name](files)}, 'recognizer')


def test_it_derives_from_the_class_of_its_task(recognizer):
    assert isinstance(recognizer, TASK_CLASSES[recognizer.info.task]) or type(recognizer).__name__ in OWN_BASE


@pytest.mark.slow
def test_the_loss_has_terms_of_a_batch_or_of_each_image(recognizer, images):
    if not gives(recognizer, 'loss'):
        with pytest.raises(ValueError):
            recognizer.loss(images, label_of(recognizer))
        with pytest.raises(ValueError, match=r'^RecogLoss\.recognizer: '):
            RecogLoss(recognizer)
        return
    if judges_alone(recognizer, 'loss', images, label_of(recognizer), loss=RecogLoss):
        return
    terms = recognizer.loss(images.requires_grad_(), label_of(recognizer))
    assert terms and all(term.shape in ((), (2,)) and term.isfinite().all() for term in terms.values())
    gradient, = torch.autograd.grad(sum(term.sum() for term in terms.values()), images)
    assert gradient.isfinite().all() and gradient.any()
    assert RecogLoss(recognizer)(images, label_of(recognizer)).dim() == 0


@pytest.mark.slow
def test_the_outputs_are_what_the_consistency_loss_compares(recognizer, images):
    if judges_alone(recognizer, 'outputs', images, loss=RecogConsistencyLoss) or compares_nothing(recognizer):
        return
    outputs = recognizer.outputs(images)
    compared = {name: value for name, value in outputs.items() if name in recognizer.outputs(images, outputs)}
    for name, value in compared.items():
        assert isinstance(value, torch.Tensor) and value.is_floating_point() and len(value) == 2, name
    if recognizer.info.task == 'embedding':
        torch.testing.assert_close(outputs['embedding'].norm(dim=1), torch.ones(2))
    elif 'logits' in outputs:  # an ensemble has those of its members
        assert outputs['logits'].dim() >= 2
    loss = RecogConsistencyLoss(recognizer, distance='l1')  # fresh networks answer nearly alike
    restored = (images + 0.05 * torch.randn(images.shape)).requires_grad_()
    value = loss(restored, images)
    gradient, = torch.autograd.grad(value, restored)
    assert value > 0 and gradient.isfinite().all() and gradient.any()
    assert loss(images, images).abs() < 1e-6 * max(1, value.item()) + 1e-6


@pytest.mark.slow
def test_the_features_have_the_batch_first(recognizer, images):
    if judges_alone(recognizer, 'features', images, loss=RecogFeatureLoss):
        return
    assert len(recognizer.features(images)) == 2
    restored = (images + 0.05 * torch.randn(images.shape)).requires_grad_()
    RecogFeatureLoss(recognizer)(restored, images).backward()
    assert restored.grad.isfinite().all() and restored.grad.any()


def test_answers_are_kept_where_no_batch_mate_changes_them(recognizer, images):
    if judges_alone(recognizer, 'outputs', images, loss=RecogConsistencyLoss, cache_reference=True) or compares_nothing(
            recognizer):
        return
    if not recognizer.batch_independent:
        with pytest.raises(ValueError, match='cache_reference: not supported for .* depend on the whole batch'):
            RecogConsistencyLoss(recognizer, cache_reference=True)
        return
    alone, together = recognizer.outputs(images[:1]), recognizer.outputs(images)
    for name, value in together.items():
        torch.testing.assert_close(alone[name], value[:1], rtol=1e-4, atol=1e-5)


def test_what_it_predicts_has_the_form_of_its_task(recognizer, images):
    found, count = recognizer.predict(images), recognizer.info.num_classes
    if recognizer.info.task == 'classification':
        assert found['labels'].shape == found['scores'].shape == (2, found['labels'].shape[1])
        assert ('log_probabilities' in found) == recognizer.info.gives_probabilities
        assert -1 <= found['labels'].min() and found['labels'].max() < count
    elif recognizer.info.task == 'detection':
        assert len(found) == 2
        for one in found:
            boxes = len(one['boxes'])
            assert one['boxes'].shape == (boxes, 4) and one['labels'].shape == one['scores'].shape == (boxes,)
            assert (one['scores'].diff() <= 0).all() and ((one['labels'] >= 0) & (one['labels'] < count)).all()
    elif recognizer.info.task == 'segmentation':
        assert found['masks'].shape == (2, SIZE, SIZE) and 0 <= found['masks'].min() and found['masks'].max() < count
    elif recognizer.info.task == 'text':
        assert all(set(one['text']) <= set(recognizer.info.classes) and 0 <= one['score'] <= 1 for one in found)
    else:
        torch.testing.assert_close(found['embeddings'].norm(dim=1), torch.ones(2))
    if (label := label_of(recognizer)) is not None:
        score = build_score(recognizer.info)
        score.update(found, label)
        assert all(0 <= value <= 1 or name == 'cer' and value > 1 for name, value in score.compute().items())


def test_labels_of_another_task_or_count_are_refused(recognizer):
    own = label_of(recognizer)
    if own is None:  # it has no labels to check, and no loss that would take some
        recognizer.check_label(None, 2, 'here')
        with pytest.raises(ValueError, match=rf'^RecogLoss\.recognizer: {re.escape(str(recognizer))}: .*no loss agai'):
            RecogLoss(recognizer)
        return
    recognizer.check_label(own, 2, 'here')
    others = [torch.zeros(2, 4, 4, 4), [{}] * 2, 'cat', None, own[:1]]
    for wrong in others:
        with pytest.raises(ValueError, match='^here: ') as error:
            recognizer.check_label(wrong, 2, 'here')
        assert '\n' not in str(error.value)


def test_it_is_frozen_and_out_of_sight(recognizer):
    recognizer.train()
    modules = [module for network in recognizer.networks() for module in network.modules()]
    assert modules and not any(module.training for module in modules)
    assert not list(recognizer.parameters())
    assert not any(p.requires_grad for network in recognizer.networks() for p in network.parameters())


def test_its_facts_are_there(recognizer):
    assert isinstance(recognizer.own_preprocessing(), OwnPreprocessing)
    assert recognizer.resizing() and len(recognizer.resized(48, 32)) == 2
    assert recognizer.resizes_as_whole_images is False
    assert all(isinstance(member, Recognizer) and member.members() == (member,) for member in recognizer.members())


@pytest.mark.slow
def test_words_of_its_own(recognizer, images):
    if not recognizer.has_own_words:
        with pytest.raises(NotImplementedError, match='has no own_words'):
            recognizer.own_words(images)
    else:
        assert recognizer.own_words(images) == ['dog', 'dog']


@pytest.mark.parametrize('distance', ['l1', 'probability', 'kl', 'cosine'])
def test_the_distance_of_embeddings_is_about_their_direction(distance, images):
    embedder, other = TinyEmbedder(), torch.rand_like(images)
    a, b = (embedder.outputs(x)['embedding'] for x in (images, other))
    cosine = (embedder.features(images) * embedder.features(other)).sum(1) / (
        embedder.features(images).norm(dim=1) * embedder.features(other).norm(dim=1))
    expected = {'l1': (a - b).abs().mean(1), 'probability': (2 - 2 * cosine) / 5}.get(distance, 1 - cosine)
    value = RecogConsistencyLoss(embedder, distance=distance, reduction='none')(images, other)
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6)


def test_a_temperature_of_embeddings_is_refused():
    with pytest.raises(ValueError, match='temperature: only for class scores'):
        RecogConsistencyLoss(TinyEmbedder(), temperature=2)
