"""The base of recognizers from a model file: a batch size that may be fixed, answers that may be probabilities."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from ra_plugin.options import check_type
from ra_plugin.recognizers.base import Recognizer
from ra_plugin.recognizers.class_names import KeepClasses, read_classes
from ra_plugin.recognizers.classification import ClassificationRecognizer, Fit
from ra_plugin.recognizers.facts import Outputs, RecognizerInfo
from ra_plugin.recognizers.probabilities import as_logits
from ra_plugin.recognizers.vectors import VectorRecognizer

FileTask = Literal['classification', 'embedding']
ChannelOrder = Literal['rgb', 'bgr']
_CLASSIFIERS = ('classes', 'probabilities', 'keep_classes')  # options of classifiers alone


def checked_task(task: Any, where: str) -> str:
    """Return the task.

    Raises:
        OptionError: It is neither of the two.
    """
    check_type(task, FileTask, f'{where}: task')
    return task


class Runtime(nn.Module):
    """A model file in a runtime of its own, called as a network; it passes no gradient."""

    def run(self, images: np.ndarray) -> np.ndarray:
        """Return answers ``(N, C)`` to normalized float32 images ``(N, 3, H, W)``."""
        raise NotImplementedError(f'{type(self).__name__} has no run().')

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.requires_grad:
            raise ValueError(f'{type(self).__name__} passes no gradient to the images: it can judge, but not serve as '
                             'a loss.')
        return torch.from_numpy(self.run(images.float().cpu().numpy())).to(images)


def in_parts(images: torch.Tensor, batch: int | None) -> Sequence[torch.Tensor]:
    """Return images in parts of as many as a network takes at once; None: any number."""
    return images.split(batch) if batch else [images]


@dataclass(frozen=True)
class FileOptions:
    """Options that model files of every format have.

    Attributes:
        file: Path of the model file.
        mean, std: Normalization of its input, RGB on the ``[0, 1]`` scale.
        fit: See `Recognizer`.
        classes: As in `read_classes`, or None where the file's own count will do.
        probabilities: The answers are probabilities, and not logits.
        keep_classes: See `ClassificationRecognizer`.
        channel_order: Order in which the network takes the channels.
        feature_layer: See `ClassificationRecognizer`.
    """

    file: str
    mean: Sequence[float]
    std: Sequence[float]
    fit: Fit
    classes: Sequence[str] | str | None
    probabilities: bool
    keep_classes: KeepClasses | None
    channel_order: ChannelOrder
    feature_layer: str | None = None


class FileRecognizer(Recognizer):
    """A recognizer from a model file.

    Attributes:
        batch: Number of images that it takes at once; None: any.
        flips: The network takes the channels from blue to red.
    """

    task: Any  # from the class of the task
    batch: int | None = None
    flips = False

    def set_up(self, network: nn.Module, options: FileOptions, input_size: tuple[int, int] | None, batch: int | None,
               differentiable: bool, task: str, channels: int = 3) -> None:
        """Check the options that the formats share, and call the constructor of the task's class.

        Args:
            network: Network that answers to normalized images.
            options: The options.
            input_size: (height, width), or None: images as they come.
            batch: Number of images that it takes at once; None: any.
            differentiable: ``network`` passes the gradient to the images.
            task: The task that was asked for.
            channels: 3, or 1 for a network of the luma.
        """
        where = f'{self.users_name()}({Path(options.file).name})'
        if task not in ('classification', self.task):
            raise ValueError(f'{where}: task: {task}, but its class is made for {self.task}.')
        for name, values in (('mean', options.mean), ('std', options.std)):
            if len(values) != 3 or name == 'std' and min(values) <= 0:
                raise ValueError(f'{where}: {name}: expected three numbers, positive for std, got {list(values)}.')
        given = [name for name in _CLASSIFIERS if getattr(options, name) not in (None, False)]
        if given and self.task != 'classification':
            raise ValueError(f'{where}: {given[0]} is for classifiers, and this is for {self.task}. Leave it out.')
        try:
            names = read_classes(options.classes) if options.classes else None
        except ValueError as error:
            raise ValueError(f'{where}: {error}') from None
        self.batch, self.flips = batch, options.channel_order == 'bgr'  # first: building takes an image through
        self.start(network, RecognizerInfo(
            name=Path(options.file).stem, task=self.task, classes=names, mean=tuple(options.mean),
            std=tuple(options.std), input_size=input_size, differentiable=differentiable, source=str(options.file),
            channels=channels), options)

    # --------------------------------------------------- for subclasses
    def start(self, network: nn.Module, info: RecognizerInfo, options: FileOptions) -> None:
        """Call the constructor of the task's class."""
        raise NotImplementedError(f'{type(self).__name__} has no start().')

    # ------------------------------------------------------------ shared
    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        prepared = super().prepare(images)
        return prepared.flip(1) if self.flips else prepared

    def features(self, images: torch.Tensor) -> torch.Tensor:
        if not self.info.differentiable:
            raise ValueError(f'{self}: it gives answers, and no features. Use an ONNX file, or another loss.')
        return torch.cat([super(FileRecognizer, self).features(part) for part in in_parts(images, self.batch)])

    def layer_outputs(self, images: torch.Tensor, names: Sequence[str]) -> Outputs:
        if not self.info.differentiable:
            raise ValueError(f'{self}: it gives answers, and no layers. Use an ONNX file, or another loss.')
        found = [super(FileRecognizer, self).layer_outputs(part, names) for part in in_parts(images, self.batch)]
        return {name: torch.cat([one[name] for one in found]) for name in names}


class FileClassifier(FileRecognizer, ClassificationRecognizer):
    """A classifier from a model file."""

    can_learn = False  # a conversion for inference

    def start(self, network: nn.Module, info: RecognizerInfo, options: FileOptions) -> None:
        self.answers_probabilities = options.probabilities
        ClassificationRecognizer.__init__(self, network, info, options.fit, options.feature_layer, options.keep_classes)
        self._check_scale()

    def _check_scale(self) -> None:
        """Check whether the answers are probabilities: taken for logits, they would give a wrong loss without any
        error.
        """
        noise = torch.rand(1, 3, *(self.info.input_size or (64, 64)), generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            answers = self._answers(noise.to(self.mean))
        could_be = 0 <= answers.min() and answers.max() <= 1  # not more: quantized ones may sum to anything
        if self.answers_probabilities and not could_be:
            raise ValueError(f'{self}: its answers are no probabilities. Set probabilities: false.')
        if not self.answers_probabilities and could_be and abs(answers.sum() - 1) < 1e-2:
            raise ValueError(f'{self}: its answers are probabilities. Set probabilities: true.')

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        answers = self._answers(images)
        return as_logits(answers) if self.answers_probabilities else answers

    def _answers(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([super(FileClassifier, self).logits(part) for part in in_parts(images, self.batch)])


class FileEmbedder(FileRecognizer, VectorRecognizer):
    """An embedding network from a model file."""

    _remedy = 'Cut the file where it gives them (ONNX: onnx.utils.extract_model).'

    def start(self, network: nn.Module, info: RecognizerInfo, options: FileOptions) -> None:
        VectorRecognizer.__init__(self, network, info, options.fit, options.feature_layer)

    def vectors(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([super(FileEmbedder, self).vectors(part) for part in in_parts(images, self.batch)])
