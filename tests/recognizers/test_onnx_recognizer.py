"""Model files: an ONNX file serves as a loss only where answers and gradient are onnxruntime's; TFLite judges."""
import copy
import warnings

import flatbuffers
import numpy as np
import onnx
import pytest
import torch
from ai_edge_litert import schema_py_generated as tflite
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from ra_plugin import RecogLoss
from ra_plugin.recognizers import ModuleRecognizer, OnnxRecognizer, TFLiteRecognizer, tiny_nets
from ra_plugin.recognizers.file import onnx_conversion

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
NETS = ['TinyResNet', 'TinyVGG', 'TinyDenseNet', 'TinyMobileNetV2', 'TinyTransformer']


@pytest.fixture
def exported(tmp_path):
    """``exported(net, side, opset, batch)``: an ONNX file of a network; batch None: any."""

    def export(net, side=32, opset=17, batch=None):
        path = str(tmp_path / 'net.onnx')
        axes = {} if batch else {'dynamic_axes': {'images': {0: 'N'}}}
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of the exporter, which is to be replaced by one that needs more packages
            torch.onnx.export(net.eval(), (torch.rand(batch or 1, 3, side, side),), path, dynamo=False,
                              opset_version=opset, input_names=['images'], **axes)
        return path

    return export


@pytest.fixture
def graph(tmp_path):
    """``graph(nodes)``: an ONNX file whose nodes take ``x (N, 3, 8, 8)`` to ``y (N, 4)``; ``w (3, 4)`` is a weight."""

    def make(nodes, batch='N', shape=(3, 8, 8), opset=13, outputs=('y',)):
        weight = numpy_helper.from_array(np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32), 'w')
        value = helper.make_tensor_value_info
        model = helper.make_model(
            helper.make_graph(nodes, 'g', [value('x', TensorProto.FLOAT, [batch, *shape])],
                              [value(name, TensorProto.FLOAT, None) for name in outputs], [weight]),
            opset_imports=[helper.make_opsetid('', opset)], ir_version=8)
        path = tmp_path / 'graph.onnx'
        path.write_bytes(model.SerializeToString())
        return str(path)

    return make


def pooled(*body):
    """Nodes: ``body`` takes x to h, which is averaged over the pixels and multiplied by the weight."""
    return [*body, helper.make_node('GlobalAveragePool', ['h'], ['p']), helper.make_node('Flatten', ['p'], ['f']),
            helper.make_node('MatMul', ['f', 'w'], ['y'])]


def random_net(name, **kwargs):
    """With statistics of batch norm that are not the first ones."""
    net = getattr(tiny_nets, name)(**kwargs)
    for key, buffer in net.named_buffers():
        if key.endswith('running_var'):
            buffer.uniform_(0.5, 1.5)
        elif key.endswith('running_mean'):
            buffer.uniform_(-0.1, 0.1)
    return net


def judge_only(path, **kwargs):
    return OnnxRecognizer(path, MEAN, STD, differentiable=False, **kwargs)


# As a loss

@pytest.mark.slow
def test_weights_in_constant_nodes_are_weights(tmp_path):
    """As Paddle's exporter keeps them; the answers and the gradient are those of the same graph with initializers."""
    rng = np.random.default_rng(0)
    weights = {'k': rng.normal(size=(5, 3, 3, 3)), 'b': rng.normal(size=5), 'scale': rng.uniform(0.5, 1.5, 5),
               'shift': rng.normal(size=5), 'mean': rng.normal(size=5), 'var': rng.uniform(0.5, 1.5, 5),
               'w': rng.normal(size=(5, 4))}
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    body = [helper.make_node('Conv', ['x', 'k', 'b'], ['c'], kernel_shape=[3, 3]),
            helper.make_node('BatchNormalization', ['c', 'scale', 'shift', 'mean', 'var'], ['n']),
            helper.make_node('Mul', ['n', 'two'], ['m']), helper.make_node('Relu', ['m'], ['h']),
            helper.make_node('GlobalAveragePool', ['h'], ['p']), helper.make_node('Reshape', ['p', 'shape'], ['f']),
            helper.make_node('MatMul', ['f', 'w'], ['y'])]
    plain = [helper.make_node('Constant', [], ['two'], value_float=2.0),
             helper.make_node('Constant', [], ['shape'], value_ints=[-1, 5])]
    constants = [helper.make_node('Constant', [], [f'{tensor.name}_'], value=tensor) for tensor in tensors]
    same = [helper.make_node('Identity', [f'{tensor.name}_'], [tensor.name]) for tensor in tensors]
    losses = []
    for nodes, initializers in (([*plain, *constants, *same, *body], []), ([*plain, *body], tensors)):
        value = helper.make_tensor_value_info
        model = helper.make_model(helper.make_graph(
            nodes, 'g', [value('x', TensorProto.FLOAT, ['N', 3, 8, 8])], [value('y', TensorProto.FLOAT, ['N', 4])],
            initializers), opset_imports=[helper.make_opsetid('', 13)], ir_version=8)
        path = tmp_path / f'{len(initializers)}.onnx'
        path.write_bytes(model.SerializeToString())
        images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
        loss = RecogLoss(OnnxRecognizer(str(path), MEAN, STD))(images, torch.tensor([0, 3]))
        loss.backward()
        losses.append((loss.detach(), images.grad))
    torch.testing.assert_close(*losses)
    assert losses[0][1].abs().max() > 0


@pytest.mark.slow
@pytest.mark.parametrize('name, opset', [*((name, 17) for name in NETS), ('TinyResNet', 20)])
def test_logits_loss_and_gradient_are_those_of_the_network(name, opset, exported):
    net = random_net(name)
    ours = OnnxRecognizer(exported(net, opset=opset), MEAN, STD)
    native = ModuleRecognizer(net, mean=MEAN, std=STD, input_size=32)
    images, label = torch.rand(3, 3, 40, 36), torch.tensor([0, 3, 9])
    torch.testing.assert_close(ours.logits(images), native.logits(images), rtol=1e-4, atol=1e-5)
    gradients = []
    for recognizer in (ours, native):
        images.grad = None
        loss = RecogLoss(recognizer)(images.requires_grad_(), label)
        loss.backward()
        gradients.append(torch.cat([loss.detach().view(1), images.grad.flatten()]))
    scale = float(gradients[1].abs().max())
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.slow
def test_the_judge_gives_the_answers_of_the_loss(exported):
    path, images = exported(random_net('TinyVGG')), torch.rand(3, 3, 32, 32)
    judge, loss = judge_only(path), OnnxRecognizer(path, MEAN, STD)
    torch.testing.assert_close(judge.logits(images), loss.logits(images), rtol=1e-4, atol=1e-5)
    assert torch.equal(judge.predict(images)['labels'], loss.predict(images)['labels'])


@pytest.mark.slow
@pytest.mark.parametrize('differentiable', [True, False])
def test_a_file_for_one_image_takes_any_number(differentiable, exported):
    net = random_net('TinyResNet')
    path, images = exported(net, batch=1), torch.rand(3, 3, 32, 32)
    recognizer = OnnxRecognizer(path, MEAN, STD, differentiable=differentiable)
    torch.testing.assert_close(recognizer.logits(images), net(recognizer.prepare(images)), rtol=1e-4, atol=1e-5)
    assert not differentiable or recognizer.features(images).shape == (3, 192)


@pytest.mark.slow
@pytest.mark.parametrize('differentiable', [True, False])
def test_probabilities_become_logits(differentiable, exported):
    net = nn.Sequential(random_net('TinyVGG'), nn.Softmax(1))
    recognizer = OnnxRecognizer(exported(net), MEAN, STD, probabilities=True, differentiable=differentiable)
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(recognizer.logits(images), net[0](recognizer.prepare(images)).log_softmax(1),
                               rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('softmax', [True, False])
def test_probabilities_are_not_taken_for_logits_nor_the_reverse(softmax, exported):
    net = nn.Sequential(random_net('TinyVGG'), nn.Softmax(1)) if softmax else random_net('TinyVGG')
    message = rf'answers are {"" if softmax else "no "}probabilities\. Set probabilities: {str(softmax).lower()}\.$'
    with pytest.raises(ValueError, match=message):
        judge_only(exported(net), probabilities=not softmax)


@pytest.mark.parametrize('differentiable', [True, False])
def test_a_file_in_tensorflows_layout_gets_it(differentiable, graph):
    nodes = [helper.make_node('Transpose', ['x'], ['h'], perm=[0, 3, 1, 2])]
    recognizer = OnnxRecognizer(graph(pooled(*nodes), shape=(8, 6, 3)), MEAN, STD, differentiable=differentiable)
    images = torch.rand(2, 3, 8, 6)
    weight = numpy_helper.to_array(onnx.load(recognizer.info.source).graph.initializer[0])
    assert recognizer.info.input_size == (8, 6)
    np.testing.assert_allclose(recognizer.logits(images).numpy(),
                               recognizer.prepare(images).mean((2, 3)).numpy() @ weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('differentiable', [True, False])
def test_a_file_of_one_channel_is_given_the_luma(differentiable, tmp_path):
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    path = str(tmp_path / 'gray.onnx')
    torch.onnx.export(network.eval(), (torch.rand(1, 1, 16, 16),), path, dynamo=False, opset_version=17)
    recognizer = OnnxRecognizer(path, mean=[0.4] * 3, std=[0.2] * 3, differentiable=differentiable)
    images = torch.rand(3, 3, 16, 16)
    luma = (images * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    torch.testing.assert_close(recognizer.logits(images), network((luma - 0.4) / 0.2), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_features_are_those_of_the_layer(exported):
    net = random_net('TinyResNet')
    recognizer = OnnxRecognizer(exported(net), MEAN, STD)
    features = recognizer.features(torch.rand(2, 3, 32, 32))
    assert features.shape == (2, 192)
    with pytest.raises(ValueError, match=r"feature_layer: no layer 'Relu_99'\. Did you mean 'Relu_\d+'\?"):
        OnnxRecognizer(exported(net), MEAN, STD, feature_layer='Relu_99')


@pytest.mark.slow
def test_a_copy_answers_alike(exported):
    recognizer = OnnxRecognizer(exported(random_net('TinyVGG')), MEAN, STD)
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(copy.deepcopy(recognizer).logits(images), recognizer.logits(images))


# What is refused

REMEDY = r'differentiable: false\.$'


@pytest.mark.parametrize('nodes, message', [
    ([helper.make_node('Round', ['x'], ['h'])], rf'gradient differs from finite differences .* {REMEDY}'),
    ([helper.make_node('Round', ['x'], ['r']), helper.make_node('Add', ['x', 'r'], ['h'])], 'gradient differs'),
    ([helper.make_node('Det', ['x'], ['h'])], rf'cannot be converted to torch \(NotImpl.*Export it with .*{REMEDY}'),
], ids=['none', 'half of it', 'no converter'])
def test_a_gradient_that_is_wrong_or_missing_is_refused(nodes, message, graph):
    with pytest.raises(ValueError, match=rf'^OnnxRecognizer\(graph\.onnx\): .*{message}') as error:
        OnnxRecognizer(graph(pooled(*nodes)) if nodes[0].op_type != 'Det' else graph(
            [*nodes, helper.make_node('MatMul', ['h', 'w'], ['y'])], shape=(3, 8, 8)), MEAN, STD)
    assert '\n' not in str(error.value)


def test_such_a_file_judges_all_the_same(graph):
    assert judge_only(graph(pooled(helper.make_node('Round', ['x'], ['h'])))).info.differentiable is False


class _Wrong(torch.autograd.Function):
    """x -> x, with another gradient."""

    @staticmethod
    def forward(context, x, factor):
        context.factor = factor
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient * context.factor, None


@pytest.mark.slow
@pytest.mark.parametrize('factor, fits', [(1.0, True), (1.02, True), (1.1, False), (0.0, False), (-1.0, False)])
def test_the_check_tells_a_wrong_gradient_from_a_right_one(factor, fits):
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(),
                        nn.Linear(64, 5)).requires_grad_(False)
    images = torch.randn(2, 3, 10, 10)

    def check():
        onnx_conversion.check_conversion(lambda x: net(_Wrong.apply(x, factor)), net, images, 'here')

    if fits:
        check()
    else:
        with pytest.raises(ValueError, match='^here: its gradient (differs from finite differences by|is zero)'):
            check()


@pytest.mark.parametrize('network, message', [
    (lambda x: 1.01 * x.mean((2, 3)), r'answers of its torch version differ from .* by 1\.0% of the largest'),
    (lambda x: x.mean((2, 3))[:1], 'answers of its torch version differ'),
    (lambda x: x.mean((2, 3)).detach(), 'no gradient comes through'),
    (lambda x: x.mean((2, 3)) + 0 * x.amax((2, 3)) * float('nan'), 'answers of its torch version differ')])
def test_other_answers_are_refused(network, message):
    with pytest.raises(ValueError, match=f'^here: .*{message}.*{REMEDY}'):
        onnx_conversion.check_conversion(network, lambda x: x.mean((2, 3)), torch.rand(2, 3, 8, 8), 'here')


@pytest.mark.slow
def test_a_judge_refuses_to_be_a_loss(exported):
    judge, images = judge_only(exported(random_net('TinyVGG'))), torch.rand(1, 3, 32, 32, requires_grad=True)
    with pytest.raises(ValueError, match='is not differentiable: it can be used for'):
        RecogLoss(judge)
    with pytest.raises(ValueError, match='OnnxRuntime passes no gradient to the images: it can judge'):
        judge.loss(images, torch.tensor([0]))
    with pytest.raises(ValueError, match='it gives answers, and no features'):
        judge.features(images.detach())


@pytest.mark.slow
def test_names_in_the_file_never_become_code(graph, tmp_path):
    mark = tmp_path / 'code_was_run'
    name = f'x") or __import__("pathlib")/Path("{mark}")/touch() or ("'
    for evil in (name, 'x"), print(), ("', 'a.b', '', 'x\n    raise SystemExit'):
        nodes = pooled(helper.make_node('Relu', ['x'], ['h'], name=evil))
        recognizer = OnnxRecognizer(graph(nodes), MEAN, STD)
        assert set(dict(recognizer.model.named_children())) >= {'Relu_0', 'GlobalAveragePool_1'}
        assert 'print' not in recognizer.model.code and 'SystemExit' not in recognizer.model.code
    assert not mark.exists()


@pytest.mark.parametrize('location', ['../w.bin', 'ABSOLUTE', 'link.bin'])
@pytest.mark.parametrize('differentiable', [True, False])
def test_weights_outside_of_the_files_folder_are_refused(differentiable, location, graph, tmp_path):
    folder = tmp_path / 'model'
    folder.mkdir()
    model = onnx.load(graph(pooled(helper.make_node('Relu', ['x'], ['h']))))
    content = model.graph.initializer[0].raw_data
    for path in (tmp_path / 'w.bin', folder / 'ok.bin'):
        path.write_bytes(content)
    (folder / 'link.bin').symlink_to(tmp_path / 'w.bin')

    def build(location):
        model.graph.initializer[0].raw_data = content
        onnx.external_data_helper.set_external_data(model.graph.initializer[0], location, length=len(content))
        model.graph.initializer[0].ClearField('raw_data')
        (folder / 'm.onnx').write_bytes(model.SerializeToString())
        return OnnxRecognizer(str(folder / 'm.onnx'), MEAN, STD, differentiable=differentiable)

    assert build('ok.bin').info.num_classes == 4
    with pytest.raises(ValueError, match='is damaged, or no ONNX file'):
        build(location.replace('ABSOLUTE', str(tmp_path / 'w.bin')))


@pytest.mark.parametrize('content', [b'', b'hello', b'\x08\x07' * 50], ids=['empty', 'text', 'bytes'])
def test_a_file_of_another_kind_is_one_line(content, tmp_path):
    (tmp_path / 'net.onnx').write_bytes(content)
    with pytest.raises(ValueError, match=r'^OnnxRecognizer\(net\.onnx\): ') as error:
        judge_only(str(tmp_path / 'net.onnx'))
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('change, message', [
    ({'outputs': ('y', 'f')}, 'expected one float input .* and 2. Cut the network out'),
    ({'batch': 5}, 'it takes 5 images at once. Export it for one'), ({'outputs': ('h',)}, 'expected logits')])
def test_what_is_no_classifier_is_refused(change, message, graph):
    with pytest.raises(ValueError, match=rf'^OnnxRecognizer\(\w+(\.onnx)?\): .*{message}'):
        judge_only(graph(pooled(helper.make_node('Relu', ['x'], ['h'])), **change))


@pytest.mark.parametrize('options, message', [
    ({'mean': [0.5]}, 'mean: expected three numbers'), ({'std': [1, 1, 0]}, 'std: expected three numbers, positive'),
    ({'classes': ['a']}, '1 class name for a network that has 4'), ({'input_size': 9}, 'cannot take a 9x9 image'),
    ({'classes': 'no.txt'}, r'classes: no file no\.txt')])
def test_options_that_do_not_fit_the_file_are_refused(options, message, graph):
    path = graph(pooled(helper.make_node('Relu', ['x'], ['h'])))
    with pytest.raises(ValueError, match=rf'^OnnxRecognizer\(graph(\.onnx)?\): .*{message}'):
        OnnxRecognizer(**{'file': path, 'mean': MEAN, 'std': STD, 'differentiable': False, **options})


@pytest.mark.parametrize('kind', [OnnxRecognizer, TFLiteRecognizer])
def test_a_missing_file_is_named(kind):
    with pytest.raises(FileNotFoundError, match=rf'^{kind.__name__}\(nowhere\.x\): no file nowhere\.x$'):
        kind('nowhere.x', MEAN, STD)


# TFLite

@pytest.fixture
def lite(tmp_path):
    """``lite(quantized)``: a file that averages the pixels of a (1, 4, 6, 3) image: three classes. Steps are 1/32."""

    def make(quantized=False, channels=3):
        def tensor(name, shape, buffer, kind):
            result = tflite.TensorT()
            result.name, result.shape, result.buffer, result.type = name, shape, buffer, kind
            if quantized and kind != tflite.TensorType.INT32:
                result.quantization = tflite.QuantizationParametersT()
                result.quantization.scale, result.quantization.zeroPoint = [1 / 32], [128]
            return result

        kind = tflite.TensorType.UINT8 if quantized else tflite.TensorType.FLOAT32
        model, part, operator = tflite.ModelT(), tflite.SubGraphT(), tflite.OperatorT()
        buffers = [tflite.BufferT() for _ in range(4)]
        buffers[2].data = np.array([1, 2], np.int32).view(np.uint8)
        part.tensors = [tensor('x', [1, 4, 6, channels], 1, kind), tensor('axes', [2], 2, tflite.TensorType.INT32),
                        tensor('y', [1, channels], 3, kind)]
        operator.inputs, operator.outputs = [0, 1], [2]
        operator.builtinOptionsType = tflite.BuiltinOptions.ReducerOptions
        operator.builtinOptions = tflite.ReducerOptionsT()
        part.inputs, part.outputs, part.operators = [0], [2], [operator]
        code = tflite.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = tflite.BuiltinOperator.MEAN
        code.version = 2
        model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [part], buffers
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b'TFL3')
        path = tmp_path / 'net.tflite'
        path.write_bytes(bytes(builder.Output()))
        return str(path)

    return make


@pytest.mark.parametrize('quantized, tolerance', [(False, 1e-5), (True, 1.01 / 32)])
def test_a_tflite_file_judges(quantized, tolerance, lite):
    recognizer = TFLiteRecognizer(lite(quantized), MEAN, STD, classes=['red', 'green', 'blue'])
    images = torch.rand(3, 3, 4, 6)
    expected = recognizer.prepare(images).mean((2, 3))
    assert recognizer.info.input_size == (4, 6) and not recognizer.info.differentiable
    torch.testing.assert_close(recognizer.logits(images), expected, rtol=0, atol=tolerance)
    images[:, 1] = 1
    assert recognizer.predict(images)['labels'][:, 0].tolist() == [1, 1, 1]


def test_a_tflite_file_refuses_to_be_a_loss(lite):
    recognizer = TFLiteRecognizer(lite(), MEAN, STD)
    with pytest.raises(ValueError, match='TFLiteRuntime passes no gradient to the images'):
        recognizer.loss(torch.rand(1, 3, 4, 6, requires_grad=True), torch.tensor([0]))
    with pytest.raises(ValueError, match='is not differentiable'):
        RecogLoss(recognizer)


def test_a_tflite_file_that_is_damaged_or_no_classifier_is_one_line(lite, tmp_path):
    with pytest.raises(ValueError, match=r'net\.tflite\): expected one input \(1, H, W, 3\) and one output, got '):
        TFLiteRecognizer(lite(channels=1), MEAN, STD)
    (tmp_path / 'bad.tflite').write_bytes(b'hello')
    with pytest.raises(ValueError, match=r'^TFLiteRecognizer\(bad\.tflite\): LiteRT cannot take ') as error:
        TFLiteRecognizer(str(tmp_path / 'bad.tflite'), MEAN, STD)
    assert '\n' not in str(error.value)
