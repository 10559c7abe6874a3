"""Answers of mmdetection's detectors before boxes are picked from them, as `detector_outputs` describes them.

Places that lie in the padding of the model's input are left out.
"""
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ra_plugin.recognizers.detector_outputs import (
    SMALL,
    joint_logits,
    place_outputs,
    proposal_outputs,
    tensors_of,
)
from ra_plugin.recognizers.facts import Outputs
from ra_plugin.recognizers.openmmlab.geometry import within_image
from ra_plugin.utils.optional import require

_NUM_PROPOSALS = 512  # as many as the second stage is usually trained on
_GIVES_PROBABILITIES = ('CenterNetHead', 'TOODHead')  # the sigmoid is in the head
_INSTEAD = 'Use RecogFeatureLoss, which compares features.'


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
        levels = [torch.logit(level, eps=SMALL) for level in levels]
    if type(head).__name__ in ('YOLOXHead', 'YOLOV3Head'):  # trained on the classes of objects alone
        objectness = numbers.pop()
        levels = [joint_logits(level, _anchors_apart(object_level, 1))
                  for level, object_level in zip(levels, objectness, strict=True)]
    sigmoid = getattr(head, 'use_sigmoid_cls', getattr(head.loss_cls, 'use_sigmoid', True))
    return place_outputs(levels, [level for level in numbers if isinstance(level, (list, tuple))], sigmoid, reference)


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
    proposals: Any = reference['proposals'] if reference else _proposals(model, features, samples)
    rois = require('mmdet.structures.bbox', where).bbox2roi(proposals)
    roi_head = model.roi_head
    head: Any = roi_head.bbox_head[-1] if isinstance(roi_head.bbox_head, nn.ModuleList) else roi_head.bbox_head
    if hasattr(roi_head, '_refine_roi'):  # a cascade: its last stage, image by image
        _, scores, boxes = roi_head._refine_roi(features, rois, [sample.metainfo for sample in samples],
                                                tuple(len(found) for found in proposals))
        scores, boxes = torch.cat(list(scores)), [torch.cat(list(tensors_of(item)), 1) for item in boxes]
        boxes = torch.cat(boxes) if boxes else None
    else:
        answers = roi_head._bbox_forward(features, rois)
        scores, boxes = answers['cls_score'], answers['bbox_pred'] if getattr(head, 'with_reg', True) else None
        boxes = None if boxes is None else torch.cat(list(tensors_of(boxes)), 1)
    if scores.shape[1] != head.num_classes + 1:
        raise ValueError(f'{where}: {type(head).__name__} gives {scores.shape[1]} scores for {head.num_classes} '
                         f'classes, which is no softmax over them and the background. {_INSTEAD}')
    return proposal_outputs(scores, boxes, proposals, reference)


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
