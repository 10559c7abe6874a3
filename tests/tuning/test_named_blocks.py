"""What people type for a recognizer or a degradation, and the block that it stands for."""
import json

import numpy as np
import pytest
import timm
import torchvision

from ra_plugin.degradations import build_degradation
from ra_plugin.options import OptionError
from ra_plugin.tuning.named_blocks import degradation_block, recognizer_block


@pytest.mark.parametrize('named, block', [
    ('resnet18', {'type': 'TimmRecognizer', 'model_name': 'resnet18', 'pretrained': True}),
    ('timm:resnet18.a1_in1k', {'type': 'TimmRecognizer', 'model_name': 'resnet18.a1_in1k', 'pretrained': True}),
    ('torchvision:resnet18', {'type': 'TorchvisionRecognizer', 'model_name': 'resnet18', 'weights': 'DEFAULT'}),
    ('ssdlite320_mobilenet_v3_large', {'type': 'TorchvisionRecognizer', 'model_name': 'ssdlite320_mobilenet_v3_large',
                                       'weights': 'DEFAULT'}),
    ('hf-hub:owner/name', {'type': 'TimmRecognizer', 'model_name': 'hf-hub:owner/name', 'pretrained': True}),
    ('microsoft/resnet-50', {'type': 'TransformersRecognizer', 'model': 'microsoft/resnet-50'}),
    ('yolo11n.pt', {'type': 'UltralyticsRecognizer', 'model': 'yolo11n.pt'}),
    ('doctr:crnn_vgg16_bn', {'type': 'DoctrRecognizer', 'model_name': 'crnn_vgg16_bn', 'pretrained': True}),
    ('{type: TimmRecognizer, model_name: vgg11, pretrained: false}',
     {'type': 'TimmRecognizer', 'model_name': 'vgg11', 'pretrained': False})])
def test_names(named, block):
    assert recognizer_block(named, '--recognizer') == block


def test_a_model_is_one_of_timm_before_it_is_one_of_torchvision():
    both = set(timm.list_models()) & set(torchvision.models.list_models())
    assert {recognizer_block(name, 'r')['type'] for name in both} == {'TimmRecognizer'}
    others = set(torchvision.models.list_models()) - set(timm.list_models())
    assert 'fcos_resnet50_fpn' in others
    assert {recognizer_block(name, 'r')['type'] for name in others if '/' not in name} == {'TorchvisionRecognizer'}


def test_files_and_folders(tmp_path):
    for name, config in (('hf', {'model_type': 'resnet'}), ('timm', {'architecture': 'resnet18'}), ('other', {})):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'config.json').write_text(json.dumps(config))
    assert recognizer_block(str(tmp_path / 'hf'), 'r') == {'type': 'TransformersRecognizer',
                                                           'model': str(tmp_path / 'hf')}
    assert recognizer_block(str(tmp_path / 'timm'), 'r')['model_name'] == f'local-dir:{tmp_path / "timm"}'
    with pytest.raises(OptionError, match='has no config.json of transformers or timm'):
        recognizer_block(str(tmp_path / 'other'), 'r')
    (tmp_path / 'r.yml').write_text('{type: TimmRecognizer, model_name: vgg11, pretrained: false}')
    assert recognizer_block(str(tmp_path / 'r.yml'), 'r')['model_name'] == 'vgg11'
    (tmp_path / 'w.pth').touch()
    with pytest.raises(OptionError, match='has weights alone. Give the block of its network'):
        recognizer_block(str(tmp_path / 'w.pth'), 'r')


@pytest.mark.parametrize('named, message', [
    ('resnet81', "no recognizer 'resnet81'. Did you mean 'resnet"), ('{type: Nothing}', "r.type: no recognizer"),
    ('{type: TimmRecognizer, model: x}', "model"), ('{model: x}', 'expected a block with a type'),
    ('{type: [', 'expected a block as YAML'), ('net.onnx', 'does not say how images are normalized'),
    ('', 'expected a name')])
def test_what_is_no_recognizer(named, message):
    with pytest.raises(OptionError, match=message) as error:
        recognizer_block(named, 'r')
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('named, scale, block', [
    ('bicubic', 4, {'type': 'BicubicDownsample', 'scale': 4}),
    ('noise:25/255', 1, {'type': 'GaussianNoise', 'sigma': 25 / 255}),
    ('noise:0.1', 1, {'type': 'GaussianNoise', 'sigma': 0.1}),
    ('jpeg:10', 1, {'type': 'JPEGCompression', 'quality': 10}),
    ('real', 2, {'type': 'HighOrderDegradation', 'scale': 2}),
    ('noise:0.1 + jpeg:30', 1, {'type': 'Compose', 'steps': [{'type': 'GaussianNoise', 'sigma': 0.1},
                                                             {'type': 'JPEGCompression', 'quality': 30}]}),
    ('jpeg:30', 2, {'type': 'Compose', 'steps': [{'type': 'BicubicDownsample', 'scale': 2},
                                                 {'type': 'JPEGCompression', 'quality': 30}]}),
    ('{type: ImageNetC, corruption: snow, severity: 5}', 1,
     {'type': 'ImageNetC', 'corruption': 'snow', 'severity': 5})])
def test_degradations_shrink_by_the_scale(named, scale, block):
    found = degradation_block(named, scale, '--degradation')
    assert found == block
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert build_degradation(found, 'd')(image, np.random.default_rng(0)).shape == (64 // scale, 64 // scale, 3)


@pytest.mark.parametrize('named, scale, message', [
    ('noise', 1, 'expected bicubic, noise:SIGMA'), ('noise:25', 1, r'25 / 255 = 0\.098'),
    ('noise:1/0', 1, 'expected bicubic'), ('jpeg:0', 1, 'expected quality from 1 to 100'),
    ('jpeg:ten', 1, 'expected bicubic'), ('blur', 1, "got 'blur'"), ('noise:0.1+', 1, "got ''"),
    ('{type: BicubicDownsample, scale: 2}', 4, 'expected a degradation that shrinks by 4')])
def test_what_is_no_degradation(named, scale, message):
    with pytest.raises(OptionError, match=message):
        degradation_block(named, scale, '--degradation')
