"""What unsupervised recognition-aware training compares of a detector: its answers before boxes are picked from them.

Every family of heads gives class scores first. Here they become two tensors:

* ``logits``: ``(N, C, M)``, classes in dimension 1, over the M places (anchors, points, queries, proposals). Heads that
  decide on each class apart by a sigmoid of z count as M decisions between two classes with the logits (z, 0).
* ``regression``: ``(N, V)``, all other numbers (boxes, centerness, ...), each scaled by how much the clean image has
  there of any object: what a detector says of the size of background is noise.

The second stage of a two-stage detector answers for proposals. Both images are asked for those of the clean one: the
keys ``proposals`` and ``foreground`` of its outputs carry them, and are not compared themselves.
"""
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ra_plugin.recognizers.base import Outputs
from ra_plugin.utils.optional import require

_NUM_PROPOSALS = 512  # as many as the second stage is usually trained on
_GIVES_PROBABILITIES = ('CenterNetHead', 'CenterNetUpdateHead')  # the sigmoid is in the head


def detector_outputs(model: nn.Module, inputs: torch.Tensor, samples: list, reference: Outputs | None,
                     where: str) -> Outputs:
    """The outputs of any detector with a dense head, queries or a second stage.

    Raises:
        ValueError: A detector of another kind.
    """
    if getattr(model, 'roi_head', None) is not None:
        return _second_stage(model, inputs, samples, reference, where)
    head = getattr(model, 'bbox_head', None)
    if head is None:
        raise ValueError(f'{where}: {type(model).__name__} has no box head whose answers could be compared. Use '
                         'RecogFeatureLoss, which compares its features.')
    answers = model._forward(inputs, samples)
    if type(head).__name__ == 'YOLOV3Head':
        answers = _split_yolov3(head, answers[0])
    scores, *numbers = answers
    if isinstance(scores, torch.Tensor):  # queries: (decoder layers, N, queries, classes)
        scores, numbers = scores[-1], [value[-1] for value in numbers if isinstance(value, torch.Tensor)]
        scores, numbers = [scores.movedim(1, 2)], [[value.movedim(1, 2)] for value in numbers]
    if not all(isinstance(level, torch.Tensor) for level in scores):
        raise ValueError(f'{where}: {type(head).__name__} does not give class scores as tensors. Use RecogFeatureLoss, '
                         'which compares features.')
    num_classes = getattr(head, 'cls_out_channels', None) or head.num_classes
    levels = [_anchors_last(level, num_classes) for level in scores]  # each (N, C, A, places)
    if type(head).__name__ in _GIVES_PROBABILITIES:
        levels = [torch.logit(level, eps=1e-6) for level in levels]
    sigmoid = getattr(head, 'use_sigmoid_cls', getattr(head.loss_cls, 'use_sigmoid', True))
    foreground = [_foreground(level, sigmoid).detach() for level in levels]  # each (N, A, places)
    if reference is not None:
        foreground = reference['foreground']
    regression = [_weighted(value, weight) for level in numbers if isinstance(level, (list, tuple))
                  for value, weight in zip(level, foreground) if isinstance(value, torch.Tensor)]
    logits = torch.cat([level.flatten(2) for level in levels], 2)
    return _outputs(_as_pairs(logits) if sigmoid else logits, regression, {'foreground': foreground}, reference)


def _second_stage(model: nn.Module, inputs: torch.Tensor, samples: list, reference: Outputs | None,
                  where: str) -> Outputs:
    instances = require('mmengine.structures', 'mmdet').InstanceData
    features = model.extract_feat(inputs)
    proposals = reference['proposals'] if reference is not None else _proposals(model, features, samples)
    answers = model.roi_head.forward(features, [instances(bboxes=boxes) for boxes in proposals], samples)
    scores, boxes = (value[-1] if isinstance(value, (list, tuple)) else value for value in answers[:2])
    if isinstance(scores, (list, tuple)):  # a cascade: of its last stage, image by image
        scores = torch.cat(list(scores))
    if isinstance(boxes, (list, tuple)):
        boxes = torch.cat(list(boxes))
    head = model.roi_head.bbox_head
    head = head[-1] if isinstance(head, nn.ModuleList) else head
    if scores.shape[1] != head.num_classes + 1:
        raise ValueError(f'{where}: {type(head).__name__} gives {scores.shape[1]} scores for {head.num_classes} '
                         'classes, which is no softmax over them and the background. Use RecogFeatureLoss, which '
                         'compares features.')
    count = len(proposals)
    scores = scores.view(count, -1, scores.shape[1]).movedim(2, 1)  # (N, C + 1, proposals)
    foreground = 1 - scores.detach().softmax(1)[:, -1] if reference is None else reference['foreground']
    regression = [] if boxes is None else [boxes.view(count, foreground.shape[1], -1) * foreground[..., None]]
    return _outputs(scores, regression, {'foreground': foreground, 'proposals': proposals}, reference)


@torch.no_grad()
def _proposals(model: nn.Module, features: Sequence[torch.Tensor], samples: list) -> list[torch.Tensor]:
    """Boxes ``(P, 4)`` of each image, equally many, best first; the whole image is one, so that there always is one."""
    found = model.rpn_head.predict(features, samples, rescale=False)
    count = min(min(len(result) for result in found), _NUM_PROPOSALS - 1)
    boxes = []
    for result, sample in zip(found, samples):
        height, width = sample.img_shape
        whole = result.bboxes.new_tensor([[0, 0, width, height]])
        boxes.append(torch.cat([whole, result.bboxes[:count]]))
    return boxes


def _outputs(logits: torch.Tensor, regression: list[torch.Tensor], aside: dict, reference: Outputs | None) -> Outputs:
    outputs = {'logits': logits}
    if regression:
        outputs['regression'] = torch.cat([value.flatten(1) for value in regression], 1)
    return outputs if reference is not None else {**outputs, **aside}


def _anchors_last(level: torch.Tensor, num_classes: int) -> torch.Tensor:
    """``(N, A * C, ...)``, anchors outermost, to ``(N, C, A, places)``."""
    return level.flatten(2).unflatten(1, (-1, num_classes)).movedim(1, 2)


def _as_pairs(logits: torch.Tensor) -> torch.Tensor:
    """``(N, C, M)`` of independent decisions to ``(N, 2, C * M)``: the softmax over a pair is the sigmoid."""
    flat = logits.flatten(1)
    return torch.stack([flat, torch.zeros_like(flat)], 1)


def _foreground(level: torch.Tensor, sigmoid: bool) -> torch.Tensor:
    """Probability of any class, ``(N, A, places)``; a softmax keeps its last class for the background."""
    return level.sigmoid().amax(1) if sigmoid else 1 - level.softmax(1)[:, -1]


def _weighted(value: torch.Tensor, foreground: torch.Tensor) -> torch.Tensor:
    """``(N, A * D, places...)`` scaled by ``(N, A, places)``; numbers of other places are left as they are."""
    anchors, places = foreground.shape[1:]
    value = value.flatten(2)
    if value.shape[2] != places or value.shape[1] % anchors:
        return value
    return value.unflatten(1, (anchors, -1)) * foreground[:, :, None]


def _split_yolov3(head: Any, maps: Sequence[torch.Tensor]) -> tuple[list, list]:
    """Class scores and the rest (4 of the box, 1 of objectness) of YOLOv3, which has them in one tensor."""
    parts = [level.unflatten(1, (-1, head.num_attrib)) for level in maps]
    return ([part[:, :, 5:].flatten(1, 2) for part in parts], [part[:, :, :5].flatten(1, 2) for part in parts])
