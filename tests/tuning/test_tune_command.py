"""A restorer's file tuned by the command: what it writes, that it keeps to the budget, goes on, and refuses."""
import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import spandrel
import torch
import yaml
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from PIL import Image
from programs import run_tool
from torch.nn import functional

from ra_plugin.data.part import share_of
from ra_plugin.training import train_if_needed
from ra_plugin.tuning import run as tuning
from ra_plugin.utils.signals import Interrupted

BUDGET = 0.2
TINY = '{{type: ModuleRecognizer, module: ra_plugin.recognizers.tiny_nets.{}, checkpoint: ' \
       'ra_plugin/weights/cifar10_{}.safetensors, input_size: 32}}'
FLAGS = ['--recognizer', TINY.format('TinyResNet', 'resnet'), '--judge', TINY.format('TinyVGG', 'vgg'), '--steps', 24,
         '--max-psnr-drop', BUDGET, '--batch-size', 4, '--lr', 1e-3, '--image-loss', 'clean']


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A folder with 80 images of smooth blobs, and a restorer x2 that is nearly bilinear interpolation."""
    folder, rng = tmp_path_factory.mktemp('place'), np.random.default_rng(0)
    (folder / 'photos').mkdir()
    for i in range(80):
        coarse = torch.from_numpy(rng.random((1, 3, 8, 8), np.float32))
        image = functional.interpolate(coarse, size=(32, 32), mode='bicubic').clamp(0, 1)[0].permute(1, 2, 0)
        Image.fromarray((255 * image.numpy()).round().astype(np.uint8)).save(folder / 'photos' / f'{i}.png')
    torch.manual_seed(0)
    network = SRVGGNetCompact(3, 3, num_feat=8, num_conv=2, upscale=2)
    with torch.no_grad():
        network.body[-1].weight *= 0.1
    torch.save({'params': network.state_dict()}, folder / 'mine.pth')
    return folder


def command(monkeypatch, place, *words):
    monkeypatch.chdir(place)
    return run_tool(monkeypatch, 'tune', 'mine.pth', '--images', 'photos', *words)


@pytest.fixture(scope='module')
def tuned(place):
    """The folder of a tuning that ran to its end."""
    with pytest.MonkeyPatch.context() as patch:
        assert command(patch, place, *FLAGS) == 0
    return place / 'tuned' / 'mine'


def psnr_of(file, images):
    """Mean PSNR of spandrel's own network in a file, on images degraded as PIL does."""
    network, found = spandrel.ModelLoader().load_from_file(file).eval(), []
    for path in images:
        clean = Image.open(path)
        small = clean.resize((16, 16), Image.Resampling.BICUBIC)
        lq = torch.from_numpy(np.asarray(small, np.float32).transpose(2, 0, 1) / 255)[None]
        with torch.no_grad():
            restored = (255 * network(lq)[0].permute(1, 2, 0).clamp(0, 1)).round().numpy()
        found.append(10 * np.log10(255 ** 2 / ((restored - np.asarray(clean, np.float64)) ** 2).mean()))
    return np.mean(found)


@pytest.mark.slow
def test_the_file_opens_in_spandrel_and_keeps_to_the_budget(tuned, place):
    choose, report = ([path for path in sorted((place / 'photos').iterdir()) if low <= share_of(path.name) < high]
                      for low, high in ((0.7, 0.85), (0.85, 1)))
    file = tuned / 'mine_tuned.safetensors'
    drop = psnr_of(place / 'mine.pth', choose) - psnr_of(file, choose)
    assert drop < BUDGET + 1e-3
    results = json.loads((tuned / 'results.json').read_text())
    condition, = results['conditions'].values()
    assert condition['n'] == len(report)
    for name, network in (('original', place / 'mine.pth'), ('tuned', file)):
        assert condition['processings'][name]['psnr'] == pytest.approx(psnr_of(network, report), abs=1e-3)
    assert results['restorers']['tuned']['used'] == ['TinyResNet'] and set(results['recognizers']) == {
        'TinyResNet', 'TinyVGG'}


@pytest.mark.slow
def test_what_it_leaves(tuned):
    assert {path.name for path in tuned.iterdir()} >= {
        'mine_tuned.safetensors', 'README.md', 'report.html', 'results.json', 'settings.json', 'tuned.yml',
        'report.yml'}
    card = (tuned / 'README.md').read_text()
    head, body = card.removeprefix('---\n').split('---\n', 1)
    assert yaml.safe_load(head)['pipeline_tag'] == 'image-to-image'
    results = json.loads((tuned / 'results.json').read_text())
    condition, = results['conditions'].values()
    assert f'{condition["processings"]["tuned"]["psnr"]:.2f}' in body and 'TinyResNet' in body
    assert str(tuned) not in body and '{' not in body.partition('| command')[0]
    opt = yaml.safe_load((tuned / 'tuned.yml').read_text())
    held = sum(0.7 <= share_of(f'{i}.png') < 0.85 for i in range(80))
    assert opt['train']['recog_budget'] == {'max_psnr_drop': BUDGET, 'images': held}
    assert opt['train']['recog_opt']['type'] == 'RecogConsistencyLoss'


@pytest.mark.slow
def test_the_same_command_repeats_nothing_and_another_one_is_refused(tuned, place, monkeypatch, capfd):
    before = {name: (tuned / name).read_bytes() for name in ('README.md', 'results.json', 'mine_tuned.safetensors')}
    monkeypatch.setattr(train_if_needed, 'run_program', None)  # nothing is left to train
    monkeypatch.setattr(tuning, 'probe', None)
    assert command(monkeypatch, place, *FLAGS) == 0
    assert {name: (tuned / name).read_bytes() for name in before} == before
    assert capfd.readouterr().out.splitlines()[-1] == (
        'Written to tuned/mine: mine_tuned.safetensors, README.md, report.html, results.json.')
    assert command(monkeypatch, place, *FLAGS, '--seed', 1) == 2
    assert 'tuned/mine has another tuning (--seed: 0 there, 1 now)' in capfd.readouterr().err
    (place / 'photos' / '0.png').rename(place / 'photos' / 'other.png')
    assert command(monkeypatch, place, *FLAGS) == 2
    assert 'tuned/mine has another tuning (--images: other files there)' in capfd.readouterr().err
    (place / 'photos' / 'other.png').rename(place / 'photos' / '0.png')


@pytest.mark.slow
def test_what_touches_the_report_alone_makes_it_again_of_what_is_there(tuned, place, monkeypatch, capfd):
    monkeypatch.setattr(train_if_needed, 'run_program', None)  # nothing is left to train
    monkeypatch.setattr(tuning, 'probe', None)
    alone = [word for word in FLAGS if word != '--judge' and 'TinyVGG' not in str(word)]
    assert command(monkeypatch, place, *alone, '--report-images', 6) == 0
    assert 'goes on with earlier records: 6 of 6 images are known' in capfd.readouterr().out
    results = json.loads((tuned / 'results.json').read_text())
    assert set(results['recognizers']) == {'TinyResNet'} and next(iter(results['conditions'].values()))['n'] == 6
    assert command(monkeypatch, place, *FLAGS) == 0
    assert set(json.loads((tuned / 'results.json').read_text())['recognizers']) == {'TinyResNet', 'TinyVGG'}
    assert 'TinyVGG' in (tuned / 'README.md').read_text()


@pytest.mark.slow
def test_records_of_another_version_are_judged_again(tuned, place, monkeypatch, capfd):
    plan = tuned / 'records' / '0' / 'plan.json'
    before = plan.read_text()
    plan.write_text(json.dumps({**json.loads(before), 'schema': 'ra_plugin.records/0'}))
    assert command(monkeypatch, place, *FLAGS) == 0
    said = capfd.readouterr()
    assert 'of another version of ra_plugin: all images are judged again.' in said.out and '--restart' not in said.err
    assert plan.read_text() == before


@pytest.mark.slow
def test_a_second_tuning_in_a_folder_is_one_line_and_one_that_was_killed_holds_nothing(tuned, place, monkeypatch,
                                                                                      capfd):
    code = 'import fcntl, sys; file = open(sys.argv[1], "w"); fcntl.lockf(file, fcntl.LOCK_EX); print(); input()'
    first = subprocess.Popen([sys.executable, '-ISc', code, tuned / '.lock'], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
    assert first.stdout.readline()
    monkeypatch.setattr(train_if_needed, 'run_program', None)
    assert command(monkeypatch, place, *FLAGS) == 2
    assert capfd.readouterr().err.splitlines()[-1] == (
        'tune.py: --out: another tuning runs in tuned/mine. Wait for its end, or choose another folder.')
    first.kill()
    first.communicate()
    assert command(monkeypatch, place, *FLAGS) == 0


@pytest.mark.slow
@pytest.mark.parametrize('name', ['settings.json', 'tuned.yml', 'mine_tuned.safetensors', 'report.yml', 'results.json',
                                  'README.md', '00000000-'])
def test_a_full_disk_is_one_line_and_loses_nothing(name, tuned, place, monkeypatch, capfd):
    replaced, judged = os.replace, name == '00000000-'

    def full(source, target):
        if str(target).startswith(str(tuned)) and target.name.startswith(name):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replaced(source, target)

    before = {path: path.read_bytes() for path in (tuned / 'experiments').rglob('*') if path.is_file()}
    plan = tuned / 'records' / '0' / 'plan.json'
    if judged:  # so that records are written again
        plan.write_text('{}')
    monkeypatch.chdir(place)
    with monkeypatch.context() as patch:
        patch.setattr(os, 'replace', full)
        patch.setattr(train_if_needed, 'run_program', None)
        assert command(patch, place, *FLAGS, '--out', tuned) == 2
    *_, line = capfd.readouterr().err.strip().splitlines()
    assert name in line and line.endswith(
        ': No space left on device. Make room; finished parts are kept; the same command goes on from there.')
    assert {path: path.read_bytes() for path in before} == before
    assert command(monkeypatch, place, *FLAGS) == 0


@pytest.mark.slow
def test_a_tuning_that_was_stopped_goes_on_from_its_own_weight(tuned, place, monkeypatch):
    def stop(*words, **settings):
        raise Interrupted(15)

    monkeypatch.setattr(train_if_needed, 'run_program', stop)
    assert command(monkeypatch, place, *FLAGS, '--out', 'again') == 143
    first = (place / 'again' / 'tuned.yml').read_text()
    assert yaml.safe_load(first) == yaml.safe_load((tuned / 'tuned.yml').read_text())
    monkeypatch.setattr(tuning, 'probe', None)  # another time of day, and another rounding, may not change a training
    assert command(monkeypatch, place, *FLAGS, '--out', 'again') == 143
    assert (place / 'again' / 'tuned.yml').read_text() == first


def out_with_files(place):
    (place / 'full').mkdir(exist_ok=True)
    (place / 'full' / 'letter.txt').touch()


@pytest.mark.parametrize('words, message', [
    (['--max-psnr-drop', 0], ': --max-psnr-drop: expected a number > 0, got 0'),
    (['--loss', 'labels'], '--loss labels: expected --labels, got none'),
    (['--images', 'few'], "--images: no folder"),
    (['--recognizer', '{type: TimmRecognizer, model_name: nothing, pretrained: false}'], 'nothing'),
    (['--recognizer', 'resnet8'], "--recognizer: no recognizer 'resnet8'"),
    (['--recognizer', '{type: Timm'], '--recognizer: expected a block as YAML'),
    (['--recognizer', 'none.yml'], "--recognizer: no file 'none.yml'"),
    (['--judge', 'resnet8'], "--judge: no recognizer 'resnet8'"),
    (['--degradation', 'noise:25'], '--degradation'),
    (['--lq', 'photos', '--degradation', 'bicubic'], '--lq: expected no --degradation'),
    (['--labels', 'nowhere.csv'], '--labels: expected folders'),
    (['--labels', 'folders'], '--labels folders: expected a folder for each class'),
    (['--batch-size', 0], ': --batch-size: expected'), (['--report-images', 1], ': --report-images: expected'),
    (['--steps', 3], ': --steps: expected a whole number >= 24, got 3'),
    (['--out', 'mine.pth'], '--out: expected a folder'),
    (['--out', 'full'], '--out: full has files that are not of a tuning'),
    (['--device', 'nothing'], '--device: expected a device')])
def test_what_cannot_be_asked_for_is_one_line_and_nothing_is_written(words, message, place, monkeypatch, capfd):
    out_with_files(place)
    before = sorted(place.rglob('*'))
    assert command(monkeypatch, place, *FLAGS, '--out', 'never', *words) == 2
    *_, line = capfd.readouterr().err.strip().splitlines()
    assert message in line and line.startswith('tune.py: ')
    assert sorted(place.rglob('*')) == before


@pytest.mark.parametrize('name, message', [('nowhere.pth', 'no training, option file or weights file of that name'),
                                           ('noise.pth', 'is no restorer that spandrel'),
                                           ('video.pth', 'network for videos')])
def test_files_that_are_no_restorer(name, message, place, monkeypatch, capfd):
    if name != 'nowhere.pth':
        key = 'spynet.weight' if name == 'video.pth' else 'something.weight'
        torch.save({key: torch.zeros(3, 3)}, place / name)
    monkeypatch.chdir(place)
    assert run_tool(monkeypatch, 'tune', name, '--images', 'photos', *FLAGS) == 2
    assert message in capfd.readouterr().err


def test_labels_of_other_classes_are_told_before_anything_is_trained(place, monkeypatch, capfd):
    (place / 'twelve.json').write_text(json.dumps({f'{i}.png': i % 12 for i in range(80)}))
    monkeypatch.setattr(tuning, 'probe', None)
    assert command(monkeypatch, place, *FLAGS, '--labels', 'twelve.json', '--out', 'twelve') == 2
    assert '--labels: 12 classes, but' in capfd.readouterr().err
    assert not (place / 'twelve' / 'tuned.yml').exists()


def test_a_network_of_ones_own_is_found_in_the_current_folder(place, monkeypatch, capfd):
    (place / 'net_beside_photos.py').write_text('from test_tune_command import Constant\n')
    monkeypatch.setattr(sys, 'path', list(sys.path))
    block = '{type: ModuleRecognizer, module: net_beside_photos.Constant, pretrained: false, mean: [0, 0, 0], ' \
            'std: [1, 1, 1], input_size: 32}'
    assert command(monkeypatch, place, *FLAGS, '--recognizer', block, '--out', 'own') == 2
    assert 'has no gradient on these images' in capfd.readouterr().err  # it was found, and built


def test_a_recognizer_that_is_no_function_of_the_image_is_refused(place, monkeypatch, capfd):
    constant = '{type: ModuleRecognizer, module: test_tune_command.Constant, pretrained: false, mean: [0, 0, 0], ' \
               'std: [1, 1, 1], input_size: 32}'
    assert command(monkeypatch, place, *FLAGS, '--recognizer', constant, '--out', 'constant') == 2
    assert 'has no gradient on these images' in capfd.readouterr().err
    assert command(monkeypatch, place, *FLAGS, '--recognizer', constant, '--seed', 1, '--out', 'constant') == 2
    assert 'has no gradient on these images' in capfd.readouterr().err  # nothing has begun in the folder: it is free


class Constant(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(1, 3)

    def forward(self, x):
        return self.head(x.mean((1, 2, 3))[:, None] * 0)
