"""Check that option files work with a recognition loss: each is made tiny, given a ``recog_opt``, trained and resumed.

``tiny_options`` makes the other changes. Nothing is downloaded: VGG, which the perceptual loss needs, is built with
random weights by a temporary patch.
"""
# isort: off
import ra_plugin.basicsr  # noqa: F401 - patches BasicSR before its first import here
# isort: on
import json
import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import yaml
from basicsr import __version__ as basicsr_version
from basicsr.archs import build_network
from basicsr.models.sr_model import SRModel
from basicsr.models.video_base_model import VideoBaseModel
from basicsr.utils.registry import MODEL_REGISTRY

from dev.tiny_options import tiny_options
from ra_plugin.compat.random_vgg import random_vgg
from ra_plugin.options import OptionError
from ra_plugin.training.pipeline import train_pipeline
from ra_plugin.utils import children
from ra_plugin.utils.text import one_line
from ra_plugin.utils.yaml_file import read_yaml

PASS, FAIL, OTHER = 'pass', 'fail', 'not an image model'
RECOG_OPT = {'type': 'RecogConsistencyLoss', 'loss_weight': 1e-3, 'distance': 'kl',
             'recognizer': {'type': 'TimmRecognizer', 'model_name': 'test_resnet', 'pretrained': False}}
_SECONDS = 600  # time limit per file


@dataclass(frozen=True)
class Finding:
    """Result of the check of one option file."""

    file: str
    outcome: str  # PASS, FAIL, or OTHER: not a model for single images, rejected with one line
    reason: str = ''  # reason for FAIL or OTHER
    model: str = ''
    network: str = ''
    seconds: float = 0.0


def option_files(folder: Path) -> list[Path]:
    """Return all ``*.yml`` files below the folder, sorted."""
    return sorted(folder.rglob('*.yml'))


def check_files(folder: Path, workers: int) -> Iterator[Finding]:
    """Check the option files below the folder in separate processes, ``workers`` at a time, in order."""
    with ThreadPoolExecutor(workers) as pool, children.children_end():
        yield from pool.map(lambda path: _in_a_process(path, str(path.relative_to(folder))), option_files(folder))


def _in_a_process(path: Path, name: str) -> Finding:
    with tempfile.TemporaryDirectory(prefix='option_check_') as root:
        command = ['-W', 'ignore', '-m', 'dev.option_check', str(path), name, root]
        try:
            done = children.output(command, _SECONDS)
        except subprocess.TimeoutExpired:
            return Finding(name, FAIL, f'more than {_SECONDS} seconds')
    if done.returncode:  # killed, mostly for lack of memory
        return Finding(name, FAIL, f'its process ended with status {done.returncode}')
    return Finding(**json.loads(done.stdout.splitlines()[-1]))


def check_file(path: Path, name: str, root: Path) -> Finding:
    """Train one option file, resume, and check the files written below ``root``, an empty folder."""
    started, about = time.time(), {}
    try:
        opt = read_yaml(path, 'option file')
        if not isinstance(opt, dict):
            raise ValueError(f"expected blocks of keys as in BasicSR's option files, got {type(opt).__name__}.")
        about = {'model': str(opt.get('model_type', '')), 'network': str((opt.get('network_g') or {}).get('type', ''))}
        outcome, reason = _try(opt, root)
    except Exception as error:  # any error is the result of the check
        outcome, reason = FAIL, _reason(error, root)
    return Finding(name, outcome, reason, **about, seconds=round(time.time() - started, 1))


def _try(opt: dict, root: Path) -> tuple[str, str]:
    if not _is_image_model(opt.get('model_type')):
        try:
            _train(opt, root)
        except OptionError as error:
            if 'does not support recognition losses' not in str(error):
                raise
            return OTHER, _reason(error, root)
        return FAIL, 'it is not a model for single images, but was not rejected'
    opt = tiny_options(opt, root)
    with random_vgg():
        log = _train(opt, root)
        problems = _problems(opt, root, log, iterations=[1, 2])
        opt['train']['total_iter'] = 3
        log = _train(opt, root, '--auto_resume')[len(log):]
    problems += _problems(opt, root, log, iterations=[3])
    if not re.search(r'Resuming from epoch \d+, iteration 2\.', log):
        problems.append('it was not resumed at iteration 2')
    if problems:
        return FAIL, '; '.join(dict.fromkeys(problems))
    return PASS, '' if opt.get('val') else 'trained and resumed; it has no val block'


def _is_image_model(name: object) -> bool:
    """Return False for BasicSR's video and StyleGAN classes; unknown names are rejected by the run itself."""
    try:
        model = MODEL_REGISTRY.get(str(name))
    except KeyError:
        return True
    return not isinstance(model, type) or issubclass(model, SRModel) and not issubclass(model, VideoBaseModel)


def _train(opt: dict, root: Path, *flags: str) -> str:
    """Train like ra-plugin train, with the recognition loss added, and return the content of all logs of the run."""
    opt = deepcopy(opt)
    opt['num_gpu'] = 0
    if isinstance(opt.get('train'), dict):
        opt['train']['recog_opt'] = RECOG_OPT
    file = root / 'options.yml'
    file.write_text(yaml.safe_dump(opt), encoding='utf-8')
    sys.argv[:] = ['train', '-opt', str(file), *flags]
    train_pipeline(root)
    return ''.join(log.read_text(encoding='utf-8') for log in sorted(_experiment(opt, root).glob('*.log')))


def _experiment(opt: dict, root: Path) -> Path:
    return root / 'experiments' / opt['name']


def _problems(opt: dict, root: Path, log: str, iterations: Sequence[int]) -> list[str]:
    """Return the problems of a run that should have trained and saved these iterations and validated at the end."""
    lines = dict(re.findall(r'iter:\s*(\d+),[^\n]*?\] ([^\n]*l_[^\n]*)', log))
    losses = {int(i): dict(re.findall(r'(l_\w+): (\S+)', line)) for i, line in lines.items()}
    problems = []
    if list(losses) != list(iterations):
        problems.append(f'the log has iterations {list(losses)} instead of {list(iterations)}')
    if any('l_recog' not in values for values in losses.values()):
        problems.append('l_recog is not logged')
    problems += [f'{name} is not finite' for values in losses.values() for name, value in values.items()
                 if not math.isfinite(float(value))]
    return problems + _problems_of_files(opt, _experiment(opt, root), iterations) + _problems_of_validation(
        opt, _experiment(opt, root), log, iterations[-1])


def _problems_of_files(opt: dict, folder: Path, iterations: Sequence[int]) -> list[str]:
    networks = [key.replace('network_', 'net_') for key in opt if key.startswith('network_')]
    needed = [folder / 'models' / f'{network}_{i}.pth' for network in networks for i in (*iterations, 'latest')]
    needed += [folder / 'training_states' / f'{i}.state' for i in iterations]
    missing = [f'{file.name} was not saved' for file in needed if not file.is_file()]
    if missing:
        return missing
    saved = [_weights(opt, folder / 'models' / f'net_g_{i}.pth') for i in range(1, iterations[-1] + 1)]
    problems = {
        'the weights did not change': any(torch.equal(*pair) for pair in zip(saved, saved[1:], strict=False)),
        'the weights are not finite': not all(weights.isfinite().all() for weights in saved),
    }
    return [problem for problem, holds in problems.items() if holds]


def _weights(opt: dict, file: Path) -> torch.Tensor:
    """Return the parameters of net_g as one vector, without buffers, which also change without learning."""
    values = torch.load(file, map_location='cpu', weights_only=True)['params']
    return torch.cat([values[name].flatten() for name, _ in build_network(opt['network_g']).named_parameters()])


def _problems_of_validation(opt: dict, folder: Path, log: str, iteration: int) -> list[str]:
    if not opt.get('val'):
        return []
    problems, count = [], len([phase for phase in opt['datasets'] if phase != 'train'])
    for name in opt['val'].get('metrics') or {}:
        values = [float(value) for value in re.findall(rf'# {re.escape(name)}: (\S+)', log)]
        if not values or len(values) % count:  # a run that is resumed at a validation repeats it
            problems.append(f'validation gave {len(values)} values of {name} for {count} data sets')
        if not all(map(math.isfinite, values)):
            problems.append(f'{name} is not finite')
    if opt['val'].get('save_img') and not list((folder / 'visualization').rglob(f'*_{iteration}.png')):
        problems.append('validation saved no image')
    return problems


def _reason(error: Exception, root: Path) -> str:
    """Return an error as one line, without the temporary folder."""
    text = one_line(str(error).replace(f'{root}/', '')) or type(error).__name__
    return text[:300] if isinstance(error, (ValueError, ImportError)) else f'{type(error).__name__}: {text}'[:300]


def summary(findings: Sequence[Finding]) -> str:
    """Return a line like ``24 of 24 image option files pass; 14 more are not for image models``."""
    images = [finding for finding in findings if finding.outcome != OTHER]
    passed, others = sum(finding.outcome == PASS for finding in images), len(findings) - len(images)
    return f'{passed} of {len(images)} image option files pass' + (f'; {others} more are not for image models' if others
                                                                   else '')


def to_markdown(command: str, source: str, findings: Sequence[Finding]) -> str:
    """Return the table of a check, one row per file; ``source`` is the source of the files."""
    block = json.dumps(RECOG_OPT).replace('"', '')
    rows = ['# Option files', '', f'`{command}` on {source}, with BasicSR {basicsr_version} installed: '
            f'{summary(findings)}.', '',
            f'Each file was given `train.recog_opt: {block}`, generated images and weights at its paths, small '
            'networks and batches, and was trained for two iterations on the CPU, with its own validation; '
            '`--auto-resume` added a third. VGG, for files with a perceptual loss, had random weights. Models for '
            'videos and StyleGAN are not image models: each was rejected with an error of one line.', '',
            '| file | model | network | outcome |', '|---|---|---|---|']
    for finding in findings:
        outcome = finding.outcome
        if finding.reason and outcome != OTHER:  # the others were all rejected with the same message
            outcome += f': {finding.reason}'
        rows.append('| ' + ' | '.join(text.replace('|', '\\|') for text in (
            finding.file, finding.model, finding.network, outcome)) + ' |')
    return '\n'.join(rows) + '\n'


if __name__ == '__main__':  # checks one file
    torch.set_num_threads(1)
    print(json.dumps(asdict(check_file(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))))
