"""Networks made of the towers of a model of open_clip: the image tower, and a classifier by texts."""
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ra_plugin.library_errors import translated
from ra_plugin.recognizers.open_clip_models.library import library, quiet
from ra_plugin.recognizers.open_clip_models.model import LoadedModel
from ra_plugin.recognizers.open_clip_models.weights import fetching
from ra_plugin.utils.optional import require

PLACE = '{}'  # of the class in a prompt


class ImageTower(nn.Module):
    """The image tower of a model: vectors ``(N, D)``, of any length."""

    def __init__(self, visual: nn.Module):
        super().__init__()
        self.visual = visual

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Return the vectors."""
        answer = self.visual(images)
        return answer[0] if isinstance(answer, tuple) else answer  # of CoCa: and tokens

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.embed(images)


class TextClassifier(ImageTower):
    """An image tower whose vectors are compared with those of classes: ``scale * cosine + bias``.

    Args:
        model: Model with both towers, of which the image tower, scale and bias are kept.
        vectors: ``(D, C)``, of length 1, see `class_vectors`.
    """

    vectors: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor

    def __init__(self, model: Any, vectors: torch.Tensor):
        super().__init__(model.visual)
        scale = model.logit_scale.detach().exp().reshape(())
        bias = scale.new_zeros(()) if model.logit_bias is None else model.logit_bias.detach().clone().reshape(())
        for name, value in (('vectors', vectors), ('scale', scale), ('bias', bias)):
            self.register_buffer(name, value)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits, ``(N, C)``."""
        return self.scale * F.normalize(self.embed(images), dim=1) @ self.vectors + self.bias


def class_vectors(loaded: LoadedModel, classes: Sequence[str], prompts: Sequence[str], where: str) -> torch.Tensor:
    """Return the vectors of classes, ``(D, C)``: the mean of those of their texts, each and the mean of length 1.

    Raises:
        ValueError: A prompt without a place for the class, a class twice, or classes that the tokenizer cannot tell
            apart.
    """
    for prompt in prompts:
        if PLACE not in prompt:
            raise ValueError(f"{where}: prompts: expected {PLACE} for the class, as in 'a photo of a {PLACE}.', got "
                             f'{prompt!r}.')
    package = library(where)
    further = {}
    if loaded.config['text_cfg'].get('hf_tokenizer_name'):
        require('transformers', where)
        further = {'trust_remote_code': False}  # a config could give leave to run code
    with fetching(f'the tokenizer of {loaded.name}', where):
        tokenizer = package.get_tokenizer(loaded.name, **further)
    with translated(where), quiet():
        templates = [lambda label, prompt=prompt: prompt.replace(PLACE, label) for prompt in prompts]
        vectors = package.build_zero_shot_classifier(loaded.model, tokenizer, list(classes), templates)
    seen: dict[bytes, str] = {}
    for label, vector in zip(classes, vectors.T.contiguous(), strict=True):
        other = seen.setdefault(vector.numpy().tobytes(), label)
        if other is not label:
            raise ValueError(f'{where}: classes: {other!r} and {label!r} are the same text to its tokenizer, which '
                             'reads no capitals and cuts what is long. Name them apart, or shorten the prompts.')
    return vectors.contiguous()
