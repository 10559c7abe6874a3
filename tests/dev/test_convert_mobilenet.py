"""torchvision's, mmdet's and mmseg's MobileNetV2 give the same features with the converted weights."""
import importlib
from pathlib import Path

import pytest
import torch
import torchvision
import warm_start

import ra_plugin.basicsr  # noqa: F401  (registers)

pytestmark = pytest.mark.mm

TOOL = Path(__file__).resolve().parents[2] / 'dev' / 'convert_mobilenet_v2.py'
LAYER_ENDS = [1, 3, 6, 10, 13, 16, 17]  # torchvision's last block of each layer


@pytest.fixture(scope='module')
def source():
    """Return torchvision's network with random tensors, including batch norm statistics."""
    torch.manual_seed(0)
    model = torchvision.models.mobilenet_v2()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                torch.nn.init.uniform_(tensor, .5, 1.5)
    return model.eval()


@pytest.fixture(scope='module')
def converted(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp('weights')
    torch.save(source.state_dict(), folder / 'torchvision.pth')
    target = folder / 'new' / 'mm.pth'
    assert warm_start.run([TOOL, folder / 'torchvision.pth', target]).returncode == 0
    return target


@pytest.mark.parametrize('library', ['mmdet', 'mmseg'])
def test_a_pretrained_config_gives_the_features_of_torchvision(library, source, converted):
    backbones = importlib.import_module(f'{library}.models.backbones')
    model = backbones.MobileNetV2(
        out_indices=tuple(range(len(LAYER_ENDS))),
        init_cfg=dict(type='Pretrained', prefix=library, checkpoint=str(converted)))
    model.init_weights()
    model.eval()
    image = torch.rand(2, 3, 64, 96)
    expected, features = [], image
    with torch.no_grad():
        for index, block in enumerate(source.features):
            features = block(features)
            if index in LAYER_ENDS:
                expected.append(features)
        for ours, theirs in zip(model(image), expected, strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize('library', ['mmdet', 'mmseg'])
def test_every_tensor_of_the_backbone_is_in_the_file(library, converted):
    backbones = importlib.import_module(f'{library}.models.backbones')
    entries = torch.load(converted, weights_only=True)
    own = {key.split('.', 1)[1] for key in entries if key.startswith(library)}
    assert own == set(backbones.MobileNetV2().state_dict())


@pytest.mark.slow
@pytest.mark.parametrize('content', [None, b'not a checkpoint', {'features': 1}, {'conv1.weight': torch.zeros(1)}])
def test_a_file_without_the_weights_is_one_line(content, tmp_path):
    source, target = tmp_path / 'broken.pth', tmp_path / 'out.pth'
    if isinstance(content, bytes):
        source.write_bytes(content)
    elif content is not None:
        torch.save(content, source)
    done = warm_start.run([TOOL, source, target])
    assert done.returncode == 2 and not target.exists()
    _, said = done.stderr.splitlines()  # the first says that it loads
    assert str(source) in said
