"""Training of a classifier from scratch, on clean images or on images restored by a network or interpolation."""
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import yaml
from safetensors.torch import save_file

from ra_plugin.checkpoint import load_weights
from ra_plugin.degradations import build_degradation
from ra_plugin.demo import classifier_training as training
from ra_plugin.evaluation.judging import Batch, Processing, no_processing
from ra_plugin.evaluation.options import read_options
from ra_plugin.evaluation.restorers import build_restorer, restorer_options
from ra_plugin.metrics.psnr_ssim import to_uint8
from ra_plugin.options import OptionError
from ra_plugin.recognizers import tiny_nets
from ra_plugin.utils.progress import progress
from ra_plugin.utils.text_file import read_text

_AT_ONCE = 100  # images
_SEED = 0  # seed of the noise, combined with the index of the image, as in an evaluation


@dataclass(frozen=True, kw_only=True)
class RecognizerTraining:
    """Settings of `train_recognizer`.

    Attributes:
        arch: Name of a class of `ra_plugin.recognizers.tiny_nets`.
        data: Folder with train, val and test, each with class folders of images of one size.
        out: The ``.safetensors`` file for the weights, in float16; the log has the suffix ``.log``.
        classes: Folders to train on, in the order of the labels. Default: all, sorted.
        init: Weights to start from, with a new schedule; their log is beside them.
        epochs, lr, optimizer, weight_decay, seed: See `training.train_classifier`.
        threads: Number of threads of torch.
        degradation: Option block of a degradation, as YAML or a file: the network is trained on images that are
            degraded and restored. Default: the restorer's, or none.
        restorer: Option file of a finished training, whose network restores the images. Default: bicubic interpolation.
    """
    arch: str
    data: Path
    out: Path
    classes: Sequence[str] | None = None
    init: Path | None = None
    epochs: int = 8
    lr: float = 0.2
    optimizer: Literal['SGD', 'AdamW'] = 'SGD'
    weight_decay: float = 5e-4
    seed: int = 0
    threads: int = 1
    degradation: str | None = None
    restorer: Path | None = None


def train_recognizer(options: RecognizerTraining, root: Path) -> None:
    """Train, score on the test images, and write weights and log.

    Images are degraded and restored once, and rounded to 8 bit as if saved; flips and shifts are drawn afterwards, in
    each epoch.

    Args:
        options: Settings of the training.
        root: Folder with the restorer's run: its ``experiments``.

    Raises:
        OptionError: There is no such network, or the degradation or restorer is invalid.
        FileNotFoundError: The restorer is not trained.
    """
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    lines = [f'{key}: {value}' for key, value in _settings(options).items()]

    def log(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    kind = getattr(tiny_nets, options.arch, None)
    if kind is None:
        raise OptionError(f"train_recognizer: ra_plugin.recognizers.tiny_nets has no class '{options.arch}'.")
    process = _processing(options, root)
    (images, labels, classes), val, test = (training.read_class_folders(options.data / split, options.classes)
                                            for split in ('train', 'val', 'test'))
    val, test = val[:2], test[:2]
    sets = {'': test}  # test sets: suffix in the log -> images and labels
    if process is not None:
        started = time.time()
        sets = {' on images as it was trained on': (process(test[0]), test[1]), ' on clean images': test}
        images, val = process(images), (process(val[0]), val[1])
        count = sum(len(found) for found in (images, val[0], test[0]))
        log(f'processed {count} images in {time.time() - started:.0f} s')
    net = kind(num_classes=len(classes))
    if options.init:
        load_weights(net, options.init, 'train_recognizer')
        lines[:0] = [*options.init.with_suffix('.log').read_text().splitlines(), '', f'Then, from {options.init.name}:']
    log(f'parameters: {sum(p.numel() for p in net.parameters())}')
    training.train_classifier(net, (images, labels), val, epochs=options.epochs, lr=options.lr, log=log,
                              optimizer=options.optimizer, weight_decay=options.weight_decay, seed=options.seed)

    mean, std = training.channel_statistics(images)
    stored = {key: value.half().contiguous() if value.is_floating_point() else value
              for key, value in net.state_dict().items()}
    net.load_state_dict(stored)  # score the stored weights, which are rounded to float16
    for name, data in sets.items():
        log(f'test top-1 of the stored weights{name}: {training.score(net, data, mean, std):.4f} (n = {len(data[1])})')
    options.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(stored, options.out, {'arch': options.arch, 'mean': json.dumps(mean), 'std': json.dumps(std),
                                    'classes': json.dumps(classes)})
    options.out.with_suffix('.log').write_text('\n'.join(lines) + '\n')


def _settings(options: RecognizerTraining) -> dict[str, Any]:
    """Return the given settings for the head of the log, with files as names."""
    given = {field.name: getattr(options, field.name) for field in fields(options)}
    given.update(out=options.out.name, init=options.init and options.init.name, torch=torch.__version__)
    return {key: value for key, value in given.items() if value is not None}


def _processing(options: RecognizerTraining, root: Path) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """Return the function from clean images to training images; None to train on clean images."""
    process, block = no_processing, _degradation_block(options.degradation)
    if options.restorer:
        restorer = restorer_options({'option_file': str(options.restorer)}, root, {}, 'train_recognizer: --restorer')
        with torch.random.fork_rng(devices=[]):  # keep the classifier's initial weights independent of the restorer
            process, = build_restorer('restorer', restorer, torch.device('cpu')).processings
        block = block or read_options(options.restorer)['datasets']['train'].get('degradation')
    if block is None and options.restorer is None:
        return None
    degrade = build_degradation(block, 'train_recognizer: degradation')
    return lambda images: processed(images, degrade, process)


def _degradation_block(text: str | None) -> Mapping | None:
    if text is None:
        return None
    try:
        return yaml.safe_load(
            read_text(text, 'train_recognizer: --degradation') if Path(text).is_file() else text)
    except yaml.YAMLError as error:
        raise OptionError(f'train_recognizer: --degradation: expected a block, e.g. "{{type: BicubicDownsample, scale: '
                          f'2}}", or a file with one ({error}).') from None


@torch.no_grad()
def processed(images: torch.Tensor, degrade: Callable, process: Processing) -> torch.Tensor:
    """Degrade and restore images, rounded to 8 bit.

    Args:
        images: Clean images, ``(N, 3, H, W)`` uint8.
        degrade: A degradation.
        process: A restorer, or `no_processing` for interpolation.

    Returns:
        Restored images, ``(N, 3, H, W)`` uint8.
    """
    made = []
    for first in progress(range(0, len(images), _AT_ONCE), 'Processing', unit='batch'):
        gt = images[first:first + _AT_ONCE]
        lq = [degrade(image.permute(1, 2, 0).numpy(), np.random.default_rng((_SEED, first + i)))
              for i, image in enumerate(gt)]
        lq = torch.from_numpy(np.stack(lq)).permute(0, 3, 1, 2)
        lq = lq.float() / 255 if lq.dtype == torch.uint8 else lq
        made.append(to_uint8(process(Batch(lq, gt.float() / 255, None, [], []))))
    return torch.cat(made)
