"""dev/zoo_check.py: its outcomes, and that each of its checks can fail."""
import json
import sys
from pathlib import Path

import open_clip
import pytest
import tiny_open_clip
import torch
import warm_start
from torch import nn

from dev import zoo, zoo_open_clip
from ra_plugin.recognizers import MMDetRecognizer, ModuleRecognizer, TimmRecognizer
from ra_plugin.recognizers.facts import TaskError
from ra_plugin.recognizers.open_clip_models.networks import ImageTower

pytestmark = pytest.mark.mm

ROOT = Path(__file__).resolve().parents[2]


class Broken(nn.Module):
    """Classifier with a fault that one of the checks has to report."""

    def __init__(self, fault):
        super().__init__()
        self.fault = fault
        self.head = nn.Linear(3, 4)
        self.calls = nn.Buffer(torch.zeros(()))

    def forward(self, x):
        logits = self.head(x.mean((2, 3)))
        if self.fault == 'counts':
            self.calls += 1
        if self.fault == 'random':
            logits = logits + torch.rand(4)
        if self.fault == 'detached':
            logits = self.head(x.detach().mean((2, 3))) + 0 * logits
        if self.fault == 'infinite':
            logits = logits * torch.inf
        return logits


@pytest.mark.parametrize('fault, reason', [
    ('none', ''), ('counts', 'a buffer changed'), ('random', 'the loss is not repeatable'),
    ('detached', 'the gradient is zero'), ('infinite', 'the loss is not finite')])
def test_faults_are_named(fault, reason, monkeypatch):
    build = lambda name: ModuleRecognizer(Broken(fault), mean=[0, 0, 0], std=[1, 1, 1], input_size=16)  # noqa: E731
    monkeypatch.setitem(zoo._BUILD, 'timm', build)
    finding = zoo.check_model('timm', 'x')
    assert finding.outcome == (zoo.PASS if fault == 'none' else zoo.FAIL)
    assert reason in finding.reason


@pytest.mark.slow
def test_an_embedding_is_compared_with_that_of_other_images(monkeypatch):
    build = lambda name: TimmRecognizer(name, False, input_size=64, model_kwargs={'num_classes': 0})  # noqa: E731
    monkeypatch.setitem(zoo._BUILD, 'timm', build)
    finding = zoo.check_model('timm', 'test_resnet')
    assert (finding.outcome, finding.reason, finding.unsupervised) == (zoo.PASS, '', 'yes')


def test_another_task_is_not_a_failure_and_an_error_is(monkeypatch):
    def refuse(name):
        raise {'task': TaskError("R(x): /some/folder/x.py: 'model' is missing"), 'error': KeyError('anchor')}[name]

    monkeypatch.setitem(zoo._BUILD, 'timm', refuse)
    other = zoo.check_model('timm', 'task')
    assert (other.outcome, other.reason) == (zoo.OTHER, "x.py: 'model' is missing")
    finding = zoo.check_model('timm', 'error')
    assert (finding.outcome, finding.reason) == (zoo.FAIL, "KeyError: 'anchor'")


@pytest.mark.slow
def test_readers_of_words_are_tried_with_words():
    names = zoo.model_names('doctr')
    assert len(names) == 9 and {'parseq', 'sar_resnet31', 'master', 'viptr_tiny', 'vitstr_base'} < set(names)
    finding = zoo.check_model('doctr', 'crnn_mobilenet_v3_small')
    assert (finding.outcome, finding.reason, finding.unsupervised) == (zoo.PASS, '', 'yes')


def test_sample_leaves_other_tasks_out_and_follows_the_seed(monkeypatch):
    monkeypatch.setattr(zoo, '_in_a_process', lambda library, name: zoo.Finding(
        name, zoo.OTHER if int(name) % 3 == 0 else zoo.PASS))
    names = [str(i) for i in range(60)]
    first, again, other = (list(zoo.check_zoo('timm', names, 10, seed, 2)) for seed in (0, 0, 1))
    assert first == again != other
    assert sum(finding.outcome == zoo.PASS for finding in first) == 10
    assert len({finding.name for finding in first}) == len(first)
    assert len(list(zoo.check_zoo('timm', names, None, 0, 2))) == 60


def test_a_model_that_ends_its_process_ends_no_other(monkeypatch):
    monkeypatch.setattr(sys, 'executable', '/bin/false')
    finding, = zoo.check_zoo('timm', ['x'], None, 0, 1)
    assert finding.outcome == zoo.FAIL and 'its process ended with status 1' in finding.reason


def test_table():
    findings = [zoo.Finding('a', zoo.PASS, '', 'yes'), zoo.Finding('b', zoo.FAIL, 'x|y', ''),
                zoo.Finding('c', zoo.OTHER, 'text', ''), zoo.Finding('d', zoo.PASS, '', 'yes')]
    table = zoo.to_markdown('mmdet', 'the command', findings)
    assert '`the command`: 2 of 3 pass (66.7 %); 1 more have another task.' in table
    assert '| b | fail: x\\|y |  |' in table


@pytest.mark.slow
@pytest.mark.parametrize('library, name', [
    ('mmdet', 'yolox_tiny_8xb8-300e_coco'), ('mmseg', 'fcn_hr18s_4xb2-40k_cityscapes-512x1024'),
    ('timm', 'test_resnet'), ('torchvision', 'lraspp_mobilenet_v3_large')])
def test_program_on_one_model_of_each_zoo(library, name, tmp_path):
    done = warm_start.run([ROOT / 'dev' / 'zoo_check.py', library, name, '--workers', '1', '--out', tmp_path / 'x.md'],
                          tmp_path, {'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'PATH': '/usr/bin:/bin'})
    assert '1 of 1 pass (100.0 %)' in done.stdout, done.stdout + done.stderr
    assert f'| {name} | pass | yes |' in (tmp_path / 'x.md').read_text()


def test_loss_that_needs_larger_images_gets_them(monkeypatch):
    monkeypatch.setitem(zoo.SIZES, 'mmdet', (40, 300))
    monkeypatch.setitem(zoo._BUILD, 'mmdet', lambda name: MMDetRecognizer(name, pretrained=False, resize=None))
    seen = []
    monkeypatch.setattr(zoo, '_try', lambda recognizer, name, images, label: (
        seen.append(images.shape[-1]), recognizer.predict(images), zoo.Finding(name, zoo.PASS))[-1])
    assert zoo.check_model('mmdet', 'ssd300_coco').outcome == zoo.PASS and seen == [40, 300]


@pytest.mark.slow
def test_models_of_transformers_are_built_with_their_image_processors():
    assert 'DetrForObjectDetection' in zoo.model_names('transformers')
    finding = zoo.check_model('transformers', 'MobileNetV1ForImageClassification')
    assert (finding.outcome, finding.unsupervised) == (zoo.PASS, 'yes')
    finding = zoo.check_model('transformers', 'EfficientNetForImageClassification')
    assert (finding.outcome, finding.unsupervised) == (zoo.PASS, 'yes')  # whose initial values let nothing through
    other = zoo.check_model('transformers', 'PPOCRV5MobileDetForObjectDetection')
    assert other.outcome == zoo.OTHER and 'has no loss for' in other.reason


@pytest.fixture
def tiny_clip(monkeypatch):
    """``tiny_clip(**text)``: the name of a small model that open_clip lists."""
    def add(**text):
        config = json.loads(json.dumps(tiny_open_clip.CONFIGS['CLIP']))
        config['text_cfg'].update(text)
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, 'tiny', config)
        return 'tiny'

    return add


@pytest.mark.slow
@pytest.mark.parametrize('text', [{}, {'hf_tokenizer_name': 'nobody/words'}])
def test_models_of_open_clip_are_compared_with_the_package(text, tiny_clip, monkeypatch):
    name = tiny_clip(**text)
    assert {'ViT-B-32', 'RN50', 'ViT-B-16-SigLIP'} < set(zoo.model_names('open_clip'))
    finding = zoo.check_model('open_clip', name)
    assert (finding.outcome, finding.reason, finding.unsupervised) == (zoo.PASS, '', 'yes')
    embed = ImageTower.embed
    monkeypatch.setattr(ImageTower, 'embed', lambda self, images: embed(self, 0.9 * images))
    finding = zoo.check_model('open_clip', name)
    assert finding.outcome == zoo.FAIL and 'its answers and those of the package are' in finding.reason


def test_models_of_open_clip_that_are_large_or_fetched_are_left_out(tiny_clip, monkeypatch):
    found = zoo.check_model('open_clip', tiny_clip(hf_model_name='nobody/tower'))
    assert found.outcome == zoo.OTHER and 'the config of its text tower (nobody/tower) has to be' in found.reason
    monkeypatch.setattr(zoo_open_clip, '_MOST', -1)
    found = zoo.check_model('open_clip', tiny_clip())
    assert found.outcome == zoo.OTHER and 'million parameters, and at most' in found.reason
