"""Outputs of detectors of any library for the unsupervised loss: their answers before boxes are picked from them.

Every family of heads gives class scores first. Here the answers become two tensors:

* ``logits``: ``(N, C, M)``, classes in dimension 1, over the M places (anchors, points, queries, proposals). Heads that
  decide on each class apart by a sigmoid of z count as M decisions between two classes with the logits (z, 0).
* ``regression``: ``(N, V)``, all other numbers (boxes, centerness, ...). Each is weighted by how likely the clean image
  has an object there, since what a detector says of the size of background is noise, and divided by the size that such
  numbers have on the clean image's objects, since heads count in pixels, strides or shares of an anchor.

The second stage of a two-stage detector answers for proposals. Both images are asked for those of the clean one: the
keys ``proposals``, ``weights`` and ``sizes`` of its outputs carry what is taken from there, and are not compared.
``logits_weights`` and ``regression_weights`` are what a weighted sum takes in place of a mean over all places, most of
which are background: the squared probability of an object on the clean image, and of the logits each decision in full;
`RecogConsistencyLoss` has the formula. Images that have fewer proposals than others of their batch are filled up with
zeros, which have no weight: ``logits_shares`` and ``regression_shares`` are the weight of each number in the mean over
an image's own.
"""
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ra_plugin.recognizers.facts import Outputs
from ra_plugin.utils.tensors import total

SMALL = 1e-6


def place_outputs(levels: Sequence[torch.Tensor], numbers: Sequence[Sequence[Any]], sigmoid: bool,
                  reference: Outputs | None) -> Outputs:
    """Return the outputs of a detector that answers at the same places of every image.

    Args:
        levels: Class scores of each level, ``(N, C, A, places)``, of A anchors at each place.
        numbers: Other answers, each as a list over the levels of tensors, or of sequences of them, ``(N, A * D, ...)``.
        sigmoid: The scores decide on each class apart; else they are of a softmax whose last class is the background.
        reference: Outputs on the clean images, whose weights are taken then.
    """
    weights = reference['weights'] if reference else [_foreground(level, sigmoid).detach() for level in levels]
    values = [_at_places(value, weight) for level in numbers
              for item, weight in zip(level, weights, strict=True) for value in tensors_of(item)]
    logits = torch.cat([level.flatten(2) for level in levels], 2)
    foreground = torch.cat([weight.flatten(1) for weight in weights], 1)
    decisions = logits.shape[1] if sigmoid else 1
    return _outputs(_as_pairs(logits) if sigmoid else logits, values, foreground, decisions, {'weights': weights},
                    reference)


def proposal_outputs(scores: torch.Tensor, boxes: torch.Tensor | None, proposals: Sequence[torch.Tensor],
                     reference: Outputs | None) -> Outputs:
    """Return the outputs of a second stage, which answers for proposals.

    Args:
        scores: ``(sum of P, C + 1)``, of a softmax whose last class is the background, image after image.
        boxes: ``(sum of P, D)``, the other numbers; D = 4 C is a box for each class. None: there are none.
        proposals: Of each image ``(P, 4)``.
        reference: Outputs on the clean images, whose weights are taken then.
    """
    counts, num_classes = [len(found) for found in proposals], scores.shape[1] - 1
    there = _side_by_side(scores.new_ones(len(scores), 1), counts)
    scores = _side_by_side(scores, counts).movedim(2, 1)  # (N, C + 1, proposals)
    weights = reference['weights'] if reference else [there * scores.detach().softmax(1)[:, :-1].movedim(1, 2)]
    own = scores.new_tensor(counts)[:, None]
    aside = {'weights': weights, 'proposals': proposals, 'logits_shares': 1 / (own * scores.shape[1])[..., None]}
    values = []
    if boxes is not None:
        boxes = _side_by_side(boxes, counts)  # (N, proposals, numbers)
        aside['regression_shares'] = 1 / (own * boxes.shape[2])
        each = boxes.shape[2] == 4 * num_classes  # a box for each class: weighted by that class
        values = [(boxes.unflatten(2, (num_classes, 4)), weights[0][..., None]) if each else
                  (boxes, weights[0].sum(2, keepdim=True))]
    return _outputs(scores, values, weights[0].sum(2), 1, aside, reference)


def _side_by_side(numbers: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    """Turn ``(sum of counts, D)``, image after image, into ``(N, largest count, D)``, filled up with zeros."""
    return nn.utils.rnn.pad_sequence(list(numbers.split(list(counts))), batch_first=True)


def _outputs(logits: torch.Tensor, values: list[tuple[torch.Tensor, torch.Tensor]], foreground: torch.Tensor,
             decisions: int, aside: dict, reference: Outputs | None) -> Outputs:
    """Join the logits with weighted numbers, each ``(N, ...)``, in units of the sizes that the reference has.

    Args:
        logits: ``(N, C, ...)``.
        values: Numbers beside the logits, e.g. of boxes, each ``(N, ...)``, with weights that broadcast to them.
        foreground: ``(N, M)``: the probability of an object at each place, of the clean image.
        decisions: Number of those in the logits that each place makes.
        aside: Further outputs of the clean image; weights of the mean over places are added.
        reference: Outputs on the clean images; None for these themselves.
    """
    sizes: Any = reference['sizes'] if reference else [_size(value.detach(), weight) for value, weight in values]
    outputs = {'logits': logits}
    if values:
        scaled = [value * weight / size for (value, weight), size in zip(values, sizes, strict=True)]
        outputs['regression'] = torch.cat([value.flatten(1) for value in scaled], 1)
    if reference:
        return outputs
    places = foreground.square()
    count = places.sum(1, keepdim=True).clamp_min(SMALL ** 2)
    aside['logits_weights'] = (places / count).repeat(1, decisions)
    if values:
        mass = total(weight.square().expand_as(value).flatten(1).sum(1, keepdim=True) for value, weight in values)
        aside['regression_weights'] = 1 / (mass.clamp_min(SMALL ** 2) * (1 / count).clamp_min(1))
    return {**outputs, **aside, 'sizes': sizes}


def _size(value: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the root mean square of an image's numbers over objects, ``(N, 1, ...)``."""
    places = tuple(range(1, value.dim()))
    weight = weight.expand_as(value)
    return ((weight * value.square()).sum(places, keepdim=True)
            / weight.sum(places, keepdim=True).clamp_min(SMALL)).sqrt().clamp_min(SMALL)


def _as_pairs(logits: torch.Tensor) -> torch.Tensor:
    """Turn ``(N, C, M)`` independent decisions into ``(N, 2, C * M)``: the softmax over a pair is the sigmoid."""
    flat = logits.flatten(1)
    return torch.stack([flat, torch.zeros_like(flat)], 1)


def joint_logits(logits: torch.Tensor, objectness: torch.Tensor) -> torch.Tensor:
    """Return the logit of 'an object, and of this class'."""
    log_p = F.logsigmoid(logits) + F.logsigmoid(objectness)
    return log_p - torch.log1p(-log_p.exp().clamp_max(1 - SMALL))


def _foreground(level: torch.Tensor, sigmoid: bool) -> torch.Tensor:
    """Return the probability of any class, ``(N, A, places)``; a softmax keeps its last class for the background."""
    return level.sigmoid().amax(1) if sigmoid else 1 - level.softmax(1)[:, -1]


def _at_places(value: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``(N, A * D, ...)`` as ``(N, A, D, places)`` with its weight; numbers of other places have weight 1."""
    anchors, places = weight.shape[1:]
    value = value.flatten(2)
    if value.shape[2] != places or value.shape[1] % anchors:
        return value, torch.ones_like(value)
    return value.unflatten(1, (anchors, -1)), weight[:, :, None]


def tensors_of(item: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in a tensor or in nested sequences."""
    if isinstance(item, torch.Tensor):
        yield item
    elif isinstance(item, (list, tuple)):
        for part in item:
            yield from tensors_of(part)
