"""Outputs of detectors for the unsupervised loss: their answers before boxes are picked from them.

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
`RecogConsistencyLoss` has the formula. Places that lie in the padding of the model's input are left out. Images that
have fewer proposals than others of their batch are filled up with zeros, which have no weight: ``logits_shares`` and
``regression_shares`` are the weight of each number in the mean over an image's own.
"""
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ra_plugin.recognizers.facts import Outputs
from ra_plugin.recognizers.openmmlab.geometry import within_image
from ra_plugin.utils.optional import require
from ra_plugin.utils.tensors import total

_NUM_PROPOSALS = 512  # as many as the second stage is usually trained on
_GIVES_PROBABILITIES = ('CenterNetHead', 'TOODHead')  # the sigmoid is in the head
_INSTEAD = 'Use RecogFeatureLoss, which compares features.'
_SMALL = 1e-6


def detector_outputs(model: Any, inputs: torch.Tensor, samples: list, reference: Outputs | None,
                     where: str) -> Outputs:
    """Return the outputs of any detector with a dense head, queries or a second stage.

    Raises:
        ValueError: A detector of another kind.
    """
    if getattr(model, 'roi_head', None) is not None:
        return _second_stage(model, inputs, samples, reference, where)
    head = getattr(model, 'bbox_head', None)
    if head is None:
        raise ValueError(f'{where}: {type(model).__name__} has no box head whose answers could be compared. '
                         f'{_INSTEAD}')
    if getattr(model, 'as_two_stage', False):
        raise ValueError(f'{where}: {type(model).__name__} selects its queries for each image, so that the answers '
                         f'on two images do not belong together. {_INSTEAD}')
    scores, *numbers = _answers(model, head, inputs, samples)
    if not all(isinstance(level, torch.Tensor) for level in scores):
        raise ValueError(f'{where}: {type(head).__name__} does not give class scores as tensors. {_INSTEAD}')
    num_classes = getattr(head, 'cls_out_channels', None) or head.num_classes
    scores, numbers = _within(scores, inputs, samples), _within(numbers, inputs, samples)
    levels = [_anchors_apart(level, num_classes) for level in scores]  # each (N, C, A, places)
    if type(head).__name__ in _GIVES_PROBABILITIES:
        levels = [torch.logit(level, eps=_SMALL) for level in levels]
    if type(head).__name__ in ('YOLOXHead', 'YOLOV3Head'):  # trained on the classes of objects alone
        objectness = numbers.pop()
        levels = [_joint(level, _anchors_apart(object_level, 1))
                  for level, object_level in zip(levels, objectness, strict=True)]
    sigmoid = getattr(head, 'use_sigmoid_cls', getattr(head.loss_cls, 'use_sigmoid', True))
    weights = reference['weights'] if reference else [_foreground(level, sigmoid).detach() for level in levels]
    values = [_at_places(value, weight) for level in numbers if isinstance(level, (list, tuple))
              for item, weight in zip(level, weights, strict=True) for value in _tensors(item)]
    logits = torch.cat([level.flatten(2) for level in levels], 2)
    foreground = torch.cat([weight.flatten(1) for weight in weights], 1)
    decisions = logits.shape[1] if sigmoid else 1
    return _outputs(_as_pairs(logits) if sigmoid else logits, values, foreground, decisions, {'weights': weights},
                    reference)


def _answers(model: Any, head: Any, inputs: torch.Tensor, samples: list) -> Sequence[Any]:
    """Return the head's answers: class scores, then other numbers, each as a list of levels."""
    if isinstance(model, require('mmdet.models.detectors.base_detr', 'mmdet').DetectionTransformer):
        answers = model._forward(inputs, samples)  # (decoder layers, N, queries, numbers)
        return [[value[-1].movedim(1, 2)] for value in answers if isinstance(value, torch.Tensor)]
    answers = head(model.extract_feat(inputs))
    if type(head).__name__ == 'YOLOV3Head':  # 4 of the box, 1 of objectness, and the classes in one tensor
        parts = [level.unflatten(1, (-1, head.num_attrib)) for level in answers[0]]
        return [[part[:, :, columns].flatten(1, 2) for part in parts]
                for columns in (slice(5, None), slice(4), slice(4, 5))]
    return answers


def _second_stage(model: Any, inputs: torch.Tensor, samples: list, reference: Outputs | None,
                  where: str) -> Outputs:
    features = model.extract_feat(inputs)
    proposals = reference['proposals'] if reference else _proposals(model, features, samples)
    rois = require('mmdet.structures.bbox', where).bbox2roi(proposals)
    roi_head, counts = model.roi_head, [len(found) for found in proposals]
    head: Any = roi_head.bbox_head[-1] if isinstance(roi_head.bbox_head, nn.ModuleList) else roi_head.bbox_head
    if hasattr(roi_head, '_refine_roi'):  # a cascade: its last stage, image by image
        _, scores, boxes = roi_head._refine_roi(features, rois, [sample.metainfo for sample in samples],
                                                tuple(counts))
        scores, boxes = torch.cat(list(scores)), [torch.cat(list(_tensors(item)), 1) for item in boxes]
        boxes = torch.cat(boxes) if boxes else None
    else:
        answers = roi_head._bbox_forward(features, rois)
        scores, boxes = answers['cls_score'], answers['bbox_pred'] if getattr(head, 'with_reg', True) else None
        boxes = None if boxes is None else torch.cat(list(_tensors(boxes)), 1)
    if scores.shape[1] != head.num_classes + 1:
        raise ValueError(f'{where}: {type(head).__name__} gives {scores.shape[1]} scores for {head.num_classes} '
                         f'classes, which is no softmax over them and the background. {_INSTEAD}')
    there = _side_by_side(scores.new_ones(len(scores), 1), counts)
    scores = _side_by_side(scores, counts).movedim(2, 1)  # (N, C + 1, proposals)
    weights = reference['weights'] if reference else [there * scores.detach().softmax(1)[:, :-1].movedim(1, 2)]
    own = scores.new_tensor(counts)[:, None]
    aside = {'weights': weights, 'proposals': proposals, 'logits_shares': 1 / (own * scores.shape[1])[..., None]}
    values = []
    if boxes is not None:
        boxes = _side_by_side(boxes, counts)  # (N, proposals, numbers)
        aside['regression_shares'] = 1 / (own * boxes.shape[2])
        each = boxes.shape[2] == 4 * head.num_classes  # a box for each class: weighted by that class
        values = [(boxes.unflatten(2, (head.num_classes, 4)), weights[0][..., None]) if each else
                  (boxes, weights[0].sum(2, keepdim=True))]
    return _outputs(scores, values, weights[0].sum(2), 1, aside, reference)


def _side_by_side(numbers: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    """Turn ``(sum of counts, D)``, image after image, into ``(N, largest count, D)``, filled up with zeros."""
    return nn.utils.rnn.pad_sequence(list(numbers.split(list(counts))), batch_first=True)


@torch.no_grad()
def _proposals(model: Any, features: Sequence[torch.Tensor], samples: list) -> list[torch.Tensor]:
    """Return boxes ``(P, 4)`` of each image, best first; the whole image is one, so that there always is one."""
    found = model.rpn_head.predict(features, samples, rescale=False)
    boxes = []
    for result, sample in zip(found, samples, strict=True):
        height, width = sample.img_shape
        whole = result.bboxes.new_tensor([[0, 0, width, height]])
        boxes.append(torch.cat([whole, result.bboxes[:_NUM_PROPOSALS - 1]]))
    return boxes


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
    count = places.sum(1, keepdim=True).clamp_min(_SMALL ** 2)
    aside['logits_weights'] = (places / count).repeat(1, decisions)
    if values:
        mass = total(weight.square().expand_as(value).flatten(1).sum(1, keepdim=True) for value, weight in values)
        aside['regression_weights'] = 1 / (mass.clamp_min(_SMALL ** 2) * (1 / count).clamp_min(1))
    return {**outputs, **aside, 'sizes': sizes}


def _size(value: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the root mean square of an image's numbers over objects, ``(N, 1, ...)``."""
    places = tuple(range(1, value.dim()))
    weight = weight.expand_as(value)
    return ((weight * value.square()).sum(places, keepdim=True)
            / weight.sum(places, keepdim=True).clamp_min(_SMALL)).sqrt().clamp_min(_SMALL)


def _within(answers: Any, inputs: torch.Tensor, samples: list) -> Any:
    """Crop maps ``(N, D, h, w)`` to the cells that are not in the padding of the model's input; leave others unchanged.
    """
    if isinstance(answers, (list, tuple)):
        return [_within(item, inputs, samples) for item in answers]
    if not isinstance(answers, torch.Tensor) or answers.dim() != 4:
        return answers
    return within_image(answers, inputs.shape[-2:], samples[0])


def _anchors_apart(level: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Turn ``(N, A * C, ...)``, anchors outermost, into ``(N, C, A, places)``."""
    return level.flatten(2).unflatten(1, (-1, num_classes)).movedim(1, 2)


def _as_pairs(logits: torch.Tensor) -> torch.Tensor:
    """Turn ``(N, C, M)`` independent decisions into ``(N, 2, C * M)``: the softmax over a pair is the sigmoid."""
    flat = logits.flatten(1)
    return torch.stack([flat, torch.zeros_like(flat)], 1)


def _joint(logits: torch.Tensor, objectness: torch.Tensor) -> torch.Tensor:
    """Return the logit of 'an object, and of this class'."""
    log_p = F.logsigmoid(logits) + F.logsigmoid(objectness)
    return log_p - torch.log1p(-log_p.exp().clamp_max(1 - _SMALL))


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


def _tensors(item: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in a tensor or in nested sequences."""
    if isinstance(item, torch.Tensor):
        yield item
    elif isinstance(item, (list, tuple)):
        for part in item:
            yield from _tensors(part)
