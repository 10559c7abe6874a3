"""Check that the models of a library work as frozen losses: each is built with random weights and tried once."""
import json
import math
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import torch

from dev import zoo_open_clip, zoo_spandrel, zoo_transformers
from ra_plugin.losses import RecogConsistencyLoss
from ra_plugin.recognizers import (
    DoctrRecognizer,
    MMDetRecognizer,
    MMSegRecognizer,
    Recognizer,
    TimmRecognizer,
    TorchvisionRecognizer,
    UltralyticsRecognizer,
)
from ra_plugin.recognizers.facts import IGNORED, RecognizerInfo, TaskError
from ra_plugin.recognizers.openmmlab.model import zoo_configs
from ra_plugin.recognizers.ultralytics_models.architecture import smallest_tables
from ra_plugin.utils import children
from ra_plugin.utils.optional import require
from ra_plugin.utils.text import markdown_cell, one_line

PASS, FAIL, OTHER = 'pass', 'fail', 'other task'
_SECONDS = 1800  # time limit per model: a transformer for images of exactly 640 pixels needs half of it
# Larger sizes for models that do not support the first.
SIZES = {'mmdet': (128, 256, 512), 'mmseg': (128, 512), 'torchvision': (128, 320),
         'transformers': (128, 256, 512), 'ultralytics': (128,)}


_COLUMN = {'spandrel': 'weights that no image reaches'}  # title of the last column, where it is no 'unsupervised'


@dataclass(frozen=True)
class Finding:
    """Result of the check of one model."""

    name: str
    outcome: str  # PASS, FAIL, or OTHER: the model has another task than the recognizer
    reason: str = ''  # reason for FAIL or OTHER
    unsupervised: str = ''  # 'yes' if the unsupervised loss works, otherwise the reason; of a restorer see `_COLUMN`
    seconds: float = 0.0


def model_names(library: str) -> list[str]:
    """Return all configs of an installed zoo, all architectures of timm, torchvision's detectors and segmenters, all
    classes of transformers, all configurations of open_clip, docTR's readers, ultralytics' networks at the smallest
    scale, or spandrel's restorers.
    """
    if library == 'open_clip':
        return zoo_open_clip.model_names()
    if library == 'spandrel':
        return list(zoo_spandrel.SMALLEST)
    if library == 'transformers':
        return zoo_transformers.model_names()
    if library == 'timm':
        return require('timm', 'zoo_check').list_models()
    if library == 'doctr':
        return sorted(require('doctr.models.recognition.zoo', 'zoo_check').ARCHS)
    if library == 'torchvision':
        models = require('torchvision', 'zoo_check').models
        return [name for room in (models.detection, models.segmentation) for name in models.list_models(module=room)]
    if library == 'ultralytics':
        return smallest_tables('zoo_check')
    return list(zoo_configs(library, 'zoo_check'))


def check_zoo(library: str, names: Sequence[str], sample: int | None, seed: int, workers: int) -> Iterator[Finding]:
    """Check models in separate processes until ``sample`` of them had the recognizer's task.

    A model that exceeds memory or time only ends its own process.

    Args:
        library: ``'doctr'`` | ``'mmdet'`` | ``'mmseg'`` | ``'open_clip'`` | ``'spandrel'`` | ``'timm'`` |
            ``'torchvision'`` | ``'transformers'`` | ``'ultralytics'``.
        names: Names of the models to draw from.
        sample: Number of models to draw at random, without replacement; None for all, in order.
        seed: Seed of the draw.
        workers: Number of processes at a time.
    """
    order = list(names)
    if sample is not None:
        random.Random(seed).shuffle(order)
    counted = 0
    with ThreadPoolExecutor(workers) as pool, children.children_end():
        while order and (sample is None or counted < sample):
            count = len(order) if sample is None else min(len(order), sample - counted)
            for finding in pool.map(lambda name: _in_a_process(library, name), order[:count]):
                yield finding
                counted += finding.outcome != OTHER
            del order[:count]


def _in_a_process(library: str, name: str) -> Finding:
    command = ['-W', 'ignore', '-m', 'dev.zoo', library, name]
    try:
        done = children.output(command, _SECONDS)
    except subprocess.TimeoutExpired:
        return Finding(name, FAIL, f'more than {_SECONDS} seconds')
    if done.returncode:
        why = 'was killed (out of memory?)' if done.returncode == -9 else f'ended with status {done.returncode}'
        return Finding(name, FAIL, f'its process {why}')
    return Finding(**json.loads(done.stdout.splitlines()[-1]))


def check_model(library: str, name: str) -> Finding:
    """Build one model and try all methods that losses and evaluation use; see `zoo_spandrel.check` for restorers."""
    started = time.time()
    try:
        torch.manual_seed(0)
        finding = _tuned(name) if library == 'spandrel' else _recognized(library, name)
    except (TaskError, zoo_spandrel.NoRestorer) as error:
        finding = Finding(name, OTHER, _reason(error))
    except Exception as error:  # any error is the result of the check
        finding = Finding(name, FAIL, _reason(error))
    return Finding(**{**asdict(finding), 'seconds': round(time.time() - started, 1)})


def _tuned(name: str) -> Finding:
    problems, unreached = zoo_spandrel.check(name)
    return Finding(name, FAIL if problems else PASS, '; '.join(problems), unreached)


def _recognized(library: str, name: str) -> Finding:
    recognizer = _BUILD[library](name)
    sizes = _sizes(library, recognizer)
    for size in sizes[:-1]:
        try:
            return _try(recognizer, name, *_batch(recognizer, size))
        except ValueError as error:
            if 'cannot take' not in str(error):
                raise
    return _try(recognizer, name, *_batch(recognizer, sizes[-1]))


_BUILD: Mapping[str, Callable[[str], Recognizer]] = {
    'doctr': lambda name: DoctrRecognizer(name, pretrained=False),
    'mmdet': lambda name: MMDetRecognizer(name, pretrained=False, resize=None),
    'mmseg': lambda name: MMSegRecognizer(name, pretrained=False, resize=None),
    'open_clip': zoo_open_clip.build,
    'timm': lambda name: TimmRecognizer(name, pretrained=False),
    'torchvision': lambda name: TorchvisionRecognizer(name, pretrained=False, resize=None),
    'ultralytics': lambda name: UltralyticsRecognizer(name, pretrained=False, **(
        {} if '-cls' in name else {'resize': None})),
    'transformers': zoo_transformers.build,
}


def _sizes(library: str, recognizer: Recognizer) -> list[int | None]:
    """Return the image sizes to try; some transformers only support that of their training."""
    trained = getattr(getattr(recognizer.model, 'backbone', None), 'img_size', None)
    trained = trained or getattr(getattr(recognizer.model, 'config', None), 'image_size', None)
    trained = (trained,) if isinstance(trained, int) else trained
    first, *larger = SIZES.get(library, (None,))
    return [first, *(trained[:1] if isinstance(trained, (tuple, list)) else ()), *larger]


def _batch(recognizer: Recognizer, size: int | None) -> tuple[torch.Tensor, object]:
    """Return two smooth random images with labels of the recognizer's task."""
    height, width = recognizer.info.input_size or (size or 224, size or 224)
    images = torch.nn.functional.interpolate(torch.rand(2, 3, 8, 8), (height, width), mode='bicubic').clamp(0, 1)
    return images, _LABELS[recognizer.info.task](recognizer.info, height, width)


def _label_maps(info: RecognizerInfo, height: int, width: int) -> torch.Tensor:
    label = torch.randint(info.num_classes, (2, height // 8, width // 8))
    label = label.repeat_interleave(8, 1).repeat_interleave(8, 2)
    label[:, :8] = IGNORED
    return label


def _objects(info: RecognizerInfo, height: int, width: int) -> list[dict[str, torch.Tensor]]:
    """Return two objects in the first image and none in the second."""
    boxes = torch.tensor([[0.05, 0.1, 0.5, 0.6], [0.3, 0.2, 0.9, 0.95]]) * torch.tensor([width, height, width, height])
    masks = torch.zeros(2, height, width, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes.long().tolist(), strict=True):
        mask[top:bottom, left:right] = True
    return [{'boxes': boxes, 'labels': torch.tensor([0, info.num_classes - 1]), 'masks': masks},
            {'boxes': boxes[:0], 'labels': torch.zeros(0, dtype=torch.long), 'masks': masks[:0]}]


def _words(info: RecognizerInfo, height: int, width: int) -> list[str]:
    characters = info.classes or ()
    return [characters[0] + 2 * characters[-1], characters[-1]]


_LABELS: Mapping[str, Callable[[RecognizerInfo, int, int], object]] = {  # by task
    'classification': lambda info, height, width: torch.tensor([0, info.num_classes - 1]),
    'detection': _objects,
    'segmentation': _label_maps,
    'embedding': lambda info, height, width: None,  # of which the clean images are the labels
    'text': _words,
}


def _try(recognizer: Recognizer, name: str, images: torch.Tensor, label: object) -> Finding:
    before = [buffer.clone() for buffer in recognizer.model.buffers()]
    first, gradient = _loss_and_gradient(recognizer, images, label)
    # with a gradient, too: without one torch computes attention in another way, which rounds otherwise
    second = _loss(recognizer, images.clone().requires_grad_(), label).item()
    recognizer.predict(images)
    problems = {
        'the loss is not finite': not math.isfinite(first),
        'the gradient is not finite': not gradient.isfinite().all(),
        'the gradient is zero': not gradient.any(),
        f'the loss is not repeatable ({first} and {second})': first != second and math.isfinite(first),
        'a parameter got a gradient': any(p.grad is not None or p.requires_grad for p in recognizer.model.parameters()),
        'a buffer changed': any(not torch.equal(a, b) for a, b in zip(before, recognizer.model.buffers(), strict=True)),
    }
    found = [problem for problem, holds in problems.items() if holds]
    return Finding(name, FAIL if found else PASS, '; '.join(found), _try_unsupervised(recognizer, images))


def _loss_and_gradient(recognizer: Recognizer, images: torch.Tensor, label: object) -> tuple[float, torch.Tensor]:
    images = images.clone().requires_grad_()
    loss = _loss(recognizer, images, label)
    loss.backward()
    return loss.item(), images.grad


def _loss(recognizer: Recognizer, images: torch.Tensor, label: object) -> torch.Tensor:
    if label is None:
        return RecogConsistencyLoss(recognizer)(images, images.detach().flip(3))
    return sum(term.mean() for term in recognizer.loss(images, label).values())


def _try_unsupervised(recognizer: Recognizer, images: torch.Tensor) -> str:
    restored = (0.9 * images).requires_grad_()
    loss = RecogConsistencyLoss(recognizer, distance='kl')
    try:
        loss(restored, images).backward()
        same = loss(images, images).item()
    except Exception as error:  # reported beside the outcome
        return _reason(error)
    if not restored.grad.isfinite().all():
        return 'the gradient is not finite'
    if not all(gradient.any() for gradient in restored.grad):
        return 'no gradient for one of the images'
    return 'yes' if abs(same) < 1e-6 else f'{same} for equal images'


def _reason(error: Exception) -> str:
    """Return an error as one line, without the name, which the table already has, and without folders."""
    text = one_line(error) or type(error).__name__
    text = re.sub(r'[^\s\'"]*/(?=[^/\s]+\.py)', '', text)
    _, _, rest = text.partition('): ')
    prefix = '' if isinstance(error, (ValueError, ImportError)) else f'{type(error).__name__}: '
    return prefix + (rest or text)[:200]


def summary(findings: Sequence[Finding]) -> str:
    """Return a line like ``55 of 60 pass (91.7 %); 9 more have another task``."""
    counted = [finding for finding in findings if finding.outcome != OTHER]
    passed = sum(finding.outcome == PASS for finding in counted)
    share = 100 * passed / len(counted) if counted else 0.0
    others = len(findings) - len(counted)
    return f'{passed} of {len(counted)} pass ({share:.1f} %)' + (f'; {others} more have another task' if others else '')


def to_markdown(library: str, command: str, findings: Sequence[Finding]) -> str:
    """Return a section for one library: the command, the summary and one row per model."""
    rows = [f'## {library}', '', f'`{command}`: {summary(findings)}.', '',
            f'| model | outcome | {_COLUMN.get(library, "unsupervised")} |', '|---|---|---|']
    for finding in sorted(findings, key=lambda f: (f.outcome != FAIL, f.outcome != OTHER, f.name)):
        outcome = finding.outcome + (f': {finding.reason}' if finding.reason else '')
        rows.append('| ' + ' | '.join(map(markdown_cell, (finding.name, outcome, finding.unsupervised))) + ' |')
    return '\n'.join(rows) + '\n'


if __name__ == '__main__':  # checks one model
    torch.set_num_threads(1)
    print(json.dumps(asdict(check_model(*sys.argv[1:]))))
