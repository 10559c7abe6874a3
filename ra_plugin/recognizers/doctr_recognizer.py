"""Any reader of words of docTR (Mindee): CRNN, PARSeq, ViTSTR, SAR, MASTER, ViPTR."""
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ra_plugin.checkpoint import load_weights
from ra_plugin.library_errors import translated
from ra_plugin.option_types import WeightsPath
from ra_plugin.options import suggestion
from ra_plugin.recognizers.characters import spelled, steps_needed
from ra_plugin.recognizers.facts import Outputs, RecognizerInfo
from ra_plugin.recognizers.frozen.recurrent import differentiable_recurrence
from ra_plugin.recognizers.frozen.resizing import judging, resize
from ra_plugin.recognizers.further_arguments import built_with, check_further, check_one_source
from ra_plugin.recognizers.networks import widened
from ra_plugin.recognizers.own_preprocessing import OwnPreprocessing
from ra_plugin.recognizers.text import TextRecognizer
from ra_plugin.registry import RECOGNIZER_REGISTRY
from ra_plugin.utils.optional import require
from ra_plugin.utils.text import shown

_BY_CTC = ('CRNN', 'VIPTR')  # all steps belong to the word, in any image
# steps of the network's max_length that are not the word's, but its start and end
_MARKED_STEPS = {'CRNN': 0, 'VIPTR': 0, 'SAR': 1, 'ViTSTR': 2, 'PARSeq': 2, 'MASTER': 2}
_MARKS = re.compile('<(pad|sos|eos)>')  # which docTR leaves in words of its decoders
_OWN: dict[str, str] = dict.fromkeys(('pretrained', 'pretrained_backbone', 'exportable'),
                     "is the recognizer's own. Leave it out.")


@RECOGNIZER_REGISTRY.register
class DoctrRecognizer(TextRecognizer):
    """A reader of docTR with its own vocabulary, size, mean and std, loss and decoding.

    The loss is the library's, over the batch, in inference mode: PARSeq and SAR write their own characters then, and
    are judged by the word; MASTER is given the word. Very wide images, which docTR's pipeline cuts into parts, are read
    as a whole.

    Args:
        model_name: ``crnn_vgg16_bn``, ``crnn_mobilenet_v3_small``, ``crnn_mobilenet_v3_large``, ``sar_resnet31``,
            ``master``, ``vitstr_small``, ``vitstr_base``, ``parseq`` or ``viptr_tiny``.
        pretrained: Take docTR's weights (downloaded once). ``False`` without a checkpoint: random weights.
        checkpoint: File with the weights, ``.safetensors`` or a torch file of tensors.
        model_kwargs: Further arguments of the model, e.g. ``{vocab: '0123456789'}``.

    Raises:
        ImportError: docTR is not installed.
        ValueError: Unknown model, no weights chosen, or a checkpoint that does not fit.
    """

    def __init__(self, model_name: str, pretrained: bool | None = None, checkpoint: WeightsPath | None = None,
                 model_kwargs: Mapping[str, Any] | None = None):
        where = f'DoctrRecognizer({model_name})'
        models = require('doctr.models.recognition', where)
        known = require('doctr.models.recognition.zoo', where).ARCHS
        if model_name not in known:
            raise ValueError(f'{where}: docTR has no such reader.{suggestion(model_name, known)} Known: '
                             f'{", ".join(known)}')
        check_one_source(pretrained, checkpoint, where)
        place = f'{where}: model_kwargs'
        check_further(model_kwargs or {}, _OWN, place)
        with translated(where), built_with(model_kwargs or {}, place):
            # else it fetches weights of its backbone that nobody asked for
            model = getattr(models, model_name)(pretrained=bool(pretrained), pretrained_backbone=False,
                                                **(model_kwargs or {}))
        if checkpoint:
            load_weights(model, checkpoint, where)
        record = model.cfg
        super().__init__(model, RecognizerInfo(
            name=model_name, task='text', classes=tuple(model.vocab), num_classes=len(model.vocab) + 1,
            mean=tuple(record['mean']), std=tuple(record['std']), input_size=tuple(record['input_shape'][1:]),
            source=checkpoint or (f'docTR {model_name}' if pretrained else 'random weights')))
        differentiable_recurrence(self.model)
        kinds = [kind.__name__ for kind in type(model).__mro__]
        self._by_ctc = any(kind in _BY_CTC for kind in kinds)
        marked = next((_MARKED_STEPS[kind] for kind in kinds if kind in _MARKED_STEPS), max(_MARKED_STEPS.values()))
        # the greatest number of characters of a word: docTR cuts labels that have more
        self.max_length = int(model.max_length) - marked

    @property
    def batch_independent(self) -> bool:
        return self._by_ctc  # others write as many characters as the longest word of the batch has

    def check_label(self, label: Any, count: int, where: str) -> None:
        super().check_label(label, count, where)
        longest = max((self._spelled(word) for word in label), key=len, default='')
        if len(longest) > self.max_length:
            raise ValueError(f'{where}: expected words of at most {self.max_length} characters, got {shown(longest)}. '
                             'Leave such words out: max_length of the data set.')

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Return the network's input as docTR makes it: the aspect ratio kept, black at the right or at the bottom."""
        (height, width), (rows, columns) = self._size, images.shape[-2:]
        if rows * width != height * columns:
            size = self.resized(rows, columns)
            if size != (rows, columns):
                images = resize(images, size, 'stretch', 'bilinear')
            images = F.pad(images, (0, width - size[1], 0, height - size[0]))
        return super().prepare(images)

    @property
    def _size(self) -> tuple[int, int]:
        return self.info.input_size or (32, 128)

    def resized(self, height: int, width: int) -> tuple[int, int]:
        rows, columns = self._size
        if height * columns == rows * width:
            return rows, columns
        ratio = height / width
        if ratio > rows / columns:
            return rows, max(int(rows / ratio), 1)
        return max(int(columns * ratio), 1), columns

    def resizing(self) -> str:
        return f'words resized to fit into {self._size[1]}x{self._size[0]} pixels'

    def loss(self, images: torch.Tensor, label: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return ``{'loss': ()}``, the library's own over the batch."""
        self.check_label(label, len(images), str(self))
        self._count_long(self.too_long(label), len(label))
        prepared = self.prepare(images)
        with self.autocast(images):
            return {'loss': widened(self.model(prepared, target=[self._spelled(word) for word in label])['loss'])}

    def too_long(self, words: Sequence[str], size: tuple[int, int] | None = None) -> list[str]:
        return [word for word in words if self._steps and steps_needed(self._spelled(word)) > self._steps]

    @functools.cached_property
    @torch.no_grad()
    def _steps(self) -> int:
        """Number of steps of a reader by CTC, whatever the size of the image; 0 for others."""
        return self.outputs(self.mean.new_zeros(1, 3, *self._size))['logits'].shape[2] if self._by_ctc else 0

    def outputs(self, images: torch.Tensor, reference: Outputs | None = None) -> Outputs:
        """Return ``{'logits': (N, C, T)}``; all but CTC's at the steps of the words in the clean images, and their end.
        """
        prepared = self.prepare(images)
        with self.autocast(images):
            if self._by_ctc:
                scores = self.model(prepared, return_model_output=True)['out_map']
                return {'logits': widened(scores).transpose(1, 2)}
            words: Any = reference['words'] if reference else [word[:self.max_length] for word, _ in self._read(
                prepared)]
            scores = self.model(prepared, target=words, return_model_output=True)['out_map']
        logits = widened(scores).transpose(1, 2)
        if reference:
            return {'logits': logits}
        lengths = torch.tensor([len(word) + 1 for word in words], device=logits.device)[:, None]
        there = torch.arange(logits.shape[2], device=logits.device)[None] < lengths
        return {'logits': logits, 'words': words, 'logits_weights': (there / lengths).to(logits)}

    def _spelled(self, word: str) -> str:
        return spelled(word, tuple(self.info.classes or ()))

    def _read(self, prepared: torch.Tensor) -> list[tuple[str, float]]:
        found = self.model(prepared, return_preds=True)['preds']
        return [(_MARKS.sub('', word.partition('<eos>')[0]), score) for word, score in found]

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the output of the network's feature extractor, ``(N, C, h, w)`` or ``(N, L, C)``."""
        prepared = self.prepare(images)
        with self.autocast(images):
            found = self.model.feat_extractor(prepared)
        return widened(found['features'] if isinstance(found, Mapping) else found)

    def call_layers(self, images: torch.Tensor) -> Any:
        prepared = self.prepare(images)
        with self.autocast(images):
            return self.model(prepared, return_model_output=True)

    @torch.no_grad()
    def predict(self, images: torch.Tensor) -> list[dict[str, Any]]:
        with judging(), self.autocast(images):
            found = self._read(self.prepare(images))
        return [{'text': word, 'score': min(max(float(score), 0.0), 1.0)} for word, score in found]

    def own_preprocessing(self) -> OwnPreprocessing:
        make = require('doctr.models.preprocessor', str(self)).PreProcessor
        preprocess = make(self.info.input_size, 1, mean=self.info.mean, std=self.info.std, preserve_aspect_ratio=True)
        return OwnPreprocessing(self.info.mean, self.info.std, lambda picture: _first(preprocess, picture))


def _first(preprocess: Any, picture: Image.Image) -> torch.Tensor:
    batch, = preprocess([np.asarray(picture)])
    return batch[0] if isinstance(batch, (list, tuple)) else batch
