"""Any reader of words that is trained by connectionist temporal classification: a module, or an ONNX file."""
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from ra_plugin.option_types import FilePath, ModuleName, Positive, WeightsPath
from ra_plugin.recognizers.characters import CTCCoder, read_characters
from ra_plugin.recognizers.facts import Outputs, RecognizerInfo, TaskError
from ra_plugin.recognizers.feature_layers import captured, check_feature_layer, classifying_layer
from ra_plugin.recognizers.file.onnx_conversion import check_conversion, converted
from ra_plugin.recognizers.file.onnx_recognizer import OnnxRuntime, load_model
from ra_plugin.recognizers.frozen.recurrent import differentiable_recurrence
from ra_plugin.recognizers.frozen.resizing import judging, resize
from ra_plugin.recognizers.module_network import built_network
from ra_plugin.recognizers.networks import widened
from ra_plugin.recognizers.text import TextRecognizer
from ra_plugin.registry import RECOGNIZER_REGISTRY
from ra_plugin.utils.text import first_line

_SMALL = 1e-12  # of probabilities


@RECOGNIZER_REGISTRY.register
class CTCRecognizer(TextRecognizer):
    """A network that gives scores ``(N, T, C)`` at T steps along the word, as EasyOCR's and PaddleOCR's do.

    Its loss is the negative log-likelihood of the word over all its alignments (Graves et al., 2006), divided by the
    number of its characters, as torch's mean over a batch does it. A word that needs more steps than there are has a
    loss of 0, as in the libraries' training.

    The whole image is resized to ``height``; the width follows, up to ``width``, and the rest is filled at the right.

    Args:
        module: ``package.module.Name``, a class or a function that returns the network; or, from Python, the network,
            which is copied. It is imported: name only code that you trust.
        module_kwargs: Arguments of the class or function.
        forward_kwargs: Further arguments of each call, e.g. ``{text: ~}`` for EasyOCR's networks.
        pretrained: Without a checkpoint: ``true``: the class or function loads weights of its own; ``false``: random
            weights are meant. Default: a warning, since nobody would notice.
        checkpoint: File with the weights, ``.safetensors`` or a torch file of tensors.
        file: ONNX file instead of a module. Its answers and gradient are checked against onnxruntime's.
        characters: Characters in the order of the classes, the blank left out: one text, a list, or a text file (.txt)
            with one a line. Where the network has one class more than these and the blank, it is the space, as
            PaddleOCR adds it. Default: those recorded in the ONNX file.
        blank: Class of the blank; -1 for the last.
        mean, std: Normalization, on the ``[0, 1]`` scale; RGB, or one number for a network of one channel.
        height: Height of the network's input in pixels.
        width: Width of its input in pixels; ``~``: as wide as the word.
        fill: What is right of the word: ``zero``: the number 0 after normalization; ``edge``: its last column.
        channel_order: ``bgr`` for networks trained on what OpenCV reads.
        probabilities: The network ends in a softmax, so that its answers are probabilities, and not logits.
        differentiable: ``false`` with ``file``: it judges, in onnxruntime alone, and need not be convertible.
        feature_layer: Dotted name of the layer whose output is compared by the feature loss. Default: the input of the
            layer that classifies.

    Raises:
        ImportError: A module or package is not installed.
        ValueError: No weights chosen, no characters known, or not as many as classes.
    """

    def __init__(self, module: ModuleName | nn.Module | None = None, module_kwargs: Mapping[str, Any] | None = None,
                 checkpoint: WeightsPath | None = None, file: FilePath | None = None,
                 characters: Sequence[str] | str | None = None, blank: int = 0,
                 mean: float | Sequence[float] = (0.5, 0.5, 0.5), std: float | Sequence[float] = (0.5, 0.5, 0.5),
                 height: Positive = 32, width: Positive | None = None, fill: Literal['zero', 'edge'] = 'zero',
                 channel_order: Literal['rgb', 'bgr'] = 'rgb', probabilities: bool = False,
                 pretrained: bool | None = None, differentiable: bool = True,
                 forward_kwargs: Mapping[str, Any] | None = None, feature_layer: str | None = None):
        name = (Path(file).name if file else module.rpartition('.')[2] if isinstance(module, str) else
                type(module).__name__)
        where = f'CTCRecognizer({name})'
        if (module is None) == (file is None):
            raise ValueError(f'{where}: set one of module and file.')
        if file and (checkpoint or module_kwargs or forward_kwargs or pretrained is not None):
            raise ValueError(f'{where}: checkpoint, module_kwargs, forward_kwargs and pretrained are for a module. '
                             'Leave them out.')
        if not differentiable and not file:
            raise ValueError(f'{where}: differentiable: false is for a file. Leave it out.')
        recorded: str | None = None
        judge = None
        if file:
            onnx_model = load_model(file, where)
            recorded = next((entry.value for entry in onnx_model.metadata_props if entry.key == 'character'), None)
            judge = OnnxRuntime(onnx_model, where)
            model: Any = converted(onnx_model, where) if differentiable else judge
        else:
            model = built_network(module, module_kwargs or {}, checkpoint, pretrained, where)
        means, stds = ((value,) * 3 if isinstance(value, (int, float)) else tuple(value) for value in (mean, std))
        super().__init__(model, RecognizerInfo(
            name=name, task='text', mean=means, std=stds, channels=_channels(model), differentiable=differentiable,
            source=file or checkpoint or ('random weights' if pretrained is False else str(module))))
        self.height, self.width, self.fill, self.flips = height, width, fill, channel_order == 'bgr'
        self.gives_probabilities, self.forward_kwargs = probabilities, dict(forward_kwargs or {})
        differentiable_recurrence(self.model)
        count = self._count_classes()
        if characters is None and recorded is not None:
            characters = recorded.splitlines()
        if characters is None:
            raise ValueError(f'{where}: no characters. Set characters: TEXT, in the order of its {count} classes, the '
                             'blank left out.')
        known = read_characters(characters, where)
        if count == len(known) + 2 and ' ' not in known:
            known += (' ',)
        if count != len(known) + 1 or not -1 <= blank < count:
            raise ValueError(f'{where}: expected characters for {count - 1} classes and a blank within them, got '
                             f'{len(known)} characters and blank {blank}.')
        self.coder = CTCCoder(known, blank % count)
        self.info = replace(self.info, num_classes=count, classes=known)
        check_feature_layer(model, feature_layer, str(self))
        self.feature_layer = feature_layer
        self._head = classifying_layer(model, self._ask_once, count) if differentiable else None
        if judge is not None and differentiable:
            images = torch.rand(2, 3, self.height, 4 * self.height, generator=torch.Generator().manual_seed(0))
            check_conversion(model, judge, self.prepare(images), where)

    @torch.no_grad()
    def _ask_once(self) -> torch.Tensor:
        return self.logits(self.mean.new_full((1, 3, self.height, self.width or 4 * self.height), 0.5))

    def _count_classes(self) -> int:
        try:
            answer: Any = self._ask_once()
        except TaskError:
            raise
        except Exception as error:  # of any network
            raise ValueError(f'{self}: cannot take an image of height {self.height} ({first_line(error)}). Set height '
                             'and width to those that it was trained with.') from error
        return answer.shape[2]

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Return the network's input, ``(N, 3 or 1, height, width)``; differentiable."""
        rows, columns = images.shape[-2:]
        width = max(1, math.ceil(columns * self.height / rows))
        width = min(width, self.width) if self.width else width
        if (rows, columns) != (self.height, width):
            images = resize(images, (self.height, width), 'stretch', 'bicubic')
        prepared = super().prepare(images)
        if self.width and width < self.width:
            rest = 0, self.width - width, 0, 0
            prepared = F.pad(prepared, rest, mode='replicate') if self.fill == 'edge' else F.pad(prepared, rest)
        return prepared.flip(1) if self.flips else prepared

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores ``(N, T, C)`` whose softmax over C has the probabilities."""
        prepared = self.prepare(images)
        with self.autocast(images):
            answer = widened(self.model(prepared, **self.forward_kwargs))
        if not isinstance(answer, torch.Tensor) or answer.dim() != 3 or len(answer) != len(images):
            got = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
            raise TaskError(f'{self}: expected scores (N, T, C) of characters from the network, got {got}. Is it a '
                            'reader of words, trained by CTC?')
        return answer.clamp_min(_SMALL).log() if self.gives_probabilities else answer

    def loss(self, images: torch.Tensor, label: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return ``{'ctc': (N,)}``."""
        self.check_label(label, len(images), str(self))
        steps = self.logits(images).log_softmax(2).transpose(0, 1)  # (T, N, C)
        classes, lengths = self.coder.encode(label, steps.device)
        values = F.ctc_loss(steps, classes, torch.full_like(lengths, len(steps)), lengths, self.coder.blank, 'none',
                            zero_infinity=True)
        return {'ctc': values / lengths.clamp_min(1)}

    def outputs(self, images: torch.Tensor, reference: Outputs | None = None) -> Outputs:
        """Return ``{'logits': (N, C, T)}``."""
        return {'logits': self.logits(images).transpose(1, 2)}

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the output of ``feature_layer``; by default the input of the layer that classifies, ``(N, T, D)``."""
        layer = self.feature_layer or self._head
        if layer is None:
            raise ValueError(f'{self}: no linear layer to take features from. Name one: feature_layer.')
        with self.autocast(images):
            return widened(captured(self.model, layer, self.prepare(images), str(self),
                                    of_input=self.feature_layer is None, **self.forward_kwargs))

    def call_layers(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits(images)

    @torch.no_grad()
    def predict(self, images: torch.Tensor) -> list[dict[str, Any]]:
        with judging():
            probabilities = self.logits(images).softmax(2)
        return [{'text': word, 'score': score} for word, score in self.coder.decode(probabilities)]


def _channels(model: nn.Module) -> int:
    """Return the channels that the first convolution takes, 1 or 3."""
    first = next((layer for layer in model.modules() if isinstance(layer, nn.Conv2d)), None)
    return 1 if first is not None and first.in_channels == 1 else 3
