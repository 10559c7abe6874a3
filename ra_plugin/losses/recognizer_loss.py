"""What the three recognition losses share: a frozen recognizer, a weight and a reduction."""
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn

from ra_plugin.recognizers import Recognizer, build_recognizer
from ra_plugin.registry import RECOGNIZER_REGISTRY

Reduction = Literal['mean', 'sum', 'none']


class RecognizerLoss(nn.Module):
    """Base of the recognition losses; a subclass says what one recognizer finds in one batch.

    Args:
        recognizer: Options of the frozen recognizer, or the recognizer.
        loss_weight: Factor on the loss: lambda of the paper.
        reduction: ``'mean'`` | ``'sum'`` over the images | ``'none'``.

    Raises:
        ValueError: The recognizer is not differentiable, or an unknown reduction.
    """

    needs: str  # 'label' or 'gt': the second argument of forward()

    def __init__(self, recognizer: Mapping[str, Any] | Recognizer, loss_weight: float, reduction: Reduction):
        super().__init__()
        if reduction not in ('mean', 'sum', 'none'):
            raise ValueError(f"{type(self).__name__}: reduction: expected 'mean', 'sum' or 'none', got {reduction!r}.")
        self.recognizer = build_recognizer(recognizer, f'{type(self).__name__}.recognizer')
        if not self.recognizer.info.differentiable:
            raise ValueError(f'{type(self).__name__}: {self.recognizer} is not differentiable, so it can judge '
                             '(val.recognizers) but not serve as a loss.')
        self.loss_weight = loss_weight
        self.reduction = reduction

    @classmethod
    def check_options(cls, arguments: Mapping[str, Any], where: str) -> None:
        """Check the recognizer's block without building it."""
        if not isinstance(arguments['recognizer'], Recognizer):
            RECOGNIZER_REGISTRY.check(arguments['recognizer'], f'{where}.recognizer')

    def compare(self, recognizer: Recognizer, output: torch.Tensor, target: Any) -> torch.Tensor:
        """The loss that one recognizer gives: ``(N,)``, or a scalar where the task has no value for each image."""
        raise NotImplementedError

    def forward(self, output: torch.Tensor, target: Any) -> torch.Tensor:
        """Weighted loss over the recognizers drawn for this step.

        Args:
            output: Restored images ``(N, 3, H, W)``, RGB, ``[0, 1]``; values outside are passed on as they are.
            target: What `needs` says: labels, or clean images.

        Returns:
            A scalar, or ``(N,)`` for ``'none'``.
        """
        total = sum(weight * self.compare(member, output, target) for weight, member in self.recognizer.draw())
        if self.reduction != 'none' and total.dim():
            total = total.mean() if self.reduction == 'mean' else total.sum()
        return self.loss_weight * total


def check_clean(gt: torch.Tensor, where: str) -> None:
    """Raise ValueError where the clean images are not on the ``[0, 1]`` scale: they were normalized, or are 0..255."""
    low, high = gt.min().item(), gt.max().item()
    if low < -1e-3 or high > 1 + 1e-3:
        raise ValueError(f'{where}: expected gt in [0, 1], got [{low:.2f}, {high:.2f}]. '
                         'Pass RGB that is not normalized; the recognizer normalizes.')


class ReferenceLoss(RecognizerLoss):
    """A recognition loss against the recognizer's own answer on the clean image; that side carries no gradient."""

    needs = 'gt'

    def __init__(self, recognizer: Mapping[str, Any] | Recognizer, loss_weight: float, reduction: Reduction):
        super().__init__(recognizer, loss_weight, reduction)
        self._range_checked = False

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if not self._range_checked:  # once: reading the extremes makes a GPU wait
            check_clean(target, f'{type(self).__name__}({self.recognizer.info.name})')
            self._range_checked = True
        return super().forward(output, target)
