"""Models of transformers by a name of the hub or from a folder, with one-line errors; no code of theirs is executed."""
import contextlib
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ra_plugin.compat.transformers_alone import without_hub
from ra_plugin.library_errors import translated
from ra_plugin.options import OptionError
from ra_plugin.recognizers.facts import TaskError
from ra_plugin.recognizers.transformers_models.hub_errors import fetching
from ra_plugin.utils.optional import require
from ra_plugin.utils.suggestions import suggestion

_TASKS = {  # end of the name of a model's class
    'ForImageClassification': 'classification', 'ForImageClassificationWithTeacher': 'classification',
    'ForObjectDetection': 'detection', 'ForSemanticSegmentation': 'segmentation',
    'ForUniversalSegmentation': 'segmentation', 'MaskFormerForInstanceSegmentation': 'segmentation',
    'Model': 'embedding', 'Backbone': 'embedding',
}
_MAPPINGS = {  # where transformers lists the classes of a task by their configs
    'classification': ('IMAGE_CLASSIFICATION',), 'detection': ('OBJECT_DETECTION',),
    'segmentation': ('SEMANTIC_SEGMENTATION', 'UNIVERSAL_SEGMENTATION'), 'embedding': ('',),
}
_OTHER_INPUTS = {'OneFormer': 'text', 'Videomt': 'videos'}  # starts of names, and what the network reads besides images
_NAME = re.compile(r'[\w-][\w.-]*(/[\w.-]+)?')  # OWNER/NAME
_NO_NAME = re.compile(r'LABEL_[0-9]+')  # what transformers calls a class without a name
_OF_TIMM = ('timm_backbone', 'timm_wrapper')  # types of configs whose networks are timm's
_POOLER = 'pooler.'  # start of the names of its weights
_PICKLES = ('*.bin', '*.pt', '*.pth')
_RECORDS = ('preprocessor_config.json', 'processor_config.json')


def short_name(model: str) -> str:
    """Return a model's name for tables: of a folder its own name."""
    return Path(model).name if Path(model).is_dir() else model


def read_config(model: str, revision: str | None, where: str) -> Any:
    """Return the config of a model.

    Raises:
        ImportError: transformers is not installed, or timm where a part of the model is a network of timm.
        ValueError: No such folder, one without ``config.json``, a config that names code of its own, or quantized
            weights.
    """
    transformers = require('transformers', where)
    folder = Path(model)
    if not folder.is_dir() and not _NAME.fullmatch(model):
        near = [path.name for path in folder.parent.iterdir()] if folder.parent.is_dir() else []
        raise ValueError(f'{where}: expected a folder that save_pretrained() wrote, or OWNER/NAME of the hub, got no '
                         f'folder: {model}.{suggestion(folder.name, near)}')
    if folder.is_dir() and not (folder / 'config.json').is_file():
        raise ValueError(f'{where}: expected a folder that save_pretrained() wrote, got one without config.json: '
                         f'{model}')
    with fetching(model, revision, where):
        record = transformers.PreTrainedConfig.get_config_dict(model, revision=revision)[0]
        if not record:
            raise ValueError(f'{where}: {model} has no config.json on the hub, so it is no model of transformers. '
                             'Choose another model.')
        if 'auto_map' in record:
            raise ValueError(f'{where}: its config names code of its own (auto_map), which is not executed. Choose a '
                             "model whose code is transformers' own.")
        if _has_entry(record, 'quantization_config'):
            raise ValueError(f'{where}: its weights are quantized (quantization_config), and the gradient of a loss '
                             'does not pass. Choose a model with weights of 16 or 32 bits.')
        with without_hub() if folder.is_dir() else contextlib.nullcontext():
            config = transformers.AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=False)
    for part in _configs(config, transformers.PreTrainedConfig):
        # As torch has it, else written out: it may be named by a repository of compiled kernels, to be fetched and run.
        part._attn_implementation = part._experts_implementation = None
        if part.model_type in _OF_TIMM:
            timm = require('timm', where)
            name = getattr(part, 'backbone', None)
            if folder.is_dir() and name and not timm.is_model(name):
                raise OptionError(f'{where}: its config names a backbone, {name}, that timm does not have, and not '
                                  'what it is (backbone_config). Save it again with transformers 5 where there is a '
                                  'network: model.save_pretrained(FOLDER).')
    return config


def _has_entry(record: Any, name: str) -> bool:
    """True if a record, or one within it, has an entry that says something."""
    return isinstance(record, Mapping) and (record.get(name) is not None
                                            or any(_has_entry(value, name) for value in record.values()))


def _configs(config: Any, kind: type) -> Iterator[Any]:
    """Yield a config and those within it."""
    yield config
    for part in vars(config).values():
        if isinstance(part, kind):
            yield from _configs(part, kind)


def task_of(config: Any, where: str) -> str:
    """Return the task of the architecture that a config names.

    Raises:
        TaskError: It names none, or one of another task.
    """
    names = config.architectures or ()
    task = next((_task(name) for name in names if _task(name)), None)
    if task is None:
        raise TaskError(f'{where}: expected an architecture ...{", ...".join(_TASKS)}, got '
                        f'{", ".join(names) or "a config that names none"}. Choose another model, or set task: '
                        f'{" | ".join(_MAPPINGS)}.')
    return task


def _task(name: str) -> str | None:
    return next((task for end, task in _TASKS.items() if name.endswith(end)), None)


def model_class(config: Any, task: str, where: str) -> type:
    """Return the class that transformers has for a config and a task.

    Raises:
        TaskError: It has none, or one that reads more than images.
    """
    transformers = require('transformers', where)
    name = next((name for name in config.architectures or () if _task(name) == task), '')
    found = getattr(transformers, name, None) if name else None
    for part in _MAPPINGS[task] if found is None else ():
        mapping = getattr(transformers, f'MODEL_FOR_{part}_MAPPING' if part else 'MODEL_MAPPING')
        found = found or mapping.get(type(config), None)
    found = found[0] if isinstance(found, (list, tuple)) else found
    if not (isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)):
        raise TaskError(f'{where}: transformers {transformers.__version__} has no {name or config.model_type} for '
                        f'{task}. Choose another model, or task.')
    needs = next((what for start, what in _OTHER_INPUTS.items() if found.__name__.startswith(start)), None)
    if found.main_input_name != 'pixel_values':
        needs = needs or found.main_input_name
    if needs:
        raise TaskError(f'{where}: {found.__name__} reads {needs}, not images alone. Choose another model.')
    return found


def build_model(cls: Any, model: str, config: Any, pretrained: bool, revision: str | None, where: str) -> nn.Module:
    """Build a model with the weights of its folder or name, or with random ones.

    Raises:
        ValueError: No weights in safetensors files, or weights that leave a part of the model without any.
    """
    if not pretrained:
        with translated(where):
            return cls(config)
    _check_weights(Path(model), where)

    def load(**further: Any) -> tuple[nn.Module, list[str]]:
        with fetching(model, revision, where):
            built, report = cls.from_pretrained(model, config=config, revision=revision, use_safetensors=True,
                                                dtype=torch.float32, output_loading_info=True, **further)
        return built, sorted(report['missing_keys'])

    built, missing = load()
    has_choice = 'add_pooling_layer' in inspect.signature(cls.__init__).parameters
    if missing and has_choice and all(name.startswith(_POOLER) for name in missing):
        built, missing = load(add_pooling_layer=False)  # those of a classifier have none: it would be random
    if missing:
        raise ValueError(f'{where}: the weights do not fit {cls.__name__}: they lack {len(missing)} tensors, as '
                         f'{missing[0]}. Choose the task that they are for, or weights for this one.')
    return built


def _check_weights(folder: Path, where: str) -> None:
    if not folder.is_dir() or any(folder.glob('*.safetensors')):
        return
    pickles = [path.name for pattern in _PICKLES for path in folder.glob(pattern)]
    if pickles:
        raise ValueError(f'{where}: {folder} has its weights in {pickles[0]}, and loading it could run code. Save them '
                         'as safetensors where they were made: model.save_pretrained(FOLDER).')
    raise ValueError(f'{where}: {folder} has no weights (model.safetensors). Put them there, or set pretrained: false '
                     'for random ones.')


def read_processor(model: str, revision: str | None, where: str) -> Any:
    """Return the model's own image processor, in the version that computes with torch.

    Raises:
        ValueError: The folder has none, or transformers has none that computes with torch.
    """
    transformers = require('transformers', where)
    folder = Path(model)
    if folder.is_dir() and not any((folder / name).is_file() for name in _RECORDS):
        raise ValueError(f'{where}: {folder} has no preprocessor_config.json, which says how images are prepared. Save '
                         'it there: AutoImageProcessor.from_pretrained(NAME).save_pretrained(FOLDER).')
    with fetching(model, revision, where):
        found = transformers.AutoImageProcessor.from_pretrained(model, revision=revision, trust_remote_code=False,
                                                                backend='torchvision')
    if getattr(found, 'backend', None) != 'torchvision':
        raise ValueError(f'{where}: {type(found).__name__} prepares images without torch, so that no gradient reaches '
                         'them. Choose a model with another processor; networks of timm are for TimmRecognizer.')
    return found


def class_names(config: Any, where: str) -> tuple[str, ...] | None:
    """Return the names of the classes in the order of their ids; None where they have none.

    Raises:
        ValueError: The ids are not 0, 1, 2, ...
    """
    if config.id2label is None:
        return None
    names: Mapping[int, str] = {int(key): value for key, value in config.id2label.items()}
    if sorted(names) != list(range(len(names))):
        raise ValueError(f'{where}: expected the ids of id2label to be 0..{len(names) - 1}, got {sorted(names)[:8]}. '
                         'Number them so in its config.json.')
    ordered = tuple(str(names[key]) for key in range(len(names)))
    return None if all(_NO_NAME.fullmatch(name) for name in ordered) else ordered
