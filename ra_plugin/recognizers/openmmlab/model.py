"""Models of mmdetection and mmsegmentation from a config, by path or by name, frozen and without downloads."""
import contextlib
import inspect
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ra_plugin.checkpoint import read_checkpoint
from ra_plugin.library_errors import told
from ra_plugin.options import OptionError, suggestion
from ra_plugin.recognizers.facts import TaskError
from ra_plugin.recognizers.further_arguments import built_with, check_dotted
from ra_plugin.state_dicts import unwrapped
from ra_plugin.utils.optional import require
from ra_plugin.utils.text import first_line

_NOT_REGISTERED = re.compile(r'(\S+) is not in the \S+ registry')  # of mmengine


def find_config(config: str, package: str, where: str) -> Path:
    """Return the file of a config: a path, or the name of one in the installed package, with or without ``.py``.

    Raises:
        FileNotFoundError: Neither; with the closest name.
    """
    if Path(config).is_file():
        return Path(config)
    zoo = zoo_configs(package, where)
    name = Path(config).name.removesuffix('.py')
    if name not in zoo:
        raise FileNotFoundError(f"{where}: config: no file '{config}', and {package} has no config of that name."
                                f'{suggestion(name, zoo)}')
    return zoo[name]


def zoo_configs(package: str, where: str) -> dict[str, Path]:
    """Map the name of every config in the installed package to its file."""
    root = _zoo_root(package, where)
    return {path.stem: path for path in sorted(root.rglob('*.py')) if '_base_' not in path.parts}


def _zoo_root(package: str, where: str) -> Path:
    return Path(require(package, where).__file__ or '').parent / '.mim' / 'configs'


def read_config(path: Path, options: Mapping[str, Any] | None, where: str) -> Any:
    """Read mmengine's ``Config``, with dotted keys replaced as by ``--cfg-options``. The file is Python, and is
    executed.

    Raises:
        ValueError: The file cannot be read as a config, or (TaskError) configures no model.
    """
    engine = require('mmengine.config', where)
    try:
        config = engine.Config.fromfile(str(path))
    except ImportError as error:  # custom_imports of a package that is not there
        raise ImportError(f'{where}: {path.name} needs {_missing_module(error)}, which is not installed.') from error
    except Exception as error:  # a config runs code: anything can be raised
        raise ValueError(f'{where}: {path} is no config that mmengine can read '
                         f'({type(error).__name__}: {first_line(error)}).') from error
    of_run = {*inspect.signature(require('mmengine.runner', where).Runner.__init__).parameters, 'custom_imports'}
    check_dotted(dict(config.items()), options or {}, f'{where}: cfg_options', of_run)
    try:
        config.merge_from_dict(dict(options or {}))
    except Exception as error:
        raise ValueError(f'{where}: cfg_options: {options} do not fit {path.name} '
                         f'({type(error).__name__}: {first_line(error)}).') from error
    if not isinstance(config.get('model'), Mapping) or 'type' not in config.model:
        raise TaskError(f"{where}: {path}: 'model' with a 'type' is missing. Give the config of a model.")
    return config


def _missing_module(error: BaseException | None) -> str:
    """Return the name of the module that was not found; mmengine reports it in the error behind its own."""
    name = ''
    while error is not None:
        name = getattr(error, 'name', None) or name
        error = error.__cause__ or error.__context__
    return name or 'a module of its custom_imports'


def model_class(config: Any, package: str, where: str) -> type:
    """Return the class of the config's model; nothing is built.

    Raises:
        TaskError: The package has no such class.
    """
    require(f'{package}.utils', where).register_all_modules(init_default_scope=False)
    found = _registered(require('mmengine.registry', where).MODELS, config.model['type'], package)
    if not isinstance(found, type):
        name = config.model['type']
        raise TaskError(f"{where}: {package} has no model '{name}'.{_meant(name, package)} Is it a config of "
                        f'{package}?')
    return found


def _meant(name: Any, package: str) -> str:
    """Return the nearest name that a package has registered for a model or a part of one."""
    models = require('mmengine.registry', package).MODELS
    known = {*models.module_dict, *(key for child in models.children.values() for key in child.module_dict)}
    return suggestion(name, sorted(known), 0.8)


def _registered(registry: Any, name: Any, package: str) -> Any:
    """Return the class or function that a config names; None where there is no such name. Without a scope it is its own
    library.
    """
    if not isinstance(name, str):
        return name
    return registry.get(name if '.' in name else f'{package}.{name}')


def build_model(config: Any, package: str, where: str, options: Mapping[str, Any] | None = None) -> nn.Module:
    """Build the config's model with random weights, without any download.

    Args:
        config: Config of mmengine; its ``model`` is changed in place.
        package: ``'mmdet'`` or ``'mmseg'``, whose registry has the model.
        where: Place in the options, for messages.
        options: Dotted keys that were replaced, for messages.

    Raises:
        ValueError: The package cannot build it.
    """
    registry = require('mmengine.registry', where)
    settings = config.model
    without_downloads(settings)
    # mmseg keeps the preprocessor beside the model
    preprocessor = settings.get('data_preprocessor') or config.get('data_preprocessor')
    if preprocessor is not None:
        preprocessor.pop('batch_augments', None)  # random sizes, which the labels would not follow
        settings['data_preprocessor'] = preprocessor
    try:
        named = {dotted.rpartition('.')[2]: value for dotted, value in (options or {}).items()}
        with registry.DefaultScope.overwrite_default_scope(package), _quiet(), built_with(
                named, f'{where}: cfg_options'):
            model = registry.MODELS.build(settings)
            model.init_weights()
    except ImportError as error:
        raise ImportError(f'{where}: {first_line(error)}') from error
    except OptionError:  # of the options
        raise
    except KeyError as error:
        unknown = _NOT_REGISTERED.match(str(error.args[0]))
        if not unknown:
            raise ValueError(f'{where}: {package} cannot build the model of this config ({told(error)}).') from error
        raise OptionError(f"{where}: {package} has no '{unknown[1]}', which this config asks for."
                          f'{_meant(unknown[1], package)}') from error
    except Exception as error:  # the registry passes on whatever a constructor raises
        raise ValueError(f'{where}: {package} cannot build the model of this config ({told(error)}).') from error
    return model


def without_downloads(node: Any) -> None:
    """Remove every entry of a config that would download weights; in place."""
    if isinstance(node, dict):
        for key in ('pretrained', 'teacher_ckpt'):
            if isinstance(node.get(key), str):
                node[key] = None
        if node.get('pretrained') is True:  # of timm's and others' backbones
            node['pretrained'] = False
        steps = node.get('init_cfg')
        if isinstance(steps, (list, tuple)):
            node['init_cfg'] = [step for step in steps if 'checkpoint' not in step] or None
        elif isinstance(steps, Mapping) and 'checkpoint' in steps:  # mostly type Pretrained; PVT's has no type
            node['init_cfg'] = None
        for value in node.values():
            without_downloads(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            without_downloads(value)


def load_checkpoint(model: nn.Module, path: str, classes: tuple[str, ...] | None, where: str) -> None:
    """Load a checkpoint of mmengine safely; every key and the class names in it have to fit.

    Raises:
        ValueError: Keys or shapes that differ, or other classes than the config's.
    """
    weights, meta = read_checkpoint(path, where)
    names = (meta.get('dataset_meta') or {}).get('classes') or meta.get('CLASSES')  # the older files' name
    if names and classes and tuple(names) != classes:
        other = next((a, b) for a, b in zip([*names, '(none)'], [*classes, '(none)'], strict=False) if a != b)
        raise ValueError(f'{where}: {path} was trained on other classes ({len(names)}; {other[0]!r} where the config '
                         f'has {other[1]!r}). Give the config that it was trained with.')
    own = model.state_dict()
    weights = unwrapped(weights, own)
    # without averages of the weights that older trainings kept beside them
    weights = {key: value for key, value in weights.items() if key in own or not key.startswith('ema_')}
    try:
        # not checked beforehand: the layers' own code renames what older versions of the libraries called otherwise
        result = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        shapes = [line.strip() for line in str(error).splitlines()[1:]]
        raise ValueError(f'{where}: {path} does not fit the model: {len(shapes)} keys of another shape: '
                         f'{"; ".join(shapes[:2])}') from None
    missing = [key for key in result.missing_keys if not key.endswith('num_batches_tracked')]
    if missing or result.unexpected_keys:
        raise ValueError(f'{where}: {path} does not fit the model: {_some(missing, "missing")}, '
                         f'{_some(result.unexpected_keys, "not of this model")}.')


def _some(keys: list[str], what: str) -> str:
    return f'{len(keys)} keys {what}' + (f' ({", ".join(keys[:4])}, ...)' if keys else '')


def published_weights(path: Path, package: str, where: str) -> str:
    """Return the address of the weights that the package's own list (``metafile``) has for one of its configs.

    Raises:
        ValueError: No zoo config, or one without published weights.
    """
    yaml = require('yaml', where)
    metafile = next(path.parent.glob('metafile.y*ml'), None)  # mmdet has .yml, mmseg .yaml
    entries = yaml.safe_load(metafile.read_text()) if metafile else []
    for entry in entries.get('Models', []) if isinstance(entries, Mapping) else entries:
        if isinstance(entry, Mapping) and Path(entry.get('Config', '')).name == path.name and entry.get('Weights'):
            return entry['Weights']
    raise ValueError(f'{where}: pretrained: {package} names no weights for {path.name}. Set checkpoint: FILE.')


def download(url: str) -> str:
    """Return the file behind an address, downloaded once into torch's cache; the hash in its name is checked."""
    name = url.rpartition('/')[2]
    file = Path(torch.hub.get_dir()) / 'checkpoints' / name
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        tail = Path(name).stem.rpartition('-')[2]
        torch.hub.download_url_to_file(url, str(file), hash_prefix=tail if len(tail) == 8 else None)
    return str(file)


def class_names(config: Any, package: str) -> tuple[str, ...] | None:
    """Return the class names of the config's data sets: ``metainfo``, else those of the data set's class."""
    datasets = require('mmengine.registry', package).DATASETS
    for place in ('test_dataloader', 'val_dataloader', 'train_dataloader'):
        for dataset in _datasets((config.get(place) or {}).get('dataset')):
            names = (dataset.get('metainfo') or {}).get('classes')
            if names is None:
                names = getattr(_registered(datasets, dataset.get('type', ''), package), 'METAINFO', {}).get('classes')
            if names:
                return (names,) if isinstance(names, str) else tuple(names)
    names = (config.get('metainfo') or {}).get('classes')
    return tuple(names) if names else None


def reduces_zero_label(config: Any, package: str) -> bool | None:
    """Return ``reduce_zero_label`` of the config's data sets: true where 0 is no class and k is class k - 1.

    None: the config does not say so, nor is it the default of their class.
    """
    registry = require('mmengine.registry', package).DATASETS
    for place in ('test_dataloader', 'val_dataloader', 'train_dataloader'):
        for dataset in _datasets((config.get(place) or {}).get('dataset')):
            steps = [step for step in dataset.get('pipeline') or () if isinstance(step, Mapping)]
            for block in (dataset, *steps):
                if block.get('reduce_zero_label') is not None:
                    return bool(block['reduce_zero_label'])
            kind = _registered(registry, dataset.get('type', ''), package)
            if kind is not None and _default(kind, 'reduce_zero_label') is True:
                return True
    return None


def _default(kind: type, name: str) -> Any:
    """Return the default of an argument, of the first class up the line whose constructor names it."""
    for cls in kind.__mro__:
        found = inspect.signature(cls.__init__).parameters.get(name) if '__init__' in vars(cls) else None
        if found is not None:
            return found.default
    return None


def _datasets(node: Any) -> Iterator[Mapping]:
    """Return the config of a data set, or those within a wrapper (RepeatDataset, ConcatDataset, ...)."""
    if isinstance(node, Mapping):
        inner = node.get('dataset') or node.get('datasets')
        yield from _datasets(inner) if inner else (node,)
    elif isinstance(node, (list, tuple)):
        for item in node:
            yield from _datasets(item)


def test_pipeline(config: Any) -> list[Mapping]:
    """Return the transforms of the config's test pipeline."""
    for dataset in _datasets((config.get('test_dataloader') or {}).get('dataset')):
        if dataset.get('pipeline'):
            return list(dataset['pipeline'])
    return list(config.get('test_pipeline') or [])


def missing_operators(model: nn.Module) -> list[str]:
    """Return layers of the model that need an operator that a stand-in for the compiled mmcv lacks."""
    missing = getattr(require('mmcv._ext', 'mmcv'), 'missing_modules', frozenset())
    return sorted({type(module).__name__ for module in model.modules() if type(module).__module__ in missing})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the log line for each parameter that a model initializes within the context; warnings still come
    through.
    """
    logger = require('mmengine.logging', 'mmengine').MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        logger.setLevel(level)
