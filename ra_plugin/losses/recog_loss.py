"""Supervised recognition loss: Eq. 2 of Liu et al., arXiv:1910.09185."""
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ra_plugin.losses.recognizer_loss import LossWeight, RecognizerLoss, Reduction
from ra_plugin.recognizers import Recognizer
from ra_plugin.recognizers.trainable import LearnerBlock


class RecogLoss(RecognizerLoss):
    """The recognizer's own task loss on the restored image, e.g. the cross-entropy of a classifier.

    Args:
        recognizer: Options of the frozen recognizer, e.g. ``{type: TimmRecognizer, model_name: resnet18}``. With
            ``trainable: true`` in them it takes gradients, too.
        loss_weight: Factor on the loss (lambda). Default: 1.0; the paper uses 1e-3.
        reduction: ``'mean'`` | ``'sum'`` | ``'none'``, over the images. Default: ``'mean'``. A detector or segmenter
            has one loss for a batch, which it divides by what it counts in that (objects, pixels), and none for each
            image: that loss is the ``'mean'``, N times it the ``'sum'``; with ``sizes``, see `forward`, the mean of
            those of all images weighs each image alike.
        label_smoothing: Share of the label that is spread over all classes, in ``[0, 1)``; for classifiers. Default: 0.
        gradient_checkpointing: Let the recognizer keep little for the backward pass and compute the rest again, for
            large images: the peak of memory of ResNet-50 or VGG-16 becomes half, that of a ViT a third, for a second
            forward pass; the gradient is the same. Default: False.
        mean, std: For a classifier of your own as the recognizer: its normalization, RGB on the ``[0, 1]`` scale.

    Shape:
        output: ``(N, 3, H, W)``, RGB, ``[0, 1]``. label: as the recognizer's task has it; classification ``(N,)`` long.
        Returns a scalar >= 0, or ``(N,)`` for ``'none'``.

    Example:
        >>> loss = RecogLoss({'type': 'TimmRecognizer', 'model_name': 'resnet18', 'pretrained': True}, loss_weight=1e-3)
        >>> loss(output, label).backward()  # gradient reaches output, never the recognizer
    """

    needs = 'label'
    asks_for = 'loss'

    def __init__(self, recognizer: LearnerBlock | nn.Module, loss_weight: LossWeight = 1.0,
                 reduction: Reduction = 'mean', label_smoothing: float = 0.0, gradient_checkpointing: bool = False,
                 mean: Sequence[float] | None = None, std: Sequence[float] | None = None):
        super().__init__(recognizer, loss_weight, reduction, gradient_checkpointing, mean, std)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f'RecogLoss: label_smoothing: expected a number in [0, 1), got {label_smoothing}.')
        if label_smoothing and not self.recognizer.smooths_labels:
            raise ValueError(f'RecogLoss: label_smoothing is for classifiers; {self.recognizer} does '
                             f'{self.recognizer.info.task}.')
        self.smoothing = {'label_smoothing': label_smoothing} if label_smoothing else {}

    def compare(self, recognizer: Recognizer, output: torch.Tensor, target: Any) -> torch.Tensor:
        terms = recognizer.loss(output, target, **self.smoothing)
        if self.reduction == 'none' and any(term.dim() == 0 for term in terms.values()):
            raise ValueError(f"RecogLoss: {recognizer} has no loss for each image; reduction: none is not supported.")
        return sum(terms.values())
