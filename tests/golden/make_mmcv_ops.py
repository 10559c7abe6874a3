"""Make mmcv_ops.pt, what the compiled operators give for the cases of tests/compat/test_mmcv_ops.py.

python tests/golden/make_mmcv_ops.py, where the compiled package mmcv is installed. The file holds the outputs of mmcv
2.1.0 with torch 2.13 on the CPU (x86-64).
"""
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only


def boxes(number: int, generator: torch.Generator, size: float = 200.) -> Tensor:
    corner = torch.rand(number, 2, generator=generator) * size
    sides = torch.rand(number, 2, generator=generator) * size * .5 + 1
    return torch.cat([corner, corner + sides], 1)


def cases() -> Iterator[tuple[str, dict]]:
    """Return by name: operator of ``mmcv.ops``, tensors, other arguments, and the gradient of its output if any.

    Some of a longer series, which is drawn in full.
    """
    generator = torch.Generator().manual_seed(0)

    def randn(*shape):
        return torch.randn(*shape, generator=generator)

    for offset in (0, 1):
        for number in (50, 1000, 5000):
            inputs = [boxes(number, generator), torch.rand(number, generator=generator)]
            if number == 50:
                yield f'nms {number} offset {offset}', {
                    'operator': 'nms', 'inputs': inputs, 'arguments': [0.5, offset]}
    inputs = [boxes(1000, generator)[:300], torch.rand(1000, generator=generator)[:300]]
    torch.randint(0, 20, (1000, ), generator=generator)  # classes, which no case needs
    for method in ('naive', 'linear', 'gaussian'):
        yield f'soft_nms {method}', {'operator': 'soft_nms', 'inputs': inputs, 'arguments': [0.3, 0.5, 0.05, method]}
    yield 'nms_match', {
        'operator': 'nms_match', 'inputs': [torch.cat([inputs[0], inputs[1][:, None]], 1)], 'arguments': [0.5]}

    kept = (('avg', True, 0), ('max', True, 0), ('max', False, 2))
    for dtype in (torch.float32, torch.float64):
        for mode in ('avg', 'max'):
            for aligned in (True, False):
                for ratio in (0, 2):
                    image = randn(2, 16, 25, 30)[:, :1].to(dtype)  # the channels do not depend on each other
                    number = torch.randint(0, 2, (40, 1), generator=generator).float()
                    rois = torch.cat([number, boxes(40, generator) - 20], 1).to(dtype)
                    grad_output = randn(40, 16, 7, 7)[:, :1].to(dtype)
                    if dtype == torch.float32 and (mode, aligned, ratio) in kept:
                        yield f'roi_align {mode} aligned {aligned} ratio {ratio}', {
                            'operator': 'roi_align', 'inputs': [image, rois],
                            'arguments': [7, 1 / 8, ratio, mode, aligned], 'grad_output': grad_output}
    image = randn(1, 4, 8, 8)
    rois = torch.tensor([[0, 5., 5, 5, 5], [0, 100, 100, 120, 130], [0, -50, -50, 200, 200.]])
    for name, some in (('degenerate regions', rois), ('no region', rois[:0])):
        yield f'roi_align {name}', {
            'operator': 'roi_align', 'inputs': [image, some], 'arguments': [7, 1 / 8, 0, 'avg', True],
            'grad_output': torch.ones(len(some), 4, 7, 7)}

    for group, deform_groups, stride, padding, dilation in ((1, 1, 1, 1, 1), (2, 2, 2, 1, 1)):
        image, weight = randn(2, 8, 15, 18), randn(6, 8 // group, 3, 3)
        height, width = (15 - 1) // stride + 1, (18 - 1) // stride + 1
        offset = 2 * randn(2, 18 * deform_groups, height, width)
        mask = torch.rand(2, 9 * deform_groups, height, width, generator=generator)
        bias, grad_output = randn(6), randn(2, 6, height, width)
        arguments = [stride, padding, dilation, group, deform_groups]
        if group > 1:
            for operator, inputs in (('deform_conv2d', [image, offset, weight]),
                                     ('modulated_deform_conv2d', [image, offset, mask, weight, bias])):
                yield operator, {
                    'operator': operator, 'inputs': inputs, 'arguments': arguments, 'grad_output': grad_output}


def outputs(case: dict) -> list[Tensor]:
    """Return the outputs of ``mmcv.ops`` for a case, then the gradients of its inputs."""
    import mmcv.ops
    inputs = [tensor.clone().requires_grad_('grad_output' in case) for tensor in case['inputs']]
    output = getattr(mmcv.ops, case['operator'])(*inputs, *case['arguments'])
    if case['operator'] == 'nms_match':  # some hundred short tensors
        return [torch.cat(output), torch.tensor([len(group) for group in output])]
    if 'grad_output' not in case:
        return list(output)
    gradients = torch.autograd.grad(output, inputs, case['grad_output'], allow_unused=True)
    return [output.detach(), *(gradient for gradient in gradients if gradient is not None)]


def main() -> None:
    import mmcv._ext
    if hasattr(mmcv._ext, 'missing_modules'):
        raise SystemExit('make_mmcv_ops: this needs the compiled package mmcv; mmcv._ext is its stand-in here.')
    copies = {}  # one for each tensor: a view would be stored with all that it is a view of
    made = tree_map_only(Tensor, lambda t: copies.setdefault(id(t), (t.contiguous().clone(), t))[0],
                         {name: {**case, 'outputs': outputs(case)} for name, case in cases()})
    torch.save(made, Path(__file__).with_name('mmcv_ops.pt'))


if __name__ == '__main__':
    main()
