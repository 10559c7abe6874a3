"""Folding of batch norm into the convolution before it: the same answers for less arithmetic."""
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

TOLERANCE = 1e-4  # of an answer's largest number; rounding of float32 stays well below
FOLDED = 'has_folded_norm'  # attribute of a convolution that a batch norm is part of
_NORMS = (nn.BatchNorm2d.forward, nn.SyncBatchNorm.forward)  # and of classes that have no forward of their own


def fold_batch_norm(model: nn.Module, answer: Callable[[], Sequence[torch.Tensor]]) -> int:
    """Fold each batch norm in inference mode that is the only consumer of a convolution; in place.

    ``norm(conv(x)) = scale * (w * x + b - mean) + shift`` is a convolution, too. Which batch norm follows which
    convolution, and that nothing else takes its output, is read from the autograd graph of one call. If the answers
    are not the same afterwards, within `TOLERANCE`, the network is left as it was.

    Args:
        model: The network, in inference mode.
        answer: Calls it, always on the same images, which require a gradient; gives all that anyone reads from it. Not
            asked where there is nothing to fold.

    Returns:
        How many were folded.
    """
    if not any(map(_is_norm, model.modules())):
        return 0
    with torch.enable_grad():
        pairs, before = _pairs(model, answer)
    undo = [step for conv, norm in pairs for step in _fold(model, conv, norm)]
    if pairs and not _answers_as(before, answer):
        for step in reversed(undo):
            step()
        return 0
    return len(pairs)


def _pairs(model: nn.Module, answer: Callable) -> tuple[list[tuple[nn.Conv2d, nn.Module]], list[torch.Tensor]]:
    """Return the convolutions with the batch norms to fold into them, and the answers."""
    made = defaultdict(list)  # convolution -> node of each output
    taken = defaultdict(list)  # batch norm -> node that made each input
    hooks = []
    for module in model.modules():
        if _is_plain_conv(module):
            hooks.append(module.register_forward_hook(lambda conv, _, output: made[conv].append(output.grad_fn)))
        elif _is_norm(module):
            hooks.append(module.register_forward_pre_hook(lambda norm, args: taken[norm].append(args[0].grad_fn)))
    try:
        answers = list(answer())
    finally:
        for hook in hooks:
            hook.remove()
    takers = _takers(answers)
    conv_of = {node: conv for conv, nodes in made.items() for node in nodes}
    pairs = []
    for norm, nodes in taken.items():
        conv = conv_of.get(nodes[0])
        if conv is not None and set(made[conv]) == set(nodes) and _alone(nodes, takers):
            pairs.append((conv, norm))
    return pairs, [tensor.detach() for tensor in answers]


def _alone(nodes: Sequence, takers: Counter) -> bool:
    """True if the batch norm is the only consumer of each output.

    Taken once means by the batch norm; but one must be seen: with checkpoints none is.
    """
    counts = {takers[node] for node in nodes}
    return 1 in counts and counts <= {0, 1}


def _takers(answers: Sequence[torch.Tensor]) -> Counter:
    """Count the consumers of each node of the graph; an answer counts as one."""
    nodes = [tensor.grad_fn for tensor in answers if tensor.grad_fn is not None]
    count, seen = Counter(nodes), set()
    while nodes:
        node = nodes.pop()
        if node not in seen:
            seen.add(node)
            following = [other for other, _ in node.next_functions if other is not None]
            count.update(following)
            nodes += following
    return count


def _is_plain_conv(module: nn.Module) -> bool:
    """True for a convolution by its weight and bias alone: not for those that change the weight first."""
    return isinstance(module, nn.Conv2d) and not module._forward_pre_hooks and not hasattr(
        module, 'parametrizations') and (type(module) is nn.Conv2d or _is_linear_in_weight(module))


@torch.no_grad()
def _is_linear_in_weight(conv: nn.Conv2d) -> bool:
    """True if twice the weight gives twice the output, bit for bit: not where the layer standardizes its weight."""
    weight, bias = conv.weight, conv.bias
    sides = [step * (size - 1) + 1 for step, size in zip(conv.dilation, conv.kernel_size, strict=True)]
    images = torch.linspace(0.1, 1, conv.in_channels * sides[0] * sides[1]).to(weight)
    images = images.view(1, conv.in_channels, *sides)
    conv.bias = None
    try:
        once = conv(images)
        conv.weight = nn.Parameter(2 * weight, requires_grad=False)
        return torch.equal(conv(images), 2 * once)
    finally:
        conv.weight, conv.bias = weight, bias


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and not module.training and (
        module.running_mean is not None) and (type(module).forward in _NORMS or _has_activation(module))


def _has_activation(norm: nn.Module) -> bool:
    """True for timm's batch norm that contains dropout and activation."""
    return type(norm).__name__ == 'BatchNormAct2d'


@torch.no_grad()
def _fold(model: nn.Module, conv: nn.Conv2d, norm: Any) -> list[Callable[[], None]]:
    """Fold one pair; return the steps that undo it."""
    weight, bias = conv.weight, conv.bias
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale *= norm.weight
    shift = (0 if bias is None else bias.double()) - norm.running_mean.double()
    shift = scale * shift + (0 if norm.bias is None else norm.bias.double())
    conv.weight = nn.Parameter((weight.double() * scale.view(-1, 1, 1, 1)).to(weight), requires_grad=False)
    conv.bias = nn.Parameter(shift.to(weight), requires_grad=False)
    vars(conv)[FOLDED] = True
    undo = [lambda: setattr(conv, 'weight', weight), lambda: setattr(conv, 'bias', bias),
            lambda: vars(conv).pop(FOLDED)]
    left = nn.Sequential(norm.drop, norm.act).eval() if _has_activation(norm) else nn.Identity().eval()
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if module is norm:
            parent, _, key = name.rpartition('.')
            owner = model.get_submodule(parent)
            setattr(owner, key, left)
            undo.append(lambda owner=owner, key=key: setattr(owner, key, norm))
    return undo


@torch.no_grad()
def _answers_as(before: Sequence[torch.Tensor], answer: Callable) -> bool:
    try:
        after = list(answer())
    except Exception:  # of a network that looks into its batch norm: it is left as it was
        return False
    return len(after) == len(before) and all(
        new.shape == old.shape and bool((new - old).abs().amax() <= TOLERANCE * old.abs().amax())
        for new, old in zip(after, before, strict=True) if old.numel())
