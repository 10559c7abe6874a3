"""Replacement for the compiled module ``mmcv._ext`` of mmcv 2.1: the operators that mmdet and mmseg use, on any device.

``mmcv.ops`` calls them within its own autograd functions, with most arguments by name. Names and arguments are
therefore mmcv's: an operator fills output tensors that it receives, and its gradient is another operator. Operators
that torchvision has are delegated to it; the rest is plain torch. Arguments that only mmcv's kernels need are ignored.
"""
import functools
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
import torchvision.ops  # noqa: F401  (registers torch.ops.torchvision)
from torch import Tensor

# Submodules of mmcv.ops without any operator here: their layers can be built, but not used. mmdet and mmseg have no
# such layer.
missing_modules = frozenset(f'mmcv.ops.{name}' for name in (
    'active_rotated_filter', 'assign_score_withk', 'ball_query', 'bbox', 'bezier_align', 'bias_act', 'border_align',
    'box_iou_quadri', 'box_iou_rotated', 'chamfer_distance', 'contour_expand', 'convex_iou', 'correlation',
    'diff_iou_rotated', 'filtered_lrelu', 'furthest_point_sample', 'fused_bias_leakyrelu', 'gather_points',
    'group_points', 'iou3d', 'knn', 'min_area_polygons', 'pixel_group', 'points_in_boxes', 'points_in_polygons',
    'prroi_pool', 'riroi_align_rotated', 'roi_align_rotated', 'roiaware_pool3d', 'roipoint_pool3d',
    'rotated_feature_align', 'scatter_points', 'sparse_ops', 'sync_bn', 'three_interpolate', 'three_nn', 'tin_shift',
    'upfirdn2d', 'voxelize'))


def __getattr__(name: str) -> Callable:
    """Return a stand-in, which raises when called, for an operator that ``mmcv.ops`` looks up on import."""
    if name.startswith('__'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

    def missing(*args, **kwargs):
        raise ImportError(f'mmcv.ops: the operator {name} needs the compiled package mmcv instead of mmcv-lite. '
                          'Replace it with: pip uninstall mmcv-lite; pip install "mmcv>=2.1.0,<2.2"')

    return missing


def get_compiler_version() -> str:
    return 'none (operators of torchvision and torch)'


get_compiling_cuda_version = get_compiler_version


def _floats(first: Tensor, *others: Tensor) -> list[Tensor]:
    """Return contiguous tensors of the first one's dtype; float32 for 16 bits, as torchvision has no bfloat16."""
    dtype = torch.promote_types(first.dtype, torch.float32)
    return [tensor.to(dtype).contiguous() for tensor in (first, *others)]


def _gradients(function: Callable, inputs: Sequence[Tensor], grad_output: Tensor) -> tuple[Tensor, ...]:
    """Return the gradients of ``function(*inputs)`` with respect to the inputs."""
    with torch.enable_grad():
        inputs = [tensor.detach().requires_grad_() for tensor in inputs]
        return torch.autograd.grad(function(*inputs), inputs, grad_output)


# Non-maximum suppression

def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Return the indices of the boxes that are kept, best first."""
    boxes, scores = _floats(boxes, scores)
    if offset:  # sides are x2 - x1 + 1: the same as adding 1 to x2 and y2
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    return torch.ops.torchvision.nms(boxes, scores, iou_threshold)


def softnms(boxes: Tensor, scores: Tensor, dets: Tensor, iou_threshold: float, sigma: float, min_score: float,
            method: int, offset: int) -> Tensor:
    """Return the indices of the boxes that are kept, best first; write ``(x1, y1, x2, y2, score)`` to ``dets``.

    The effect of a kept box on the scores of the others depends on ``method``: 0 drops those with at least the
    threshold's overlap, 1 lowers them linearly, 2 lowers all by a Gaussian of the overlap.
    """
    indices = torch.arange(len(boxes), device=boxes.device)
    keep = []
    while len(indices):
        best = int(scores.argmax())
        dets[len(keep), :4], dets[len(keep), 4] = boxes[best], scores[best]
        keep.append(int(indices[best]))
        overlap = _overlap(boxes[best], boxes, offset)
        if method == 2:
            factor = torch.exp(-overlap * overlap / sigma)
        else:
            lowered = 1 - overlap if method == 1 else torch.zeros_like(overlap)
            factor = torch.where(overlap >= iou_threshold, lowered, 1)
        scores = scores * factor
        left = scores >= min_score
        left[best] = False
        boxes, scores, indices = boxes[left], scores[left], indices[left]
    return torch.tensor(keep, dtype=torch.long, device=boxes.device)


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Return, for each box that is kept, its index and those of the boxes that it suppressed, best first."""
    left = dets[:, 4].sort(descending=True).indices
    groups = []
    while len(left):
        best, left = left[0], left[1:]
        close = _overlap(dets[best, :4], dets[left, :4], 0) >= iou_threshold
        groups.append([int(best), *left[close].tolist()])
        left = left[~close]
    return groups


def _overlap(box: Tensor, boxes: Tensor, offset: int) -> Tensor:
    """Return the intersection over union of one box ``(4,)`` with ``(K, 4)`` others; sides are ``x2 - x1 + offset``."""

    def area(corners: Tensor) -> Tensor:
        return (corners[..., 2] - corners[..., 0] + offset) * (corners[..., 3] - corners[..., 1] + offset)

    sides = (torch.minimum(box[2:], boxes[:, 2:]) - torch.maximum(box[:2], boxes[:, :2]) + offset).clamp(min=0)
    common = sides[:, 0] * sides[:, 1]
    return common / (area(box) + area(boxes) - common)


# Pooling of regions; rois are (image, x1, y1, x2, y2)

def roi_align_forward(input: Tensor, rois: Tensor, output: Tensor, argmax_y: Tensor, argmax_x: Tensor,
                      aligned_height: int, aligned_width: int, spatial_scale: float, sampling_ratio: int,
                      pool_mode: int, aligned: bool) -> None:
    """Write the mean (``pool_mode`` 1) or maximum (0) of sample points per bin; the argmax tensors get its position."""
    images, rois = _floats(input, rois)
    if pool_mode == 1:
        output.copy_(torch.ops.torchvision.roi_align(images, rois, spatial_scale, aligned_height, aligned_width,
                                                     sampling_ratio, aligned))
        return
    for i, roi in enumerate(rois):
        y, x = _points(roi, aligned_height, aligned_width, spatial_scale, sampling_ratio, aligned)
        if not y.numel():  # a region without area has these values in mmcv
            output[i], argmax_y[i], argmax_x[i] = -10000, -1, -1
            continue
        output[i], best = _read(images[int(roi[0])], y, x).max(-1)
        argmax_y[i], argmax_x[i] = (torch.take_along_dim(axis[None], best[..., None], -1)[..., 0] for axis in (y, x))


def roi_align_backward(grad_output: Tensor, rois: Tensor, argmax_y: Tensor, argmax_x: Tensor, grad_input: Tensor,
                       aligned_height: int, aligned_width: int, spatial_scale: float, sampling_ratio: int,
                       pool_mode: int, aligned: bool) -> None:
    grad_output, rois, y, x = _floats(grad_output, rois, argmax_y, argmax_x)
    shape = grad_input.shape
    if pool_mode == 1:
        grad_input.copy_(torch.ops.torchvision._roi_align_backward(
            grad_output, rois, spatial_scale, aligned_height, aligned_width, *shape, sampling_ratio, aligned))
        return
    gradient = grad_output.new_zeros(shape).flatten()
    first = _first_pixel(rois, shape)
    for pixel, weight in _corners(y, x, *shape[2:]):
        gradient.index_add_(0, (first + pixel).flatten(), (grad_output * weight * (y != -1)).flatten())
    grad_input.copy_(gradient.view(shape))


def roi_pool_forward(input: Tensor, rois: Tensor, output: Tensor, argmax: Tensor, pooled_height: int,
                     pooled_width: int, spatial_scale: float) -> None:
    """Write the maximum over the pixels of each bin, 0 for an empty one; ``argmax`` gets its pixel, -1 for none.

    torchvision's ``roi_pool`` differs: it rounds the corners of a region.
    """
    images, rois = _floats(input, rois)
    for i, roi in enumerate(rois):
        (x1, y1), (x2, y2) = roi[1:3] * spatial_scale, (roi[3:] + 1) * spatial_scale
        rows = _pixels_of_bins(y1, y2, pooled_height, input.size(2))
        columns = _pixels_of_bins(x1, x2, pooled_width, input.size(3))
        image = images[int(roi[0])]
        value, column = image[:, :, None].where(columns, -torch.inf).max(-1)  # (C, H, pooled_width)
        value, row = value[:, None].where(rows[..., None], -torch.inf).max(2)  # (C, pooled_height, pooled_width)
        empty = value == -torch.inf
        output[i] = value.masked_fill(empty, 0)
        argmax[i] = (row * input.size(3) + column.gather(1, row)).masked_fill(empty, -1)


def roi_pool_backward(grad_output: Tensor, rois: Tensor, argmax: Tensor, grad_input: Tensor, pooled_height: int,
                      pooled_width: int, spatial_scale: float) -> None:
    grad_output, rois = _floats(grad_output, rois)
    gradient = grad_output.new_zeros(grad_input.shape)
    pixel = _first_pixel(rois, grad_input.shape) + argmax.long().clamp(min=0)
    gradient.view(-1).index_add_(0, pixel.flatten(), (grad_output * (argmax >= 0)).flatten())
    grad_input.copy_(gradient)


def deform_roi_pool_forward(input: Tensor, rois: Tensor, offset: Tensor, output: Tensor, pooled_height: int,
                            pooled_width: int, spatial_scale: float, sampling_ratio: int, gamma: float) -> None:
    """Write the mean of sample points per bin; ``offset`` (empty, or ``(K, 2, height, width)``, x first) moves them."""
    input, offset, rois = _floats(input, offset, rois)
    output.copy_(_deform_roi_pool(input, offset, rois, pooled_height, pooled_width, spatial_scale, sampling_ratio,
                                  gamma))


def deform_roi_pool_backward(grad_output: Tensor, input: Tensor, rois: Tensor, offset: Tensor, grad_input: Tensor,
                             grad_offset: Tensor, pooled_height: int, pooled_width: int, spatial_scale: float,
                             sampling_ratio: int, gamma: float) -> None:
    """Write the gradient of the forward pass; mmcv's kernel differs from it within one pixel around the map."""
    if not len(rois):
        return
    grad_output, input, offset, rois = _floats(grad_output, input, offset, rois)

    def pooled(input: Tensor, offset: Tensor = offset) -> Tensor:
        return _deform_roi_pool(input, offset, rois, pooled_height, pooled_width, spatial_scale, sampling_ratio, gamma)

    if not offset.numel():
        gradient, = _gradients(pooled, [input], grad_output)
    else:
        gradient, moved = _gradients(pooled, [input, offset], grad_output)
        grad_offset.copy_(moved)
    grad_input.copy_(gradient)


def _deform_roi_pool(input: Tensor, offset: Tensor, rois: Tensor, pooled_height: int, pooled_width: int,
                     spatial_scale: float, sampling_ratio: int, gamma: float) -> Tensor:
    pooled = [input.new_zeros(0, input.size(1), pooled_height, pooled_width)]
    images = input.unbind()  # indexing input[i] per region would make a gradient as large as the batch for each
    for i, roi in enumerate(rois):
        y, x = _points(roi, pooled_height, pooled_width, spatial_scale, sampling_ratio, aligned=True)
        if offset.numel():
            width, height = (roi[3:] - roi[1:3]) * spatial_scale
            x, y = x + gamma * width * offset[i, 0, ..., None], y + gamma * height * offset[i, 1, ..., None]
        pooled.append(_read(images[int(roi[0])], y, x).sum(-1)[None] / max(y.size(-1), 1))
    return torch.cat(pooled)


def _points(roi: Tensor, pooled_height: int, pooled_width: int, spatial_scale: float, sampling_ratio: int,
            aligned: bool) -> tuple[Tensor, Tensor]:
    """Return y and x of a region's sample points in pixels: ``(pooled_height, pooled_width, points per bin)``."""
    x1, y1, x2, y2 = roi[1:] * spatial_scale - (0.5 if aligned else 0)
    height, width = y2 - y1, x2 - x1
    if not aligned:
        height, width = height.clamp(min=1), width.clamp(min=1)
    y = _points_of_bins(y1, height, pooled_height, sampling_ratio)
    x = _points_of_bins(x1, width, pooled_width, sampling_ratio)
    shape = (pooled_height, pooled_width, y.size(1), x.size(1))
    return y[:, None, :, None].expand(shape).flatten(2), x[None, :, None, :].expand(shape).flatten(2)


def _points_of_bins(start: Tensor, length: Tensor, bins: int, sampling_ratio: int) -> Tensor:
    """Return the centers ``(bins, parts)`` of ``sampling_ratio`` equal parts per bin (0: parts of about a pixel)."""
    size = length / bins
    parts = sampling_ratio if sampling_ratio > 0 else max(int(size.ceil()), 0)
    number = torch.arange(max(bins, parts), device=start.device, dtype=start.dtype)
    return start + number[:bins, None] * size + (number[:parts] + 0.5) * size / parts


def _pixels_of_bins(start: Tensor, end: Tensor, bins: int, size: int) -> Tensor:
    """Return a mask ``(bins, size)`` of the pixels that each bin between ``start`` and ``end`` touches."""
    number = torch.arange(bins, device=start.device, dtype=start.dtype)[:, None]
    pixel = torch.arange(size, device=start.device)
    step = (end - start) / bins
    return (pixel >= (number * step + start).floor()) & (pixel < ((number + 1) * step + start).ceil()) & (step > 0)


def _corners(y: Tensor, x: Tensor, height: int, width: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield flat index and bilinear interpolation weight of the four pixels around each point.

    Points up to one pixel outside the map have the value of its border, points further outside have weight 0.
    """
    inside = (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    top, left = y.long(), x.long()
    bottom, right = (top + 1).clamp(max=height - 1), (left + 1).clamp(max=width - 1)
    down, across = y - top, x - left
    for row, vertical in ((top, 1 - down), (bottom, down)):
        for column, horizontal in ((left, 1 - across), (right, across)):
            yield row * width + column, vertical * horizontal * inside


def _read(image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Return an image ``(C, H, W)`` interpolated at points of any shape, as ``(C, *shape)``."""
    numbers, weights = map(torch.stack, zip(*_corners(y, x, *image.shape[1:]), strict=True))
    return (image.flatten(1)[:, numbers] * weights).sum(1)


def _first_pixel(rois: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the flat index in the batch of the first pixel of each region's image and channel, ``(K, C, 1, 1)``."""
    _, channels, height, width = shape
    channel = torch.arange(channels, device=rois.device)
    return ((rois[:, :1].long() * channels + channel) * (height * width))[..., None, None]


# Deformable convolution

def deform_conv_forward(input: Tensor, weight: Tensor, offset: Tensor, output: Tensor, columns: Tensor, ones: Tensor,
                        kW: int, kH: int, dW: int, dH: int, padW: int, padH: int, dilationW: int, dilationH: int,
                        group: int, deformable_group: int, im2col_step: int) -> None:
    tensors = _floats(input, weight, offset, *_no_mask_and_bias(input, weight))
    output.copy_(torch.ops.torchvision.deform_conv2d(
        *tensors, dH, dW, padH, padW, dilationH, dilationW, group, deformable_group, False))


def deform_conv_backward_input(input: Tensor, offset: Tensor, gradOutput: Tensor, gradInput: Tensor,
                               gradOffset: Tensor, weight: Tensor, columns: Tensor, kW: int, kH: int, dW: int, dH: int,
                               padW: int, padH: int, dilationW: int, dilationH: int, group: int, deformable_group: int,
                               im2col_step: int) -> None:
    tensors = _floats(gradOutput, input, weight, offset, *_no_mask_and_bias(input, weight))
    gradients = torch.ops.torchvision._deform_conv2d_backward(
        *tensors, dH, dW, padH, padW, dilationH, dilationW, group, deformable_group, False)
    gradInput.copy_(gradients[0])
    gradOffset.copy_(gradients[2])


def deform_conv_backward_parameters(input: Tensor, offset: Tensor, gradOutput: Tensor, gradWeight: Tensor,
                                    columns: Tensor, ones: Tensor, kW: int, kH: int, dW: int, dH: int, padW: int,
                                    padH: int, dilationW: int, dilationH: int, group: int, deformable_group: int,
                                    scale: float, im2col_step: int) -> None:
    # the weight's values do not matter for its own gradient, and mmcv does not pass them
    tensors = _floats(gradOutput, input, gradWeight, offset, *_no_mask_and_bias(input, gradWeight))
    gradients = torch.ops.torchvision._deform_conv2d_backward(
        *tensors, dH, dW, padH, padW, dilationH, dilationW, group, deformable_group, False)
    gradWeight.add_(gradients[1], alpha=scale)


def _no_mask_and_bias(input: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return torchvision's placeholder for no mask, with one row per image, and a zero bias."""
    return input.new_zeros(len(input), 1), input.new_zeros(len(weight))


def modulated_deform_conv_forward(input: Tensor, weight: Tensor, bias: Tensor, ones: Tensor, offset: Tensor,
                                  mask: Tensor, output: Tensor, columns: Tensor, kernel_h: int, kernel_w: int,
                                  stride_h: int, stride_w: int, pad_h: int, pad_w: int, dilation_h: int,
                                  dilation_w: int, group: int, deformable_group: int, with_bias: bool) -> None:
    tensors = _floats(input, weight, offset, mask, bias if with_bias else input.new_zeros(len(weight)))
    output.copy_(torch.ops.torchvision.deform_conv2d(
        *tensors, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group, True))


def modulated_deform_conv_backward(input: Tensor, weight: Tensor, bias: Tensor, ones: Tensor, offset: Tensor,
                                   mask: Tensor, columns: Tensor, grad_input: Tensor, grad_weight: Tensor,
                                   grad_bias: Tensor, grad_offset: Tensor, grad_mask: Tensor, grad_output: Tensor,
                                   kernel_h: int, kernel_w: int, stride_h: int, stride_w: int, pad_h: int, pad_w: int,
                                   dilation_h: int, dilation_w: int, group: int, deformable_group: int,
                                   with_bias: bool) -> None:
    tensors = _floats(grad_output, input, weight, offset, mask, bias if with_bias else input.new_zeros(len(weight)))
    gradients = torch.ops.torchvision._deform_conv2d_backward(
        *tensors, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group, True)
    results = [grad_input, grad_weight, grad_offset, grad_mask, *([grad_bias] if with_bias else [])]
    for result, gradient in zip(results, gradients, strict=False):  # that of the bias is the last one
        result.copy_(gradient)


# Focal losses (Lin et al., arXiv:1708.02002), without reduction. A target after the last class is background.

def sigmoid_focal_loss_forward(input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float,
                               alpha: float) -> None:
    p, log_p, log_not_p, positive = _binary_terms(input, target)
    loss = torch.where(positive, -alpha * (1 - p)**gamma * log_p, (alpha - 1) * p**gamma * log_not_p)
    output.copy_(loss * _class_weight(weight, target)[:, None])


def sigmoid_focal_loss_backward(input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float,
                                alpha: float) -> None:
    p, log_p, log_not_p, positive = _binary_terms(input, target)
    gradient = torch.where(positive, -alpha * (1 - p)**gamma * (1 - p - gamma * p * log_p),
                           (alpha - 1) * p**gamma * (gamma * (1 - p) * log_not_p - p))
    grad_input.copy_(gradient * _class_weight(weight, target)[:, None])


def softmax_focal_loss_forward(input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float,
                               alpha: float) -> None:
    """Write the loss of probabilities ``input``; 0 for negative targets."""
    p = input.gather(1, target.clamp(min=0)[:, None])[:, 0]
    loss = -alpha * (1 - p)**gamma * _log(p) * _class_weight(weight, target)
    output.copy_(loss.where(target >= 0, 0))


def softmax_focal_loss_backward(input: Tensor, target: Tensor, weight: Tensor, buff: Tensor, grad_input: Tensor,
                                gamma: float, alpha: float) -> None:
    """Write the gradient of the loss with respect to the logits behind the probabilities ``input``."""
    p = input.gather(1, target.clamp(min=0)[:, None])[:, 0]
    slope = alpha * (gamma * (1 - p)**(gamma - 1) * p * _log(p) - (1 - p)**gamma) * _class_weight(weight, target)
    is_target = target[:, None] == torch.arange(input.size(1), device=input.device)
    grad_input.copy_((slope[:, None] * (is_target.to(input) - input)).where(target[:, None] >= 0, 0))


def _binary_terms(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    p = input.sigmoid()
    return p, _log(p), _log(1 - p), target[:, None] == torch.arange(input.size(1), device=input.device)


def _log(p: Tensor) -> Tensor:
    return p.clamp(min=torch.finfo(torch.float32).tiny).log()


def _class_weight(weight: Tensor, target: Tensor) -> Tensor:
    """Return the weight of each target's class, ``(N,)``; 1 for background, and without weights."""
    if not weight.numel():
        return weight.new_ones(len(target))
    return torch.cat([weight, weight.new_ones(1)])[target.clamp(0, len(weight))]


# Attention and upsampling

def ms_deform_attn_forward(value: Tensor, value_spatial_shapes: Tensor, value_level_start_index: Tensor,
                           sampling_locations: Tensor, attention_weights: Tensor, im2col_step: int) -> Tensor:
    """Return multi-scale deformable attention, computed by mmcv's own CPU implementation."""
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch  # imports this module
    return multi_scale_deformable_attn_pytorch(value, value_spatial_shapes, sampling_locations, attention_weights)


def ms_deform_attn_backward(value: Tensor, value_spatial_shapes: Tensor, value_level_start_index: Tensor,
                            sampling_locations: Tensor, attention_weights: Tensor, grad_output: Tensor,
                            grad_value: Tensor, grad_sampling_loc: Tensor, grad_attn_weight: Tensor,
                            im2col_step: int) -> None:
    def attention(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        return ms_deform_attn_forward(value, value_spatial_shapes, value_level_start_index, locations, weights,
                                      im2col_step)

    gradients = _gradients(attention, [value, sampling_locations, attention_weights], grad_output)
    for result, gradient in zip((grad_value, grad_sampling_loc, grad_attn_weight), gradients, strict=True):
        result.copy_(gradient)


def psamask_forward(input: Tensor, output: Tensor, psa_type: int, num_: int, **sizes: int) -> None:
    """Convert attention to positions relative to each pixel into attention to positions of the map (PSANet).

    Shape:
        input: ``(N, relative positions, H, W)``.
        output: ``(N, H * W, H, W)``. The last two dimensions are the pixel for ``psa_type`` 0 (collect), and the
        position for 1 (distribute). ``sizes`` are ``h_feature, w_feature, h_mask, w_mask, half_h_mask, half_w_mask``.
    """
    channel, exists = _psa_channels(device=input.device, **sizes)
    attention = input.flatten(2).gather(1, channel.expand(len(input), -1, -1)).where(exists, 0)
    output.copy_((attention.mT if psa_type == 1 else attention).reshape(output.shape))


def psamask_backward(grad_output: Tensor, grad_input: Tensor, psa_type: int, num_: int, **sizes: int) -> None:
    channel, exists = _psa_channels(device=grad_output.device, **sizes)
    gradient = grad_output.flatten(2)
    gradient = (gradient.mT if psa_type == 1 else gradient).where(exists, 0)
    total = torch.zeros_like(grad_input).flatten(2).scatter_add_(1, channel.expand(len(gradient), -1, -1), gradient)
    grad_input.copy_(total.view_as(grad_input))


def _psa_channels(h_feature: int, w_feature: int, h_mask: int, w_mask: int, half_h_mask: int, half_w_mask: int,
                  device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the channel of a pixel's attention to a position, and a mask where it exists: ``(positions, pixels)``."""

    def steps(size: int, half: int) -> Tensor:
        number = torch.arange(size, device=device)
        return number[:, None] - number + half

    rows = steps(h_feature, half_h_mask)[:, None, :, None]  # (place y, 1, pixel y, 1)
    columns = steps(w_feature, half_w_mask)[:, None]  # (place x, 1, pixel x)
    exists = (rows >= 0) & (rows < h_mask) & (columns >= 0) & (columns < w_mask)
    channel = (rows * w_mask + columns).where(exists, 0)
    places = h_feature * w_feature
    return channel.view(places, places), exists.view(places, places)


def carafe_naive_forward(features: Tensor, masks: Tensor, output: Tensor, kernel_size: int, group_size: int,
                         scale_factor: int) -> None:
    """Write CARAFE's upsampling (arXiv:1905.02188): an output pixel is a weighted sum over a window of the features."""
    output.copy_(_carafe(features, masks, kernel_size, group_size, scale_factor))


def carafe_naive_backward(grad_output: Tensor, features: Tensor, masks: Tensor, grad_input: Tensor, grad_masks: Tensor,
                          kernel_size: int, group_size: int, scale_factor: int) -> None:
    upsample = functools.partial(_carafe, kernel_size=kernel_size, group_size=group_size, scale_factor=scale_factor)
    gradients = _gradients(upsample, [features, masks], grad_output)
    grad_input.copy_(gradients[0])
    grad_masks.copy_(gradients[1])


def carafe_forward(features: Tensor, masks: Tensor, rfeatures: Tensor, routput: Tensor, rmasks: Tensor, output: Tensor,
                   kernel_size: int, group_size: int, scale_factor: int) -> None:
    """Write the result of ``carafe_naive_forward``; mmcv keeps ``rfeatures`` for the backward pass."""
    rfeatures.copy_(features)
    carafe_naive_forward(features, masks, output, kernel_size, group_size, scale_factor)


def carafe_backward(grad_output: Tensor, rfeatures: Tensor, masks: Tensor, rgrad_output: Tensor,
                    rgrad_input_hs: Tensor, rgrad_input: Tensor, rgrad_masks: Tensor, grad_input: Tensor,
                    grad_masks: Tensor, kernel_size: int, group_size: int, scale_factor: int) -> None:
    carafe_naive_backward(grad_output, rfeatures, masks, grad_input, grad_masks, kernel_size, group_size, scale_factor)


def _carafe(features: Tensor, masks: Tensor, kernel_size: int, group_size: int, scale_factor: int) -> Tensor:
    n, channels, height, width = features.shape
    windows = F.unfold(features, kernel_size, padding=kernel_size // 2)
    windows = windows.view(n, group_size, channels // group_size, kernel_size**2, height, width)
    masks = masks.reshape(n, group_size, kernel_size**2, height, scale_factor, width, scale_factor)
    upsampled = torch.einsum('ngckhw,ngkhywx->ngchywx', windows, masks)
    return upsampled.reshape(n, channels, height * scale_factor, width * scale_factor)


# Convolution at selected pixels of one image

def masked_im2col_forward(im: Tensor, mask_h_idx: Tensor, mask_w_idx: Tensor, col: Tensor, kernel_h: int,
                          kernel_w: int, pad_h: int, pad_w: int) -> None:
    """Write the windows around the given pixels, ``(C * kernel_h * kernel_w, pixels)``."""
    windows = F.unfold(im, (kernel_h, kernel_w), padding=(pad_h, pad_w))[0]
    width = im.size(3) + 2 * pad_w - kernel_w + 1
    col.copy_(windows[:, mask_h_idx * width + mask_w_idx])


def masked_col2im_forward(col: Tensor, mask_h_idx: Tensor, mask_w_idx: Tensor, im: Tensor, height: int, width: int,
                          channels: int) -> None:
    """Write the results ``(C, pixels)`` to the given pixels of an image."""
    im[0, :, mask_h_idx, mask_w_idx] = col
