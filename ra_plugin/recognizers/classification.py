"""What all classifiers share, wherever they come from: logits in, the contract's members out."""
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from ra_plugin.options import suggestion
from ra_plugin.recognizers.base import Outputs, Recognizer, RecognizerInfo, TaskError, widened

# 'model': the size in the weights' record; ~: as the images come; a number: square; [height, width].
InputSize = Literal['model'] | int | Sequence[int] | None
Fit = Literal['crop', 'stretch']
TOP_K = 5


class ClassificationRecognizer(Recognizer):
    """A network whose forward pass gives logits ``(N, num_classes)``.

    ``label`` is ``(N,)``, long, in ``[0, num_classes)``. The classes are counted in the network's output, so
    ``info.num_classes`` may be left at 0.

    Args:
        feature_layer: Dotted name of the layer whose output is `features`. Default: the input of the last linear layer.
    """

    can_learn = True

    def __init__(self, model: nn.Module, info: RecognizerInfo, fit: Fit = 'crop', feature_layer: str | None = None):
        super().__init__(model, info, fit)
        layers = dict(model.named_modules())
        if feature_layer is not None and feature_layer not in layers:
            raise ValueError(f'{self}: feature_layer: no layer {feature_layer!r}.{suggestion(feature_layer, layers)}')
        self.feature_layer = feature_layer
        self.info = replace(info, num_classes=self._count_classes(), gives_probabilities=True)

    def _count_classes(self) -> int:
        """One image through the network: a wrong size, head or class list shows now, not in the first iteration."""
        size = self.info.input_size or (64, 64)
        try:
            with torch.no_grad():
                logits = self.logits(self.mean.new_full((1, 3, *size), 0.5))
        except (RuntimeError, ValueError, AssertionError) as error:
            raise ValueError(f'{self}: cannot take a {size[0]}x{size[1]} image ({error}). Set input_size.') from error
        if not isinstance(logits, torch.Tensor) or logits.dim() != 2:
            got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
            raise TaskError(f'{self}: expected logits (N, num_classes) from the network, got {got}. '
                            'Is it a classifier?')
        if self.info.classes and logits.shape[1] != len(self.info.classes):
            raise ValueError(f'{self}: {len(self.info.classes)} classes are named, the network has {logits.shape[1]}.')
        return logits.shape[1]

    def check_label(self, label: Any, count: int, where: str) -> None:
        if not isinstance(label, torch.Tensor) or label.shape != (count,) or label.is_floating_point():
            got = tuple(label.shape) if isinstance(label, torch.Tensor) else type(label).__name__
            raise ValueError(f'{where}: expected whole numbers ({count},), one for each image, got {got}.')
        if label.device.type == 'cpu' and label.numel() and not (
                0 <= int(label.min()) <= int(label.max()) < self.info.num_classes):
            raise ValueError(f'{where}: expected labels in 0..{self.info.num_classes - 1}, '
                             f'got {int(label.min())}..{int(label.max())}. Are these the classes it was trained on?')

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """``(N, num_classes)``."""
        prepared = self.prepare(images)
        with self.autocast(images):
            return widened(self.model(prepared))

    def loss(self, images: torch.Tensor, label: torch.Tensor, label_smoothing: float = 0.0) -> dict[str, torch.Tensor]:
        """Cross-entropy of each image: ``{'cross_entropy': (N,)}``.

        Raises:
            ValueError: A label outside ``[0, num_classes)``; on a GPU this would end the whole process.
        """
        self.check_label(label, len(images), str(self))
        logits = self.logits(images)
        return {'cross_entropy': F.cross_entropy(logits, label, reduction='none', label_smoothing=label_smoothing)}

    def outputs(self, images: torch.Tensor, reference: Outputs | None = None) -> Outputs:
        return {'logits': self.logits(images)}

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """The output of ``feature_layer``; by default the input of the network's last linear layer."""
        prepared = self.prepare(images)
        with self.autocast(images):
            if self.feature_layer is not None:
                layer = self.model.get_submodule(self.feature_layer)
                return widened(captured(self.model, layer, prepared, str(self)))
            head = [module for module in self.model.modules() if isinstance(module, nn.Linear)]
            if not head:
                raise ValueError(f'{self}: no linear layer to take features from. Name one: feature_layer.')
            return widened(captured(self.model, head[-1], prepared, str(self), of_input=True))

    @torch.no_grad()
    def predict(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """``{'labels': (N, k), 'scores': (N, k)}``: the k = 5 (or fewer) likeliest classes, best first.

        Beside them ``'log_probabilities': (N, num_classes)``, of all classes in their own order.
        """
        logits = self.logits(images)
        scores, labels = logits.softmax(1).topk(min(TOP_K, self.info.num_classes))
        return {'labels': labels, 'scores': scores, 'log_probabilities': logits.log_softmax(1)}


def captured(model: nn.Module, layer: nn.Module, images: torch.Tensor, where: str,
             of_input: bool = False) -> torch.Tensor:
    """The output (or the input) of ``layer`` during ``model(images)``."""
    seen: list[torch.Tensor] = []
    hook = layer.register_forward_hook(lambda _, args, output: seen.append(args[0] if of_input else output))
    try:
        model(images)
    finally:
        hook.remove()
    if not seen or not isinstance(seen[-1], torch.Tensor):
        got = type(seen[-1]).__name__ if seen else 'nothing: the network did not call it'
        raise ValueError(f'{where}: expected a tensor from the layer of the features, got {got}. Name another: '
                         'feature_layer.')
    return seen[-1]


def resolve_input_size(option: InputSize, recorded: tuple[int, int] | None, where: str) -> tuple[int, int] | None:
    """``(height, width)`` that the option means, or None for 'as the images come'."""
    if option == 'model':
        return recorded
    if option is None:
        return None
    size = tuple(option) if isinstance(option, Sequence) else (option, option)
    if len(size) != 2 or not all(isinstance(side, int) and side >= 1 for side in size):
        raise ValueError(f"{where}: input_size: expected 'model', ~, a number or [height, width], got {option!r}.")
    return size
