"""Unsupervised recognition loss: Eq. 4 of Liu et al., arXiv:1910.09185, with a choice of distances."""
import math
from collections.abc import Sequence

import torch
from torch import nn

from ra_plugin.losses.distances import CONSISTENCY, ConsistencyDistance
from ra_plugin.losses.recognizer_loss import LossWeight, Reduction, ReferenceLoss
from ra_plugin.recognizers import Recognizer
from ra_plugin.recognizers.module_recognizer import ModuleTask
from ra_plugin.recognizers.trainable import LearnerBlock
from ra_plugin.utils.tensors import total


class RecogConsistencyLoss(ReferenceLoss):
    """Distance between the recognizer's outputs on the restored and on the clean image; needs no labels.

    Outputs may have positions: the pixels of a segmenter; the anchors, points, queries or proposals of a detector. Let
    q be the probabilities of the clean image and p those of the restored one, both softened by the temperature T, and
    w_m the probability (at T = 1) that the clean image has an object at position m. Then ``'kl'`` is

    * for a classifier ``T^2 sum_c q_c log(q_c / p_c)``, and for a segmenter the mean of this over the pixels;
    * for a detector ``T^2 sum_m w_m^2 KL_m / sum_m w_m^2``, a mean over positions with objects, since nearly all
      positions are background. KL_m is the sum above over the classes and the background, or, for heads with one
      sigmoid per class, ``sum_c q_mc log(q_mc / p_mc) + (1 - q_mc) log((1 - q_mc) / (1 - p_mc))``. w_m is one minus the
      probability of the background, or the largest q_mc. The other numbers (boxes) add
      ``sum_m w_m^2 |d_m|^2 / (D max(1, sum_m w_m^2))``, where d_m is the difference of the D numbers of position m in
      units of their root mean square over objects. If the clean image has no objects, the first term is the mean over
      the positions most similar to one, and the second is 0.

    The other distances are means over all positions of the image. A sigmoid's logit z counts as two logits (z, 0).

    Of an embedding network, which has no classes, the directions of the vectors are compared. Vectors ``(N, D)`` of a
    network of your own look like logits, and would be softmaxed as if they were: give it ``task: embedding``.

    Args:
        recognizer: Options of the frozen recognizer, e.g. ``{type: TimmRecognizer, model_name: resnet18}``.
        loss_weight: Factor on the loss (lambda). Default: 1.0. With ``'kl'`` 1e-3 is a good start, 5e-4 for two-stage
            detectors: the gradient is then about as large as that of `RecogLoss` at 1e-3 (docs/RESULTS.md). For
            ``'probability'`` the paper uses 10 with 1000 classes.
        reduction: ``'mean'`` | ``'sum'`` | ``'none'``. Default: ``'mean'``.
        distance: ``'kl'`` (divergence of softened probabilities) | ``'probability'`` (the paper: squared difference of
            softmax probabilities, mean over the classes) | ``'l1'`` | ``'cosine'`` (the last two on logits). Default:
            ``'kl'``, which gains more than ``'probability'``, also on other recognizers, and loses less PSNR
            (docs/RESULTS.md). Other numbers, such as a detector's boxes, add their squared difference for ``'kl'`` and
            ``'probability'``, their absolute difference for ``'l1'``, and one minus their cosine for ``'cosine'``. For
            embeddings, which have no classes, ``'kl'`` and ``'cosine'`` are one minus the cosine.
        temperature: Temperature of both sides of ``'kl'``; the loss is scaled by its square. Default: 2.0.
        cache_reference: Cache the recognizer's outputs on clean images, so that each image costs one forward pass. Only
            useful if the same images recur, as whole images and their flips do and random crops do not. Up to 1 GiB per
            loss and process; not for detectors. A resumed run is then the same only up to rounding. See
            `ReferenceCache`. Default: False.
        gradient_checkpointing, mean, std, task, output: See `RecogLoss`.

    Shape:
        output, gt: ``(N, 3, H, W)``, RGB, ``[0, 1]``. Returns a scalar >= 0 (up to rounding), or ``(N,)`` for
        ``'none'``.

    Example:
        >>> loss = RecogConsistencyLoss({'type': 'TimmRecognizer', 'model_name': 'resnet18', 'pretrained': True})
        >>> loss(output, gt).backward()  # gradient reaches output, never the recognizer or gt
    """

    asks_for = 'outputs'

    def __init__(self, recognizer: LearnerBlock | nn.Module, loss_weight: LossWeight = 1.0,
                 reduction: Reduction = 'mean', distance: ConsistencyDistance = 'kl',
                 temperature: float | None = None, cache_reference: bool = False, gradient_checkpointing: bool = False,
                 mean: Sequence[float] | None = None, std: Sequence[float] | None = None,
                 task: ModuleTask | None = None, output: str | int | None = None):
        super().__init__(recognizer, loss_weight, reduction, gradient_checkpointing, cache_reference,
                         {'mean': mean, 'std': std, 'task': task, 'output': output})
        if distance not in CONSISTENCY:
            raise ValueError(f'RecogConsistencyLoss: distance: expected {" | ".join(CONSISTENCY)}, got {distance!r}.')
        if temperature is not None and (not 0 < temperature < math.inf or not CONSISTENCY[distance].softened):
            raise ValueError(f"RecogConsistencyLoss: temperature: expected a positive number, with distance: kl; got "
                             f'{temperature} with {distance}.')
        if temperature is not None and self.recognizer.compared_output != 'logits':
            raise ValueError(f'RecogConsistencyLoss: temperature: only for class scores, which {self.recognizer} does '
                             'not have. Remove it.')
        self._asked: set[Recognizer] = set()  # recognizers checked so far; an ensemble draws some members later
        self.distance, self.temperature = CONSISTENCY[distance], 2.0 if temperature is None else temperature

    def compare(self, recognizer: Recognizer, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        reference = self.reference(recognizer, target, recognizer.outputs)
        answers = recognizer.outputs(output, reference)
        if recognizer.compared_output not in answers:
            raise ValueError(f"RecogConsistencyLoss: expected '{recognizer.compared_output}' among the outputs of "
                             f'{recognizer}, got {", ".join(map(repr, answers))}. Return the class scores under that '
                             'name, or use '
                             'RecogFeatureLoss, which compares features.')
        if recognizer not in self._asked:
            recognizer.check_answers(answers, reference)
            self._asked.add(recognizer)
        return total(self.distance.between(name, value, reference, self.temperature) for name, value in answers.items())
