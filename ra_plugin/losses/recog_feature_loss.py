"""Task-driven perceptual loss: the unsupervised loss on the recognizer's features instead of its outputs."""
from collections.abc import Sequence

import torch
from torch import nn

from ra_plugin.losses.distances import FEATURES, FeatureDistance
from ra_plugin.losses.recognizer_loss import LossWeight, Reduction, ReferenceLoss
from ra_plugin.recognizers import Recognizer
from ra_plugin.recognizers.trainable import LearnerBlock


class RecogFeatureLoss(ReferenceLoss):
    """Distance between the recognizer's last-stage features on the restored and on the clean image; needs no labels.

    This is the perceptual loss of Johnson et al. (2016) with the features of the recognizer instead of VGG.

    Args:
        recognizer: Options of the frozen recognizer, e.g. ``{type: TimmRecognizer, model_name: resnet18}``.
        loss_weight: Factor on the loss. Default: 1.0.
        reduction: ``'mean'`` | ``'sum'`` | ``'none'``. Default: ``'mean'``.
        distance: ``'l1'`` | ``'l2'`` (means over the features) | ``'cosine'``. Default: ``'l2'``.
        cache_reference: See `RecogConsistencyLoss`. Default: False.
        gradient_checkpointing, mean, std: See `RecogLoss`.

    Shape:
        output, gt: ``(N, 3, H, W)``, RGB, ``[0, 1]``. Returns a scalar >= 0, or ``(N,)`` for ``'none'``.
    """

    asks_for = 'features'

    def __init__(self, recognizer: LearnerBlock | nn.Module, loss_weight: LossWeight = 1.0,
                 reduction: Reduction = 'mean', distance: FeatureDistance = 'l2',
                 cache_reference: bool = False, gradient_checkpointing: bool = False,
                 mean: Sequence[float] | None = None, std: Sequence[float] | None = None):
        super().__init__(recognizer, loss_weight, reduction, gradient_checkpointing, cache_reference, mean, std)
        if distance not in FEATURES:
            raise ValueError(f'RecogFeatureLoss: distance: expected {" | ".join(FEATURES)}, got {distance!r}.')
        self.distance = FEATURES[distance]

    def compare(self, recognizer: Recognizer, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        reference = self.reference(recognizer, target, lambda images: {'features': recognizer.features(images)})
        return self.distance(recognizer.features(output), reference['features'])
