"""Any reader of words that is trained by connectionist temporal classification: a module, or an ONNX file."""
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from ra_plugin.option_types import Characters, FilePath, ModuleName, Positive, WeightsPath
from ra_plugin.recognizers.characters import CTCCoder, read_characters, warn_of_doubles
from ra_plugin.recognizers.facts import Outputs, RecognizerInfo, TaskError
from ra_plugin.recognizers.feature_layers import captured, check_feature_layer, classifying_layer
from ra_plugin.recognizers.file.base import in_parts
from ra_plugin.recognizers.frozen.recurrent import differentiable_recurrence
from ra_plugin.recognizers.frozen.resizing import judging
from ra_plugin.recognizers.networks import unwrapped, widened
from ra_plugin.recognizers.own_preprocessing import OwnPreprocessing
from ra_plugin.recognizers.probabilities import as_logits
from ra_plugin.recognizers.reader_network import of_file, of_module
from ra_plugin.recognizers.reader_preprocessing import of_easyocr, of_paddleocr
from ra_plugin.recognizers.text import TextRecognizer
from ra_plugin.recognizers.word_input import Fill, Interpolation, WordInput
from ra_plugin.registry import RECOGNIZER_REGISTRY
from ra_plugin.utils.text import first_line
from ra_plugin.utils.warn import warn


@RECOGNIZER_REGISTRY.register
class CTCRecognizer(TextRecognizer):
    """A network that gives scores of C characters at T steps along the word, as EasyOCR's and PaddleOCR's do.

    Its loss is the negative log-likelihood of the word over all its alignments (Graves et al., 2006), divided by the
    number of its characters, as torch's mean over a batch does it. A word that needs more steps than there are has a
    loss of 0, as in the libraries' training; such words are warned of and counted.

    The whole image is resized to ``height``; the width follows, and what is missing is filled at the right.
    EasyOCR's own preprocessing is ``height: 64``; PaddleOCR's ``height: 48, min_width: 320, interpolation: opencv,
    channel_order: bgr``.

    Args:
        module: ``package.module.Name``, a class or a function that returns the network; or, from Python, the network,
            which is copied. It is imported: name only code that you trust.
        module_kwargs: Arguments of the class or function.
        forward_kwargs: Further arguments of each call, e.g. ``{text: ~}`` for EasyOCR's networks.
        pretrained: Without a checkpoint: ``true``: the class or function loads weights of its own; ``false``: random
            weights are meant. Default: a warning, since nobody would notice.
        checkpoint: File with the weights, ``.safetensors`` or a torch file of tensors.
        file: ONNX file instead of a module, with channels first or last, one or three. Its answers and gradient are
            checked against onnxruntime's. One whose batch size is fixed sees the images one after the other.
        characters: Characters in the order of the classes, the blank left out: one text, a list, or a text file (.txt)
            with one a line, for characters of several code points, too. Where the network has one class more than these
            and the blank, it is the space, as PaddleOCR adds it. Default: those recorded in the ONNX file.
        blank: Class of the blank; -1 for the last.
        mean, std: Normalization, on the ``[0, 1]`` scale; RGB, or one number for a network of one channel.
        height: Height of the network's input in pixels. Default: that of the file where it is fixed, else 32.
        width: Width of its input in pixels, into which wider words are squeezed; ``~``: as wide as the word, or that of
            the file where it is fixed.
        fill: What is right of a word that is narrower than ``width`` or ``min_width``: ``zero``: the number 0 after
            normalization; ``edge``: its last column.
        channel_order: ``bgr`` for networks trained on what OpenCV reads.
        probabilities: The network ends in a softmax, so that its answers are probabilities, and not logits.
        differentiable: ``false`` with ``file``: it judges, in onnxruntime alone, and need not be convertible.
        feature_layer: Dotted name of the layer whose output is compared by the feature loss. Default: the input of the
            layer that classifies.
        min_width: In place of ``width``: least width of the input in pixels; wider words have an input of their own
            width.
        interpolation: ``bicubic`` or ``bilinear``, as Pillow has them; ``opencv``: OpenCV's bilinear one, without
            antialiasing.
        batch_first: The scores are ``(N, T, C)``; ``false``: ``(T, N, C)``, as CRNNs give them to torch's CTC loss.

    Raises:
        ImportError: A module or package is not installed.
        ValueError: No weights chosen, no characters known, or not as many as classes.
    """

    def __init__(self, module: ModuleName | nn.Module | None = None, module_kwargs: Mapping[str, Any] | None = None,
                 checkpoint: WeightsPath | None = None, file: FilePath | None = None,
                 characters: Characters | None = None, blank: int = 0,
                 mean: float | Sequence[float] = (0.5, 0.5, 0.5), std: float | Sequence[float] = (0.5, 0.5, 0.5),
                 height: Positive | None = None, width: Positive | None = None, fill: Fill = 'zero',
                 channel_order: Literal['rgb', 'bgr'] = 'rgb', probabilities: bool = False,
                 pretrained: bool | None = None, differentiable: bool = True,
                 forward_kwargs: Mapping[str, Any] | None = None, feature_layer: str | None = None,
                 min_width: Positive | None = None, interpolation: Interpolation = 'bicubic',
                 batch_first: bool = True):
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
        network = (of_file(file, differentiable, where) if file else
                   of_module(module, module_kwargs or {}, checkpoint, pretrained, where))
        height, width = network.side('height', height, where), network.side('width', width, where)
        self.input = _checked(WordInput(height or 32, width, min_width, fill, interpolation), where)
        means, stds = ((value,) * 3 if isinstance(value, (int, float)) else tuple(value) for value in (mean, std))
        super().__init__(network.model, RecognizerInfo(
            name=name, task='text', mean=means, std=stds, differentiable=differentiable,
            channels=network.channels,
            source=file or checkpoint or ('random weights' if pretrained is False else str(module))))
        self.batch, self.flips, self._warns = network.batch, channel_order == 'bgr', True
        self.batch_first = batch_first
        self._has_steps_first: bool | None = None  # of the layer of the features
        self._of_paddle = network.characters is not None
        self.gives_probabilities, self.forward_kwargs = probabilities, dict(forward_kwargs or {})
        differentiable_recurrence(self.model)
        count = self._count_classes()
        if characters is None and network.characters is not None:
            characters = network.characters.splitlines()
        if characters is None:
            raise ValueError(f'{where}: no characters. Set characters: TEXT, in the order of its {count} classes, the '
                             'blank left out.')
        known = read_characters(characters, where)
        if count == len(known) + 2 and ' ' not in known:
            known += (' ',)
        if count != len(known) + 1 or not -1 <= blank < count:
            raise ValueError(f'{where}: expected characters for {count - 1} classes and a blank within them, got '
                             f'{len(known)} characters and blank {blank}.')
        warn_of_doubles(known, where)
        self.coder = CTCCoder(known, blank % count)
        self.info = replace(self.info, num_classes=count, classes=known)
        check_feature_layer(self.model, feature_layer, str(self))
        self.feature_layer = feature_layer
        self._head = classifying_layer(self.model, self._ask_once, count) if differentiable else None
        network.check(self.prepare, self.input.height, where)

    @torch.no_grad()
    def _ask_once(self) -> torch.Tensor:
        height, width = self.input.height, self.input.width
        return self.logits(self.mean.new_full((1, 3, height, width or 4 * height), 0.5))

    def _count_classes(self) -> int:
        try:
            answer: Any = self._ask_once()
        except TaskError:
            raise
        except Exception as error:  # of any network
            raise ValueError(f'{self}: cannot take an image of height {self.input.height} ({first_line(error)}). '
                             'Set height and width to those that it was trained with.') from error
        return answer.shape[2]

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Return the network's input, ``(N, 3 or 1, height, width)``; differentiable."""
        size = images.shape[-2], images.shape[-1]
        own, whole = self.input.widths(*size)
        if self._warns and self.input.squeezes(*size):
            self._warns = False  # once
            warn(f'{self}: words in images of {size[1]}x{size[0]} pixels, and perhaps others, are squeezed into '
                 f'{own}x{self.input.height}. Set a greater width, or min_width in its place.')
        prepared = self.input.filled(super().prepare(self.input.resized(images)), whole)
        return prepared.flip(1) if self.flips else prepared

    def resized(self, height: int, width: int) -> tuple[int, int]:
        return self.input.height, self.input.widths(height, width)[0]

    def resizing(self) -> str:
        return str(self.input)

    def own_preprocessing(self) -> OwnPreprocessing:
        """Return EasyOCR's preprocessing for its networks, and PaddleOCR's for files that record their characters."""
        if type(unwrapped(self.model)).__module__.startswith('easyocr.'):
            return of_easyocr(self.input.width, str(self))
        return of_paddleocr(self.input.height) if self._of_paddle else OwnPreprocessing()

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores ``(N, T, C)`` whose softmax over C has the probabilities."""
        return torch.cat([self._logits_of(part) for part in in_parts(self.prepare(images), self.batch)])

    def _logits_of(self, prepared: torch.Tensor) -> torch.Tensor:
        with self.autocast(prepared):
            answer = widened(self.model(prepared, **self.forward_kwargs))
        batch = 0 if self.batch_first else 1
        if not isinstance(answer, torch.Tensor) or answer.dim() != 3 or answer.shape[batch] != len(prepared):
            form = '(N, T, C)' if self.batch_first else '(T, N, C)'
            got = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
            advice = 'Is it a reader of words, trained by CTC?'
            if isinstance(answer, torch.Tensor) and answer.dim() == 3 and answer.shape[1 - batch] == len(prepared):
                advice = f'Set batch_first: {str(not self.batch_first).lower()}.'
            raise TaskError(f'{self}: expected scores {form} of characters from the network, got {got} of '
                            f'{len(prepared)} images. {advice}')
        answer = answer.transpose(0, batch)
        return as_logits(answer) if self.gives_probabilities else answer

    def loss(self, images: torch.Tensor, label: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return ``{'ctc': (N,)}``."""
        self.check_label(label, len(images), str(self))
        steps = self.logits(images).log_softmax(2).transpose(0, 1)  # (T, N, C)
        classes, lengths = self.coder.encode(label, steps.device)
        self._count_long(self._longer_than(len(steps), label), len(label))
        values = F.ctc_loss(steps, classes, torch.full_like(lengths, len(steps)), lengths, self.coder.blank, 'none',
                            zero_infinity=True)
        return {'ctc': values / lengths.clamp_min(1)}

    @torch.no_grad()
    def too_long(self, words: Sequence[str], size: tuple[int, int] | None = None) -> list[str]:
        height, width = size or (self.input.height, self.input.width)
        if width is None:
            return []
        return self._longer_than(self.logits(self.mean.new_full((1, 3, height, width), 0.5)).shape[1], words)

    def _longer_than(self, steps: int, words: Sequence[str]) -> list[str]:
        return [word for word, needed in zip(words, self.coder.steps(words), strict=True) if needed > steps]

    def outputs(self, images: torch.Tensor, reference: Outputs | None = None) -> Outputs:
        """Return ``{'logits': (N, C, T)}``."""
        return {'logits': self.logits(images).transpose(1, 2)}

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the output of ``feature_layer``; by default the input of the layer that classifies, ``(N, T, D)``."""
        layer = self.feature_layer or self._head
        if layer is None:
            raise ValueError(f'{self}: no linear layer to take features from. Name one: feature_layer.')
        with self.autocast(images):
            return torch.cat([self._captured(layer, part) for part in in_parts(self.prepare(images), self.batch)])

    def _captured(self, layer: str, prepared: torch.Tensor) -> torch.Tensor:
        def of(inputs: torch.Tensor) -> torch.Tensor:
            return widened(captured(self.model, layer, inputs, str(self), of_input=self.feature_layer is None,
                                    **self.forward_kwargs))

        if self._has_steps_first is None:  # a batch of one tells which of its dimensions is that of the images
            self._has_steps_first = not self.batch_first and len(of(prepared[:1])) != 1
        found = of(prepared)
        if not self._has_steps_first:
            return found
        # as linear layers are given them: all steps of all images in a row
        return (found.unflatten(0, (-1, len(prepared))) if found.dim() == 2 else found).transpose(0, 1)

    def layer_outputs(self, images: torch.Tensor, names: Sequence[str]) -> Outputs:
        found = [super(CTCRecognizer, self).layer_outputs(part, names) for part in in_parts(images, self.batch)]
        return {name: torch.cat([one[name] for one in found]) for name in names}

    def call_layers(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits(images)

    @torch.no_grad()
    def predict(self, images: torch.Tensor) -> list[dict[str, Any]]:
        with judging():
            probabilities = self.logits(images).softmax(2)
        return [{'text': word, 'score': score} for word, score in self.coder.decode(probabilities)]


def _checked(word_input: WordInput, where: str) -> WordInput:
    if word_input.width and word_input.min_width:
        raise ValueError(f'{where}: width and min_width: expected one of them, since width {word_input.width} is that '
                         'of all words. Leave one out.')
    if word_input.fill == 'edge' and not word_input.width and not word_input.min_width:
        warn(f'{where}: fill: edge fills nothing, since without width or min_width the input is as wide as the word. '
             'Leave it out.')
    return word_input
