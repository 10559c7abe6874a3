"""Find keys of an option file that nothing reads: no run of BasicSR, no model, no data set, and not this package.

Such a key has no effect. If it resembles a key that is read, it is a typo and an error; else, as in files that were
made for another class, one line says so. Keys that a user's own code may read are never refused.
"""
import functools
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from basicsr.models.srgan_model import SRGANModel
from basicsr.utils.registry import DATASET_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY

from ra_plugin.builders.block_classes import registered_entry
from ra_plugin.builders.built_blocks import check_reader
from ra_plugin.builders.option_keys import Place, ReadKeys, is_foreign, read_keys, words_of
from ra_plugin.builders.own_keys import OURS
from ra_plugin.data.degraded_image_dataset import LoaderOptions
from ra_plugin.data.with_labels import LabelOptions, label_keys
from ra_plugin.metrics.calculate_pyiqa import calculate_pyiqa
from ra_plugin.models.builder import run_ready
from ra_plugin.models.recog_aware_model import recog_aware
from ra_plugin.models.stock import owner_of
from ra_plugin.options import OptionError, build_block, check_type, nearest

# Those that a run of BasicSR sets or reads, whatever the model; a test holds them against its code.
SET_BY_RUN: dict[Place, set[str]] = {
    (): {'dist', 'rank', 'world_size', 'auto_resume', 'is_train', 'root_path'},
    ('path',): {'experiments_root', 'models', 'training_states', 'log', 'visualization', 'results_root'},
}
READ_BY_RUN: dict[Place, set[str]] = {
    (): {'name', 'model_type', 'scale', 'num_gpu', 'manual_seed', 'datasets', 'network_g', 'path', 'train', 'val',
         'logger', 'dist_params', 'find_unused_parameters'},
    ('path',): {'pretrain_network_g', 'param_key_g', 'strict_load_g', 'resume_state', 'ignore_resume_networks'},
    ('train',): {'total_iter', 'warmup_iter', 'optim_g', 'scheduler'},
    ('val',): {'val_freq', 'save_img', 'suffix', 'pbar', 'metrics'},
    ('logger',): {'print_freq', 'save_checkpoint_freq', 'use_tb_logger', 'wandb'},
    ('logger', 'wandb'): {'project', 'resume_id'},
}
_DATASET_KEYS = {field.name for cls in (LoaderOptions, LabelOptions) for field in fields(cls)} | {'keep_classes'}
_LISTS = 'meta_info', 'meta_info_file'  # which a data set with labels need not have: its images are found by folder
_PACKAGES = ('basicsr', 'ra_plugin')


@dataclass(frozen=True)
class Unread:
    """A key that nothing reads.

    Attributes:
        where: Place of the block; '' is the file itself.
        key: The key.
        by: Name of the class that would have to read it.
        meant: The nearest key that is read, if there is one.
        is_slip: The key is a typo of ``meant``.
    """

    where: str
    key: str
    by: str
    meant: str | None
    is_slip: bool

    def __str__(self) -> str:
        place = self.where or 'option file'
        meant = f" Did you mean '{self.meant}'?" if self.meant else ''
        return (f"{place}: unknown key '{self.key}'.{meant}" if self.is_slip
                else f"{place}: '{self.key}' is read by nothing ({self.by}), so it has no effect.{meant}")


def check_keys(opt: Mapping[str, Any]) -> None:
    """Check the keys of all blocks that take no signature.

    Raises:
        OptionError: The first typo, with the key that is meant.
    """
    for unread in unread_keys(opt):
        if unread.is_slip:
            raise OptionError(str(unread))


def unread_keys(opt: Mapping[str, Any]) -> Iterator[Unread]:
    """Yield every key that nothing reads: at the top, in ``path``, ``train``, ``val``, ``logger`` and data sets."""
    model = model_class(opt)
    read = read_keys(model) if model else None
    networks = {key.removeprefix('network_') for key in opt if str(key).startswith('network_')} | {'g'}
    of_networks = {f'{kind}_{name}' for kind in ('pretrain_network', 'param_key', 'strict_load') for name in networks}
    for place, read_by_run in READ_BY_RUN.items():
        block = _block(opt, place)
        if not isinstance(block, Mapping) or place == ('train',) and not opt.get('is_train', True):
            continue  # a file for testing may keep what it was trained with
        known = read_by_run | OURS.get(place, set()) | SET_BY_RUN.get(place, set())
        if place == ('path',):
            known |= of_networks
        yield from _unread(block, place, known, read, model, _all_keys(place), opt)
    for name, block in _mapping(_mapping(opt.get('val')).get('metrics')).items():
        yield from _unread_in_metric(_mapping(block), f'val.metrics.{name}')
    for phase, block in _mapping(opt.get('datasets')).items():
        yield from unread_in_dataset(_mapping(block), f'datasets.{phase}', opt)


def unread_in_dataset(block: Mapping[str, Any], where: str, opt: Mapping[str, Any] | None = None) -> Iterator[Unread]:
    """Yield every key in the block of a data set that nothing reads; a class with ``options_type`` refuses its own."""
    cls = dataset_class(block)
    if cls is not None and not hasattr(cls, 'options_type'):
        yield from _unread(block, tuple(where.split('.')), _DATASET_KEYS, read_keys(cls), cls, _all_dataset_keys(),
                           opt or {}, at=())


def _unread_in_metric(block: Mapping[str, Any], where: str) -> Iterator[Unread]:
    """Yield the keys of a metric that it ignores: BasicSR's metrics take ``**kwargs``."""
    metric = dict(iter(METRIC_REGISTRY)).get(str(block.get('type')))
    if metric is None or metric is calculate_pyiqa:
        return
    known = [name for name, p in inspect.signature(metric).parameters.items()
             if p.kind is not p.VAR_KEYWORD and name not in ('img', 'img2')] + ['type', 'better']
    words = set() if metric.__module__.startswith(_PACKAGES) else words_of([metric.__module__])
    for key in block:
        if key not in known and key not in words:
            meant = nearest(key, known)
            yield Unread(where, str(key), metric.__name__, meant, bool(meant))


def check_dataset(block: Mapping[str, Any], where: str) -> None:
    """Check the block of a data set: by its options, if its class has ``options_type``, else as the class reads it.

    Raises:
        OptionError: A typo, or a key that is missing, for the phase that the block is for; or as `build_block`.
    """
    options_type = getattr(dataset_class(block), 'options_type', None)
    if options_type is not None:
        build_block(options_type, block, where)
        return
    build_block(LabelOptions, label_keys(block), where)
    for unread in unread_in_dataset(block, where):
        if unread.is_slip:
            raise OptionError(str(unread))
    cls = dataset_class(block)
    if cls is not None and cls.__module__.startswith('basicsr.'):
        _check_normalization(block, where)
    if block.get('io_backend') is not None and cls is not None and (
            'FileClient' in read_keys(cls).built.get(('io_backend',), ())):
        check_reader(block['io_backend'], f'{where}.io_backend')
    check_type(block.get('filename_tmpl'), str | None, f'{where}.filename_tmpl')
    if cls is not None:
        for place in read_keys(cls).missing(block):
            if block.get('labels') and place[-1] in _LISTS:
                continue
            raise _missing(place, where, cls, f' in phase {block["phase"]}' if 'phase' in block else '')


def _check_normalization(block: Mapping[str, Any], where: str) -> None:
    """Check the ``mean`` and ``std`` with which BasicSR's data sets normalize images in [0, 1]."""
    mean, std = block.get('mean'), block.get('std')
    if mean is None and std is None:
        return
    for key, values in (('mean', mean), ('std', std)):
        fits = isinstance(values, Sequence) and not isinstance(values, str) and len(values) in (1, 3) and all(
            isinstance(value, (int, float)) and (value > 0 or key == 'mean') and abs(value) <= 1 for value in values)
        if not fits:
            raise OptionError(f'{where}.{key}: expected a number for each channel on the [0, 1] scale'
                              f'{", above 0" * (key == "std")}, got {values!r}. Give both mean and std, or neither; '
                              'divide those of 8-bit values by 255.')


def check_what_model_needs(opt: Mapping[str, Any]) -> None:
    """Check for all keys that the model certainly reads, when it is built or in its first step.

    Raises:
        OptionError: With the key that is missing.
    """
    model = model_class(opt)
    set_by_run = {(*block, key) for block, keys in SET_BY_RUN.items() for key in keys} | {('num_gpu',), ('name',)}
    if model is None:
        return
    for place in read_keys(model).missing(opt):
        if place not in set_by_run:
            raise _missing(place, '', model)
    steps = owner_of(model, 'optimize_parameters')  # a user's own may need no loss of a GAN
    if issubclass(steps, SRGANModel) and steps.__module__.startswith('basicsr.') and (
            opt.get('is_train') and not opt['train'].get('gan_opt')):
        raise _missing(('train', 'gan_opt'), '', model)


def own_folders(opt: Mapping[str, Any]) -> set[str]:
    """Return the keys under ``path`` that name folders of a run: set by BasicSR, or read by the model."""
    model = model_class(opt)
    return SET_BY_RUN['path',] | (read_keys(model).keys(('path',)) if model else set())


def model_class(opt: Mapping[str, Any]) -> type | None:
    """Return the model class of a run; None where no class has that name."""
    name = opt.get('base_model_type') or opt.get('model_type')
    kind = registered_entry(MODEL_REGISTRY, name)
    return _prepared(kind) if isinstance(kind, type) else None


def dataset_class(block: Mapping[str, Any]) -> type | None:
    """Return the class of a data set's block; None where no class has that name."""
    kind = registered_entry(DATASET_REGISTRY, block.get('type'))
    return kind if isinstance(kind, type) else None


@functools.cache
def _prepared(kind: type) -> type:
    try:
        return run_ready(recog_aware(kind))  # reads what the plain one reads, and our own keys
    except OptionError:  # of videos: without recognizers
        return run_ready(kind)


def _unread(block: Mapping[str, Any], place: Place, known: set[str], read: ReadKeys | None, cls: type | None,
            of_others: set[str], opt: Mapping[str, Any], at: Place | None = None) -> Iterator[Unread]:
    """Yield the keys of a block that nothing reads; ``at`` is its place in the options that the class is built with."""
    of_class = read.keys(place if at is None else at) if read else of_others
    unread = [key for key in block if key not in known | of_class and not (not place and _is_network(key))]
    if not unread:
        return
    own = [base.__module__ for base in (cls.__mro__ if cls else ())
           if not base.__module__.startswith(_PACKAGES) and not is_foreign(base)]
    words = words_of([*own, *map(str, opt.get('custom_imports') or ())])
    where = '.'.join(place)
    for key in unread:
        if key in words:
            continue
        cutoff = 0.6 if place == ('path',) else 0.8
        meant = nearest(key, sorted(known), cutoff) or nearest(key, sorted(of_class), cutoff)
        is_slip = bool(meant) and key not in of_others and (read is None or read.is_closed)
        if key in of_others and meant and not meant.startswith(key) and not key.startswith(meant):
            meant = None  # two keys that BasicSR has
        yield Unread(where, str(key), cls.__name__.removeprefix('RecogAware') if cls else 'no model', meant, is_slip)


def _is_network(key: object) -> bool:
    return str(key).startswith('network_')


def _missing(place: Place, where: str, cls: type, when: str = '') -> OptionError:
    outer = '.'.join(filter(None, (where, *place[:-1]))) or 'option file'
    return OptionError(f"{outer}: '{place[-1]}' is missing. {cls.__name__.removeprefix('RecogAware')} reads it{when}.")


@functools.cache
def _all_keys(place: Place) -> set[str]:
    """Return the keys in a block that any model of BasicSR reads: in another model's file they are no typos."""
    return {key for _, kind in MODEL_REGISTRY if isinstance(kind, type) and kind.__module__.startswith('basicsr.')
            for key in read_keys(kind).keys(place)}


@functools.cache
def _all_dataset_keys() -> set[str]:
    return {key for _, kind in DATASET_REGISTRY if isinstance(kind, type) and kind.__module__.startswith('basicsr.')
            for key in read_keys(kind).keys(())}


def _block(opt: Mapping[str, Any], place: Place) -> Any:
    for key in place:
        opt = _mapping(opt.get(key))
    return opt


def _mapping(value: Any) -> Mapping:
    return value if isinstance(value, Mapping) else {}
