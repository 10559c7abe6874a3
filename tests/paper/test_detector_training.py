"""Training of detectors from scratch: the library's loss on the library's input, and a stop that changes nothing."""
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from ra_plugin.paper import detector_training
from ra_plugin.recognizers import build_recognizer

pytestmark = pytest.mark.slow
CLASSES = ['round', 'square', 'flat']
BLOCKS = {
    'torchvision': {'type': 'TorchvisionRecognizer', 'model_name': 'ssdlite320_mobilenet_v3_large', 'pretrained': False,
                    'model_kwargs': {'num_classes': 4}},
    'ultralytics': {'type': 'UltralyticsRecognizer', 'model': 'yolo11n.yaml', 'pretrained': False, 'classes': CLASSES,
                    'resize': None}}
LOSSES = {'torchvision': detector_training.torchvision_loss, 'ultralytics': detector_training.ultralytics_loss}
LABELS = [{'boxes': torch.tensor([[3., 4., 40., 30.], [50., 8., 76., 44.]]), 'labels': torch.tensor([0, 2])},
          {'boxes': torch.tensor([[10., 2., 70., 45.]]), 'labels': torch.tensor([1])}]


@pytest.fixture
def folder(tmp_path):
    """Return a folder in VOC's layout with four images of 96x64 pixels, each with one object."""
    for name in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (tmp_path / 'data' / name).mkdir(parents=True)
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 96, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f'data/JPEGImages/{number}.jpg')
        (tmp_path / f'data/Annotations/{number}.xml').write_text(
            '<annotation><size><width>96</width><height>64</height><depth>3</depth></size><object>'
            f'<name>{CLASSES[number % 3]}</name><difficult>0</difficult><bndbox><xmin>{5 + number}</xmin><ymin>9</ymin>'
            '<xmax>60</xmax><ymax>50</ymax></bndbox></object></annotation>')
    (tmp_path / 'data/ImageSets/Main/train.txt').write_text('0\n1\n2\n3\n')
    (tmp_path / 'data/ImageSets/Main/val.txt').write_text('0\n1\n')
    return tmp_path


@pytest.mark.parametrize('library', sorted(BLOCKS))
def test_the_loss_is_the_recognizers_where_statistics_of_the_batch_do_not_count(library):
    recognizer = build_recognizer(BLOCKS[library])
    images = torch.rand(2, 3, 48, 80)
    expected = sum(recognizer.loss(images, LABELS).values())
    net = recognizer.model
    if library == 'torchvision':  # it has a loss in training mode alone
        net.train()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d | nn.Dropout):
                module.eval()
    torch.testing.assert_close(LOSSES[library](recognizer, images, LABELS), expected, rtol=1e-4, atol=1e-4)


def test_targets_of_the_recognizer_change_neither_the_loss_in_training_nor_what_is_drawn_after_it():
    recognizer = build_recognizer(BLOCKS['torchvision'], fold_batch_norm=False)
    net = recognizer.model.train().requires_grad_(True)
    images, found = torch.rand(2, 3, 48, 80), []
    theirs = [{'boxes': item['boxes'], 'labels': item['labels'] + 1} for item in LABELS]  # 0 is the background
    state = {name: value.clone() for name, value in net.state_dict().items()}
    for loss in (lambda: detector_training.torchvision_loss(recognizer, images, LABELS),
                 lambda: sum(net(list(images), theirs).values())):
        net.load_state_dict(state)
        torch.manual_seed(0)
        value = loss()
        found.append((value, *torch.autograd.grad(value, list(net.parameters())), torch.rand(3)))
    assert all(torch.equal(ours, own) for ours, own in zip(*found, strict=True))


def arguments(folder, out):
    data = {'type': 'DetectionDataset', 'dataroot_gt': str(folder / 'data'), 'classes': CLASSES, 'scale': 1,
            'degradation': {'type': 'GaussianNoise', 'sigma': 0.0}}
    return {'block': BLOCKS['ultralytics'], 'data': {**data, 'split': 'train'}, 'val': {**data, 'split': 'val'},
            'out': folder / out, 'epochs': 3, 'lr': 1e-3, 'batch_size': 2, 'seed': 0}


def test_a_training_that_is_stopped_ends_as_one_that_is_not(folder):
    lines = []
    detector_training.train(**arguments(folder, 'whole.safetensors'), log=lines.append)
    assert len(lines) == 4 and lines[-1].startswith('voc12_mAP: ')

    class Stop(Exception):
        pass

    def stop(line):
        if line.startswith('epoch 2'):
            raise Stop

    with pytest.raises(Stop):  # before the second epoch is stored
        detector_training.train(**arguments(folder, 'stopped.safetensors'), log=stop)
    again = []
    detector_training.train(**arguments(folder, 'stopped.safetensors'), log=again.append)
    assert [line.split(':')[0] for line in again[:-1]] == ['epoch 2', 'epoch 3']
    whole, stopped = (load_file(folder / f'{name}.safetensors') for name in ('whole', 'stopped'))
    assert whole.keys() == stopped.keys() and all(torch.equal(whole[name], stopped[name]) for name in whole)
    assert not (folder / 'stopped.state').exists()


def test_its_weights_are_read_by_the_recognizer(folder):
    detector_training.train(**{**arguments(folder, 'net.safetensors'), 'epochs': 1}, log=lambda line: None)
    block = {**BLOCKS['ultralytics'], 'pretrained': None, 'checkpoint': str(folder / 'net.safetensors')}
    found = build_recognizer(block, fold_batch_norm=False).model.state_dict()
    stored = load_file(folder / 'net.safetensors')
    assert all(torch.equal(found[name], value) for name, value in stored.items())
