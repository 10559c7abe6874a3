"""Measurements of a recognizer on example images: answers, scores, values, gradients."""
import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ra_plugin.evaluation.statistics.bootstrap import sample
from ra_plugin.evaluation.statistics.significance import proportion
from ra_plugin.metrics.embedding import EmbeddingScore, directions, recall_by_chance
from ra_plugin.metrics.task_scores import build_score
from ra_plugin.metrics.verification import PermutedRecall
from ra_plugin.recognizers.base import Recognizer
from ra_plugin.results import Estimate
from ra_plugin.utils.tensors import total

Change = Callable[[torch.Tensor], torch.Tensor]
Normalization = tuple[tuple[float, ...], tuple[float, ...]]  # mean and std, RGB, on the [0, 1] scale
_BATCH = 32  # images of one size that are classified at once
_FIRST = {'embedding': 'recall_at_1'}  # a true accept rate asks for more images
_FEW = 4  # images, where one would do but may be an unlucky choice


@dataclass(frozen=True)
class Case:
    """A recognizer and the images to try it on.

    Attributes:
        name: In the findings.
        recognizer: Frozen, as built.
        images: Clean images, each ``(1, 3, H, W)``, RGB, ``[0, 1]``, on the recognizer's device.
        labels: Label of each image, as a batch of one; None: not known.
        trains: True if it serves as a loss, and not only as a judge.
        expected: Expected score on such images, in ``[0, 1]``. Default: the weights' record, else far above chance.
        class_problem: Why a label does not mean the same to data set and recognizer, where their names say so.
    """

    name: str
    recognizer: Recognizer
    images: Sequence[torch.Tensor]
    labels: Sequence[Any] | None = None
    trains: bool = True
    expected: float | None = None
    class_problem: str = ''

    @property
    def known_labels(self) -> Sequence[Any]:
        """``labels``, for what cannot do without.

        Raises:
            ValueError: They are not known.
        """
        if self.labels is None:
            raise ValueError(f'{self.name}: expected the labels of its images, got none. Give labels.')
        return self.labels

    @property
    def loss_labels(self) -> Sequence[Any] | None:
        """``labels``, for its loss; None of an embedding network that has no loss against them, too."""
        if self.recognizer.info.task == 'embedding':
            try:
                self.recognizer.check_gives('loss', self.name)
            except ValueError:
                return None
        return self.labels


def few(items: Sequence) -> Sequence:
    """Return four items, or all where there are fewer, evenly spaced."""
    return items[::max(1, len(items) // _FEW)][:_FEW]


def numbers_of(recognizer: Recognizer, images: torch.Tensor) -> list[torch.Tensor]:
    """Return all numbers in the recognizer's answers, tensor by tensor; those of the first image come first."""
    with torch.no_grad():
        answers = recognizer.outputs(images) if recognizer.info.differentiable else recognizer.predict(images)
    items = answers if isinstance(answers, list) else [answers]
    return [value for item in items for value in item.values() if isinstance(value, torch.Tensor)]


def features_of(recognizer: Recognizer, images: torch.Tensor) -> list[torch.Tensor]:
    """Return the numbers of each image by itself: the answers, or the features of a recognizer whose answers belong to
    a batch.
    """
    if recognizer.batch_independent or not recognizer.info.differentiable:
        return numbers_of(recognizer, images)
    with torch.no_grad():
        return [recognizer.features(images)]


def close(some: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> bool:
    """True if all tensors are equal within a thousandth of the largest number in each."""
    return all(a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=0, equal_nan=True,
                                                     atol=1e-3 * max(1e-6, a.double().abs().max().item()))
               for a, b in zip(some, others, strict=True) if a.numel())


def class_answers(case: Case, change: Change = lambda images: images) -> np.ndarray:
    """Return a classifier's first answer to each image, ``(N,)``."""
    answers = np.empty(len(case.images), int)
    sizes = [tuple(image.shape) for image in case.images]
    for size in set(sizes):
        members = [i for i, other in enumerate(sizes) if other == size]
        for start in range(0, len(members), _BATCH):
            some = members[start:start + _BATCH]
            images = change(torch.cat([case.images[i] for i in some]))
            answers[some] = case.recognizer.predict(images)['labels'][:, 0].cpu().numpy()
    return answers


def without_direction(case: Case) -> int:
    """Return the number of images whose embedding is zero or not finite."""
    found = [directions(case.recognizer.predict(image)['embeddings']) for image in case.images]
    return sum(not vectors.any() for vectors in found)


def image_scores(case: Case, change: Change = lambda images: images) -> np.ndarray:
    """Return a score of each image, ``(N,)``: right or wrong for a classifier, else minus the log of the loss."""
    if case.recognizer.is_classifier:
        return (class_answers(case, change) == torch.cat(list(case.known_labels)).cpu().numpy()).astype(float)
    with torch.no_grad():
        losses = [loss_of(case.recognizer, change(image), label).item()
                  for image, label in zip(case.images, case.known_labels, strict=True)]
    return -np.log(np.maximum(np.nan_to_num(losses, nan=math.inf), 1e-12))


def task_score(case: Case) -> tuple[str, Estimate, PermutedRecall | None]:
    """Return the first metric of the task that few images determine, with its interval; Wilson's for a classifier.

    Classes that few images hold count as any others here: the question is if weights and labels belong together.

    Returns:
        The metric, its value, and for embeddings how surely that is above chance.
    """
    if case.recognizer.is_classifier:
        return 'top-1', proportion(image_scores(case)), None
    score = build_score(case.recognizer.info, _FIRST.get(case.recognizer.info.task))
    for image, label in zip(case.images, case.known_labels, strict=True):
        score.update(case.recognizer.predict(image), label)
    (metric,), sampled = next(iter(sample({}, {(): score}, len(score)).items()))
    return (metric, replace(sampled, classes=None).share_estimate(),
            score.recall_by_permutation() if isinstance(score, EmbeddingScore) else None)


def chance_score(case: Case) -> float:
    """Return the score of an answer that is given without looking at the image."""
    return CHANCE[case.recognizer.info.task](case)


def _commonest_label(case: Case) -> float:
    return float(np.bincount(torch.cat(list(case.known_labels)).cpu().numpy()).max() / len(case.images))


CHANCE: dict[str, Callable[[Case], float]] = {  # by task
    'classification': _commonest_label,
    'detection': lambda case: 0.01,  # boxes anywhere
    'segmentation': lambda case: 1 / max(case.recognizer.info.num_classes, 2),  # one class everywhere
    'text': lambda case: 0.0,  # a word out of all words
    'embedding': lambda case: recall_by_chance(torch.cat(list(case.known_labels)).cpu().numpy()),
}


def normalization(recognizer: Recognizer) -> Normalization:
    """Return the mean and std that the recognizer applies."""
    return tuple(recognizer.mean.flatten().tolist()), tuple(recognizer.std.flatten().tolist())


def renormalized(images: torch.Tensor, given: Normalization, other: Normalization) -> torch.Tensor:
    """Return images that, normalized as ``given``, equal ``images`` normalized as ``other``."""
    (mean, std), (other_mean, other_std) = (
        [images.new_tensor(value).view(1, 3, 1, 1) for value in pair] for pair in (given, other))
    return (images - other_mean) / other_std * std + mean


def statistics(images: Sequence[torch.Tensor]) -> Normalization:
    """Return mean and deviation of each channel over all images."""
    means = torch.stack([image.double().mean((0, 2, 3)) for image in images]).mean(0)
    squares = torch.stack([image.double().square().mean((0, 2, 3)) for image in images]).mean(0)
    return tuple(means.tolist()), tuple((squares - means ** 2).clamp_min(1e-6).sqrt().tolist())


def extremes(images: Sequence[torch.Tensor]) -> tuple[float, float]:
    """Return the smallest and the largest value of all images."""
    return min(image.min().item() for image in images), max(image.max().item() for image in images)


def levels_apart(recognizer: Recognizer, ours: Sequence, theirs: Sequence) -> tuple[float, float]:
    """Return the mean and the largest difference of normalized images, on the 0..255 scale, of the image that differs
    most.
    """
    apart = [((a - b) * recognizer.std).abs() * 255 for a, b in zip(ours, theirs, strict=True)]
    return max(item.mean().item() for item in apart), max(item.max().item() for item in apart)


def top_answer(recognizer: Recognizer, prepared: torch.Tensor) -> int | None:
    """Return a classifier's answer to a tensor that has the network's size already."""
    if not recognizer.is_classifier:
        return None
    return recognizer.predict(prepared * recognizer.std + recognizer.mean)['labels'][0, 0].item()


def loss_of(recognizer: Recognizer, images: torch.Tensor, label: Any) -> torch.Tensor:
    """Return the loss, a scalar; without a label, one to which all answers contribute.

    An embedding has length 1, so that of these the features count.
    """
    if label is not None:
        return total(term.mean() for term in recognizer.loss(images, label).values())
    if recognizer.info.task == 'embedding':
        return recognizer.features(images).square().mean()
    return total(value.square().mean() for value in recognizer.outputs(images).values()
                 if isinstance(value, torch.Tensor) and value.is_floating_point())


def gradient_of(recognizer: Recognizer, images: torch.Tensor, label: Any) -> torch.Tensor:
    """Return the gradient of the loss with respect to the images; zeros where no graph leads there."""
    images = images.clone().requires_grad_()
    loss = loss_of(recognizer, images, label)
    found = torch.autograd.grad(loss, images, allow_unused=True)[0] if loss.requires_grad else None
    return torch.zeros_like(images) if found is None else found


def slope_error(recognizer: Recognizer, images: torch.Tensor, label: Any) -> tuple[float, str]:
    """Return the relative difference between the gradient's size and the central difference along it, and the
    precision.
    """
    try:
        return _slope_error_in(copy.deepcopy(recognizer).double(), images.double(), label, 1e-5), 'float64'
    except (RuntimeError, ValueError, TypeError):  # layers that make float32 tensors of their own
        return _slope_error_in(recognizer, images.float(), label, 1e-2), 'float32'


def _slope_error_in(recognizer: Recognizer, images: torch.Tensor, label: Any, step: float) -> float:
    found = gradient_of(recognizer, images, label)
    size = found.norm()
    with torch.no_grad():
        above, below = (loss_of(recognizer, images + sign * step * found / size, label) for sign in (1, -1))
    return ((above - below) / (2 * step) / size - 1).abs().item()
