"""Embedding networks in model files, as those for faces: onnxruntime's vectors, their gradient, what is refused."""
import copy
import pickle
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx import helper
from test_onnx_recognizer import MEAN, STD, graph, lite, pooled  # noqa: F401  (fixtures)
from torch import nn

from ra_plugin import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss, build_recognizer
from ra_plugin.options import OptionError
from ra_plugin.recognizers import ModuleRecognizer, OnnxRecognizer, TFLiteRecognizer
from ra_plugin.recognizers.embedding import EmbeddingRecognizer
from ra_plugin.recognizers.facts import TaskError
from ra_plugin.recognizers.file.onnx_recognizer import OnnxClassifier, OnnxEmbedder
from ra_plugin.registry import RECOGNIZER_REGISTRY

HALF = {'mean': [0.5] * 3, 'std': [0.5] * 3}  # (x - 127.5) / 127.5
FACE = {'mean': [0.5] * 3, 'std': [128 / 255] * 3}  # (x - 127.5) / 128


class Unit(nn.Module):
    """A residual unit as in networks for faces: normalized before the convolution, PReLU between."""

    def __init__(self, channels):
        super().__init__()
        self.body = nn.Sequential(nn.BatchNorm2d(channels), nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                                  nn.BatchNorm2d(channels), nn.PReLU(channels),
                                  nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x):
        return x + self.body(x)


def face_network(side=112, channels=4, width=16):
    """Vectors of small pictures of faces; statistics of batch norm are not the first ones."""
    small = -(-side // 8)
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, channels, 3, stride=8, padding=1, bias=False), nn.BatchNorm2d(channels), nn.PReLU(channels),
        Unit(channels), nn.BatchNorm2d(channels), nn.Dropout(0.4), nn.Flatten(),
        nn.Linear(channels * small * small, width), nn.BatchNorm1d(width))
    for name, buffer in network.named_buffers():
        if name.endswith('running_var'):
            buffer.uniform_(0.5, 1.5)
        elif name.endswith('running_mean'):
            buffer.uniform_(-0.1, 0.1)
    for module in network.modules():
        if isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0.1, 0.6)
    return network.eval()


@pytest.fixture(scope='module')
def faces(tmp_path_factory):
    """``faces(batch)``: the network as a file, whose batch is fixed or, for None, any."""
    known = {}

    def make(batch=None, opset=11):
        if (batch, opset) not in known:
            path = str(tmp_path_factory.mktemp('faces') / 'w600k.onnx')
            axes = {} if batch else {'dynamic_axes': {'input.1': {0: 'None'}, 'vector': {0: 'None'}}}
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # of the exporter, which is to be replaced
                torch.onnx.export(face_network(), (torch.rand(batch or 1, 3, 112, 112),), path, dynamo=False,
                                  opset_version=opset, input_names=['input.1'], output_names=['vector'],
                                  do_constant_folding=False, **axes)
            known[batch, opset] = path
        return known[batch, opset]

    return make


def of_runtime(path, prepared):
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    name = session.get_inputs()[0].name
    return torch.from_numpy(np.concatenate([session.run(None, {name: one[None].numpy()})[0] for one in prepared]))


def test_the_file_has_the_layers_that_are_in_question(faces):
    nodes = {node.op_type for node in onnx.load(faces()).graph.node}
    assert {'BatchNormalization', 'PRelu', 'Flatten', 'Gemm', 'Conv'} <= nodes


@pytest.mark.slow
@pytest.mark.parametrize('batch, opset', [(None, 11), (1, 11), (None, 17)])
@pytest.mark.parametrize('differentiable', [True, False])
def test_the_vectors_are_onnxruntimes_of_the_pixels(differentiable, batch, opset, faces):
    path = faces(batch, opset)
    pixels = torch.randint(256, (3, 3, 112, 112))
    recognizer = OnnxRecognizer(path, **FACE, task='embedding', differentiable=differentiable)
    assert isinstance(recognizer, EmbeddingRecognizer) and type(recognizer) is OnnxEmbedder
    assert (recognizer.info.task, recognizer.info.input_size, recognizer.info.num_classes) == (
        'embedding', (112, 112), 0)
    expected = of_runtime(path, (pixels - 127.5) / 128)
    torch.testing.assert_close(recognizer.vectors(pixels / 255), expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(recognizer.predict(pixels / 255)['embeddings'], F.normalize(expected, dim=1),
                               rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_images_of_another_size_are_resized(faces):
    recognizer, images = OnnxRecognizer(faces(), **HALF, task='embedding'), torch.rand(2, 3, 90, 70)
    resized = F.interpolate(images, (112, 112), mode='bilinear', antialias=True)
    stretched = OnnxRecognizer(faces(), **HALF, task='embedding', fit='stretch')
    torch.testing.assert_close(stretched.vectors(images), recognizer.vectors(resized), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('batch', [None, 1])
def test_loss_and_gradient_are_those_of_the_network(batch, faces):
    ours = OnnxRecognizer(faces(batch), **HALF, task='embedding')
    native = ModuleRecognizer(face_network(), **HALF, task='embedding', input_size=112).double()
    output, clean, direction = torch.rand(3, 2, 3, 112, 112, dtype=torch.float64)
    gradients = []
    for recognizer, images in ((ours, output.float()), (native, output)):
        loss = RecogConsistencyLoss(recognizer)(images.requires_grad_(), clean.to(images))
        gradients.append(torch.cat([loss.detach().view(1), torch.autograd.grad(loss, images)[0].flatten()]).double())
    scale = gradients[1][1:].abs().max()
    torch.testing.assert_close(gradients[0][:1], gradients[1][:1], rtol=1e-4, atol=1e-6)
    assert (gradients[0][1:] - gradients[1][1:]).abs().max() < 1e-3 * scale
    step, compare = 1e-6 * (direction - 0.5), RecogConsistencyLoss(native)
    with torch.no_grad():
        slope = (compare(output + step, clean) - compare(output - step, clean)) / 2
    torch.testing.assert_close((gradients[1][1:] * step.flatten()).sum(), slope, rtol=1e-4, atol=0)


@pytest.mark.slow
def test_it_serves_every_loss_that_needs_no_labels(faces):
    recognizer = OnnxRecognizer(faces(1), **HALF, task='embedding')
    output, clean = torch.rand(2, 2, 3, 112, 112)
    cosine = torch.cosine_similarity(recognizer.vectors(output), recognizer.vectors(clean))
    torch.testing.assert_close(RecogConsistencyLoss(recognizer, reduction='none')(output, clean), 1 - cosine)
    assert RecogFeatureLoss(recognizer)(output, clean) > 0
    block = {'type': 'OnnxRecognizer', 'file': faces(1), **HALF, 'task': 'embedding', 'feature_layer': 'PRelu_8'}
    RECOGNIZER_REGISTRY.check(block, 'recognizer')
    assert build_recognizer(block).features(clean).shape == (2, 4, 14, 14)
    with pytest.raises(ValueError, match=r'^RecogLoss\.recognizer: OnnxRecognizer\(w600k\): .*no loss against labels'):
        RecogLoss(recognizer)


@pytest.mark.slow
@pytest.mark.parametrize('kind, task', [(OnnxRecognizer, 'embedding'), (OnnxRecognizer, 'classification'),
                                        (TFLiteRecognizer, 'embedding')])
def test_channels_may_come_from_blue_to_red(kind, task, faces, lite):  # noqa: F811
    file = faces() if kind is OnnxRecognizer else lite()
    size = (112, 112) if kind is OnnxRecognizer else (4, 6)
    images = torch.rand(2, 3, *size)
    ask = 'vectors' if task == 'embedding' else 'logits'
    rgb = kind(file, [0.5, 0.4, 0.3], [0.2, 0.3, 0.4], task=task)
    bgr = kind(file, [0.3, 0.4, 0.5], [0.4, 0.3, 0.2], task=task, channel_order='bgr')
    torch.testing.assert_close(getattr(bgr, ask)(images.flip(1)), getattr(rgb, ask)(images))


@pytest.mark.slow
def test_copies_answer_alike(faces):
    recognizer, images = OnnxRecognizer(faces(), **HALF, task='embedding'), torch.rand(1, 3, 112, 112)
    for again in (copy.deepcopy(recognizer), pickle.loads(pickle.dumps(recognizer))):
        assert type(again) is OnnxEmbedder and torch.equal(again.vectors(images), recognizer.vectors(images))


@pytest.mark.slow
def test_without_the_task_it_classifies(faces):
    recognizer = OnnxRecognizer(faces(), **HALF)
    assert type(recognizer) is OnnxClassifier and recognizer.info.num_classes == 16


@pytest.mark.parametrize('options, message', [
    ({'classes': ['a', 'b']}, 'classes is for classifiers, and this is for embedding'),
    ({'keep_classes': []}, 'keep_classes is for classifiers'), ({'probabilities': True}, 'probabilities is for class'),
    ({'task': 'detection'}, "task: expected 'classification' | 'embedding', got 'detection'"),
    ({'channel_order': 'gbr'}, "channel_order: expected 'rgb' | 'bgr', got 'gbr'"),
    ({'input_size': 64}, 'cannot take a 64x64 image'), ({'std': [1, 1, 0]}, 'std: expected three numbers, positive')])
def test_options_that_do_not_fit_are_one_line(options, message, faces):
    block = {'type': 'OnnxRecognizer', 'file': faces(), **HALF, 'task': 'embedding', **options}
    with pytest.raises((OptionError, ValueError)) as error:
        build_recognizer(block)
    assert message in str(error.value) and '\n' not in str(error.value)


@pytest.mark.slow
def test_maps_are_no_vectors(graph):  # noqa: F811
    path = graph([helper.make_node('Relu', ['x'], ['y'])])
    for differentiable in (True, False):
        with pytest.raises(TaskError, match=r'^OnnxRecognizer\(graph\): expected vectors \(N, D\) from the network, '
                                            r'got a map \(2, 3, 8, 8\) for 2 images\. Cut the file') as error:
            OnnxRecognizer(path, MEAN, STD, task='embedding', differentiable=differentiable)
        assert '\n' not in str(error.value)
    assert OnnxRecognizer(graph(pooled(helper.make_node('Relu', ['x'], ['h']))), MEAN, STD,
                          task='embedding').info.task == 'embedding'


@pytest.mark.parametrize('quantized, tolerance', [(False, 1e-5), (True, 1.01 / 32)])
def test_a_tflite_file_judges_by_its_vectors(quantized, tolerance, lite):  # noqa: F811
    recognizer = TFLiteRecognizer(lite(quantized), MEAN, STD, task='embedding')
    images = torch.rand(3, 3, 4, 6)
    torch.testing.assert_close(recognizer.vectors(images), recognizer.prepare(images).mean((2, 3)), rtol=0,
                               atol=tolerance)
    torch.testing.assert_close(recognizer.predict(images)['embeddings'].norm(dim=1), torch.ones(3))
    with pytest.raises(ValueError, match='is not differentiable'):
        RecogConsistencyLoss(recognizer)


@pytest.mark.parametrize('differentiable', [True, False])
def test_a_file_that_gives_no_numbers_is_refused(graph, differentiable):  # noqa: F811
    path = graph(pooled(helper.make_node('Sub', ['x', 'x'], ['o']), helper.make_node('Div', ['o', 'o'], ['h'])))
    with pytest.raises(ValueError, match=r'^OnnxRecognizer\(graph\): its vectors of gray and of random images are all '
                                         'zero, not finite'):
        OnnxRecognizer(path, **HALF, task='embedding', differentiable=differentiable)
