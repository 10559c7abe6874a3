"""Facts in timm's record of a model, which are known before it is built."""
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from ra_plugin.compat.hub import reached_or_offline
from ra_plugin.library_errors import translated
from ra_plugin.recognizers.timm_models import cache_folder, check_name, source_of
from ra_plugin.utils.optional import require

_TOWERS = ('clip', 'pe_core')  # in timm's names
_WIDEST_TOWER = 1280  # outputs
_IMAGENET = 1000  # classes


def record_of(timm: ModuleType, name: str, arguments: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return timm's record (``pretrained_cfg``) of a model, with the number of outputs that it is built with.

    Args:
        timm: The package.
        name: As for `create_model`.
        arguments: Further arguments of the model.
        where: Place in the options, for messages.

    Raises:
        ValueError: As `create_model`, about names and what cannot be fetched.
    """
    source, rest = source_of(name)
    check_name(timm, name, where)
    if source:
        with translated(where, cache_folder()), reached_or_offline(source == 'hf-hub'):
            hub = require('timm.models._hub', where)
            read = hub.load_model_config_from_hf if source == 'hf-hub' else hub.load_model_config_from_path
            record, architecture, saved = read(rest)
        record, arguments = {**record, 'architecture': architecture}, {**(saved or {}), **arguments}
    else:
        found = None if any(mark in name for mark in '/:') else timm.models.get_pretrained_cfg(name)
        record = found.to_dict() if found else {}
    record = {**record, **(arguments.get('pretrained_cfg_overlay') or {})}
    outputs = arguments.get('num_classes')
    return {**record, 'num_classes': record.get('num_classes', _IMAGENET) if outputs is None else outputs}


def is_embedding(timm: ModuleType, record: Mapping[str, Any]) -> bool:
    """True for a model without a head, or with CLIP's, whose outputs are no classes but match a text encoder's.

    Args:
        timm: The package.
        record: See `record_of`.
    """
    outputs, name = record['num_classes'], record.get('architecture') or ''
    may_be_tower = any(word in f'{name}.{record.get("tag")}' for word in _TOWERS)
    if record.get('label_names') or not may_be_tower or not outputs:
        return not outputs
    records = timm.models.get_arch_pretrained_cfgs(name).values()  # those of other weights: towers, and classifiers
    return outputs in {one.num_classes for one in records if one.num_classes <= _WIDEST_TOWER} - {_IMAGENET}


def class_names(timm: ModuleType, record: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the class names in timm's record; else, of 1000 classes, the first name of each of ImageNet's."""
    if record.get('label_names'):
        return tuple(record['label_names'])
    if record.get('num_classes') != _IMAGENET:
        return None
    return tuple(name.partition(',')[0] for name in timm.data.ImageNetInfo().label_descriptions())
