"""Models of open_clip by name, of the hub or from a folder, with their weights and their own preprocessing."""
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ra_plugin.library_errors import translated
from ra_plugin.options import OptionError, check_type
from ra_plugin.recognizers.open_clip_models.library import library, quiet
from ra_plugin.recognizers.open_clip_models.weights import FOLDER, HUB, Choice, chosen, fetched, fetching, load
from ra_plugin.utils.suggestions import suggestion

Preprocess = str | Mapping[str, Any]
_KEYS = {'mean': list[float], 'std': list[float], 'interpolation': Literal['bicubic', 'bilinear'],
         'resize_mode': Literal['shortest', 'longest', 'squash']}
_CONFIG = 'open_clip_config.json'


@dataclass(frozen=True)
class LoadedModel:
    """A model with both towers.

    Attributes:
        name: As in `build`.
        model: The model, in inference mode.
        config: Its config.
        record: Its preprocessing, as open_clip's ``PreprocessCfg`` takes it, with ``size``.
        source: Origin of the weights.
    """

    name: str
    model: Any
    config: Mapping[str, Any]
    record: Mapping[str, Any]
    source: str


def short_name(model: str) -> str:
    """Return a model's name for tables: of a folder its own name, of the hub the name within it."""
    return Path(model.removeprefix(FOLDER)).name if model.startswith(FOLDER) else model.removeprefix(HUB)


def build(name: str, pretrained: str | bool | None, preprocess: Preprocess | None, size: Any, has_texts: bool,
          where: str) -> LoadedModel:
    """Build a model with its weights.

    Args:
        name: As in ``open_clip.list_models()``, ``hf-hub:OWNER/NAME`` or ``local-dir:FOLDER``.
        pretrained: See `chosen`.
        preprocess: See `OpenClipRecognizer`.
        size: Size of the images, if another than its own.
        has_texts: Its tokenizer will be asked for.
        where: Place in the options, for messages.

    Raises:
        ValueError: No such model, tag, file or folder; weights that do not fit; what would have to be fetched without
            a word of the user's.
    """
    package = library(where)
    _check_name(package, name, where)
    choice = chosen(name, pretrained, where)
    with fetching(name, where):
        config = package.get_model_config(name)
    lacking = [key for key in ('embed_dim', 'vision_cfg', 'text_cfg') if key not in config]
    if lacking:
        raise ValueError(f'{where}: its config has no {lacking[0]}. Is it one of open_clip?')
    _check_network_use(config, name, choice, has_texts, where)
    tagged = package.get_pretrained_cfg(name, choice.tag) if choice.tag else {}
    is_of_timm = bool(config['vision_cfg'].get('timm_model_name'))  # whose weights fit before it has another size
    forced = size[0] if size and size[0] == size[1] else size  # a ResNet takes one number alone
    if isinstance(config['vision_cfg'].get('layers'), (list, tuple)) and isinstance(forced, tuple):
        raise ValueError(f'{where}: input_size: expected equal sides, got {list(forced)}: the positions of a ResNet of '
                         'open_clip are a square.')
    with fetching(name, where):
        model = package.create_model(
            name, load_weights=False, pretrained_text=False, force_image_size=None if is_of_timm else forced,
            force_quick_gelu=bool(tagged.get('quick_gelu')),
            force_preprocess_cfg=_record(package, name, tagged, preprocess, choice, where)).eval()
    if not choice.is_random:
        load(model, fetched(name, choice, where), where)
    record = dict(model.visual.preprocess_cfg)
    if is_of_timm and size is not None:
        with translated(where), quiet():
            model.visual.set_input_size(size)
        record['size'] = size
    source = ('random weights' if choice.is_random else choice.file or
              (f'open_clip {name} {choice.tag}' if choice.tag else name))
    return LoadedModel(name, model, config, record, source)


def _check_name(package: Any, name: str, where: str) -> None:
    if name.startswith(FOLDER):
        folder = Path(name.removeprefix(FOLDER))
        if not (folder / _CONFIG).is_file():
            got = f'one without {_CONFIG}' if folder.is_dir() else 'no folder'
            raise ValueError(f"{where}: expected a folder with {_CONFIG}, as open_clip's push_to_hf_hub writes, got "
                             f'{got}: {folder}')
    elif not name.startswith(HUB) and name not in package.list_models():
        raise ValueError(f'{where}: open_clip has no such model.{suggestion(name, package.list_models())}')


def _check_network_use(config: Mapping[str, Any], name: str, choice: Choice, has_texts: bool, where: str) -> None:
    """Refuse what would fetch something else than what the user has named."""
    if choice.may_fetch:
        return
    text, trunk = config['text_cfg'], config['vision_cfg'].get('timm_model_name') or ''
    tokenizer = text.get('hf_tokenizer_name') if has_texts and not name.startswith(FOLDER) else ''
    needed = {'the config of its image tower': trunk if ':' in trunk else '',
              'the config of its text tower': text.get('hf_model_name'), 'its tokenizer': tokenizer}
    for what, source in needed.items():
        if source:
            raise ValueError(f'{where}: {what} ({source}) would have to be fetched. Name weights that are fetched with '
                             f'it (pretrained: TAG)' + (
                                 f', or save model and tokenizer in a folder (model: {FOLDER}FOLDER)' if tokenizer
                                 else '') + ', or choose another model.')


def _record(package: Any, name: str, tagged: Mapping[str, Any], preprocess: Preprocess | None, choice: Choice,
            where: str) -> dict[str, Any]:
    """Return what replaces the preprocessing on record: that of a tag, and the user's word."""
    place = f'{where}: preprocess'
    given: Mapping[str, Any] = {}
    if isinstance(preprocess, str):
        tags = package.list_pretrained_tags_by_model(name)
        if not package.is_pretrained_cfg(name, preprocess):
            raise OptionError(f'{place}: expected a tag of {name} ({", ".join(tags) or "it has none"}) or {{mean: ..., '
                              f'std: ..., resize_mode: ..., interpolation: ...}}, got {preprocess!r}.')
        tagged = package.get_pretrained_cfg(name, preprocess)
    elif preprocess is not None:
        given = preprocess
        for key, value in given.items():
            if key not in _KEYS:
                raise OptionError(f'{place}: unknown key {key!r}.{suggestion(str(key), list(_KEYS))} Known: '
                                  f'{", ".join(_KEYS)}.')
            check_type(value, _KEYS[key], f'{place}.{key}')
    elif choice.file and not name.startswith(FOLDER):
        _check_published(package, name, where)
    return {**{key: tagged[key] for key in _KEYS if key in tagged}, **given}


def _check_published(package: Any, name: str, where: str) -> None:
    """Refuse a file whose normalization would be a guess: published weights of its model differ from the default."""
    default = library(where, 'transform').PreprocessCfg()
    for tag in package.list_pretrained_tags_by_model(name):
        record = package.get_pretrained_cfg(name, tag)
        if any(key in record and _plain(record[key]) != _plain(getattr(default, key)) for key in _KEYS):
            raise ValueError(f"{where}: a file does not say how images are prepared, and published weights of {name} "
                             f"differ in that. Set preprocess: TAG, for that of {tag} or another tag, or {{mean: ..., "
                             'std: ..., resize_mode: ..., interpolation: ...}.')


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple)) else value
