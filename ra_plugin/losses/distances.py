"""Distances between a recognizer's outputs on two images: pure functions from ``(N, C, ...)`` tensors to ``(N,)``.

Dimension 1 holds the classes; the mean is taken over further dimensions (the pixels of a segmenter). With ``weights``,
which broadcast to the tensors, a weighted sum replaces that mean.

To add a distance, write the function, name it in `CONSISTENCY` or `FEATURES` and in the type above it, and add its
formula to ``tests/losses/test_losses.py``.
"""
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F


def _per_image(value: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Return the mean of ``value`` per image, or its sum weighted with ``weights``, which broadcast to ``value``."""
    return value.flatten(1).mean(1) if weights is None else (value * weights).flatten(1).sum(1)


def probability_distance(logits: torch.Tensor, reference: torch.Tensor,
                         weights: torch.Tensor | None = None) -> torch.Tensor:
    """Squared difference of softmax probabilities, averaged over the classes: Eq. 4 of arXiv:1910.09185 as in its code.

    The mean over C classes makes it shrink like 1/C: the paper's weight of 10 for 1000 classes corresponds to 0.1 for
    10 classes.
    """
    return _per_image((logits.softmax(1) - reference.softmax(1)).square(), weights)


def kl_distance(logits: torch.Tensor, reference: torch.Tensor, temperature: float = 1.0,
                weights: torch.Tensor | None = None) -> torch.Tensor:
    """``T^2 KL(reference || output)`` of the softened probabilities (Hinton et al., 2015), summed over the classes.

    Args:
        logits: Logits of the restored image, ``(N, C, ...)``.
        reference: Logits of the clean image, ``(N, C, ...)``.
        temperature: Temperature T of both softmax functions.
        weights: ``(N, ...)``; take the sum over positions with these weights instead of the mean.
    """
    log_p = F.log_softmax(logits / temperature, 1)
    log_q = F.log_softmax(reference / temperature, 1)
    each = (log_q.exp() * (log_q - log_p)).sum(1, keepdim=True)
    return temperature ** 2 * _per_image(each, None if weights is None else weights[:, None])


def l1_distance(output: torch.Tensor, reference: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Mean absolute difference."""
    return _per_image((output - reference).abs(), weights)


def l2_distance(output: torch.Tensor, reference: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Mean squared difference."""
    return _per_image((output - reference).square(), weights)


def cosine_distance(output: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """One minus the cosine similarity of each image's flattened tensors, in ``[0, 2]``."""
    return 1 - F.cosine_similarity(output.flatten(1), reference.flatten(1), dim=1)


@dataclass(frozen=True)
class Distance:
    """Distance between outputs: one function per kind of output.

    Attributes:
        scores: Distance of class scores, ``logits``.
        numbers: Distance of a detector's other outputs (boxes).
        embeddings: Distance of vectors of length 1.
        weighted_by: Key of the clean image's outputs with the weights of a tensor NAME: ``NAME_weights`` or
            ``NAME_shares``, see `Recognizer.outputs`. None if the functions take no weights.
        softened: True if ``scores`` takes a ``temperature``.
    """

    scores: Callable[..., torch.Tensor]
    numbers: Callable[..., torch.Tensor]
    embeddings: Callable[..., torch.Tensor]
    weighted_by: Literal['weights', 'shares'] | None = 'shares'
    softened: bool = False

    def between(self, name: str, answer: torch.Tensor, reference: Mapping[str, torch.Tensor],
                temperature: float) -> torch.Tensor:
        """Return the distance ``(N,)`` between an output called ``name`` and that of the clean image."""
        kind = {'logits': self.scores, 'embedding': self.embeddings}.get(name, self.numbers)
        further: dict[str, Any] = {'temperature': temperature} if self.softened and kind is self.scores else {}
        if self.weighted_by is not None and name != 'embedding':
            further['weights'] = reference.get(f'{name}_{self.weighted_by}')
        return kind(answer, reference[name], **further)


# Paired with `kl_distance`: up to a factor, the squared difference and the cosine are the divergences of normal and of
# von Mises-Fisher distributions of equal width.
ConsistencyDistance = Literal['kl', 'probability', 'l1', 'cosine']
CONSISTENCY: dict[str, Distance] = dict(zip(get_args(ConsistencyDistance), (
    Distance(kl_distance, l2_distance, cosine_distance, 'weights', softened=True),
    Distance(probability_distance, l2_distance, l2_distance),
    Distance(l1_distance, l1_distance, l1_distance),
    Distance(cosine_distance, cosine_distance, cosine_distance, None)), strict=True))

FeatureDistance = Literal['l1', 'l2', 'cosine']
FEATURES: dict[str, Callable[..., torch.Tensor]] = dict(zip(
    get_args(FeatureDistance), (l1_distance, l2_distance, cosine_distance), strict=True))
