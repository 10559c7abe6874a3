"""tools/train_recognizer.py: training on clean, restored and interpolated images."""
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image
from safetensors.torch import load_file

from ra_plugin.archs import SRResNet
from ra_plugin.checkpoint import read_record
from ra_plugin.degradations import build_degradation
from ra_plugin.demo import classifier_training as training
from ra_plugin.demo.recognizer_training import RecognizerTraining, processed, train_recognizer
from ra_plugin.evaluation.judging import no_processing
from ra_plugin.options import OptionError
from ra_plugin.recognizers import build_recognizer, tiny_nets

ROOT = Path(__file__).resolve().parents[2]
HALVED = '{type: BicubicDownsample, scale: 2}'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Write two classes with one batch of training images."""
    root = tmp_path_factory.mktemp('data')
    rng = np.random.default_rng(0)
    for split, count in (('train', 64), ('val', 2), ('test', 6)):
        for label, bright in (('dark', 0), ('light', 120)):
            (root / split / label).mkdir(parents=True)
            for i in range(count):
                pixels = bright + rng.integers(0, 120, (32, 32, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(root / split / label / f'{i:03}.png')
    return root


@pytest.fixture(scope='module')
def restorer(tmp_path_factory):
    """Return root and option file of a run, and its network."""
    root = tmp_path_factory.mktemp('root')
    torch.manual_seed(1)
    net = SRResNet(num_feat=4, num_block=1, upscale=2).eval()
    folder = root / 'experiments' / 'run' / 'models'
    folder.mkdir(parents=True)
    torch.save({'params': net.state_dict()}, folder / 'net_g_latest.pth')
    file = root / 'run.yml'
    file.write_text(yaml.safe_dump({
        'name': 'run', 'network_g': {'type': 'SRResNet', 'num_feat': 4, 'num_block': 1, 'upscale': 2},
        'datasets': {'train': {'degradation': yaml.safe_load(HALVED)}}}))
    return root, file, net


def trained(data, out, root=ROOT, **options):
    """Return the files of a training: weights, record and log."""
    train_recognizer(RecognizerTraining(arch='TinyVGG', data=data, out=out, epochs=2, seed=3, **options), root)
    return load_file(out), read_record(out), out.with_suffix('.log').read_text()


def as_by_hand(images, labels, val):
    """Return the weights of ``training``'s loop with the same seed."""
    torch.manual_seed(3)
    net = tiny_nets.TinyVGG(2)
    training.train_classifier(net, (images, labels), val, epochs=2, lr=0.2, seed=3, log=lambda line: None)
    return {key: value.half() if value.is_floating_point() else value for key, value in net.state_dict().items()}


def assert_same(weights, expected):
    assert weights.keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in weights.items())


@pytest.mark.slow
def test_on_clean_images_it_is_what_it_always_was(data, tmp_path):
    """The shipped weights can be made again by what their logs say."""
    weights, record, log = trained(data, tmp_path / 'x.safetensors')
    images, labels, classes = training.read_class_folders(data / 'train')
    assert_same(weights, as_by_hand(images, labels, training.read_class_folders(data / 'val')[:2]))
    assert record['classes'] == classes == ['dark', 'light'] and record['arch'] == 'TinyVGG'
    settings = log.partition('parameters')[0].splitlines()
    shipped = (ROOT / 'ra_plugin/weights/cifar10_vgg.log').read_text().partition('parameters')[0].splitlines()
    assert [line.partition(':')[0] for line in settings] == [line.partition(':')[0] for line in shipped]
    assert log.count('test top-1 of the stored weights: ') == 1


@pytest.mark.slow
@pytest.mark.parametrize('how', ['restored', 'interpolated'])
def test_it_learns_on_restored_and_on_interpolated_images(how, data, restorer, tmp_path):
    root, file, net = restorer
    options = {'restorer': file} if how == 'restored' else {'degradation': HALVED}
    weights, record, log = trained(data, tmp_path / 'x.safetensors', root, **options)

    def by_hand(split):
        images, labels, _ = training.read_class_folders(data / split)
        small = [np.asarray(Image.fromarray(image.permute(1, 2, 0).numpy()).resize((16, 16), Image.BICUBIC))
                 for image in images]
        lq = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2) / 255
        with torch.no_grad():
            made = net(lq) if how == 'restored' else F.interpolate(lq, (32, 32), mode='bicubic', antialias=True)
        return (made * 255).round().clamp(0, 255).to(torch.uint8), labels

    (images, labels), val, test = map(by_hand, ('train', 'val', 'test'))
    mean, std = training.channel_statistics(images)
    np.testing.assert_allclose([record['mean'], record['std']], [mean, std], atol=2e-4)
    expected = as_by_hand(images, labels, val)
    for key, value in expected.items():  # a network's rounding can turn an 8-bit value
        torch.testing.assert_close(weights[key].float(), value.float(), rtol=0.02, atol=0.02)

    recognizer = build_recognizer({'type': 'ModuleRecognizer', 'module': 'ra_plugin.recognizers.tiny_nets.TinyVGG',
                                   'module_kwargs': {'num_classes': 2}, 'checkpoint': str(tmp_path / 'x.safetensors')})
    clean = training.read_class_folders(data / 'test')[:2]
    for name, (pictures, answers) in (('images as it was trained on', test), ('clean images', clean)):
        right = (recognizer.predict(pictures / 255)['labels'][:, 0] == answers).double().mean()
        assert f'stored weights on {name}: {right:.4f} (n = 12)' in log
    assert 'processed 144 images in' in log and 'stored weights: ' not in log
    assert f'{"restorer" if how == "restored" else "degradation"}: ' in log


@pytest.mark.slow
def test_a_degradation_of_the_command_line_goes_before_the_restorers(data, restorer, tmp_path):
    root, file, _ = restorer
    noisy = tmp_path / 'noise.yml'
    noisy.write_text('{type: Compose, steps: [{type: BicubicDownsample, scale: 2}, {type: GaussianNoise, sigma: 0.3}]}')
    own, other = (trained(data, tmp_path / f'{i}.safetensors', root, restorer=file, **options)[1]
                  for i, options in enumerate(({}, {'degradation': str(noisy)})))
    assert own['mean'] != other['mean']


def test_noise_is_that_of_an_evaluation():
    images = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
    noise = build_degradation({'type': 'GaussianNoise', 'sigma': 0.1}, '')
    made = processed(images, noise, no_processing)
    for i, image in enumerate(images):
        expected = noise(image.permute(1, 2, 0).numpy(), np.random.default_rng((0, i)))
        assert np.array_equal(made[i].permute(1, 2, 0).numpy(), np.rint(expected * 255).astype(np.uint8))


@pytest.mark.parametrize('options, message', [
    ({'arch': 'TinyNet'}, "tiny_nets has no class 'TinyNet'"),
    ({'degradation': '{type: Bicubic}'}, "train_recognizer: degradation.type: no degradation 'Bicubic'"),
    ({'degradation': '{type: '}, 'train_recognizer: --degradation: expected a block'),
    ({'degradation': 'half.yml'}, 'train_recognizer: degradation: expected a block'),
])
def test_what_cannot_be_meant_is_refused(options, message, data, tmp_path):
    settings = {'arch': 'TinyVGG', 'data': data, 'out': tmp_path / 'x.safetensors', **options}
    with pytest.raises(OptionError, match=message):
        train_recognizer(RecognizerTraining(**settings), ROOT)


def test_the_tool_says_in_one_line_that_the_restorer_is_not_trained(data, tmp_path, monkeypatch, capsys):
    file = tmp_path / 'x.yml'
    file.write_text(json.dumps({'name': 'never_trained', 'network_g': {'type': 'SRResNet'}}))
    monkeypatch.setattr(sys, 'argv', ['train_recognizer.py', 'TinyVGG', '--data', str(data), '--restorer', str(file),
                                      '--out', str(tmp_path / 'x.safetensors')])
    monkeypatch.syspath_prepend(ROOT / 'tools')
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / 'tools/train_recognizer.py'), run_name='__main__')
    assert ended.value.code == 2
    assert 'Train it first: ra-plugin train' in capsys.readouterr().err.splitlines()[-1]
