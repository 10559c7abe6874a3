"""The base of recognizers from a model file: a batch size that may be fixed, answers that may be probabilities."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ra_plugin.recognizers.class_names import KeepClasses, read_classes
from ra_plugin.recognizers.classification import ClassificationRecognizer, Fit
from ra_plugin.recognizers.facts import Outputs, RecognizerInfo
from ra_plugin.recognizers.probabilities import as_logits


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


class FileRecognizer(ClassificationRecognizer):
    """A classifier from a model file.

    Args:
        network: Network that answers to normalized images.
        file: Path of the model file.
        mean, std: Normalization of its input, RGB on the ``[0, 1]`` scale.
        input_size: (height, width), or None: images as they come.
        classes: As in `read_classes`, or None where the file's own count will do.
        probabilities: The answers are probabilities, and not logits.
        batch: Number of images that it takes at once; None: any.
        channels: 3, or 1 for a network of the luma.
        differentiable: ``network`` passes the gradient to the images.
    """

    can_learn = False  # a conversion for inference

    def __init__(self, network: nn.Module, file: str, mean: Sequence[float], std: Sequence[float],
                 input_size: tuple[int, int] | None, fit: Fit, classes: Sequence[str] | str | None,
                 probabilities: bool, batch: int | None, differentiable: bool, feature_layer: str | None = None,
                 keep_classes: KeepClasses | None = None, channels: int = 3):
        where = f'{type(self).__name__}({Path(file).name})'
        for name, values in (('mean', mean), ('std', std)):
            if len(values) != 3 or name == 'std' and min(values) <= 0:
                raise ValueError(f'{where}: {name}: expected three numbers, positive for std, got {list(values)}.')
        try:
            names = read_classes(classes) if classes else None
        except ValueError as error:
            raise ValueError(f'{where}: {error}') from None
        self.batch, self.answers_probabilities = batch, probabilities  # first: building takes an image through `logits`
        super().__init__(network, RecognizerInfo(
            name=Path(file).stem, task='classification', classes=names, mean=tuple(mean), std=tuple(std),
            input_size=input_size, differentiable=differentiable, source=str(file), channels=channels), fit,
            feature_layer, keep_classes)
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

    def features(self, images: torch.Tensor) -> torch.Tensor:
        if not self.info.differentiable:
            raise ValueError(f'{self}: it gives answers, and no features. Use an ONNX file, or another loss.')
        return torch.cat([super(FileRecognizer, self).features(part) for part in in_parts(images, self.batch)])

    def layer_outputs(self, images: torch.Tensor, names: Sequence[str]) -> Outputs:
        if not self.info.differentiable:
            raise ValueError(f'{self}: it gives answers, and no layers. Use an ONNX file, or another loss.')
        found = [super(FileRecognizer, self).layer_outputs(part, names) for part in in_parts(images, self.batch)]
        return {name: torch.cat([one[name] for one in found]) for name in names}

    def _answers(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([super(FileRecognizer, self).logits(part) for part in in_parts(images, self.batch)])
