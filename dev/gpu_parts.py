"""Parts of gpu_check.py, each run in its own process; results so far are in the part's file.

Usage: python dev/gpu_parts.py PART FOLDER SECONDS [--dry]
"""
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# in the order of importance; the first pair has targets
PAIRS = [('SRResNet', 'ResNet-18'), ('SRResNet', 'VGG-16'), ('SRResNet', 'FCN'), ('SRResNet', 'Faster R-CNN'),
         ('SRResNet', 'ResNet-50'), ('SwinIR', 'ResNet-18'), ('RDN', 'ResNet-18'), ('SwinIR', 'VGG-16'),
         ('SwinIR', 'FCN'), ('SwinIR', 'Faster R-CNN'), ('SwinIR', 'ResNet-50'), ('RDN', 'VGG-16'), ('RDN', 'FCN'),
         ('RDN', 'Faster R-CNN'), ('RDN', 'ResNet-50')]
SMALL = {'type': 'ModuleRecognizer', 'module': 'ra_plugin.recognizers.tiny_nets.TinyVGG', 'input_size': 32,
         'checkpoint': 'ra_plugin/weights/cifar10_vgg.safetensors'}
_LAST_WORDS = 15  # seconds for pytest to finish
_INTERRUPTED = 2  # pytest's exit status


class Part:
    """A part of the check, which saves its results at once.

    Args:
        name: Name of the part.
        folder: Folder for its files.
        seconds: Time limit in seconds.
        dry: Run a small version on the CPU.
    """

    def __init__(self, name: str, folder: Path, seconds: float, dry: bool):
        self.name, self.folder, self.dry = name, folder, dry
        self.work = folder / f'{name}.work'
        self.work.mkdir()
        self.end = time.monotonic() + seconds
        self.found: dict[str, Any] = {}

    def write(self, **found: Any) -> None:
        self.found.update(found)
        part = self.folder / f'{self.name}.json.part'
        part.write_text(json.dumps(self.found))
        part.replace(self.folder / f'{self.name}.json')

    @property
    def left(self) -> float:
        return self.end - time.monotonic()

    @property
    def device(self) -> Any:
        import torch
        return torch.device('cpu' if self.dry else 'cuda')

    @contextlib.contextmanager
    def told(self, of: str) -> Iterator[None]:
        """Record an exception of the block, e.g. for lack of memory or of a compiler, and continue."""
        try:
            yield
        except Exception as error:
            traceback.print_exc()
            self.write(errors={**self.found.get('errors', {}), of: f'{type(error).__name__}: {error}'[:500]})

    def program(self, *command: object, **kwargs: Any) -> subprocess.Popen:
        """Start a program of the repository, with its output in the part's file ``said``."""
        with open(self.work / 'said', 'a') as said:
            return subprocess.Popen([sys.executable, *map(str, command)], cwd=ROOT, stdout=said,
                                    stderr=subprocess.STDOUT, text=True, **kwargs)

    def said(self) -> str:
        return (self.work / 'said').read_text()


def tests(part: Part) -> None:
    """Run the tests that depend on the device."""
    report = part.work / 'report.xml'
    files = ['tests/test_on_device.py', 'tests/models/test_gpu_step.py']
    process = part.program('-m', 'pytest', '-q', '-p', 'no:cacheprovider', f'--junitxml={report}', *files)
    try:
        process.wait(max(part.left - _LAST_WORDS, 1))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)  # pytest then writes its report
        process.wait()
    cases = list(ElementTree.parse(report).iter('testcase')) if report.exists() else []
    bad = [(case.get('name'), (case.find(kind).get('message') or '')[:300]) for case in cases
           for kind in ('failure', 'error') if case.find(kind) is not None]
    part.write(cut_short=process.returncode == _INTERRUPTED, count=len(cases),
               skipped=sum(case.find('skipped') is not None for case in cases), failed=bad,
               last_words=part.said()[-1500:] if bad or not cases else '')


def steps(part: Part) -> None:
    """Time training steps, as many pairs as the time allows, beginning with the pair that has targets."""
    from dev.benchmarks.steps import steps_benchmark
    jobs = [(*PAIRS[0], 20, True), (*PAIRS[0], 4, False), *((*pair, 20, False) for pair in PAIRS[1:]),
            *((*pair, 4, False) for pair in PAIRS[1:]), *((*pair, 20, True) for pair in PAIRS[1:])]
    if part.dry:
        jobs = [(*PAIRS[0], 2, True)]
    found, longest = {}, 20.0
    for network, recognizer, count, is_compiled in jobs:
        if part.left < longest:
            break
        name, started = f'{network}, {recognizer}, batch of {count}', time.monotonic()
        for compiled in (True, False) if is_compiled and name not in found else (is_compiled,):
            with part.told(f'{name}, compiled' if compiled else name):
                figures, table = steps_benchmark(ROOT, part.device, 1 if part.dry else 5, 64 if part.dry else 224,
                                                 [(network, recognizer)], compiled, count)
                figures, = figures.values()
                found[name] = {
                    'cases': {case: {key: values[key] for key in ('seconds', 'to_plain', 'to_careless', 'kept', 'peak')}
                              for case, values in figures['cases'].items()}}
                print(table, flush=True)
                part.write(pairs=found)
                break
        if not is_compiled:
            longest = max(longest, 1.2 * (time.monotonic() - started))


def pipeline(part: Part) -> None:
    """Measure how many images per second the shipped option file reads, degrades and copies."""
    import torch

    from ra_plugin.builders.loaders import build_dataset
    from ra_plugin.builders.option_file import parse_options
    from ra_plugin.training.device_batches import on_device
    from ra_plugin.training.resumable_batches import TrainingBatches
    batch, count = (4, 5) if part.dry else (20, 60)
    file = _option_file(part, batch, count)
    found = {}
    cores = len(os.sched_getaffinity(0))  # may be only a part of a shared machine
    for workers in (0, 2) if part.dry else sorted({8, min(cores, 32)}):
        sys.argv[1:] = ['-opt', str(file), '--force_yml', f'datasets:train:num_worker_per_gpu={workers}']
        opt, _ = parse_options(ROOT, is_train=True)
        batches = TrainingBatches(build_dataset(opt['datasets']['train']), opt)
        stream = on_device(batches.starting_at(0), lambda batch: None, part.device, ahead=True)
        for _ in range(max(workers, 1)):  # skip the batches that workers prepared before the start
            next(stream)
        started = time.monotonic()
        for _ in range(count):
            last = next(stream)
        float(last['lq'].sum())
        found[str(workers)] = round(count * batch / (time.monotonic() - started), 1)
        part.write(images_per_second=found, batch_size=batch, cores=cores, threads=torch.get_num_threads())
        del stream, batches


def training(part: Part) -> None:
    """Train ``options/ra_srresnet_x4_resnet18.yml`` on generated images, without and with an interruption."""
    import torch
    total = 6 if part.dry else 200
    file = _option_file(part, 2 if part.dry else 20, total)
    command = ['tools/train.py', '-opt', file, '--force_yml', f'train:total_iter={total}',
               f'logger:print_freq={max(total // 20, 1)}', 'val=~', f'logger:save_checkpoint_freq={total * 9}']
    results = {}
    for name in ('whole', 'resumed'):
        folder = part.work / name
        folder.mkdir()
        link = ROOT / 'experiments' / f'gpu_check_{name}'
        shutil.rmtree(link, ignore_errors=True)
        these = [*command, f'name=gpu_check_{name}']
        started = time.monotonic()
        process = part.program(*these)
        interrupted = None
        if name == 'resumed':
            interrupted = _interrupt(part, process, link, part.left - 20)
            started = time.monotonic()
            process = part.program(*these, '--auto_resume')
        if process.wait():
            raise SystemExit(f'a training ended with exit status {process.returncode}:\n{part.said()[-2000:]}')
        weights = torch.load(link / 'models' / 'net_g_latest.pth', map_location='cpu', weights_only=True)['params']
        log = '\n'.join(path.read_text() for path in sorted(link.glob('*.log')))
        lines = [line for line in log.splitlines() if 'l_recog' in line]
        results[name] = weights
        part.write(**{name: {'seconds': round(time.monotonic() - started, 1), 'interrupted_at': interrupted,
                             'first': _losses(lines[0]), 'last': _losses(lines[-1])}})
        shutil.rmtree(link, ignore_errors=True)
    whole, resumed = (torch.cat([value.double().flatten() for value in results[name].values()])
                      for name in ('whole', 'resumed'))
    part.write(iterations=total, bit_for_bit=torch.equal(whole, resumed),
               relative_difference=((whole - resumed).norm() / whole.norm()).item())


def _interrupt(part: Part, process: subprocess.Popen, folder: Path, seconds: float) -> int:
    """Send Ctrl-C once some iterations are logged, and return the iteration at which the run was saved."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if any('l_recog' in path.read_text() for path in folder.glob('*.log')):
            process.send_signal(signal.SIGINT)
            break
        time.sleep(0.05)
    process.wait()
    stopped = re.findall(r'Stopped by \w+ at iteration (\d+)', part.said())
    if not stopped:
        raise SystemExit(f'the training was not interrupted:\n{part.said()[-2000:]}')
    return int(stopped[-1])


def _losses(line: str) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(r'(l_\w+): ([\d.e+-]+)', line)}


def nccl(part: Part) -> None:
    """Compare distributed training with validation, over NCCL (on a CPU over gloo), with an ordinary run."""
    import torch
    import yaml
    most = 2 if part.dry else torch.cuda.device_count()
    images = _images(part.work / 'images', 40, (24, 24))
    data = {'type': 'LabeledImageDataset', 'dataroot_gt': str(images), 'crop_size': 16,
            'degradation': {'type': 'BicubicDownsample', 'scale': 2}, 'num_worker_per_gpu': 0}
    found = {}
    for processes in (0, *range(1, min(most, 2) + 1)):
        name = f'gpu_check_nccl_{processes}'
        folder = ROOT / 'experiments' / name
        shutil.rmtree(folder, ignore_errors=True)
        opt = {'name': name, 'model_type': 'SRModel', 'scale': 2, 'num_gpu': 0 if part.dry else 1, 'manual_seed': 3,
               'datasets': {'train': {**data, 'name': 'train', 'batch_size_per_gpu': 8 // max(processes, 1)},
                            'val': {**data, 'name': 'val', 'batch_size_per_gpu': 7}},
               'network_g': {'type': 'MSRResNet', 'num_feat': 4, 'num_block': 1, 'upscale': 2},  # no batch norm
               'path': {},
               'train': {'optim_g': {'type': 'SGD', 'lr': 1e-2}, 'total_iter': 10, 'warmup_iter': -1,
                         'scheduler': {'type': 'MultiStepLR', 'milestones': [50]},
                         'pixel_opt': {'type': 'MSELoss', 'loss_weight': 1.0, 'reduction': 'mean'},
                         'recog_opt': {'type': 'RecogLoss', 'loss_weight': 0.01, 'recognizer': SMALL}},
               'val': {'val_freq': 10, 'save_img': False,
                       'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}},
                       'recognizers': {'small': SMALL}},
               'logger': {'print_freq': 1, 'save_checkpoint_freq': 10, 'use_tb_logger': False},
               'dist_params': {'backend': 'gloo' if part.dry else 'nccl', 'port': 29517}}
        file = part.work / f'{name}.yml'
        file.write_text(yaml.safe_dump(opt, sort_keys=False))
        launcher = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', processes] if processes else []
        flags = ['--launcher', 'pytorch'] if processes else []
        if part.program(*launcher, 'tools/train.py', '-opt', file, *flags).wait():
            raise SystemExit(f'{name}:\n{part.said()[-2000:]}')
        log = '\n'.join(path.read_text() for path in folder.glob('*.log'))
        weights = torch.load(folder / 'models' / 'net_g_latest.pth', map_location='cpu', weights_only=True)['params']
        scores = dict(re.findall(r'# (\S+): ([\d.]+)', log))
        found[str(processes)] = {'scores': scores, 'sum_of_weights': sum(v.double().sum().item()
                                                                         for v in weights.values())}
        part.write(processes=found)
        shutil.rmtree(folder, ignore_errors=True)
    alone = found.pop('0')
    part.write(alone=alone, processes=found, same={
        processes: abs(one['sum_of_weights'] - alone['sum_of_weights']) < 1e-3 and one['scores'].keys()
        == alone['scores'].keys() and all(abs(float(one['scores'][key]) - float(value)) <= 0.02
                                          for key, value in alone['scores'].items())
        for processes, one in found.items()})


def profile(part: Part) -> None:
    """Profile a step by kernel, for each recognizer."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    from dev.benchmarks.steps import NETWORKS, RECOGNIZERS, Cases, random_batch, step_with
    size, count = (64, 2) if part.dry else (224, 20)

    def kernels(recognizer: str) -> list[list]:
        block = {'type': 'RecogLoss', 'loss_weight': 1e-3, 'recognizer': RECOGNIZERS[recognizer]}
        cases = Cases({'ours': step_with(NETWORKS['SRResNet'], part.device, recog_opt=block, channels_last=True,
                                         precision='fp32' if part.dry else 'bf16')},
                      random_batch(recognizer, count, size), part.device)
        cases.take('ours', 3)
        kinds = [ProfilerActivity.CPU] if part.dry else [ProfilerActivity.CPU, ProfilerActivity.CUDA]
        with profiler(activities=kinds) as recorded:
            cases.take('ours', 1 if part.dry else 5)
        key = 'self_cpu_time_total' if part.dry else 'self_device_time_total'
        events = [event for event in recorded.key_averages() if part.dry or 'CUDA' in str(event.device_type)]
        whole = sum(getattr(event, key) for event in events) or 1
        events = sorted(events, key=lambda event: getattr(event, key), reverse=True)[:12]
        return [[event.key[:90], event.count, round(getattr(event, key) / whole, 4)] for event in events]

    found = {}
    for recognizer in list(RECOGNIZERS)[:1] if part.dry else RECOGNIZERS:
        with part.told(recognizer):
            found[recognizer] = kernels(recognizer)
            part.write(kernels=found)


def demo(part: Part) -> None:
    """Run ``tools/demo.py`` if its data set exists."""
    if not (ROOT / 'datasets' / 'cifar10').exists():
        raise SystemExit('datasets/cifar10 does not exist')
    out = part.work / 'demo'
    if part.program('tools/demo.py', '--num-images', 20 if part.dry else 1000, '--out', out).wait():
        raise SystemExit(part.said()[-2000:])
    part.write(tables=(out / 'tables.md').read_text())


# ------------------------------------------------------------------------------------------------- generated data
def _images(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """Write images of smooth noise in ten class folders; ``size`` is width and height."""
    import cv2
    import numpy as np
    rng = np.random.default_rng(0)
    for i in range(count):
        label = folder / f'class{i % 10}'
        label.mkdir(parents=True, exist_ok=True)
        smooth = cv2.resize(rng.uniform(32, 224, (8, 8, 3)), size, interpolation=cv2.INTER_CUBIC)
        image = (smooth + rng.normal(0, 8, smooth.shape)).clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(label / f'{i}.{"jpg" if size[0] > 100 else "png"}'), image)
    return folder


def _option_file(part: Part, batch_size: int, iterations: int) -> Path:
    """Write the shipped option file with random weights and generated JPEG files of ImageNet's usual size."""
    import yaml
    opt = yaml.safe_load((ROOT / 'options' / 'ra_srresnet_x4_resnet18.yml').read_text())
    images = _images(part.work / 'images', 40 if part.dry else 800, (120, 100) if part.dry else (500, 375))
    data = opt['datasets']['train']
    data.update(dataroot_gt=str(images), batch_size_per_gpu=batch_size, prefetch_mode='cuda', pin_memory=True,
                num_worker_per_gpu=2 if part.dry else 8)
    if part.dry:
        data.update(resize=64, crop_size=64)
        opt['num_gpu'] = 0
    data['dataset_enlarge_ratio'] = max(1, iterations * batch_size // 200)
    del opt['datasets']['val']
    opt['train']['recog_opt']['recognizer'] = {'type': 'TimmRecognizer', 'model_name': 'resnet18', 'pretrained': False,
                                               'model_kwargs': {'num_classes': 10}}
    file = part.work / 'options.yml'
    file.write_text(yaml.safe_dump(opt, sort_keys=False))
    return file


if __name__ == '__main__':
    name, folder, seconds = sys.argv[1:4]
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    parts = {function.__name__: function for function in (tests, steps, pipeline, training, nccl, profile, demo)}
    parts[name](Part(name, Path(folder), float(seconds), '--dry' in sys.argv[4:]))
