"""Models of timm by name, from its hub or from a folder, with one-line errors."""
from collections.abc import Mapping
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any

from torch import nn

from ra_plugin.compat.hub import reached_or_offline
from ra_plugin.library_errors import translated
from ra_plugin.options import nearest
from ra_plugin.recognizers.further_arguments import built_with, check_annotated

_SOURCES = {'hf-hub': 'hf-hub', 'hf_hub': 'hf-hub', 'local-dir': 'local-dir'}  # prefix -> timm's name of the source


def create_model(timm: ModuleType, name: str, pretrained: bool, arguments: Mapping[str, Any], where: str) -> nn.Module:
    """Create a model of timm.

    Args:
        timm: The package.
        name: ``resnet18``, with a tag ``resnet18.a1_in1k``, of the hub ``hf-hub:OWNER/NAME``, or from a folder
            ``local-dir:FOLDER``. Nothing that comes with the weights is executed.
        pretrained: With weights.
        arguments: Further arguments of the model.
        where: Place in the options, for messages.

    Raises:
        ValueError: No such model, tag or folder, arguments that it does not take, or weights that cannot be fetched.
    """
    source, rest = source_of(name)
    check_name(timm, name, where)
    place = f'{where}: model_kwargs'
    asks = source == 'hf-hub' or pretrained and not source
    with translated(where, cache_folder()), built_with(arguments, place), reached_or_offline(asks):
        model = timm.create_model(f'{source}:{rest}' if source else name, pretrained=pretrained, **arguments)
        check_annotated(type(model), arguments, place)
        return model


def source_of(name: str) -> tuple[str, str]:
    """Split a model's name into its source, ``'hf-hub'``, ``'local-dir'`` or ``''``, and what comes after it."""
    prefix, colon, rest = name.partition(':')
    return (_SOURCES[prefix], rest) if colon and prefix in _SOURCES else ('', name)


def short_name(name: str) -> str:
    """Return a model's name for tables: for a folder its own name, for the hub the name within it."""
    source, rest = source_of(name)
    return PurePath(rest).name or rest if source == 'local-dir' else rest


def weights_of(model: Any, name: str) -> str:
    """Return the weights of a model, with the tag that timm chose for a name without one."""
    config = model.pretrained_cfg
    known = [config.get('architecture'), config.get('tag')]
    return name if source_of(name)[0] or not all(known) else f'timm {".".join(known)}'


def check_name(timm: ModuleType, name: str, where: str) -> None:
    """Check the name of a model as far as nothing has to be fetched for it.

    Raises:
        ValueError: No such model, tag or folder.
    """
    source, rest = source_of(name)
    if source == 'local-dir':
        _check_folder(Path(rest), where)
    elif not source and not any(mark in name for mark in '/:'):  # of these timm itself says what is meant
        _check_known(timm, name, where)


def _check_folder(folder: Path, where: str) -> None:
    if not (folder / 'config.json').is_file():
        raise ValueError(f"{where}: expected a folder with config.json and model.safetensors, as timm's save_for_hf "
                         f"writes, got {'one without config.json' if folder.is_dir() else 'no folder'}: {folder}")


def _check_known(timm: ModuleType, name: str, where: str) -> None:
    architecture, dot, tag = name.partition('.')
    if not timm.is_model(architecture):
        meant = nearest(architecture, timm.list_models(), cutoff=0.6)
        raise ValueError(f'{where}: timm has no such model.{_meant(meant)}')
    try:
        timm.models.get_pretrained_cfg(name)
    except RuntimeError:
        known = timm.list_pretrained(f'{architecture}.*')
        meant = nearest(name, known, cutoff=0.6) or (known[0] if len(known) == 1 else None)
        raise ValueError(f"{where}: timm {timm.__version__} has no pretrained weights with the tag '{tag}'."
                         f'{_meant(meant)} Known: {", ".join(known) or "none"}') from None


def _meant(name: str | None) -> str:
    return f" Did you mean '{name}'?" if name else ''


def cache_folder() -> str:
    """Return timm's download folder."""
    try:
        from huggingface_hub.constants import HF_HUB_CACHE
    except ImportError:
        return ''
    return HF_HUB_CACHE
