"""Base classes of the recognition losses: the recognizer (frozen or trainable), the weight and the reduction."""
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from torch import nn

from ra_plugin.checked_arguments import ChecksArguments
from ra_plugin.losses.batch_checks import check_clean, check_images, check_restored
from ra_plugin.losses.image_sizes import Sizes, checked_sizes, parts_of_one_size
from ra_plugin.losses.reference_cache import ReferenceCache
from ra_plugin.options import Limits
from ra_plugin.recognizers import Recognizer, build_recognizer
from ra_plugin.recognizers.facts import Outputs
from ra_plugin.recognizers.frozen.resizing import shared_resizes
from ra_plugin.recognizers.trainable import LearnerBlock, check_learner, frozen, is_trainable
from ra_plugin.utils.tensors import total

Reduction = Literal['mean', 'sum', 'none']
LossWeight = Annotated[float, Limits(least=0)]


class RecognizerLoss(ChecksArguments, nn.Module):
    """Base class of the recognition losses; a subclass defines `compare` for one recognizer and one batch.

    Args:
        recognizer: Options of the frozen recognizer, a recognizer, or your own network, which is copied. With
            ``trainable: true`` its network is trained and in training mode; only for a loss with labels. A loss that
            `shares_learner` takes the recognizer of that loss, and does not train it.
        loss_weight: Factor on the loss, >= 0: lambda of the paper.
        reduction: ``'mean'`` | ``'sum'`` over the images | ``'none'``. Detectors and segmenters have one loss per batch
            and none per image: it is the ``'mean'``, and N times it the ``'sum'``.
        gradient_checkpointing: Let the recognizer's blocks keep only their inputs for the backward pass, see
            `Recognizer.set_grad_checkpointing`, to save memory for large images. Not for a trainable recognizer.
        own: ``mean``, ``std``, ``task`` and ``output`` of your own network, see `build_recognizer`.
        layers: Names of the layers whose outputs the loss compares, see `Recognizer.watch`.

    Raises:
        ValueError: The recognizer is not differentiable, or cannot be trained as requested, or the reduction is
            unknown.
    """

    needs: str  # 'label' or 'gt': the second argument of forward()
    check_range = True  # check that the first batch of restored images is on the [0, 1] scale
    shares_learner = False  # it may have the recognizer that another loss trains
    asks_for: str  # 'loss', 'outputs' or 'features': the method of the recognizer that is called

    def __init__(self, recognizer: LearnerBlock | nn.Module, loss_weight: LossWeight, reduction: Reduction,
                 gradient_checkpointing: bool, own: Mapping[str, Any], layers: Sequence[str] = ()):
        super().__init__()
        if reduction not in ('mean', 'sum', 'none'):
            raise ValueError(f"{type(self).__name__}: reduction: expected 'mean', 'sum' or 'none', got {reduction!r}.")
        where = f'{type(self).__name__}.recognizer'
        learns = is_trainable(recognizer)
        self.recognizer = build_recognizer(frozen(recognizer), where, fold_batch_norm=False, learns=learns, **own)
        if learns:
            self.recognizer.unfreeze()
        if self.recognizer.trainable:
            check_learner(type(self), type(self.recognizer), loss_weight, gradient_checkpointing, type(self).__name__,
                          is_shared=not learns)
        self.recognizer.check_gives(self.asks_for, where)
        if not self.recognizer.info.differentiable:
            raise ValueError(f'{type(self).__name__}: {self.recognizer} is not differentiable: it can be used for '
                             'evaluation (val.recognizers), but not in a loss.')
        if layers:
            self._watch(layers, where)
        if not learns and not isinstance(recognizer, Recognizer):
            self.recognizer.fold_batch_norm()
        if gradient_checkpointing:
            self.recognizer.set_grad_checkpointing()
        self.loss_weight = loss_weight
        self.reduction: Reduction = reduction
        self._is_checked = False

    def _watch(self, layers: Sequence[str], where: str) -> None:
        if self.recognizer.members() != (self.recognizer,):
            raise ValueError(f'{where}: layers are of one network, and {self.recognizer} has several. Use a loss for '
                             'each of them: train.recog_opt takes a list.')
        try:
            self.recognizer.watch(layers)
        except ValueError as error:
            raise ValueError(f'{type(self).__name__}: layer_weights: {error}') from error

    def compare(self, recognizer: Recognizer, output: torch.Tensor, target: Any) -> torch.Tensor:
        """Return the loss of one recognizer for images of one size.

        Returns:
            ``(N,)``; or a scalar, the mean over the images, if the task has no loss per image.
        """
        raise NotImplementedError(f'{type(self).__name__} has no compare(). Implement it, or use RecogLoss.')

    def forward(self, output: torch.Tensor, target: Any, sizes: Sizes = None) -> torch.Tensor:
        """Return the weighted loss over the recognizers drawn for this step.

        Images are converted to the dtype of the recognizer's weights, so half and double precision work; the gradient
        has the dtype of the images.

        Args:
            output: Restored images ``(N, 3, H, W)``, RGB, ``[0, 1]``; values outside are not clamped.
            target: Labels, or clean images of the shape of ``output``, depending on `needs`.
            sizes: ``(height, width)`` of each image in a padded batch, as in samples of `SpatialLabelDataset`: N pairs,
                or a tensor ``(N, 2)``. The padding at the right and bottom is removed, and images of the same size form
                a batch. Default: no image is padded, unless the ``size`` in a detector's labels says so.

        Returns:
            A scalar, or ``(N,)`` for ``'none'``.

        Raises:
            ValueError: Images have the wrong shape or type, or, on the first batch, another scale than ``[0, 1]``.
        """
        where = f'{type(self).__name__}({self.recognizer.info.name})'
        check_images(output, target if self.needs == 'gt' else None, where)
        sizes = checked_sizes(sizes, output, where)
        if sizes is not None and self.needs == 'label':
            self.recognizer.check_label(target, len(output), where)
        output = output.to(self.recognizer.dtype)
        if self.needs == 'gt':
            target = target.to(self.recognizer.dtype)
        if not self._is_checked:
            self.check_first_batch(output, target, where)
            self._is_checked = True
        drawn = self.recognizer.draw()
        with shared_resizes():
            values = [(places, total(weight * self.compare(member, images, own) for weight, member in drawn))
                      for places, images, own in parts_of_one_size(output, target, sizes)]
        return self.loss_weight * _reduced(values, self.reduction, len(output))

    def check_first_batch(self, output: torch.Tensor, target: Any, where: str) -> None:
        """Check the values of the images; only once, because the CPU waits for the GPU to read them.

        Raises:
            ValueError: Images are on another scale than ``[0, 1]``.
        """
        if self.check_range:
            check_restored(output.detach(), where)


def _reduced(values: list[tuple[list[int], torch.Tensor]], reduction: Reduction, count: int) -> torch.Tensor:
    """Return the reduced loss of all images from the losses per size; a scalar is the mean over its images."""
    if all(value.dim() for _, value in values):
        (_, whole), *others = values
        if others:
            order = torch.tensor([i for places, _ in values for i in places]).argsort()
            whole = torch.cat([value for _, value in values])[order.to(whole.device)]
        return whole if reduction == 'none' else whole.mean() if reduction == 'mean' else whole.sum()
    if len(values) == 1:
        mean = values[0][1]
    else:
        mean = total(len(places) / count * value.mean() for places, value in values)
    return mean if reduction == 'mean' else count * mean


class ReferenceLoss(RecognizerLoss):
    """Base class of losses that compare with the recognizer's output on the clean image, which has no gradient.

    Args:
        cache_reference: Cache the outputs on clean images that recur, see `ReferenceCache`.
    """

    needs = 'gt'

    def __init__(self, recognizer: LearnerBlock | nn.Module, loss_weight: LossWeight, reduction: Reduction,
                 gradient_checkpointing: bool, cache_reference: bool, own: Mapping[str, Any],
                 layers: Sequence[str] = ()):
        super().__init__(recognizer, loss_weight, reduction, gradient_checkpointing, own, layers)
        if cache_reference and self.recognizer.trainable:
            raise ValueError(f'{type(self).__name__}: cache_reference: the answers of {self.recognizer} change as it '
                             'learns. Remove it.')
        if cache_reference and not self.recognizer.batch_independent:
            raise ValueError(f'{type(self).__name__}: cache_reference: not supported for {self.recognizer}, whose '
                             'outputs depend on the whole batch. Remove it.')
        self._cache = ReferenceCache() if cache_reference else None

    def reference(self, recognizer: Recognizer, clean: torch.Tensor, ask: Callable[[torch.Tensor], Outputs]) -> Outputs:
        """Return ``ask(clean)`` without gradient, from the cache where possible."""
        with torch.no_grad():
            return ask(clean) if self._cache is None else self._cache(recognizer, clean, ask)

    def check_first_batch(self, output: torch.Tensor, target: torch.Tensor, where: str) -> None:
        check_clean(target, where)
        super().check_first_batch(output, target, where)
