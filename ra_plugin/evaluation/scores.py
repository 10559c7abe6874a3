"""Restore each image once; every recognizer judges it before the next: N recognizers do not cost N restorations."""
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ra_plugin.evaluation.quality import psnr, ssim, to_uint8
from ra_plugin.evaluation.task_scores import TaskScore, build_score
from ra_plugin.recognizers import Recognizer

# (lq, gt) of a batch -> images (N, 3, H, W) in [0, 1]; networks look at lq alone
Processing = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Sizes = Sequence[tuple[int, int]] | None  # height and width of each image within a padded batch; None: all of it


@dataclass(frozen=True)
class Scores:
    """One way of processing, image by image, in the order of the data set."""

    psnr: np.ndarray  # (N,) dB
    ssim: np.ndarray  # (N,)
    predicted: dict[str, np.ndarray] = field(default_factory=dict)  # classifier -> (N,) class ids
    right: dict[str, np.ndarray] = field(default_factory=dict)  # classifier -> (N,) bool
    tasks: dict[str, TaskScore] = field(default_factory=dict)  # recognizer -> its score, from which intervals are made


def no_processing(lq: torch.Tensor, gt: torch.Tensor) -> torch.Tensor:
    """The degraded image itself, by bicubic interpolation where it is smaller than the clean one."""
    return lq if lq.shape == gt.shape else F.interpolate(lq, gt.shape[-2:], mode='bicubic', antialias=True)


def clean(lq: torch.Tensor, gt: torch.Tensor) -> torch.Tensor:
    """The target: what a perfect restoration would give."""
    return gt


def judge(recognizer: Recognizer, images: torch.Tensor, label: Any, sizes: Sizes, score: TaskScore) -> Any:
    """Add a recognizer's predictions on a batch to its score; padding is cut off before.

    Args:
        images: ``(N, 3, H, W)`` in ``[0, 1]``.
        label: As the recognizer's task has it.

    Returns:
        The predictions; None where the images differ in size and are judged one by one.
    """
    if _fills(images, sizes):
        predictions = recognizer.predict(images)
        score.update(predictions, label)
        return predictions
    for i, (height, width) in enumerate(sizes):
        own = label[i:i + 1]
        if isinstance(own, torch.Tensor) and own.dim() == 3:
            own = own[:, :height, :width]
        elif 'masks' in own[0]:
            own = [{**own[0], 'masks': own[0]['masks'][:, :height, :width]}]
        score.update(recognizer.predict(images[i:i + 1, :, :height, :width]), own)
    return None


def _fills(images: torch.Tensor, sizes: Sizes) -> bool:
    return sizes is None or all(tuple(size) == tuple(images.shape[-2:]) for size in sizes)


def _without_padding(metric: Callable, images: torch.Tensor, reference: torch.Tensor, sizes: Sizes) -> torch.Tensor:
    """``(N,)``: PSNR or SSIM of each image of a batch."""
    if _fills(images, sizes):
        return metric(images, reference)
    return torch.stack([metric(image[:, :height, :width], target[:, :height, :width])
                        for image, target, (height, width) in zip(images, reference, sizes)])


@torch.no_grad()
def evaluate(batches: Iterable[Mapping], processings: Mapping[str, Processing],
             recognizers: Mapping[str, Recognizer], device: torch.device | str = 'cpu',
             metrics: Mapping[str, Any] | None = None) -> dict[str, Scores]:
    """Score every processing on every recognizer; all see the saved 8-bit image, as a user would have it.

    Args:
        batches: ``{'lq', 'gt', 'label'}``, and ``'size'`` where images are padded: images in ``[0, 1]``.
        processings: Name -> how to make the image to judge.
        recognizers: Name -> recognizer of the labels' task.
        metrics: Task -> what to compute, see `build_score`.

    Returns:
        Processing -> scores; of different processings they are paired image by image.
    """
    columns: dict[str, dict[str, list]] = {name: {} for name in processings}
    tasks = {name: {judge_name: build_score(recognizer.info, (metrics or {}).get(recognizer.info.task))
                    for judge_name, recognizer in recognizers.items()} for name in processings}
    for batch in batches:
        lq, gt = (batch[key].to(device) for key in ('lq', 'gt'))
        label = batch['label'].to(device) if isinstance(batch['label'], torch.Tensor) else batch['label']
        sizes = batch.get('size')
        gt8 = to_uint8(gt)
        for name, process in processings.items():
            images, column = to_uint8(process(lq, gt)), columns[name]
            for metric in (psnr, ssim):
                column.setdefault(metric.__name__, []).append(_without_padding(metric, images, gt8, sizes).cpu())
            for judge_name, recognizer in recognizers.items():
                predictions = judge(recognizer, images.to(gt.dtype) / 255, label, sizes, tasks[name][judge_name])
                if recognizer.info.task == 'classification':
                    answer = predictions['labels'][:, 0]
                    column.setdefault(f'predicted {judge_name}', []).append(answer.cpu())
                    column.setdefault(f'right {judge_name}', []).append((answer == label).cpu())
    joined = {name: {key: torch.cat(parts).numpy() for key, parts in column.items()}
              for name, column in columns.items()}
    classifiers = [name for name, recognizer in recognizers.items() if recognizer.info.task == 'classification']
    return {name: Scores(column['psnr'], column['ssim'],
                         {judge_name: column[f'predicted {judge_name}'] for judge_name in classifiers},
                         {judge_name: column[f'right {judge_name}'] for judge_name in classifiers}, tasks[name])
            for name, column in joined.items()}
