"""Answers of recognizers and labels, in words and drawn into the image."""
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ra_plugin.metrics.embedding import cosines, directions
from ra_plugin.recognizers.class_names import class_word
from ra_plugin.recognizers.facts import RecognizerInfo
from ra_plugin.report.overlays import LEAST_SCORE, draw_boxes, draw_mask
from ra_plugin.results import Answer
from ra_plugin.utils.tensors import pixels

_SHOWN_CLASSES = 3  # of a mask


def answer_in_words(info: RecognizerInfo, image: torch.Tensor, predicted: Any, label: Any, names: Sequence[str] | None,
                    clean: Any = None) -> Answer:
    """Return the answer to one image.

    Args:
        info: Facts of the recognizer.
        image: ``(1, 3, H, W)`` uint8.
        predicted: Its answers to a batch of this image alone.
        label: Labels of this batch; None where there are none.
        names: Names of the data set's classes, for a recognizer that has none.
        clean: Its answers to the clean image, where there is one.
    """
    if info.task == 'embedding':
        return _similarity_answer(predicted, clean)
    return _TASKS[info.task].answer(info, image, predicted, label, info.classes or names)


def label_in_words(task: str, label: Any, names: Sequence[str] | None) -> str:
    """Return the label of a batch of one image; empty where it is of another task, as beside embeddings it may be."""
    if task == 'embedding':
        return class_word(int(label[0]), names) if isinstance(label, torch.Tensor) and label.shape == (1,) else ''
    return _TASKS[task].label(label, names)


def _class_answer(info: RecognizerInfo, image: torch.Tensor, predicted: Any, label: Any, names: Sequence[str] | None
                  ) -> Answer:
    answer = int(predicted['labels'][0, 0])
    return Answer(class_word(answer, names), None if label is None else answer == int(label[0]))


def _objects_answer(info: RecognizerInfo, image: torch.Tensor, predicted: Any, label: Any, names: Sequence[str] | None
                    ) -> Answer:
    objects = {key: value.cpu() for key, value in predicted[0].items() if isinstance(value, torch.Tensor)}
    sure = objects['labels'][objects['scores'] >= LEAST_SCORE]
    return Answer(_counted(sure, names), None, draw_boxes(pixels(image), objects, names, info.num_classes))


def _mask_answer(info: RecognizerInfo, image: torch.Tensor, predicted: Any, label: Any, names: Sequence[str] | None
                 ) -> Answer:
    mask = predicted['masks'][0].cpu().numpy()
    return Answer(_shares(mask, names), None, draw_mask(pixels(image), mask, info.num_classes))


def _word_answer(info: RecognizerInfo, image: torch.Tensor, predicted: Any, label: Any, names: Sequence[str] | None
                 ) -> Answer:
    read = predicted[0]['text']
    return Answer(_quoted(read), None if label is None else read == label[0])


def _similarity_answer(predicted: Any, clean: Any) -> Answer:
    """Return how near an embedding is to that of the clean image; by itself it has no words."""
    ours = directions(predicted['embeddings'])
    if clean is None:
        return Answer(f'{ours.shape[1]} numbers', None)
    return Answer(f'similarity {cosines(ours, directions(clean["embeddings"]))[0]:.2f} to the clean image', None)


def _quoted(word: str) -> str:
    return f'“{word}”' if word else 'nothing'


def _counted(labels: torch.Tensor, names: Sequence[str] | None) -> str:
    counts = Counter(labels.tolist()).most_common()
    return ', '.join(f'{count} {class_word(label, names)}' for label, count in counts) or 'nothing'


def _shares(mask: np.ndarray, names: Sequence[str] | None) -> str:
    labels, counts = np.unique(mask[mask != 255], return_counts=True)
    largest = np.argsort(-counts, kind='stable')[:_SHOWN_CLASSES]
    return ', '.join(f'{counts[i] / mask.size:.0%} {class_word(int(labels[i]), names)}' for i in largest) or 'nothing'


@dataclass(frozen=True)
class _Words:
    """The functions that put answers and labels of a task into words."""

    answer: Callable[..., Answer]
    label: Callable[[Any, Sequence[str] | None], str]


_TASKS = {
    'classification': _Words(_class_answer, lambda label, names: class_word(int(label[0]), names)),
    'detection': _Words(_objects_answer, lambda label, names: _counted(label[0]['labels'].cpu(), names)),
    'text': _Words(_word_answer, lambda label, names: _quoted(label[0])),
    'segmentation': _Words(_mask_answer, lambda label, names: _shares(label[0].cpu().numpy(), names)),
}
