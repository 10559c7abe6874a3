"""The shipped recognizers have the accuracy in their logs and the promised size."""
import re
from pathlib import Path

import pytest
import torch

from ra_plugin.checkpoint import read_record
from ra_plugin.demo import classifier_training as training
from ra_plugin.recognizers import build_recognizer

WEIGHTS = Path(training.__file__).resolve().parents[1] / 'weights'
ROOT = WEIGHTS.parents[1]
SHIPPED = {'resnet': 'TinyResNet', 'vgg': 'TinyVGG', 'densenet': 'TinyDenseNet', 'mobilenetv2': 'TinyMobileNetV2',
           'transformer': 'TinyTransformer'}


@pytest.mark.slow
@pytest.mark.parametrize('name', SHIPPED)
def test_shipped_recognizer_reads_as_many_test_images_right_as_its_log_says(name):
    path = WEIGHTS / f'cifar10_{name}.safetensors'
    recognizer = build_recognizer({'type': 'ModuleRecognizer',
                                   'module': f'ra_plugin.recognizers.tiny_nets.{SHIPPED[name]}',
                                   'checkpoint': str(path), 'input_size': 32})
    claimed = float(re.search(r'test top-1 of the stored weights: ([\d.]+)', path.with_suffix('.log').read_text())[1])
    assert claimed >= (0.75 if name == 'transformer' else 0.85)
    assert recognizer.info.classes == tuple(read_record(path)['classes'])

    images, labels, classes = training.read_class_folders(ROOT / 'datasets' / 'cifar10' / 'test')
    assert tuple(classes) == recognizer.info.classes
    sample = slice(None, None, 5)  # 2,000 of the 10,000
    right = [recognizer.predict(part.float() / 255)['labels'][:, 0] == label
             for part, label in zip(images[sample].split(250), labels[sample].split(250), strict=True)]
    share = torch.cat(right).float().mean().item()
    assert abs(share - claimed) < 4 * (claimed * (1 - claimed) / 2000) ** 0.5


def test_shipped_weights_stay_small():
    assert sum(path.stat().st_size for path in WEIGHTS.glob('*.safetensors')) <= 8 * 2 ** 20
