"""Restore each image once; every recognizer judges it before the next: N recognizers do not cost N restorations."""
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ra_plugin.evaluation.quality import psnr, ssim, to_uint8
from ra_plugin.recognizers import Recognizer

# (lq, gt) of a batch -> images (N, 3, H, W) in [0, 1]; networks look at lq alone
Processing = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Scores:
    """One way of processing, image by image, in the order of the data set."""

    psnr: np.ndarray  # (N,) dB
    ssim: np.ndarray  # (N,)
    predicted: dict[str, np.ndarray]  # recognizer -> (N,) class ids
    right: dict[str, np.ndarray]  # recognizer -> (N,) bool


def no_processing(lq: torch.Tensor, gt: torch.Tensor) -> torch.Tensor:
    """The degraded image itself, by bicubic interpolation where it is smaller than the clean one."""
    return lq if lq.shape == gt.shape else F.interpolate(lq, gt.shape[-2:], mode='bicubic', antialias=True)


def clean(lq: torch.Tensor, gt: torch.Tensor) -> torch.Tensor:
    """The target: what a perfect restoration would give."""
    return gt


@torch.no_grad()
def evaluate(batches: Iterable[Mapping], processings: Mapping[str, Processing],
             recognizers: Mapping[str, Recognizer], device: torch.device | str = 'cpu') -> dict[str, Scores]:
    """Score every processing on every recognizer; all see the saved 8-bit image, as a user would have it.

    Args:
        batches: ``{'lq', 'gt', 'label'}``: images in ``[0, 1]``, labels ``(N,)``.
        processings: Name -> how to make the image to judge.
        recognizers: Name -> classifier.

    Returns:
        Processing -> scores; arrays of different processings are paired image by image.
    """
    columns: dict[str, dict[str, list]] = {name: {} for name in processings}
    for batch in batches:
        lq, gt, label = (batch[key].to(device) for key in ('lq', 'gt', 'label'))
        gt8 = to_uint8(gt)
        for name, process in processings.items():
            images = to_uint8(process(lq, gt))
            column = columns[name]
            column.setdefault('psnr', []).append(psnr(images, gt8).cpu())
            column.setdefault('ssim', []).append(ssim(images, gt8).cpu())
            for judge, recognizer in recognizers.items():
                answer = recognizer.predict(images.to(gt.dtype) / 255)['labels'][:, 0]
                column.setdefault(f'predicted {judge}', []).append(answer.cpu())
                column.setdefault(f'right {judge}', []).append((answer == label).cpu())
    joined = {name: {key: torch.cat(parts).numpy() for key, parts in column.items()}
              for name, column in columns.items()}
    return {name: Scores(column['psnr'], column['ssim'],
                         {judge: column[f'predicted {judge}'] for judge in recognizers},
                         {judge: column[f'right {judge}'] for judge in recognizers}) for name, column in joined.items()}
