"""Training of the demo's classifiers is reproducible from its seed, and the tiny networks learn."""
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ra_plugin.demo import classifier_training as training
from ra_plugin.recognizers import ModuleRecognizer, tiny_nets

ROOT = Path(__file__).resolve().parents[2]
NETS = ['TinyResNet', 'TinyVGG', 'TinyDenseNet', 'TinyMobileNetV2', 'TinyTransformer']


def uint8_images(n=8):
    return torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8)


@pytest.mark.parametrize('name', NETS)
def test_a_tiny_net_gives_logits_from_its_head(name):
    net = getattr(tiny_nets, name)(num_classes=7).eval()
    assert net(torch.rand(2, 3, 32, 32)).shape == (2, 7) and net.head.out_features == 7


@pytest.mark.parametrize('size', [(32, 48), (64, 64)])
def test_the_transformer_refuses_what_its_positions_do_not_cover(size):
    with pytest.raises(ValueError, match='expected images of 32x32.*Set input_size: 32'):
        tiny_nets.TinyTransformer()(torch.rand(1, 3, *size))


def test_class_folders_are_read_in_the_order_of_their_names(tmp_path):
    for value, name in ((10, 'dog'), (20, 'cat')):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((32, 32, 3), (value, 0, 0), np.uint8)).save(tmp_path / name / 'a.png')
    images, labels, names = training.read_class_folders(tmp_path)
    assert names == ['cat', 'dog'] and labels.tolist() == [0, 1]
    assert images.shape == (2, 3, 32, 32) and images[:, 0, 0, 0].tolist() == [20, 10]


@pytest.mark.slow
def test_a_recognizer_of_some_classes_records_them(tmp_path, monkeypatch):
    for split, count in (('train', 64), ('val', 1), ('test', 1)):
        for value, name in ((10, 'ape'), (20, 'bee'), (30, 'cow')):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(count):
                image = Image.fromarray(np.full((32, 32, 3), value, np.uint8))
                image.save(tmp_path / split / name / f'{i}.png')
    images, labels, names = training.read_class_folders(tmp_path / 'val', ['cow', 'ape'])
    assert names == ['cow', 'ape'] and labels.tolist() == [0, 1] and images[:, 0, 0, 0].tolist() == [30, 10]
    with pytest.raises(FileNotFoundError, match='val/emu'):
        training.read_class_folders(tmp_path / 'val', ['emu'])
    out = tmp_path / 'half.safetensors'
    monkeypatch.setattr(sys, 'argv', ['train_recognizer.py', 'TinyVGG', '--data', str(tmp_path), '--epochs', '1',
                                      '--classes', 'cow', 'ape', '--out', str(out)])
    monkeypatch.syspath_prepend(ROOT / 'tools')
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / 'tools' / 'train_recognizer.py'), run_name='__main__')
    assert not ended.value.code
    assert "classes: ['cow', 'ape']" in out.with_suffix('.log').read_text()
    trained = ModuleRecognizer('ra_plugin.recognizers.tiny_nets.TinyVGG', {'num_classes': 2}, checkpoint=str(out))
    assert trained.info.classes == ('cow', 'ape') and trained.info.num_classes == 2


def test_augmentation_flips_and_shifts_the_pixels_of_the_same_image():
    images = torch.arange(4).view(4, 1, 1, 1).expand(4, 3, 32, 32).to(torch.uint8)
    assert torch.equal(training.augment(images, torch.Generator().manual_seed(0)), images)


def test_augmentation_of_the_same_seed_is_the_same():
    images = uint8_images()
    first, again, other = (training.augment(images, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_statistics_are_numpys():
    images = uint8_images()
    pixels = images.numpy().transpose(1, 0, 2, 3).reshape(3, -1) / 255
    mean, std = training.channel_statistics(images)
    np.testing.assert_allclose(mean, pixels.mean(1), atol=6e-5)
    np.testing.assert_allclose(std, pixels.std(1), atol=6e-5)


def test_normalize_leaves_the_images_as_they_were():
    images = uint8_images()
    before = images.clone()
    result = training.normalize(images, [0.5] * 3, [0.25] * 3)
    torch.testing.assert_close(result, (before / 255 - 0.5) / 0.25)
    assert torch.equal(images, before)


def train_tiny(epochs):
    """Train a TinyVGG on dark and bright images, and return it with its accuracy."""
    labels = torch.arange(32) % 2
    images = (labels.view(-1, 1, 1, 1) * 120 + torch.randint(0, 60, (32, 3, 32, 32))).to(torch.uint8)
    net = tiny_nets.TinyVGG(2)
    return net, training.train_classifier(net, (images, labels), (images, labels), epochs=epochs, lr=0.02, batch_size=8,
                                          log=lambda line: None)


@pytest.mark.slow
def test_training_learns():
    assert train_tiny(epochs=8)[1] == 1


@pytest.mark.slow
def test_training_repeats_from_its_seed():
    weights = []
    for _ in range(2):
        torch.manual_seed(3)
        weights.append(train_tiny(epochs=2)[0].head.weight)
    assert torch.equal(*weights)
