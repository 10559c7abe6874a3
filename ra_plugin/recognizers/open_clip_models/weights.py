"""Weights of open_clip: which ones an option names, where they come from, and how they are loaded without running code.
"""
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ra_plugin.checkpoint import read_weights
from ra_plugin.library_errors import is_network_error, is_worded, translated
from ra_plugin.options import OptionError
from ra_plugin.recognizers.open_clip_models.library import library, quiet
from ra_plugin.state_dicts import load_fitting, unwrapped
from ra_plugin.utils.optional import require
from ra_plugin.utils.suggestions import suggestion
from ra_plugin.utils.text import first_line

HUB, FOLDER = 'hf-hub:', 'local-dir:'  # what names of models begin with
_FILES = ('open_clip_model.safetensors', 'open_clip_pytorch_model.safetensors', 'model.safetensors',
          'open_clip_pytorch_model.bin', 'pytorch_model.bin')  # in a folder, the first there is
_POSITIONS = 'text.transformer.embeddings.position_ids'  # in files of older versions of transformers


@dataclass(frozen=True)
class Choice:
    """The weights that the options ``model`` and ``pretrained`` name.

    Attributes:
        tag: A tag of the package's own, whose weights are fetched from a hub; '': none.
        file: A file with weights; '': none.
        may_fetch: The options name something that is fetched.
        is_random: There are none, but random ones.
    """

    tag: str = ''
    file: str = ''
    may_fetch: bool = False
    is_random: bool = False


def chosen(model: str, pretrained: str | bool | None, where: str) -> Choice:
    """Return the weights that the options name; nothing is fetched.

    Raises:
        ValueError: None are named, or some that do not exist.
    """
    if model.startswith(HUB):
        if pretrained is not True:  # open_clip fetches weights with the config of a model of the hub
            raise ValueError(f'{where}: pretrained: expected true for the weights of the hub, got {pretrained!r}.')
        return Choice(may_fetch=True)
    if pretrained is False:
        return Choice(is_random=True)
    if model.startswith(FOLDER):
        if pretrained is not True:
            raise ValueError(f'{where}: pretrained: expected true for the weights that are there, or false for random '
                             f'ones, got {pretrained!r}.')
        return Choice(file=_file_in(Path(model.removeprefix(FOLDER)), where))
    tags = library(where).list_pretrained_tags_by_model(model)
    known = f'{model} has the tags {", ".join(tags)}' if tags else f'{model} has no tags'
    if pretrained is None or pretrained is True:
        raise ValueError(f'{where}: no weights. Set pretrained: TAG (downloaded once), FILE, or false for random ones; '
                         f'{known}.')
    if library(where).is_pretrained_cfg(model, pretrained):
        return Choice(tag=pretrained, may_fetch=True)
    if not Path(pretrained).is_file():
        raise ValueError(f'{where}: pretrained: no tag and no file {pretrained!r}.{suggestion(pretrained, tags)} '
                         f'{known}.')
    return Choice(file=pretrained)


def _file_in(folder: Path, where: str) -> str:
    found = [folder / name for name in _FILES if (folder / name).is_file()]
    if not found:
        raise ValueError(f'{where}: {folder} has no weights ({_FILES[0]}). Put them there, or set pretrained: false '
                         'for random ones.')
    return str(found[0])


def fetched(model: str, choice: Choice, where: str) -> str:
    """Return the file with the chosen weights; those of a tag or of the hub are downloaded once.

    Raises:
        OptionError: They cannot be fetched.
    """
    if choice.file:
        return choice.file
    pretrained = library(where, 'pretrained')
    with fetching(f'{model} {choice.tag}'.strip(), where):
        if choice.tag:
            return pretrained.download_pretrained(pretrained.get_pretrained_cfg(model, choice.tag))
        return pretrained.download_pretrained_from_hf(model.removeprefix(HUB))


@contextlib.contextmanager
def fetching(what: str, where: str) -> Iterator[None]:
    """Turn exceptions of open_clip within the context into one line with the remedy."""
    with translated(where), quiet():
        try:
            yield
        except Exception as error:
            if is_worded(error) or not is_network_error(error):
                raise
            cache = require('huggingface_hub.constants', where).HF_HUB_CACHE
            raise OptionError(f'{where}: {what} cannot be fetched, and is not in {cache} ({first_line(error)}). Fetch '
                              f'it where there is a network, or name what is there: pretrained: FILE, model: '
                              f'{FOLDER}FOLDER.') from error


def load(model: Any, path: str, where: str) -> None:
    """Load weights into a model with both towers; older names and other sizes are changed as open_clip does it.

    Raises:
        ValueError: The file is damaged, has code in it, or does not fit.
    """
    factory = library(where, 'factory')
    weights: dict[str, Any] = dict(unwrapped(read_weights(path, where), model.state_dict()))
    weights = dict(factory.convert_state_dict(model, weights))
    if 'positional_embedding' in weights and not hasattr(model, 'positional_embedding'):
        weights = factory.convert_to_custom_text_state_dict(weights)
    for name in ('logit_scale', 'logit_bias'):
        own = getattr(model, name, None)
        if name in weights and isinstance(own, nn.Parameter) and weights[name].numel() == own.numel():
            weights[name] = weights[name].reshape(own.shape)
    if _POSITIONS not in model.state_dict():
        weights.pop(_POSITIONS, None)
    with quiet():
        if _has_same_width(weights, model):
            factory.resize_pos_embed(weights, model)
            factory.resize_text_pos_embed(weights, model)
    load_fitting(model, weights, path, where)


def _has_same_width(weights: Mapping[str, Any], model: nn.Module) -> bool:
    """True if tables of positions differ from the model's in their lengths alone: else the file is of another model."""
    own = model.state_dict()
    return all(weights[name].shape[1:] == own[name].shape[1:] for name in weights
               if name.endswith('positional_embedding') and name in own)
