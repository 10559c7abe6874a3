"""The contract of classifiers, of any library."""
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from ra_plugin.recognizers.base import Recognizer
from ra_plugin.recognizers.class_names import KeepClasses, kept_ids
from ra_plugin.recognizers.facts import DETECTORS, NO_HEAD, Outputs, RecognizerInfo, TaskError
from ra_plugin.recognizers.feature_layers import captured, check_feature_layer, classifying_layer
from ra_plugin.recognizers.first_answer import first_answer
from ra_plugin.recognizers.frozen.resizing import judging
from ra_plugin.recognizers.logits_check import check_logits
from ra_plugin.recognizers.networks import copy_of, unwrapped, widened
from ra_plugin.recognizers.size_errors import about_size
from ra_plugin.utils.text import how_many

# 'model': the size in the weights' record; ~: as the images come; a number: square; [height, width].
InputSize = Literal['model'] | int | Sequence[int] | None
Fit = Literal['crop', 'stretch', 'border']
TOP_K = 5
_SIZE = (64, 64)  # of images that a network is asked about, where it takes any
_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


class ClassificationRecognizer(Recognizer):
    """A network whose forward pass gives logits ``(N, num_classes)``.

    A label batch is ``(N,)``, long, in ``[0, num_classes)``. The classes are counted in the network's output, so
    ``info.num_classes`` may be left at 0. A network that says of itself that it has none (``num_classes`` of 0) is
    refused.

    Args:
        feature_layer: Dotted name of the layer whose output is `features`. Default: the input of the layer that
            classifies, which is found by one call, see `classifying_layer`.
        keep_classes: Names or ids of the network's classes that count, as a list or a text file with one a line, for
            data with fewer classes. Labels are then their places in this list, and probabilities sum to 1 over them.
    """

    task = 'classification'
    can_learn = True
    smooths_labels = True
    _is_checked = False  # that its answers can be logits
    _head: str | None = None  # the layer that classifies
    _taken: tuple[int, int] | None = None  # a size of images that it takes
    _has_own_features = False  # a subclass knows better than to look for it

    _kept: torch.Tensor | None = None  # ids of the classes that count

    def __init__(self, model: nn.Module, info: RecognizerInfo, fit: Fit = 'crop', feature_layer: str | None = None,
                 keep_classes: KeepClasses | None = None):
        if type(self).__init__ is ClassificationRecognizer.__init__:
            model = copy_of(model, f'{self.users_name()}({info.name})')
        super().__init__(model, info, fit)
        check_feature_layer(model, feature_layer, str(self))
        self.feature_layer = feature_layer
        count = self._count_classes()
        self.info = replace(self.info, num_classes=count, gives_probabilities=True)
        self._taken = self.info.input_size or _SIZE
        if feature_layer is None and not self._has_own_features:
            self._head = classifying_layer(self.model, self._ask_once, count)
        if keep_classes is not None:
            self._keep(keep_classes)

    def _keep(self, keep_classes: KeepClasses) -> None:
        ids = kept_ids(keep_classes, self.info.classes, self.info.num_classes, f'{self}: keep_classes')
        self.register_buffer('_kept', torch.tensor(ids, device=self.mean.device), persistent=False)
        names = self.info.classes and tuple(self.info.classes[i] for i in ids)
        self.info = replace(self.info, classes=names, num_classes=len(ids))

    @torch.no_grad()
    def _ask_once(self) -> Any:
        return self.logits(self.mean.new_full((1, 3, *(self.info.input_size or _SIZE)), 0.5))

    def _count_classes(self) -> int:
        """Return the number of outputs; a wrong size, head or class list shows now, not in the first iteration."""
        if getattr(self.model, 'num_classes', None) == 0:
            raise TaskError(f'{self}: {NO_HEAD}')
        logits = first_answer(self, self._ask_once)
        if not isinstance(logits, torch.Tensor) or logits.dim() != 2:
            got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
            raise TaskError(f'{self}: expected logits (N, num_classes) from the network, got {got}. '
                            'Is it a classifier? Name the part that is (output: logits), or its task (task: '
                            f'segmentation | embedding), to ModuleRecognizer; a detector is for {DETECTORS}.')
        if self.info.classes and logits.shape[1] != len(self.info.classes):
            raise ValueError(f'{self}: {how_many(len(self.info.classes), "class name")} for a network that has '
                             f'{logits.shape[1]}.')
        return logits.shape[1]

    def check_label(self, label: Any, count: int, where: str) -> None:
        check_class_ids(label, count, self.info.num_classes, where)

    def check_answers(self, *outputs: Outputs) -> None:
        check_logits(torch.cat([answers['logits'] for answers in outputs]), str(self))

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return what the network gives, ``(N, classes)``, also for classes that are not kept."""
        if self._taken is None:  # it is being built
            return self._answer(images)
        with about_size(images, str(self), 'set input_size', self._answer, self._taken):
            return self._answer(images)

    def _answer(self, images: torch.Tensor) -> Any:
        prepared = self.prepare(images)
        with self.autocast(images):
            return widened(self.read(self.model(prepared)))

    def kept_logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits of the classes that count, ``(N, num_classes)``."""
        logits = self.logits(images)
        return logits if self._kept is None else logits.index_select(1, self._kept)

    def call_layers(self, images: torch.Tensor) -> Any:
        prepared = self.prepare(images)
        with self.autocast(images):
            return unwrapped(self.model)(prepared)

    def loss(self, images: torch.Tensor, label: torch.Tensor, label_smoothing: float = 0.0) -> dict[str, torch.Tensor]:
        """Return the cross-entropy of each image: ``{'cross_entropy': (N,)}``.

        Raises:
            ValueError: A label outside ``[0, num_classes)``; on a GPU this would end the whole process. In the first
                call also: answers that are no logits.
        """
        self.check_label(label, len(images), str(self))
        logits = self.kept_logits(images)
        if not self._is_checked and not self.trainable:
            check_logits(logits, str(self))
            self._is_checked = True  # once: a GPU waits for it
        values = F.cross_entropy(logits, label.long(), reduction='none', label_smoothing=label_smoothing)
        return {'cross_entropy': values}

    def outputs(self, images: torch.Tensor, reference: Outputs | None = None) -> Outputs:
        """Return ``{'logits': (N, num_classes)}``."""
        return {'logits': self.kept_logits(images)}

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """Return the probabilities of the classes, ``(N, num_classes)``."""
        return self.outputs(images)['logits'].softmax(1)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the output of ``feature_layer``; by default the input of the layer that classifies."""
        prepared, model = self.prepare(images), unwrapped(self.model)
        layer = self.feature_layer if self.feature_layer is not None else self._head
        if layer is None:
            raise ValueError(f'{self}: no linear layer to take features from. Name one: feature_layer.')
        with self.autocast(images):
            return widened(captured(model, layer, prepared, str(self), of_input=self.feature_layer is None))

    @torch.no_grad()
    def predict(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the k = 5 (or fewer) likeliest classes, best first.

        Returns:
            ``{'labels': (N, k) long, 'scores': (N, k)}``, and of all classes in their own order
            ``'log_probabilities': (N, num_classes)``.
        """
        with judging():
            logits = self.kept_logits(images)
        scores, labels = logits.softmax(1).topk(min(TOP_K, self.info.num_classes))
        return {'labels': labels, 'scores': scores, 'log_probabilities': logits.log_softmax(1)}


def check_class_ids(label: Any, count: int, num_classes: int, where: str) -> None:
    """Check the classes of a batch of images.

    Raises:
        ValueError: Not ``(count,)`` whole numbers, or, where they are on the CPU, one outside ``[0, num_classes)``.
    """
    if not isinstance(label, torch.Tensor) or label.shape != (count,) or label.dtype not in _WHOLE:
        got = f'{label.dtype} {tuple(label.shape)}' if isinstance(label, torch.Tensor) else type(label).__name__
        raise ValueError(f'{where}: expected whole numbers ({count},), one for each image, got {got}.')
    if label.device.type == 'cpu' and label.numel() and not (
            0 <= int(label.min()) <= int(label.max()) < num_classes):
        raise ValueError(f'{where}: expected labels in 0..{num_classes - 1}, '
                         f'got {int(label.min())}..{int(label.max())}. Are these the classes it was trained on?')


def resolve_input_size(option: InputSize, recorded: tuple[int, int] | None, where: str) -> tuple[int, int] | None:
    """Return ``(height, width)`` of an option, or None for images as they come.

    Raises:
        ValueError: It is no size.
    """
    if option == 'model':
        return recorded
    if option is None:
        return None
    size = tuple(option) if isinstance(option, Sequence) else (option, option)
    if len(size) != 2 or not all(isinstance(side, int) and side >= 1 for side in size):
        raise ValueError(f"{where}: input_size: expected 'model', ~, a number or [height, width], got {option!r}.")
    return size
