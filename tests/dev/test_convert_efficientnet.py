"""Weights of EfficientNet-Lite0 are converted to timm's names, tested on a file made by hand."""
import pytest
import timm
import torch
from programs import run_tool

from ra_plugin.recognizers import build_recognizer

# Of each stage: blocks, kernel, factor of the expansion, channels (Tan and Le, 2019, table 1; no squeeze-excitation)
STAGES = [(1, 3, 1, 16), (2, 3, 6, 24), (2, 5, 6, 40), (3, 3, 6, 80), (3, 5, 6, 112), (4, 5, 6, 192), (1, 3, 6, 320)]


def convolution(name, outputs, inputs, kernel):
    return {f'{name}.weight': torch.rand(outputs, inputs, kernel, kernel)}


def norm(name, channels):
    tensors = {f'{name}.{leaf}': torch.rand(channels) for leaf in ('weight', 'bias', 'running_mean', 'running_var')}
    return {**tensors, f'{name}.num_batches_tracked': torch.tensor(0)}


def block(name, channels, outputs, kernel, factor):
    inner, found = channels * factor, {}
    if factor > 1:
        found = {**convolution(f'{name}._expand_conv', inner, channels, 1), **norm(f'{name}._bn0', inner)}
    return {**found, **convolution(f'{name}._depthwise_conv', inner, 1, kernel), **norm(f'{name}._bn1', inner),
            **convolution(f'{name}._project_conv', outputs, inner, 1), **norm(f'{name}._bn2', outputs)}


@pytest.fixture(scope='module')
def source():
    """Return the tensors of the file in the order of the layers."""
    found, channels, number = {**convolution('_conv_stem', 32, 3, 3), **norm('_bn0', 32)}, 32, 0
    for blocks, kernel, factor, outputs in STAGES:
        for _ in range(blocks):
            found.update(block(f'_blocks.{number}', channels, outputs, kernel, factor))
            channels, number = outputs, number + 1
    return {**found, **convolution('_conv_head', 1280, 320, 1), **norm('_bn1', 1280),
            '_fc.weight': torch.rand(1000, 1280), '_fc.bias': torch.rand(1000)}


@pytest.fixture
def convert(monkeypatch, tmp_path):
    """Run the program on a file with this content."""
    def run(content):
        torch.save(content, tmp_path / 'source.pth')
        return run_tool(monkeypatch, 'convert_efficientnet_lite',
                        tmp_path / 'source.pth', tmp_path / 'new' / 'timm.pth')
    return run


@pytest.mark.slow
def test_each_tensor_is_in_its_place_in_timms_network(source, convert, tmp_path):
    assert convert(source) == 0
    recognizer = build_recognizer({'type': 'TimmRecognizer', 'model_name': 'tf_efficientnet_lite0',
                                   'checkpoint': str(tmp_path / 'new' / 'timm.pth')}, fold_batch_norm=False)
    loaded = recognizer.model.state_dict()
    assert len(loaded) == len(source) == 296
    # timm lists its layers in the order in which they compute, too
    for (name, ours), (original, theirs) in zip(loaded.items(), source.items(), strict=True):
        assert torch.equal(ours, theirs), f'{name} is not {original}'


def test_timms_network_computes_as_the_source():
    """What no name shows: Tensorflow's padding and its epsilon of batch norm; ReLU6, for 8-bit hardware."""
    model = timm.create_model('tf_efficientnet_lite0')
    assert {layer.eps for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)} == {1e-3}
    assert any(isinstance(layer, torch.nn.ReLU6) for layer in model.modules())
    assert type(model.conv_stem).__name__ == 'Conv2dSame'


@pytest.mark.slow
@pytest.mark.parametrize('change', [
    lambda weights: b'not a checkpoint', lambda weights: {'features': 1},
    lambda weights: {**weights, '_blocks.16._bn0.weight': torch.zeros(1)},  # EfficientNet-Lite1 has more blocks
    lambda weights: {key: weights[key] for key in weights if not key.startswith('_fc')}])
def test_another_file_is_one_line(change, source, convert, tmp_path, capsys):
    assert convert(change(source)) == 2 and not (tmp_path / 'new').exists()
    _, message = capsys.readouterr().err.splitlines()  # the first says that it loads
    assert 'source.pth' in message
