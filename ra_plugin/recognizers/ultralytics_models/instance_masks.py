"""Masks of objects, to what the loss of a YOLO network takes, and from its answers."""
from typing import Any

import torch
import torch.nn.functional as F

from ra_plugin.recognizers.ultralytics_models.letterbox import Place, place_image

_AT_ONCE = 16_000_000  # pixels of masks that are resized at a time


def mask_targets(masks: torch.Tensor, place: Place, settings: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the masks of an image's objects in the size of the loss, and the order of the objects.

    Args:
        masks: ``(K, H, W)`` bool, of the image.
        place: Place of the image in the input.
        settings: ``mask_ratio``, the input's side divided by the masks'; ``overlap_mask``: one map with the number of
            an object at each pixel, the smallest where several are, and the largest first; else one for each object.
    """
    height, width = (side // settings.mask_ratio for side in place.padded)
    small = masks.new_zeros((len(masks), height, width))
    if len(masks):
        whole = place_image(masks[:, None].float(), place, 0).ge(0.5).float()
        small = F.interpolate(whole, (height, width), mode='bilinear', align_corners=False)[:, 0].ge(0.5)
    if not settings.overlap_mask:
        return small.float(), torch.arange(len(small))
    order = small.flatten(1).sum(1).argsort(descending=True, stable=True)
    numbers = torch.arange(1, len(small) + 1, device=small.device).view(-1, 1, 1) * small[order]
    return (numbers.amax(0, keepdim=True) if len(small) else numbers.new_zeros((1, height, width))).float(), order


def decoded_masks(prototypes: torch.Tensor, coefficients: torch.Tensor, boxes: torch.Tensor, place: Place,
                  ops: Any) -> torch.Tensor:
    """Return masks of objects in the image, ``(K, H, W)`` bool, as the library decodes them in the image's own size.

    Args:
        prototypes: ``(P, h, w)`` of the input.
        coefficients: ``(K, P)``.
        boxes: ``(K, 4)``, xyxy in pixels of the image.
        place: Place of the image in the input.
        ops: Module ``ultralytics.utils.ops``.
    """
    count, height, width = prototypes.shape
    small = (coefficients @ prototypes.view(count, -1)).view(1, -1, height, width)
    masks = small.new_empty((len(coefficients), *place.original), dtype=torch.uint8)
    step = max(1, _AT_ONCE // (place.original[0] * place.original[1] + place.padded[0] * place.padded[1]))
    for start in range(0, len(masks), step):
        part = F.interpolate(small[:, start:start + step], place.padded, mode='bilinear')
        masks[start:start + step] = ops.scale_masks(
            part, place.original, ratio_pad=(place.scale, (place.left, place.top)))[0] > 0
    return ops.crop_mask(masks, boxes).bool()
