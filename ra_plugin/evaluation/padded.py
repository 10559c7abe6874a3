"""Validation in batches of images that differ in size, padded to one: recognizers see them without the padding."""
from collections.abc import Sequence
from typing import Any

import torch

from ra_plugin.evaluation.task_scores import TaskScore
from ra_plugin.recognizers import Recognizer

Sizes = Sequence[tuple[int, int]] | None


def judge(recognizer: Recognizer, images: torch.Tensor, label: Any, sizes: Sizes, score: TaskScore) -> None:
    """Add a recognizer's predictions on a batch to its score; padding is cut off before.

    Args:
        images: ``(N, 3, H, W)`` in ``[0, 1]``.
        label: As the recognizer's task has it.
        sizes: Height and width of each image within the batch. Default: all of it.
    """
    if sizes is None or all(tuple(size) == tuple(images.shape[-2:]) for size in sizes):
        score.update(recognizer.predict(images), label)
        return
    for i, (height, width) in enumerate(sizes):
        own = label[i:i + 1]
        if isinstance(own, torch.Tensor) and own.dim() == 3:
            own = own[:, :height, :width]
        elif 'masks' in own[0]:
            own = [{**own[0], 'masks': own[0]['masks'][:, :height, :width]}]
        score.update(recognizer.predict(images[i:i + 1, :, :height, :width]), own)
