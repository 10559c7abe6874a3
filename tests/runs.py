"""Small training runs for the tests of what can happen to one: in a process of their own, forked from this one.

A fork has everything imported already, so a run of some steps takes a second, and can be killed a hundred times.
"""
import contextlib
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from tqdm import tqdm

from ra_plugin.training import pipeline as runs
from ra_plugin.training.loop import Training

NET = 'ra_plugin.recognizers.tiny_nets.TinyVGG'


def make_images(folder: Path, per_class: int = 5, size: int = 24) -> Path:
    """Write images of noise in ten class folders."""
    rng = np.random.default_rng(0)
    for label in 'abcdefghij':
        (folder / label).mkdir(parents=True, exist_ok=True)
        for i in range(per_class):
            Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8)).save(folder / label / f'{label}{i}.png')
    return folder


def options(root: Path, **train) -> dict:
    """Return options of 9 steps with all kinds of state: noise, flips, batch norm, EMA, momentum, T, an ensemble."""
    images = str(make_images(root / 'images'))
    recognizer = {'type': 'ModuleRecognizer', 'module': NET, 'input_size': 32,
                  'mean': [0.5] * 3, 'std': [0.25] * 3}
    return {
        'name': 'run', 'model_type': 'SRModel', 'scale': 1, 'num_gpu': 0, 'manual_seed': 3,
        'datasets': {
            'train': {'name': 'train', 'type': 'LabeledImageDataset', 'dataroot_gt': images, 'crop_size': 16,
                      'use_hflip': True, 'degradation': {'type': 'GaussianNoise', 'sigma': 0.1},
                      'batch_size_per_gpu': 8, 'num_worker_per_gpu': 0},
            'val': {'name': 'val', 'type': 'LabeledImageDataset', 'dataroot_gt': images, 'crop_size': 16,
                    'degradation': {'type': 'GaussianNoise', 'sigma': 0.1}, 'batch_size_per_gpu': 25},
        },
        'network_g': {'type': 'SRResNet', 'num_feat': 4, 'num_block': 1, 'upscale': 1},
        'network_t': {'type': 'ResnetGenerator', 'num_feat': 4, 'num_block': 1},
        'path': {},
        'train': {
            'ema_decay': 0.9, 'optim_g': {'type': 'Adam', 'lr': 1e-3}, 'total_iter': 9, 'warmup_iter': -1,
            'optim_t': {'type': 'SGD', 'lr': 1e-2, 'momentum': 0.9},
            'scheduler': {'type': 'MultiStepLR', 'milestones': [5], 'gamma': 0.5},
            'pixel_opt': {'type': 'MSELoss', 'loss_weight': 1.0, 'reduction': 'mean'},
            'recog_opt': {'type': 'RecogLoss', 'loss_weight': 0.01, 'recognizer': {
                'type': 'EnsembleRecognizer', 'sample': 1,
                'recognizers': [recognizer, {**recognizer, 'std': [0.5] * 3}]}}, **train},
        'val': {'val_freq': 4, 'save_img': False, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}},
                'recognizers': {'vgg': recognizer}},
        'logger': {'print_freq': 1, 'save_checkpoint_freq': 2, 'use_tb_logger': False},
    }


def start(root: Path, opt: dict, *flags: str, before: Callable[[], None] = lambda: None,
          said: str = 'output') -> int:
    """Fork a process that trains, and return its id.

    Args:
        root: Where its experiments are.
        opt: The option file.
        flags: Of the command line.
        before: Called in the child first, to prepare a fault.
        said: File in root for its output.
    """
    file = root / 'run.yml'
    text = yaml.safe_dump(opt, sort_keys=False)
    if not file.exists() or file.read_text() != text:  # another process of the run may be reading it
        file.write_text(text)
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        with open(root / said, 'w') as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            sys.stdout, sys.stderr = os.fdopen(1, 'w'), os.fdopen(2, 'w')
            tqdm.set_lock(threading.RLock())  # its own is shared by all forks: one that is killed could keep it
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background has it ignored
            sys.argv = ['train.py', '-opt', str(file), *flags]
            before()
            status = runs.run(runs.train_pipeline, root)
            sys.stdout.flush()
            sys.stderr.flush()
    except BaseException:
        traceback.print_exc(file=sys.stderr)
    finally:
        os._exit(status)


def finish(child: int, seconds: float = 120) -> int:
    """Wait for a process and return its exit status, or minus the number of the signal that ended it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise TimeoutError(f'a run took more than {seconds} s')


def train(root: Path, opt: dict, *flags: str, before: Callable[[], None] = lambda: None) -> int:
    """Start a run and wait for its end; see `start` and `finish`."""
    return finish(start(root, opt, *flags, before=before))


def output(root: Path) -> str:
    """Return the output of the last run."""
    return (root / 'output').read_text()


def folder(root: Path) -> Path:
    return root / 'experiments' / 'run'


def result(root: Path, iteration: int | str = 'latest') -> dict[str, torch.Tensor]:
    """Return all numbers in the networks and, for a numbered iteration, in the training state, by their places."""
    found = {}
    for path in sorted((folder(root) / 'models').glob(f'net_*_{iteration}.pth')):
        found.update(flatten(torch.load(path), path.name))
    if iteration != 'latest':
        state = folder(root) / 'training_states' / f'{iteration}.state'
        found.update(flatten(torch.load(state, weights_only=False), 'state'))
    return found


def flatten(node, where: str) -> dict:
    if isinstance(node, dict):
        return {key: value for name, item in node.items() for key, value in flatten(item, f'{where}.{name}').items()}
    if isinstance(node, (list, tuple)):
        return {key: value for i, item in enumerate(node) for key, value in flatten(item, f'{where}[{i}]').items()}
    return {where: node}


def assert_same(a: dict, b: dict) -> None:
    """Assert that two results are equal bit for bit."""
    assert a.keys() == b.keys()
    for name, value in a.items():
        same = torch.equal(value, b[name]) if isinstance(value, torch.Tensor) else value == b[name]
        assert same, f'{name}: {value} and {b[name]}'


def logged(root: Path) -> tuple[dict[str, str], set[str]]:
    """Return losses and learning rates by iteration, and the scores of validations, from all logs of a run.

    What two parts of a run both have must be the same in both, else AssertionError.
    """
    iterations: dict[str, str] = {}
    validations = set()
    for log in sorted(root.glob('experiments/run*/train_*.log')):
        text = re.sub(r'\[eta.*?\] ', '', log.read_text())
        for number, line in re.findall(r'iter: +(\d+), (lr.*)', text):
            assert iterations.setdefault(number, line) == line, f'iteration {number}'
        validations.update(re.findall(r'Validation val\n((?:\t.*\n)+)', text))
    return iterations, validations


def stop_at(iteration: int) -> None:
    """Make a run end without a word in a step, as if it were killed."""
    step = Training._step

    def stopping(self, batches):
        if self.iteration == iteration:
            os._exit(9)
        step(self, batches)

    Training._step = stopping


def assert_stops_change_nothing(root: Path, options: Callable[[Path], dict], iterations: tuple[int, ...]
                                ) -> tuple[Path, Path]:
    """Check that a run which is stopped before some iterations, and resumed, ends and logs as one that is not.

    Args:
        root: Empty folder for both.
        options: Returns the options of a run in a folder.
        iterations: Where it is stopped.

    Returns:
        Roots of the whole run and of the one that was stopped.
    """
    whole, stopped = root / 'whole', root / 'stopped'
    for folder in (whole, stopped):
        folder.mkdir()
    opt = options(whole)
    assert train(whole, opt) == 0, output(whole)
    make_images(stopped / 'images')
    for iteration in iterations:
        assert train(stopped, opt, '--auto_resume', before=lambda at=iteration: stop_at(at)) != 0
    assert train(stopped, opt, '--auto_resume') == 0, output(stopped)
    assert_same(result(stopped), result(whole))
    assert logged(stopped) == logged(whole)
    return whole, stopped
