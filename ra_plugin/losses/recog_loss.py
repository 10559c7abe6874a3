"""Supervised recognition loss: Eq. 2 of Liu et al., arXiv:1910.09185."""
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ra_plugin.losses.recognizer_loss import LossWeight, RecognizerLoss, Reduction
from ra_plugin.recognizers import Recognizer
from ra_plugin.recognizers.module_recognizer import ModuleTask
from ra_plugin.recognizers.trainable import LearnerBlock
from ra_plugin.utils.tensors import total


class RecogLoss(RecognizerLoss):
    """Task loss of the recognizer on the restored image, e.g. the cross-entropy of a classifier.

    Args:
        recognizer: Options of the frozen recognizer, e.g. ``{type: TimmRecognizer, model_name: resnet18}``. With
            ``trainable: true`` the recognizer is trained, too.
        loss_weight: Factor on the loss (lambda). Default: 1.0; the paper uses 1e-3.
        reduction: ``'mean'`` | ``'sum'`` | ``'none'``, over the images. Default: ``'mean'``. Detectors and segmenters
            have one loss per batch, normalized by its objects or pixels, and no loss per image: that loss is the
            ``'mean'``, and N times it the ``'sum'``. With ``sizes`` (see `forward`) all images have the same weight in
            the mean.
        label_smoothing: Label smoothing in ``[0, 1)``, only for classifiers. Default: 0.
        gradient_checkpointing: Recompute most of the recognizer's activations in the backward pass, for large images:
            peak memory is halved for ResNet-50 or VGG-16, and a third for a ViT, at the cost of a second forward pass,
            with the same gradient. Default: False.
        mean, std: Normalization of your own network passed as ``recognizer``, for RGB on the ``[0, 1]`` scale.
        task, output: Task of your own network, and the part of its answer that counts, see `ModuleRecognizer`. Default:
            a classifier's logits.

    Shape:
        output: ``(N, 3, H, W)``, RGB, ``[0, 1]``. label: depends on the recognizer's task; classification: ``(N,)``
        long. Returns a scalar >= 0, or ``(N,)`` for ``'none'``.

    Example:
        >>> loss = RecogLoss({'type': 'TimmRecognizer', 'model_name': 'resnet18', 'pretrained': True}, loss_weight=1e-3)
        >>> loss(output, label).backward()  # gradient reaches output, never the recognizer
    """

    needs = 'label'
    asks_for = 'loss'

    def __init__(self, recognizer: LearnerBlock | nn.Module, loss_weight: LossWeight = 1.0,
                 reduction: Reduction = 'mean', label_smoothing: float = 0.0, gradient_checkpointing: bool = False,
                 mean: Sequence[float] | None = None, std: Sequence[float] | None = None,
                 task: ModuleTask | None = None, output: str | int | None = None):
        super().__init__(recognizer, loss_weight, reduction, gradient_checkpointing,
                         {'mean': mean, 'std': std, 'task': task, 'output': output})
        if not 0 <= label_smoothing < 1:
            raise ValueError(f'RecogLoss: label_smoothing: expected a number in [0, 1), got {label_smoothing}.')
        if label_smoothing and not self.recognizer.smooths_labels:
            hint = (f'; {self.recognizer} does {self.recognizer.info.task}.'
                    if self.recognizer.info.task != 'classification' else
                    f' whose loss() takes it. If that of {self.recognizer.users_name()} does, set smooths_labels = '
                    'True in the class.')
            raise ValueError(f'RecogLoss: label_smoothing is for classifiers{hint}')
        self.smoothing = {'label_smoothing': label_smoothing} if label_smoothing else {}

    def compare(self, recognizer: Recognizer, output: torch.Tensor, target: Any) -> torch.Tensor:
        terms = recognizer.loss(output, target, **self.smoothing)
        if self.reduction == 'none' and any(term.dim() == 0 for term in terms.values()):
            raise ValueError(f"RecogLoss: {recognizer} has no loss per image; reduction: none is not supported.")
        return total(terms.values())
