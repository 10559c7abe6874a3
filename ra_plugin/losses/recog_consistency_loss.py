"""Unsupervised recognition loss: Eq. 4 of Liu et al., arXiv:1910.09185, with the distance that serves best."""
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from ra_plugin.losses.distances import (cosine_distance, kl_distance, l1_distance, l2_distance,
                                        probability_distance)
from ra_plugin.losses.recognizer_loss import ReferenceLoss, Reduction
from ra_plugin.recognizers import Recognizer


class RecogConsistencyLoss(ReferenceLoss):
    """Distance between the recognizer's outputs on the restored and on the clean image. Needs no labels.

    Args:
        recognizer: Options of the frozen recognizer, e.g. ``{type: TimmRecognizer, model_name: resnet18}``.
        loss_weight: Factor on the loss (lambda). Default: 1.0. 1e-3 is a good start; for ``'probability'`` the paper
            uses 10 with 1000 classes.
        reduction: ``'mean'`` | ``'sum'`` | ``'none'``. Default: ``'mean'``.
        distance: ``'kl'`` (divergence of softened probabilities) | ``'probability'`` (the paper: squared difference of
            softmax probabilities, mean over the classes) | ``'l1'`` | ``'cosine'`` (the last two on logits). Default:
            ``'kl'``: it gains more than ``'probability'``, also on other recognizers, and keeps more of the
            PSNR (docs/RESULTS.md). Answers that are numbers, as a detector's boxes, add their mean squared difference
            (``'l1'``: absolute) to it.
        temperature: Softens both sides of ``'kl'``; the loss is scaled by its square. Default: 2.0.
        cache_reference: Keep the recognizer's answers on clean images, which then cost one pass each: for images that
            come back as they were, as whole ones and their mirror images do and random crops do not. Up to 1 GiB; not
            for detectors. See `ReferenceCache`. Default: False.
        gradient_checkpointing, mean, std: As in `RecogLoss`.

    Shape:
        output, gt: ``(N, 3, H, W)``, RGB, ``[0, 1]``. Returns a scalar, >= 0 within rounding; ``(N,)`` for ``'none'``.

    Example:
        >>> loss = RecogConsistencyLoss({'type': 'TimmRecognizer', 'model_name': 'resnet18', 'pretrained': True})
        >>> loss(output, gt).backward()  # gradient reaches output, never the recognizer or gt
    """

    def __init__(self, recognizer: Mapping[str, Any] | nn.Module, loss_weight: float = 1.0,
                 reduction: Reduction = 'mean', distance: Literal['kl', 'probability', 'l1', 'cosine'] = 'kl',
                 temperature: float | None = None, cache_reference: bool = False, gradient_checkpointing: bool = False,
                 mean: Sequence[float] | None = None, std: Sequence[float] | None = None):
        super().__init__(recognizer, loss_weight, reduction, gradient_checkpointing, cache_reference, mean, std)
        distances = {'kl': partial(kl_distance, temperature=2.0 if temperature is None else temperature),
                     'probability': probability_distance, 'l1': l1_distance, 'cosine': cosine_distance}
        if distance not in distances:
            raise ValueError(f'RecogConsistencyLoss: distance: expected {" | ".join(distances)}, got {distance!r}.')
        if temperature is not None and (temperature <= 0 or distance != 'kl'):
            raise ValueError(f"RecogConsistencyLoss: temperature: expected a positive number, with distance: kl; got "
                             f'{temperature} with {distance}.')
        self.distance = distances[distance]
        self.number_distance = l1_distance if distance == 'l1' else l2_distance

    def compare(self, recognizer: Recognizer, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        reference = self.reference(recognizer, target, recognizer.outputs)
        answers = recognizer.outputs(output, reference)
        return sum((self.distance if name == 'logits' else self.number_distance)(value, reference[name])
                   for name, value in answers.items())
