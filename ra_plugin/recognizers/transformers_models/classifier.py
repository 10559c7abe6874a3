"""Classifiers and image towers of transformers."""
from typing import Any

import torch

from ra_plugin.recognizers.classification import ClassificationRecognizer
from ra_plugin.recognizers.embedding import EmbeddingRecognizer
from ra_plugin.recognizers.facts import Outputs, TaskError
from ra_plugin.recognizers.transformers_models.base import TransformersRecognizer


class TransformersClassifier(TransformersRecognizer, ClassificationRecognizer):
    """A classifier of transformers; arguments as in `TransformersRecognizer`."""

    _has_own_features = True

    def check_class(self, model_class: type, config: Any, where: str) -> None:
        if config.problem_type not in (None, 'single_label_classification'):
            raise TaskError(f'{where}: expected a classifier with one class an image, got a problem_type of '
                            f'{config.problem_type}. Choose another model.')

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        found = self.answers(images)
        return found.logits if 'logits' in found else found.last_hidden_state  # PP-LCNet's name for them

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the output of ``feature_layer``; by default the last hidden states or feature map."""
        if self.feature_layer is None:
            return super().features(images)
        return self.layer_outputs(images, [self.feature_layer])[self.feature_layer]

    def call_layers(self, images: torch.Tensor) -> Any:
        return self.answers(images)


class TransformersEmbedder(TransformersRecognizer, EmbeddingRecognizer):
    """An image tower of transformers; arguments as in `TransformersRecognizer`.

    The vector of an image is the tower's pooled output; where it has none, or the weights are those of a classifier
    that does without, the mean of its last hidden states. `features` are these.
    """

    def outputs(self, images: torch.Tensor, reference: Outputs | None = None) -> Outputs:
        """Return ``{'embedding': (N, D)}``, each vector of length 1."""
        vector: Any = self.answers(images).get('pooler_output')
        if vector is None:
            states = self.features(images)
            vector = states.mean(1) if states.dim() == 3 else states.flatten(2).mean(2)
        return {'embedding': torch.nn.functional.normalize(vector.flatten(1), dim=1)}
