"""The recognition losses as traiNNer-redux builds them, from blocks of ``train.losses``, and calls them."""
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import nn

from ra_plugin import losses
from ra_plugin.data.with_labels import LabelOptions, label_keys
from ra_plugin.hosts.redux_labels import ImageLabels, check_task
from ra_plugin.library_errors import translated
from ra_plugin.losses.recognizer_loss import LossWeight, RecognizerLoss
from ra_plugin.options import OptionError, build_block, check_arguments, check_value, suggestion
from ra_plugin.recognizers.trainable import is_trainable

_LABEL_KEYS = tuple(field.name for field in fields(LabelOptions))


class ReduxLoss(nn.Module):
    """Base class of the losses that are registered: a loss of this package, of weight 1, and the weight beside it.

    traiNNer-redux multiplies what a loss returns by the absolute value of its ``loss_weight``, so that a loss which
    applied its own weight, too, would be weighted by the square.

    Args:
        block: Keys of the loss: those of `kind`; for one with labels also those of `LabelOptions`.

    Attributes:
        loss_weight: Factor that traiNNer-redux applies.
        loss: The loss; its own weight is 1.

    Raises:
        OptionError: A key or value is not as in an option file of this package, or has no meaning here.
    """

    kind: type[RecognizerLoss]
    further_keys: Sequence[str] = ()

    def __init__(self, **block: Any):
        super().__init__()
        where = self.where = f'train.losses.{self.kind.__name__}'
        _check_keys(block, [*inspect.signature(self.kind).parameters, *self.further_keys], where)
        self.loss_weight = _weight(block.pop('loss_weight', 1.0), where)
        arguments = check_arguments(
            self.kind, {key: value for key, value in block.items() if key not in self.further_keys}, where)
        if arguments.get('reduction') == 'none':
            raise OptionError(f'{where}.reduction: expected mean or sum, got none: losses are added up here.')
        if is_trainable(arguments['recognizer']):
            raise OptionError(f'{where}.recognizer.trainable: no optimizer here trains a recognizer. Leave it out, or '
                              'use ra-plugin train.')
        with translated(where):
            self.loss = self.kind(**arguments)
        self.loss.check_range = False  # the network may be untrained

    def target(self, gt: torch.Tensor) -> Any:
        """Return what the loss compares with: the clean images.

        They are clamped: a teacher's images and augmentations that enlarge by bicubic interpolation leave ``[0, 1]``.
        """
        return gt.float().clamp(0, 1)

    def forward(self, output: torch.Tensor, gt: torch.Tensor) -> torch.Tensor:
        """Return the loss without its weight, computed in 32 bits whatever autocast is around it.

        Args:
            output: Restored images ``(N, 3, H, W)``, RGB, in about ``[0, 1]``.
            gt: Clean images of that shape.
        """
        with torch.autocast(output.device.type, enabled=False):
            return self.loss(output.float(), self.target(gt))


class RecogConsistencyLoss(ReduxLoss):
    """`ra_plugin.losses.RecogConsistencyLoss` in traiNNer-redux."""

    kind = losses.RecogConsistencyLoss


class RecogFeatureLoss(ReduxLoss):
    """`ra_plugin.losses.RecogFeatureLoss` in traiNNer-redux."""

    kind = losses.RecogFeatureLoss


class RecogLoss(ReduxLoss):
    """`ra_plugin.losses.RecogLoss` in traiNNer-redux, with the classes of the images in its own block.

    Attributes:
        options: Where the labels come from.
        labels: The labels of the training data, once the model is built.
    """

    kind = losses.RecogLoss
    further_keys = _LABEL_KEYS

    def __init__(self, **block: Any):
        super().__init__(**block)
        self.options = build_block(LabelOptions, label_keys(block), self.where)
        if self.options.labels is None:
            raise OptionError(f"{self.where}: 'labels' is missing. Write labels: folders, or labels: FILE (.csv, "
                              '.json); RecogConsistencyLoss needs none.')
        check_task(self.loss.recognizer, self.where)
        self.labels: ImageLabels | None = None
        self._batch: torch.Tensor | None = None

    def take(self, data: Mapping[str, Any]) -> None:
        """Look up the labels of a batch, from its ``gt_path``, for the call of the loss that follows.

        Raises:
            OptionError: The data have no such paths, or an image has no label.
        """
        if self.labels is None or 'gt_path' not in data:
            raise OptionError(f'{self.where}: expected batches with gt_path, got {", ".join(sorted(data))}. Use a data '
                              'set with clean images, or RecogConsistencyLoss.')
        self._batch = self.labels.of(data['gt_path'])

    def target(self, gt: torch.Tensor) -> torch.Tensor:
        """Return the labels of the batch, ``(N,)`` long; each batch has them once."""
        if self._batch is None:
            raise ValueError(f'{self.where}: no labels for this batch. Start the training with python -m '
                             'ra_plugin.hosts.trainner_redux train.py ..., which looks them up.')
        labels, self._batch = self._batch, None
        return labels.to(gt.device)


def _check_keys(block: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in block:
        if key not in known:
            raise OptionError(f"{where}: unknown key '{key}'.{suggestion(key, known)} Known: {', '.join(known)}")


def _weight(value: Any, where: str) -> float:
    if isinstance(value, (int, float)) and value < 0:
        raise OptionError(f'{where}.loss_weight: expected a number >= 0, got {value}: a negative one means here to '
                          'compare with the enlarged input, which is no clean image. Make it positive.')
    return check_value(value, LossWeight, f'{where}.loss_weight')


LOSSES = (RecogLoss, RecogConsistencyLoss, RecogFeatureLoss)
