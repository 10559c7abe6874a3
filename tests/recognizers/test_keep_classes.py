"""keep_classes: some of a classifier's classes, as if its network had no others."""
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from test_onnx_recognizer import lite  # noqa: F401  (fixture)
from test_recognizers import onnx_file
from torch import nn

from ra_plugin import RecogConsistencyLoss, RecogLoss, build_recognizer
from ra_plugin.builders.identity import canonical, digest, named_files, same_network
from ra_plugin.recognizers.class_names import kept_ids
from ra_plugin.registry import RECOGNIZER_REGISTRY

SCALE = {'mean': [0.5, 0.4, 0.3], 'std': [0.2, 0.3, 0.4]}
NAMES = [f'class {i}' for i in range(10)]
KEPT = [7, 2, 9]
MODULE = {'type': 'ModuleRecognizer', 'module': 'ra_plugin.recognizers.tiny_nets.TinyVGG', 'pretrained': False,
          'classes': NAMES, **SCALE}


def torchvision_block(folder):
    torch.save(torchvision.models.squeezenet1_1(weights=None, num_classes=10).state_dict(), folder / 'net.pth')
    return {'type': 'TorchvisionRecognizer', 'model_name': 'squeezenet1_1', 'checkpoint': str(folder / 'net.pth'),
            'feature_layer': 'features', 'input_size': 64, 'model_kwargs': {'num_classes': 10}}


def ultralytics_block(folder):
    block = {'type': 'UltralyticsRecognizer', 'model': 'yolov8n-cls.yaml', 'classes': NAMES, 'imgsz': 64}
    fresh = build_recognizer({**block, 'pretrained': False}, fold_batch_norm=False)
    torch.save({name: value * (2 if value.dim() == 4 else 1) for name, value in fresh.state_dict().items()},
               folder / 'yolo.pth')  # fresh ones answer alike to all images
    return {**block, 'checkpoint': str(folder / 'yolo.pth')}


CASES = {
    'timm': lambda folder: {'type': 'TimmRecognizer', 'model_name': 'test_resnet', 'pretrained': False,
                            'input_size': 32, 'model_kwargs': {'num_classes': 10}},
    'torchvision': torchvision_block,
    'module': lambda folder: MODULE,
    'ultralytics': ultralytics_block,
    'onnx': lambda folder: {'type': 'OnnxRecognizer', 'file': onnx_file('TinyVGG', folder), 'classes': NAMES, **SCALE},
}


@pytest.fixture
def images():
    return F.interpolate(torch.rand(2, 3, 8, 8), (32, 32), mode='bicubic').clamp(0, 1)


@pytest.mark.slow
@pytest.mark.parametrize('case', CASES)
def test_answers_are_the_columns_of_the_whole_network(case, images, tmp_path):
    block = CASES[case](tmp_path)
    whole, part = build_recognizer(block), build_recognizer({**block, 'keep_classes': KEPT})
    logits, label = whole.logits(images)[:, KEPT], torch.tensor([0, 2])
    torch.testing.assert_close(part.outputs(images)['logits'], logits)
    torch.testing.assert_close(part.loss(images, label)['cross_entropy'],
                               F.cross_entropy(logits, label, reduction='none'))
    found, chances = part.predict(images), whole.predict(images)['log_probabilities'].exp()[:, KEPT]
    torch.testing.assert_close(found['log_probabilities'].exp(), chances / chances.sum(1, keepdim=True))
    assert torch.equal(found['labels'][:, 0], chances.argmax(1)) and found['labels'].shape == (2, 3)
    torch.testing.assert_close(part.probabilities(images).sum(1), torch.ones(2))
    torch.testing.assert_close(part.features(images), whole.features(images))
    assert part.info.num_classes == 3
    assert part.info.classes == (tuple(NAMES[i] for i in KEPT) if 'classes' in block else None)
    with pytest.raises(ValueError, match=r'expected labels in 0\.\.2, got 0\.\.7'):
        part.check_label(torch.tensor([0, 7]), 2, 'here')


def test_a_tflite_file_keeps_classes(lite, images):  # noqa: F811
    block = {'type': 'TFLiteRecognizer', 'file': lite(), 'classes': ['red', 'green', 'blue'], **SCALE}
    whole, part = build_recognizer(block), build_recognizer({**block, 'keep_classes': ['blue', 'red']})
    torch.testing.assert_close(part.outputs(images)['logits'], whole.outputs(images)['logits'][:, [2, 0]])
    assert part.info.classes == ('blue', 'red')


class Probabilities(nn.Module):
    def forward(self, x):
        return x.mean((2, 3)).repeat(1, 2).softmax(1)


def test_answers_that_are_probabilities_are_renormalized(images, tmp_path):
    path = str(tmp_path / 'net.onnx')
    torch.onnx.export(Probabilities(), (torch.rand(1, 3, 32, 32),), path, dynamo=False, opset_version=17,
                      dynamic_axes={'x': {0: 'N'}}, input_names=['x'])
    block = {'type': 'OnnxRecognizer', 'file': path, 'probabilities': True, **SCALE}
    chances = build_recognizer(block).probabilities(images)[:, [4, 0]]
    part = build_recognizer({**block, 'keep_classes': [4, 0]})
    torch.testing.assert_close(part.probabilities(images), chances / chances.sum(1, keepdim=True))


@pytest.mark.slow
def test_names_of_imagenet_stand_for_its_columns(images):
    kept = ['goldfish', 'Tench', 'tabby']
    block = {'type': 'TimmRecognizer', 'model_name': 'test_resnet', 'pretrained': False, 'input_size': 32}
    part = build_recognizer({**block, 'keep_classes': kept})
    infos = timm.data.ImageNetInfo()
    ids = [next(i for i in range(1000) if infos.index_to_description(i).partition(',')[0] == name.lower())
           for name in kept]
    assert ids == [1, 0, 281] and part.info.classes == ('goldfish', 'tench', 'tabby')
    torch.testing.assert_close(part.outputs(images)['logits'], build_recognizer(block).logits(images)[:, ids])
    with pytest.raises(ValueError, match=r"test_resnet\): keep_classes: 'crane' is the name of the classes 134, 517\."):
        build_recognizer({**block, 'keep_classes': ['crane']})


@pytest.mark.slow
def test_the_list_may_be_a_text_file(images, tmp_path):
    (tmp_path / 'kept.txt').write_text('class 7\n2\n class 9\n')
    block = {**MODULE, 'keep_classes': str(tmp_path / 'kept.txt')}
    RECOGNIZER_REGISTRY.check(block, 'r')
    expected = build_recognizer({**MODULE, 'keep_classes': KEPT}).outputs(images)
    torch.testing.assert_close(build_recognizer(block).outputs(images), expected)


@pytest.mark.parametrize('keep, message', [
    (['clas 7'], r"ModuleRecognizer\(TinyVGG\): keep_classes: no class 'clas 7'\. Did you mean 'class 7'"),
    ([10], r'keep_classes: expected ids in 0\.\.9, got 10'), (['-1'], r'expected ids in 0\.\.9, got -1'),
    ([1, 'class 1'], 'expected each class once, got 1 more than once'),
    ([], 'expected at least one class, got none'), ('nowhere.txt', 'keep_classes: no file nowhere.txt'),
], ids=['typo', 'id', 'negative', 'twice', 'empty', 'file'])
def test_what_cannot_be_kept_is_named_in_one_line(keep, message):
    with pytest.raises(ValueError, match=message) as error:
        build_recognizer({**MODULE, 'keep_classes': keep})
    assert '\n' not in str(error.value)


def test_without_names_ids_are_asked_for():
    with pytest.raises(ValueError, match="no class 'cat'. The names are not known: give ids, or classes"):
        build_recognizer({**MODULE, 'classes': None, 'keep_classes': ['cat']})


def test_digits_are_a_name_where_a_class_has_it():
    assert kept_ids(['3', '1'], ['0', '7', '3', '1'], 4, 'x') == [2, 3]
    assert kept_ids([3, 1], ['0', '7', '3', '1'], 4, 'x') == [3, 1]


@pytest.mark.parametrize('block', [
    {**MODULE, 'task': 'embedding', 'module': 'tiny_recognizers.tiny_embedding_network', 'classes': None},
    {'type': 'TimmRecognizer', 'model_name': 'test_resnet', 'pretrained': False, 'model_kwargs': {'num_classes': 0}}],
    ids=['module', 'timm'])
def test_a_network_without_classes_keeps_none(block):
    with pytest.raises(ValueError, match='keep_classes'):
        build_recognizer({**block, 'keep_classes': [0]})


@pytest.mark.slow
def test_a_detector_keeps_all_its_classes():
    with pytest.raises(ValueError, match=r'\(yolov8n\): keep_classes: is an option of a classifier'):
        build_recognizer({'type': 'UltralyticsRecognizer', 'model': 'yolov8n.yaml', 'pretrained': False,
                          'keep_classes': [0]})


@pytest.mark.slow
def test_members_of_an_ensemble_may_keep_the_classes_that_they_share(images):
    few = {**MODULE, 'module_kwargs': {'num_classes': 3}, 'classes': [NAMES[i] for i in KEPT]}
    ensemble = build_recognizer({'type': 'EnsembleRecognizer', 'recognizers': [few, {**MODULE, 'keep_classes': KEPT}]})
    expected = (build_recognizer(few).logits(images).softmax(1)
                + build_recognizer(MODULE).logits(images)[:, KEPT].softmax(1)) / 2
    torch.testing.assert_close(ensemble.predict(images)['log_probabilities'].exp(), expected)


def test_losses_moves_and_learning_keep_them(images):
    block = {**MODULE, 'keep_classes': KEPT}
    loss = RecogConsistencyLoss(block)
    assert loss.double()(images.double(), images.flip(3).double()) > 0
    learner = RecogLoss({**block, 'trainable': True})
    learner(images, torch.tensor([0, 1])).backward()
    gradient = learner.recognizer.model.head.weight.grad
    assert gradient[KEPT].any(1).all() and not gradient[[0, 1, 3, 4, 5, 6, 8]].any()


def test_it_is_part_of_what_a_recognizer_is_and_not_of_its_network(tmp_path):
    kept, file = {**MODULE, 'keep_classes': KEPT}, tmp_path / 'kept.txt'
    assert digest(canonical(kept)) != digest(canonical(MODULE))
    assert same_network(kept, MODULE)
    file.write_text('2\n')
    block = {**MODULE, 'keep_classes': str(file)}
    before = digest(named_files(block))
    file.write_text('3\n')
    assert digest(named_files(block)) != before
