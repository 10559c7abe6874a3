"""Task-driven perceptual loss: the unsupervised loss on the recognizer's features instead of its outputs."""
import math
from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from torch import nn

from ra_plugin.losses.distances import FEATURES, FeatureDistance
from ra_plugin.losses.recognizer_loss import LossWeight, Reduction, ReferenceLoss
from ra_plugin.options import Limits
from ra_plugin.recognizers import Recognizer
from ra_plugin.recognizers.facts import Outputs
from ra_plugin.recognizers.module_recognizer import ModuleTask
from ra_plugin.recognizers.trainable import LearnerBlock
from ra_plugin.utils.tensors import total

LayerWeights = Mapping[str, Annotated[float, Limits(above=0)]] | Sequence[str]
_FEATURES = 'features'


class RecogFeatureLoss(ReferenceLoss):
    """Distance between the recognizer's features on the restored and on the clean image; needs no labels.

    This is the perceptual loss of Johnson et al. (2016) with the features of the recognizer instead of VGG. With
    several layers it is ``sum_l w_l d(f_l(output), f_l(gt))``, where the distance d is a mean over the numbers of a
    layer, which may be a map ``(N, C, H, W)`` or tokens ``(N, L, C)``. Layers come from one forward pass.

    With a recognizer that `RecogLoss` trains (the same block, ``trainable: true``) this is the loss of SR4IR (Kim et
    al., CVPR 2024): the network is taken as it is in that step, in inference mode, and the gradient goes to the
    restorer alone.

    Args:
        recognizer: Options of the frozen recognizer, e.g. ``{type: TimmRecognizer, model_name: resnet18}``.
        loss_weight: Factor on the loss. Default: 1.0.
        reduction: ``'mean'`` | ``'sum'`` | ``'none'``. Default: ``'mean'``.
        distance: ``'l1'`` | ``'l2'`` (means over the features) | ``'cosine'``. Default: ``'l2'``.
        layer_weights: Weight of each layer by its dotted name, e.g. ``{blocks.3: 0.5, blocks.11: 1.0}``, or a list of
            names, each of weight 1. Default: the recognizer's own features, of the last stage.
        cache_reference: See `RecogConsistencyLoss`. Default: False.
        gradient_checkpointing, mean, std, task, output: See `RecogLoss`.

    Shape:
        output, gt: ``(N, 3, H, W)``, RGB, ``[0, 1]``. Returns a scalar >= 0, or ``(N,)`` for ``'none'``.
    """

    asks_for = _FEATURES
    shares_learner = True

    def __init__(self, recognizer: LearnerBlock | nn.Module, loss_weight: LossWeight = 1.0,
                 reduction: Reduction = 'mean', distance: FeatureDistance = 'l2',
                 cache_reference: bool = False, gradient_checkpointing: bool = False,
                 mean: Sequence[float] | None = None, std: Sequence[float] | None = None,
                 task: ModuleTask | None = None, output: str | int | None = None,
                 layer_weights: LayerWeights | None = None):
        weights = _weights(layer_weights)
        super().__init__(recognizer, loss_weight, reduction, gradient_checkpointing, cache_reference,
                         {'mean': mean, 'std': std, 'task': task, 'output': output}, list(weights))
        if distance not in FEATURES:
            raise ValueError(f'RecogFeatureLoss: distance: expected {" | ".join(FEATURES)}, got {distance!r}.')
        self.distance = FEATURES[distance]
        self.layer_weights = weights

    def compare(self, recognizer: Recognizer, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        with recognizer.at_rest():
            reference = self.reference(recognizer, target, lambda images: self._features(recognizer, images))
            features = self._features(recognizer, output)
        weights = self.layer_weights or {_FEATURES: 1.0}
        return total(weight * self.distance(features[name], reference[name]) for name, weight in weights.items())

    def _features(self, recognizer: Recognizer, images: torch.Tensor) -> Outputs:
        if self.layer_weights:
            return recognizer.layer_outputs(images, list(self.layer_weights))
        return {_FEATURES: recognizer.features(images)}


def _weights(layers: LayerWeights | None) -> dict[str, float]:
    """Return the weight of each layer by its name; empty for the recognizer's own features."""
    if layers is None:
        return {}
    weights = dict(layers) if isinstance(layers, Mapping) else dict.fromkeys(layers, 1.0)
    if not weights or len(weights) < len(layers):
        raise ValueError(f'RecogFeatureLoss: layer_weights: expected names of layers, each once, got {list(layers)}.')
    for name, weight in weights.items():
        if not 0 < weight < math.inf:
            raise ValueError(f'RecogFeatureLoss: layer_weights: {name}: expected a number > 0, got {weight}.')
    return weights
