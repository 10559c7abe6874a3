"""Heads of torchvision's detectors, and their answers before boxes are picked from them.

`detector_outputs` describes these. Places that lie in the padding of the network's input are left out.
"""
from collections.abc import Sequence
from typing import Any

import torch

from ra_plugin.recognizers.detector_outputs import place_outputs, proposal_outputs
from ra_plugin.recognizers.facts import Outputs

_NUM_PROPOSALS = 512  # as many as the second stage is trained on


def detector_answers(model: Any, inputs: Any, places: Sequence[int], sigmoid: bool,
                     reference: Outputs | None) -> Outputs:
    """Return the outputs of a detector with a dense head or with a second stage.

    Args:
        model: The detector, in inference mode.
        inputs: Its ``ImageList``, of images of one size.
        places: Classes to compare, of a head with one sigmoid for each; those of a softmax belong together.
        sigmoid: The head is such a one.
        reference: Outputs on the clean images.
    """
    features = backbone_features(model, inputs)
    if hasattr(model, 'roi_heads'):
        return _second_stage(model, inputs, features, reference)
    maps = list(features.values())
    anchors = model.anchor_generator.num_anchors_per_location()
    answers = {name: _levels(value, maps, anchors, inputs) for name, value in model.head(maps).items()}
    scores = [level.movedim(2, 1) for level in answers.pop('cls_logits')]  # (N, C, A, places)
    scores = [level[:, list(places)] if sigmoid else _background_last(level, 1) for level in scores]
    numbers = [[level.flatten(1, 2) for level in levels] for levels in answers.values()]
    return place_outputs(scores, numbers, sigmoid, reference)


def backbone_features(model: Any, inputs: Any) -> dict[str, torch.Tensor]:
    """Return the feature maps of a detector's backbone, finest first."""
    features = model.backbone(inputs.tensors)
    return {'0': features} if isinstance(features, torch.Tensor) else features


def within_image(inputs: Any, height: int, width: int) -> tuple[int, int]:
    """Return how many rows and columns of a map of the network's input are not in its padding."""
    rows, columns = (-(-side * cells // whole) for side, cells, whole in zip(
        inputs.image_sizes[0], (height, width), inputs.tensors.shape[-2:], strict=True))
    return rows, columns


def _levels(answers: torch.Tensor, maps: Sequence[torch.Tensor], anchors: Sequence[int],
            inputs: Any) -> list[torch.Tensor]:
    """Return ``(N, all anchors, D)``, anchors innermost, as a list over the levels of ``(N, A, D, places)``."""
    sizes = [(*level.shape[-2:], count) for level, count in zip(maps, anchors, strict=True)]
    found = []
    for level, size in zip(answers.split([h * w * a for h, w, a in sizes], 1), sizes, strict=True):
        rows, columns = within_image(inputs, *size[:2])
        found.append(level.unflatten(1, size)[:, :rows, :columns].movedim((1, 2), (3, 4)).flatten(3))
    return found


def _second_stage(model: Any, inputs: Any, features: dict[str, torch.Tensor], reference: Outputs | None) -> Outputs:
    heads = model.roi_heads
    proposals: Any = reference['proposals'] if reference else _proposals(model, inputs, features)
    regions = heads.box_head(heads.box_roi_pool(features, proposals, inputs.image_sizes))
    scores, boxes = heads.box_predictor(regions)
    return proposal_outputs(_background_last(scores, 1), boxes[:, 4:], proposals, reference)


@torch.no_grad()
def _proposals(model: Any, inputs: Any, features: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Return boxes ``(P, 4)`` of each image, best first; the whole image is one, so that there always is one."""
    found, _ = model.rpn(inputs, features)
    return [torch.cat([boxes.new_tensor([[0, 0, width, height]]), boxes[:_NUM_PROPOSALS - 1]])
            for boxes, (height, width) in zip(found, inputs.image_sizes, strict=True)]


def _background_last(scores: torch.Tensor, dim: int) -> torch.Tensor:
    """Return class scores with the background, which torchvision has first, at the end."""
    return scores.roll(-1, dim)


def count_classes(model: Any) -> int:
    """Return the number of a detector's classes, with the background."""
    if hasattr(model, 'roi_heads'):
        return model.roi_heads.box_predictor.cls_score.out_features
    head = model.head.classification_head
    return head.num_columns if has_softmax(model) else head.num_classes


def has_softmax(model: Any) -> bool:
    """True for SSD, whose head scores all classes and the background together."""
    return not hasattr(model, 'roi_heads') and hasattr(model.head.classification_head, 'num_columns')
