"""The recognizers of a training that do not judge are called what their user calls them."""
import pytest

from ra_plugin.evaluation.used_recognizers import not_among
from ra_plugin.registry import RECOGNIZER_REGISTRY

NAMED = {  # registered name -> blocks, each with its network in words
    'BlackBoxRecognizer': [({'name': 'shop', 'url': 'https://a.example'}, 'shop'),
                           ({'url': 'https://a.example/v1'}, 'https://a.example/v1'),
                           ({'command': ['python', 'ask.py']}, 'python ask.py')],
    'CTCRecognizer': [({'module': 'easyocr.model.vgg_model.Model'}, 'Model'),
                      ({'file': '/a/words.onnx'}, 'words.onnx')],
    'DoctrRecognizer': [({'model_name': 'parseq'}, 'parseq')],
    'MMDetRecognizer': [({'config': '/a/retinanet_r50.py'}, 'retinanet_r50.py'), ({'config': 'fcos_r50'}, 'fcos_r50')],
    'MMSegRecognizer': [({'config': '/a/fcn_r50.py', 'checkpoint': '/a/b.pth'}, 'fcn_r50.py (b.pth)')],
    'ModuleRecognizer': [({'module': 'colleague.Net'}, 'Net')],
    'OnnxRecognizer': [({'file': '/a/net.onnx'}, 'net.onnx')],
    'OpenClipRecognizer': [({'model': 'ViT-B-32'}, 'ViT-B-32'), ({'model': 'local-dir:/a/clip'}, 'clip')],
    'TFLiteRecognizer': [({'file': '/a/net.tflite'}, 'net.tflite')],
    'TimmRecognizer': [({'model_name': 'resnet18.a1_in1k'}, 'resnet18.a1_in1k'),
                       ({'model_name': 'local-dir:/a/birds'}, 'birds')],
    'TorchvisionRecognizer': [({'model_name': 'ssd300_vgg16', 'checkpoint': '/a/b.pth'}, 'ssd300_vgg16 (b.pth)')],
    'TransformersRecognizer': [({'model': 'google/vit-base-patch16-224'}, 'google/vit-base-patch16-224'),
                               ({'model': '/a/segformer'}, 'segformer')],
    'UltralyticsRecognizer': [({'model': '/a/yolo11n.pt'}, 'yolo11n.pt'), ({'model': 'yolo11n.yaml'}, 'yolo11n.yaml')],
}
OF_SEVERAL = {'EnsembleRecognizer'}  # its members are named


@pytest.mark.parametrize('name', RECOGNIZER_REGISTRY)
def test_each_registered_recognizer_names_its_network(name):
    assert name in OF_SEVERAL or NAMED[name]
    for block, words in NAMED.get(name, ()):
        assert not_among([{'type': name, **block}], {}) == [f'{name} {words}']


def test_what_has_no_name_is_called_by_its_type():
    assert not_among([{'type': 'GoneRecognizer', 'model_name': 'a'}], {}) == ['GoneRecognizer']
