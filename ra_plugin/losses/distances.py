"""Distances between a recognizer's answers on two images: pure functions of ``(N, C, ...)`` tensors, giving ``(N,)``.

Dimension 1 holds the classes; further dimensions (the pixels of a segmenter) are averaged over. ``weights``, which
broadcast to the tensors, make of that mean the sum with these weights.

To add one: write the function, name it in `CONSISTENCY` or `FEATURES` and in the type above it, and give its formula to
``tests/losses/test_losses.py``.
"""
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F


def _per_image(value: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """The mean of each image's numbers; with ``weights``, which broadcast to ``value``, their sum with these."""
    return value.flatten(1).mean(1) if weights is None else (value * weights).flatten(1).sum(1)


def probability_distance(logits: torch.Tensor, reference: torch.Tensor,
                         weights: torch.Tensor | None = None) -> torch.Tensor:
    """Squared difference of softmax probabilities, averaged over the classes: Eq. 4 of arXiv:1910.09185 as in its code.

    The mean over C classes makes it shrink as 1/C: the paper's weight of 10 for 1000 classes is 0.1 for 10 classes.
    """
    return _per_image((logits.softmax(1) - reference.softmax(1)).square(), weights)


def kl_distance(logits: torch.Tensor, reference: torch.Tensor, temperature: float = 1.0,
                weights: torch.Tensor | None = None) -> torch.Tensor:
    """``T^2 KL(reference || output)`` of the softened probabilities (Hinton et al., 2015), summed over the classes.

    Args:
        weights: ``(N, ...)`` for ``(N, C, ...)``: the sum over the places with these weights, instead of the mean.
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
    """One minus the cosine between the two vectors that each image's tensor flattens to; in ``[0, 2]``."""
    return 1 - F.cosine_similarity(output.flatten(1), reference.flatten(1), dim=1)


@dataclass(frozen=True)
class Distance:
    """A distance between answers: a function for each kind of numbers in them.

    Attributes:
        scores: Of class scores, ``logits``.
        numbers: Of what a detector says besides (boxes).
        embeddings: Of vectors of length 1.
        weighted_by: Key of the clean image's outputs with the weights of a tensor NAME: ``NAME_weights`` or
            ``NAME_shares``, see `Recognizer.outputs`. None: the functions take no weights.
        softened: ``scores`` takes a ``temperature``.
    """

    scores: Callable[..., torch.Tensor]
    numbers: Callable[..., torch.Tensor]
    embeddings: Callable[..., torch.Tensor]
    weighted_by: Literal['weights', 'shares'] | None = 'shares'
    softened: bool = False

    def between(self, name: str, answer: torch.Tensor, reference: Mapping[str, torch.Tensor],
                temperature: float) -> torch.Tensor:
        """Return the distance ``(N,)`` of an answer called ``name`` from that in the clean image's outputs."""
        kind = {'logits': self.scores, 'embedding': self.embeddings}.get(name, self.numbers)
        further = {'temperature': temperature} if self.softened and kind is self.scores else {}
        if self.weighted_by is not None and name != 'embedding':
            further['weights'] = reference.get(f'{name}_{self.weighted_by}')
        return kind(answer, reference[name], **further)


# Beside `kl_distance`: the squared difference and the cosine are the divergences of normal and of von Mises-Fisher
# distributions of one width, up to a factor.
ConsistencyDistance = Literal['kl', 'probability', 'l1', 'cosine']
CONSISTENCY: dict[str, Distance] = dict(zip(get_args(ConsistencyDistance), (
    Distance(kl_distance, l2_distance, cosine_distance, 'weights', softened=True),
    Distance(probability_distance, l2_distance, l2_distance),
    Distance(l1_distance, l1_distance, l1_distance),
    Distance(cosine_distance, cosine_distance, cosine_distance, None)), strict=True))

FeatureDistance = Literal['l1', 'l2', 'cosine']
FEATURES: dict[str, Callable[..., torch.Tensor]] = dict(zip(
    get_args(FeatureDistance), (l1_distance, l2_distance, cosine_distance), strict=True))
