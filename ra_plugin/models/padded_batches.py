"""Validation of images of several sizes in one padded batch: recognizers see each without the padding.

`SpatialLabelDataset.collate_fn` pads them.
"""
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ra_plugin.metrics.task_scores import TaskScore
from ra_plugin.recognizers import Recognizer

Sizes = Sequence[tuple[int, int]] | None


def judge(recognizer: Recognizer, images: torch.Tensor, label: Any, sizes: Sizes, score: TaskScore,
          clean: torch.Tensor | None = None) -> None:
    """Add a recognizer's predictions on a batch to its score, after removing the padding.

    Args:
        recognizer: The recognizer.
        images: ``(N, 3, H, W)`` in ``[0, 1]``.
        label: Labels of the recognizer's task; None for none.
        sizes: Height and width of each image within the batch; None for no padding.
        score: Score of the recognizer.
        clean: Clean images like ``images``, for scores that need them.
    """
    if not score.needs_clean:
        clean = None
    elif clean is None:
        raise ValueError(f'{recognizer}: expected the clean images, which its score needs.')
    if sizes is None or all(tuple(size) == tuple(images.shape[-2:]) for size in sizes):
        score.add(recognizer.predict(images), label, recognizer.predict(clean) if clean is not None else None)
        return
    for i, (height, width) in enumerate(sizes):
        own: Any = None if label is None else label[i:i + 1]
        if isinstance(own, torch.Tensor):
            own = own[:, :height, :width] if own.dim() == 3 else own
        elif own is not None and isinstance(own[0], Mapping) and 'masks' in own[0]:
            own = [{**own[0], 'masks': own[0]['masks'][:, :height, :width]}]
        part = slice(i, i + 1), slice(None), slice(height), slice(width)
        score.add(recognizer.predict(images[part]), own, recognizer.predict(clean[part]) if clean is not None else None)
