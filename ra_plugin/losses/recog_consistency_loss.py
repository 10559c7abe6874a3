"""Unsupervised recognition loss: Eq. 4 of Liu et al., arXiv:1910.09185, with the distance that serves best."""
import math
from collections.abc import Sequence

import torch
from torch import nn

from ra_plugin.losses.distances import CONSISTENCY, ConsistencyDistance
from ra_plugin.losses.recognizer_loss import LossWeight, Reduction, ReferenceLoss
from ra_plugin.recognizers import Recognizer
from ra_plugin.recognizers.trainable import LearnerBlock


class RecogConsistencyLoss(ReferenceLoss):
    """Distance between the recognizer's outputs on the restored and on the clean image. Needs no labels.

    An answer may have places: the pixels of a segmenter, the anchors, points, queries or proposals of a detector. Let q
    be the probabilities of the clean image and p those of the restored one, both softened by the temperature T, and w_m
    the probability (at T = 1) that the clean image has an object at place m. Then ``'kl'`` is

    * of a classifier ``T^2 sum_c q_c log(q_c / p_c)``, and of a segmenter the mean of this over the image's pixels;
    * of a detector ``T^2 sum_m w_m^2 KL_m / sum_m w_m^2``: the mean over places with objects, since nearly all places
      are background. KL_m is the sum above over the classes and the background, or, in heads that decide on each class
      apart by a sigmoid, ``sum_c q_mc log(q_mc / p_mc) + (1 - q_mc) log((1 - q_mc) / (1 - p_mc))``. w_m is one minus
      the probability of the background, or the largest q_mc. To it come the numbers:
      ``sum_m w_m^2 |d_m|^2 / (D max(1, sum_m w_m^2))``, where d_m is the difference of the D numbers of place m in
      units of their root mean square over objects. Without objects in the clean image the first is the mean over the
      places that look most like one, and the second vanishes.

    The other distances are means over all places of the image. A sigmoid's logit z counts as the two logits (z, 0).

    Args:
        recognizer: Options of the frozen recognizer, e.g. ``{type: TimmRecognizer, model_name: resnet18}``.
        loss_weight: Factor on the loss (lambda). Default: 1.0. With ``'kl'`` 1e-3 is a good start, 5e-4 for two-stage
            detectors: the gradient is then about that of `RecogLoss` at 1e-3 (docs/RESULTS.md). For ``'probability'``
            the paper uses 10 with 1000 classes.
        reduction: ``'mean'`` | ``'sum'`` | ``'none'``. Default: ``'mean'``.
        distance: ``'kl'`` (divergence of softened probabilities) | ``'probability'`` (the paper: squared difference of
            softmax probabilities, mean over the classes) | ``'l1'`` | ``'cosine'`` (the last two on logits). Default:
            ``'kl'``: it gains more than ``'probability'``, also on other recognizers, and keeps more of the
            PSNR (docs/RESULTS.md). Numbers beside the scores, as a detector's boxes, add their squared difference with
            ``'kl'`` and ``'probability'``, their absolute difference with ``'l1'`` and one minus their cosine with
            ``'cosine'``. Of embeddings, which have no classes, ``'kl'`` and ``'cosine'`` are one minus the cosine.
        temperature: Softens both sides of ``'kl'``; the loss is scaled by its square. Default: 2.0.
        cache_reference: Keep the recognizer's answers on clean images, which then cost one pass each: for images that
            come back as they were, as whole ones and their mirror images do and random crops do not. Up to 1 GiB for
            each loss and process; not for detectors. A resumed run is then the same within rounding alone. See
            `ReferenceCache`. Default: False.
        gradient_checkpointing, mean, std: As in `RecogLoss`.

    Shape:
        output, gt: ``(N, 3, H, W)``, RGB, ``[0, 1]``. Returns a scalar, >= 0 within rounding; ``(N,)`` for ``'none'``.

    Example:
        >>> loss = RecogConsistencyLoss({'type': 'TimmRecognizer', 'model_name': 'resnet18', 'pretrained': True})
        >>> loss(output, gt).backward()  # gradient reaches output, never the recognizer or gt
    """

    asks_for = 'outputs'

    def __init__(self, recognizer: LearnerBlock | nn.Module, loss_weight: LossWeight = 1.0,
                 reduction: Reduction = 'mean', distance: ConsistencyDistance = 'kl',
                 temperature: float | None = None, cache_reference: bool = False, gradient_checkpointing: bool = False,
                 mean: Sequence[float] | None = None, std: Sequence[float] | None = None):
        super().__init__(recognizer, loss_weight, reduction, gradient_checkpointing, cache_reference, mean, std)
        if distance not in CONSISTENCY:
            raise ValueError(f'RecogConsistencyLoss: distance: expected {" | ".join(CONSISTENCY)}, got {distance!r}.')
        if temperature is not None and (not 0 < temperature < math.inf or not CONSISTENCY[distance].softened):
            raise ValueError(f"RecogConsistencyLoss: temperature: expected a positive number, with distance: kl; got "
                             f'{temperature} with {distance}.')
        if temperature is not None and self.recognizer.info.task == 'embedding':
            raise ValueError(f'RecogConsistencyLoss: temperature: softens the scores of classes, and {self.recognizer} '
                             'has none. Leave it out.')
        self._asked: set[Recognizer] = set()  # an ensemble draws some members later
        self.distance, self.temperature = CONSISTENCY[distance], 2.0 if temperature is None else temperature

    def compare(self, recognizer: Recognizer, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        reference = self.reference(recognizer, target, recognizer.outputs)
        answers = recognizer.outputs(output, reference)
        if not {'logits', 'embedding'} & set(answers):
            raise ValueError(f"RecogConsistencyLoss: expected 'logits' among the outputs of {recognizer}, got "
                             f'{", ".join(map(repr, answers))}. Name the scores of the classes so, or use '
                             'RecogFeatureLoss, which compares features.')
        if recognizer not in self._asked:
            recognizer.check_answers(answers, reference)
            self._asked.add(recognizer)
        return sum(self.distance.between(name, value, reference, self.temperature) for name, value in answers.items())
