"""The models of open_clip: each configuration with random weights, its answers compared with the package's own."""
from typing import Any

import torch
from torch.nn import functional as F

from ra_plugin.recognizers import OpenClipRecognizer, Recognizer
from ra_plugin.recognizers.facts import TaskError
from ra_plugin.recognizers.open_clip_models.library import library, quiet

CLASSES, PROMPT = ['cat', 'dog', 'traffic light'], 'a photo of a {}.'
_MOST = 500  # million parameters: 2 GB of weights, twice while answers are compared
_TOLERANCE = 1e-4


def model_names() -> list[str]:
    """Return the names of all configurations."""
    return sorted(library('zoo').list_models())


def build(name: str) -> Recognizer:
    """Build a classifier by texts; an image tower alone where the tokenizer would have to be fetched.

    Raises:
        TaskError: It has more than 500 million parameters, or its text tower would have to be fetched.
        ValueError: It answers otherwise than the package.
    """
    package, where = library('zoo'), f'zoo({name})'
    text = package.get_model_config(name)['text_cfg']
    if text.get('hf_model_name'):
        raise TaskError(f'{where}: the config of its text tower ({text["hf_model_name"]}) has to be fetched.')
    with quiet(), torch.device('meta'):
        count = sum(parameter.numel() for parameter in _created(package, name, 'meta').parameters()) // 10 ** 6
    if count > _MOST:
        raise TaskError(f'{where}: {count} million parameters, and at most {_MOST} are tried.')
    is_tower = bool(text.get('hf_tokenizer_name'))
    further: dict[str, Any] = {'task': 'embedding'} if is_tower else {'classes': CLASSES, 'prompts': [PROMPT]}
    torch.manual_seed(0)
    recognizer = OpenClipRecognizer(name, False, **further)
    with quiet():
        torch.manual_seed(0)
        _compare(package, _created(package, name), name, recognizer, is_tower)
    return recognizer


def _created(package: Any, name: str, device: str = 'cpu') -> Any:
    return package.create_model(name, load_weights=False, pretrained_text=False, device=device).eval()


@torch.no_grad()
def _compare(package: Any, model: Any, name: str, recognizer: Any, is_tower: bool) -> None:
    """Compare with the package's vectors of images, or with its zero-shot logits, ``(N, C)``, of the same weights."""
    prepared = torch.randn(2, 3, *recognizer.info.input_size)
    found, expected = recognizer.model(prepared), model.encode_image(prepared, normalize=True)
    if is_tower:
        found = F.normalize(found, dim=1)
    else:
        texts = package.get_tokenizer(name)([PROMPT.format(label) for label in CLASSES])
        expected = model.logit_scale.exp() * expected @ model.encode_text(texts, normalize=True).T
        expected = expected if model.logit_bias is None else expected + model.logit_bias
    if found.shape != expected.shape:
        raise ValueError(f'zoo({name}): expected answers of {tuple(expected.shape)}, got {tuple(found.shape)}.')
    distance = (found - expected).abs().max().item()
    if not distance <= _TOLERANCE * max(expected.abs().max().item(), 1.0):
        raise ValueError(f'zoo({name}): its answers and those of the package are {distance:.2g} apart.')
