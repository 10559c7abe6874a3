"""The wheel, installed apart from the repository: its commands work from a folder that has nothing but images."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import warm_start
import yaml
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from PIL import Image
from programs import ROOT

CLASSES = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck')
pytestmark = pytest.mark.slow
SOURCES = ('ra_plugin', 'options', 'setup.py', 'setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE')
FEW = ['datasets:train:batch_size_per_gpu=2', 'train:total_iter=2', 'datasets:train:dataroot_gt=photos',
       'datasets:val:dataroot_gt=photos']


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """A folder of packages with the wheel in it."""
    folder = tmp_path_factory.mktemp('wheel')
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / 'source' / name, ignore=shutil.ignore_patterns('__pycache__'))
        elif source.exists():
            (folder / 'source').mkdir(exist_ok=True)
            shutil.copy(source, folder / 'source' / name)
    pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check', '--quiet']
    subprocess.run([*pip, 'wheel', '--no-deps', '--no-build-isolation', '-w', folder, folder / 'source'], check=True)
    wheel, = folder.glob('*.whl')
    subprocess.run([*pip, 'install', '--no-deps', '--no-index', '--target', folder / 'site', wheel], check=True)
    return folder / 'site'


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """The user's folder: one image of most classes, three of the first."""
    folder, rng = tmp_path_factory.mktemp('place'), np.random.default_rng(0)
    for i, name in enumerate(CLASSES):
        for number in range(1 if i else 3):
            file = folder / 'photos' / name / f'{number}.png'
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(file)
    return folder


@pytest.fixture(scope='module')
def command(site, place):
    """``command(*words)`` runs ``ra-plugin`` in the user's folder and returns what it printed."""

    def run(*words, status=0, is_cold=False):
        env = {**os.environ, 'PYTHONPATH': str(site), 'OMP_NUM_THREADS': '1'}
        python = sys.executable if is_cold else warm_start.python()
        done = subprocess.run([python, site / 'bin' / 'ra-plugin', *map(str, words)], cwd=place, env=env,
                              capture_output=True, text=True, timeout=500)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    return run


def last(output):
    return output.splitlines()[-1]


def test_files_of_the_wheel(site):
    package = site / 'ra_plugin'
    shipped, ours = ({path.relative_to(folder) for path in (folder / 'options').rglob('*.*') if path.suffix != '.pyc'}
                     for folder in (package / 'shipped', ROOT))
    assert shipped == ours
    for folder in ('weights', 'report/pages'):
        assert ({path.name for path in (package / folder).iterdir()}
                == {path.name for path in (ROOT / 'ra_plugin' / folder).iterdir()})
    assert not [name for name in ('dev', 'tests', 'tools') if (site / name).exists()]


def test_options_and_help(command, place):
    assert command('--help').startswith('usage: ra-plugin COMMAND')
    assert 'small/joint_srresnet_x2_cifar10' in command('options', 'list')
    assert command('options', 'copy', 'ra_rdn_x4', 'mine.yml') == 'Written to mine.yml.\n'
    assert yaml.safe_load((place / 'mine.yml').read_text())['name'] == 'ra_rdn_x4'
    assert 'T1' in command('reproduce', '--help')


@pytest.mark.parametrize('name', ['demo/plain_srresnet_x2_cifar10', 'small/joint_srresnet_x2_cifar10'])
def test_training_with_own_images(name, command, place):
    run = Path(name).name
    out = command('train', '-opt', name, '--force-yml', *FEW, is_cold=name.startswith('demo'))
    assert last(out) == f'Written to experiments/{run}.'
    assert (place / 'experiments' / run / 'models' / 'net_g_latest.pth').is_file()
    kept = (place / 'experiments' / run / f'{run}.yml').read_text()
    assert f'# ra-plugin train -opt options/{name}.yml --force_yml' in kept and 'site-packages' not in kept


def test_tune_export_and_blend(command, place):
    """A file tuned on degraded images of two sizes, for a network of the user's; and what is made of the result."""
    torch.manual_seed(0)
    torch.save({'params': SRVGGNetCompact(3, 3, num_feat=8, num_conv=2, upscale=2).state_dict()}, place / 'mine.pth')
    (place / 'net.py').write_text('import torch\n\nclass Net(torch.nn.Sequential):\n    def __init__(self):\n'
                                  '        torch.manual_seed(0)\n        pool = torch.nn.AdaptiveAvgPool2d(2)\n'
                                  '        super().__init__(pool, torch.nn.Flatten(), torch.nn.Linear(12, 5))\n')
    rng = np.random.default_rng(0)
    for folder, times in (('clean', 2), ('degraded', 1)):
        (place / folder).mkdir()
        for i in range(60):
            size = (12 * times, (12 if i % 2 else 16) * times, 3)
            Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(place / folder / f'IMG {i}.png')
    net = '{type: ModuleRecognizer, module: net.Net, pretrained: false, mean: [0, 0, 0], ' \
          'std: [1, 1, 1], input_size: 24}'
    out = command('tune', 'mine.pth', '--images', 'clean', '--lq', 'degraded', '--recognizer', net, '--steps', 24,
                  '--batch-size', 2)
    assert last(out) == 'Written to tuned/mine: mine_tuned.safetensors, README.md, report.html, results.json.'
    assert [line for line in out.splitlines() if 'Written' in line] == [last(out)] and 'distributed' not in out
    tuned = 'tuned/mine/mine_tuned.safetensors'
    assert last(command('export', tuned, '--size', '16x16', '--out', 'mine.onnx')) == 'Written to mine.onnx.'
    assert last(command('blend', 'mine.pth', tuned, '--alpha', 0.5, '--out', 'half.safetensors')) == (
        'Written to half.safetensors.')


def test_demo_sweep_and_what_judges(command, place):
    """The shipped option files with two iterations, from copies that come before them."""
    for name in ('plain', 'ra', 'unsupervised'):
        file = place / 'options' / 'demo' / f'{name}_srresnet_x2_cifar10.yml'
        command('options', 'copy', f'demo/{file.stem}', file)
        file.write_text(file.read_text().replace('total_iter: 1200', 'total_iter: 2').replace('gpu: 16', 'gpu: 2'))
    shutil.copytree(place / 'photos', place / 'datasets' / 'cifar10' / 'train')
    for split in ('val', 'test'):
        shutil.copytree(place / 'photos', place / 'datasets' / 'cifar10' / split)
    (place / 'datasets' / 'cifar10' / 'complete').touch()
    assert last(command('demo', '--num-images', 6)).startswith('Written to results/demo: results.json')
    out = command('evaluate', '-opt', 'eval/cifar10', '--force-yml', 'images=5', 'audit=2', is_cold=True)
    assert last(out) == 'Written to results/cifar10: results.json, tables.md, report.html.'
    assert (place / 'results' / 'cifar10' / 'report.html').is_file()
    assert 'resnet, ' in command('doctor', '-opt', 'demo/ra_srresnet_x2_cifar10', '-k', 3, status=1)  # noise is no cat
    out = command('boundary', 'plain', 'RA', '-opt', 'eval/cifar10', '--num-images', 4, '--maps', 1, '--factor', 2)
    assert last(out).startswith('Written to results/cifar10_boundary: boundary.json')
    out = command('sweep', '-opt', 'demo/ra_srresnet_x2_cifar10', '--loss-weight', 0, 1, '--eval', 'eval/cifar10_val')
    assert last(out).startswith('Written to results/sweep_ra_srresnet_x2_cifar10: results.json')
    assert 'different trainings' in command('reproduce', 'T1', '--dry-run')
