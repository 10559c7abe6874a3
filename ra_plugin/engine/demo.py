"""The demo: train plain, recognition-aware and unsupervised networks from one start, and let five recognizers judge."""
import json
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torchvision
import yaml
from torch.utils.data import DataLoader, Subset

from ra_plugin.data.labeled_image_dataset import LabeledImageDataset
from ra_plugin.engine.comparison import load_network
from ra_plugin.evaluation.quality import to_uint8
from ra_plugin.evaluation.scores import Scores, clean, evaluate, no_processing
from ra_plugin.recognizers import Recognizer, build_recognizer
from ra_plugin.report.comparison import CLEAN, NONE, PLAIN, compare, to_markdown
from ra_plugin.report.pictures import choose, picture_grid
from ra_plugin.utils.progress import progress
from ra_plugin.version import __version__

OPTIONS = {PLAIN: 'plain', 'RA': 'ra', 'unsupervised RA': 'unsupervised'}  # processing -> prefix of its option file
RECOGNIZERS = {'resnet': 'TinyResNet', 'vgg': 'TinyVGG', 'densenet': 'TinyDenseNet', 'mobilenetv2': 'TinyMobileNetV2',
               'transformer': 'TinyTransformer'}
SOURCE = 'resnet'  # the one that the option files use as the loss


def run_demo(root: Path, out: Path, seed: int = 0, num_images: int | None = None, split: str = 'test',
             train: bool = True) -> dict:
    """Train three networks on CIFAR-10 x2, score them and write ``results.json``, ``table.md`` and ``images.png``.

    Args:
        root: The repository; data is in ``datasets/cifar10``, networks go to ``experiments``.
        out: Folder for the results.
        seed: Of the weights' start and of the random flips, the same for the three networks.
        num_images: Score that many images, evenly spaced over the split. Default: all.
        split: ``'test'``, or ``'val'`` for choosing settings.
        train: Whether to train; else the networks of the last run are scored.

    Returns:
        What ``results.json`` holds.
    """
    started = time.time()
    options = {name: root / 'options' / 'demo' / f'{prefix}_srresnet_x2_cifar10.yml'
               for name, prefix in OPTIONS.items()}
    for name, path in options.items() if train else ():
        print(f'\n== Training: {name} ({path.relative_to(root)})', flush=True)
        subprocess.run([sys.executable, root / 'tools' / 'train.py', '-opt', path,
                        '--force_yml', f'manual_seed={seed}', 'val=~'], check=True)  # scored below, on other images
    record = root / 'experiments' / 'demo.json'  # what the networks there were trained with
    if train:
        record.write_text(json.dumps({'seed': seed, 'options': {
            name: yaml.safe_load(path.read_text()) for name, path in options.items()}}))
    trained = json.loads(record.read_text())
    networks = {name: load_network(root, path) for name, path in options.items()}
    recognizers = {name: _recognizer(root, name, net) for name, net in RECOGNIZERS.items()}

    print(f'\n== Scoring on {split} images', flush=True)
    dataset = LabeledImageDataset({'phase': 'test', 'name': split,
                                   'dataroot_gt': str(root / 'datasets' / 'cifar10' / split),
                                   'degradation': {'type': 'BicubicDownsample', 'scale': 2}})
    count = min(num_images or len(dataset), len(dataset))
    images = Subset(dataset, np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist())
    processings = {CLEAN: clean, NONE: no_processing, **{name: _restorer(net) for name, net in networks.items()}}
    batches = progress(DataLoader(images, batch_size=100), 'Restoring and judging', unit='batch')
    scores = evaluate(batches, processings, recognizers)

    results = {
        'command': f'python tools/demo.py --seed {trained["seed"]} --num-images {count} --split {split}',
        'split': split, **trained,
        'versions': {'ra_plugin': __version__, 'python': platform.python_version(), 'torch': torch.__version__,
                     'torchvision': torchvision.__version__},
        **compare(scores, SOURCE),
        'seconds': round(time.time() - started),
    }
    out.mkdir(parents=True, exist_ok=True)
    table = to_markdown(results)
    (out / 'results.json').write_text(json.dumps(results, indent=1))
    (out / 'table.md').write_text(table)
    _draw(images, processings, scores, dataset.classes, out / 'images.png')
    print(f'\n{table}\nWritten to {out}: results.json, table.md, images.png. ({results["seconds"]} s in all)')
    return results


def _recognizer(root: Path, name: str, net: str) -> Recognizer:
    return build_recognizer({
        'type': 'ModuleRecognizer', 'module': f'ra_plugin.recognizers.tiny_nets.{net}', 'input_size': 32,
        'checkpoint': str(root / 'ra_plugin' / 'weights' / f'cifar10_{name}.safetensors')
    }).to(memory_format=torch.channels_last)


def _restorer(net: torch.nn.Module):
    return lambda lq, gt: net(lq)


@torch.no_grad()
def _draw(images: Subset, processings: dict, scores: dict[str, Scores], classes: tuple[str, ...], path: Path) -> None:
    chosen = choose(scores['RA'], scores[PLAIN], SOURCE)
    items = [images[i] for i, _ in chosen]
    lq, gt = (torch.stack([item[key] for item in items]) for key in ('lq', 'gt'))
    headings = {'input': NONE, PLAIN: PLAIN, 'RA': 'RA', 'target': CLEAN}
    columns = {heading: to_uint8(processings[name](lq, gt)).permute(0, 2, 3, 1).numpy()
               for heading, name in headings.items()}
    columns['input'] = to_uint8(lq).permute(0, 2, 3, 1).numpy()
    captions = {heading: [[(f'{r}: {classes[scores[name].predicted[r][i]]}', bool(scores[name].right[r][i]))
                           for r in scores[name].right] for i, _ in chosen] for heading, name in headings.items()}
    rows = [f'{classes[item["label"]]}\n\nchosen by:\n' + rule.replace(', ', ',\n')
            for item, (_, rule) in zip(items, chosen)]
    picture_grid(columns, captions, rows, 'Rows drawn at random by rule (see the left); green: read right, red: wrong. '
                 f'{SOURCE} served as the loss.', path)
