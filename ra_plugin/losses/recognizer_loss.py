"""What the three recognition losses share: a recognizer, frozen unless it is to learn, a weight and a reduction."""
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn

from ra_plugin.losses.reference_cache import ReferenceCache
from ra_plugin.options import OptionError, check_type
from ra_plugin.recognizers import Recognizer, build_recognizer
from ra_plugin.recognizers.base import Outputs
from ra_plugin.recognizers.classification import NO_HEAD
from ra_plugin.recognizers.resizing import shared_resizes
from ra_plugin.recognizers.trainable import check_trainable, frozen, is_trainable
from ra_plugin.registry import RECOGNIZER_REGISTRY

Reduction = Literal['mean', 'sum', 'none']
_CHECKPOINTS_LEARNER = 'gradient_checkpointing is for recognizers that do not learn. Leave one of them out.'


class RecognizerLoss(nn.Module):
    """Base of the recognition losses; a subclass says what one recognizer finds in one batch.

    Args:
        recognizer: Options of the frozen recognizer, the recognizer, or a classifier of your own, which is copied. With
            ``trainable: true`` its network takes gradients and is in training mode; for a loss with labels.
        loss_weight: Factor on the loss: lambda of the paper.
        reduction: ``'mean'`` | ``'sum'`` over the images | ``'none'``.
        gradient_checkpointing: Whether the recognizer's blocks keep their inputs alone for the backward pass, see
            `Recognizer.checkpoint`: for images so large that memory is short. Not for one that learns.
        mean, std: Normalization of a classifier of your own, RGB on the ``[0, 1]`` scale.

    Raises:
        ValueError: The recognizer is not differentiable, or is to learn and cannot, or an unknown reduction.
    """

    needs: str  # 'label' or 'gt': the second argument of forward()
    compares_features = False  # then the recognizer need not have classes

    def __init__(self, recognizer: Mapping[str, Any] | nn.Module, loss_weight: float, reduction: Reduction,
                 gradient_checkpointing: bool, mean: Sequence[float] | None = None,
                 std: Sequence[float] | None = None):
        super().__init__()
        if reduction not in ('mean', 'sum', 'none'):
            raise ValueError(f"{type(self).__name__}: reduction: expected 'mean', 'sum' or 'none', got {reduction!r}.")
        where = f'{type(self).__name__}.recognizer'
        self.recognizer = build_recognizer(frozen(recognizer), where, not is_trainable(recognizer), mean, std)
        if is_trainable(recognizer):
            self.recognizer.unfreeze()
        if self.recognizer.trainable:
            check_trainable(type(self.recognizer), type(self), where)
        if self.recognizer.info.task == 'embedding' and not self.compares_features:
            raise ValueError(f'{where}: {self.recognizer}: {NO_HEAD}')
        if not self.recognizer.info.differentiable:
            raise ValueError(f'{type(self).__name__}: {self.recognizer} is not differentiable, so it can judge '
                             '(val.recognizers) but not serve as a loss.')
        if gradient_checkpointing:
            if self.recognizer.trainable:
                raise ValueError(f'{where}: {_CHECKPOINTS_LEARNER}')
            self.recognizer.checkpoint()
        self.loss_weight = loss_weight
        self.reduction = reduction

    @classmethod
    def check_options(cls, arguments: Mapping[str, Any], where: str) -> None:
        """Check the recognizer's block without building it."""
        block, place = arguments['recognizer'], f'{where}.recognizer'
        if isinstance(block, nn.Module):
            return
        kind = RECOGNIZER_REGISTRY.check(frozen(block), place)
        check_type(block.get('trainable'), bool | None, f'{place}.trainable')
        if is_trainable(block):
            check_trainable(kind, cls, place)
            if arguments.get('gradient_checkpointing'):
                raise OptionError(f'{place}.trainable: {_CHECKPOINTS_LEARNER}')
            if not arguments.get('loss_weight', 1) > 0:
                raise OptionError(f'{where}.loss_weight: expected a number > 0 where the recognizer learns, got '
                                  f'{arguments["loss_weight"]}.')

    def compare(self, recognizer: Recognizer, output: torch.Tensor, target: Any) -> torch.Tensor:
        """The loss that one recognizer gives: ``(N,)``, or a scalar where the task has no value for each image."""
        raise NotImplementedError(f'{type(self).__name__} has no compare(). Write it, or use RecogLoss.')

    def forward(self, output: torch.Tensor, target: Any) -> torch.Tensor:
        """Weighted loss over the recognizers drawn for this step.

        Args:
            output: Restored images ``(N, 3, H, W)``, RGB, ``[0, 1]``; values outside are passed on as they are.
            target: What `needs` says: labels, or clean images.

        Returns:
            A scalar, or ``(N,)`` for ``'none'``.
        """
        with shared_resizes():
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
    """A recognition loss against the recognizer's own answer on the clean image; that side carries no gradient.

    Args:
        cache_reference: Keep the answers on clean images that come back, see `ReferenceCache`.
    """

    needs = 'gt'

    def __init__(self, recognizer: Mapping[str, Any] | nn.Module, loss_weight: float, reduction: Reduction,
                 gradient_checkpointing: bool, cache_reference: bool, mean: Sequence[float] | None = None,
                 std: Sequence[float] | None = None):
        super().__init__(recognizer, loss_weight, reduction, gradient_checkpointing, mean, std)
        if cache_reference and self.recognizer.info.task == 'detection':
            raise ValueError(f'{type(self).__name__}: cache_reference: what {self.recognizer} answers on an image '
                             'depends on the others in its batch. Leave it out.')
        self._cache = ReferenceCache() if cache_reference else None
        self._range_checked = False

    def reference(self, recognizer: Recognizer, clean: torch.Tensor, ask: Callable[[torch.Tensor], Outputs]) -> Outputs:
        """``ask(clean)`` without gradient, or what is known of it."""
        with torch.no_grad():
            return ask(clean) if self._cache is None else self._cache(recognizer, clean, ask)

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if not self._range_checked:  # once: reading the extremes makes a GPU wait
            check_clean(target, f'{type(self).__name__}({self.recognizer.info.name})')
            self._range_checked = True
        return super().forward(output, target)
