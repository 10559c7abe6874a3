"""Check the option file of a training or a test before any folder is made or network built.

Each block is checked by its dataclass or signature; this module checks what has to hold between blocks.
"""
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import yaml
from basicsr.utils import registry

from ra_plugin.builders.anchor_check import check_anchor, starts_at_random
from ra_plugin.builders.built_blocks import check_logger, check_metrics
from ra_plugin.builders.given import check_given, check_metrics_given, has_no_clean, has_no_labels
from ra_plugin.builders.networks import check_network, registered
from ra_plugin.builders.option_paths import check_folder_name
from ra_plugin.builders.own_keys import TrainKeys, ValKeys, check_places, own_block, recognition_losses
from ra_plugin.builders.run_options import check_run, check_values
from ra_plugin.builders.unread_keys import check_dataset, check_keys, check_what_model_needs, model_class
from ra_plugin.data.given import no_labels
from ra_plugin.data.with_labels import LabelOptions, label_keys
from ra_plugin.models.recog_aware_model import NO_LOSS_FOR_T, recog_aware
from ra_plugin.options import NUMBER_AS_TEXT, OptionError, build_block, check_type, suggestion, type_of
from ra_plugin.recognizers.trainable import is_trainable
from ra_plugin.type_hints import TypedBlock

BLOCKS = {'datasets': Mapping[str, TypedBlock], 'network_g': TypedBlock,
          **dict.fromkeys(('path', 'train', 'val', 'logger'), Mapping)}
_TEXT_KEYS = {'name', 'type', 'suffix', 'classes', 'keep_classes', 'project', 'resume_id', 'split', 'subfolders',
              'labels', 'annotation_file', 'meta_info', 'meta_info_file', 'dataroot', 'dataroot_gt', 'dataroot_lq',
              'checkpoint', 'model_name', 'output'}  # may look like numbers, as the folder of a year


def check_file(opt: Mapping[str, Any]) -> None:
    """Check everything that this package adds to an option file, and the names of what BasicSR is to build.

    Raises:
        OptionError: With the place in the file and, where a name or key is close to a known one, that one.
    """
    _check_numbers(opt)
    for key, hint in BLOCKS.items():
        check_type(opt.get(key), hint | None, key)
    _check_key_names(opt)
    check_places(opt)
    model = _model(opt)
    check_keys(opt)
    _check_outline(opt)
    check_values(opt)
    cls = model_class(opt)
    if opt.get('is_train') and cls is not None:
        check_run(opt, cls)
    _check_names(opt)
    if model is not None and (is_recognition_aware(opt) or opt['model_type'] == 'RecogAwareModel'):
        recog_aware(model)
    for name in opt:
        if name.startswith('network_'):
            check_network(opt[name], name)
    _check_datasets(opt)
    train, val = own_block(opt, ('train',)), own_block(opt, ('val',))
    for place in ((), ('logger',)):
        own_block(opt, place)
    _check_labels(opt, train)
    _check_learner(opt, train, val)
    _check_budget(opt, train)
    check_anchor(opt, train.anchor_opt, bool(train.losses))
    check_metrics((opt.get('val') or {}).get('metrics'), 'val.metrics')
    check_metrics_given(opt)
    check_logger(opt)
    _check_transformer(opt, train)
    _check_blocks_of_datasets(opt)
    check_what_model_needs(opt)


def is_recognition_aware(opt: Mapping[str, Any]) -> bool:
    """Return whether a file asks for something that a model class of BasicSR does not have by itself."""
    return bool((opt.get('train') or {}).get('recog_opt') or (opt.get('val') or {}).get('recognizers')
                or opt.get('network_t'))


def leaves(node: Any, where: str = '') -> Iterator[tuple[str, Any]]:
    """Yield every value in a file with its dotted place."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from leaves(value, f'{where}.{key}' if where else str(key))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from leaves(value, f'{where}[{i}]')
    else:
        yield where, node


def _check_numbers(opt: Mapping[str, Any]) -> None:
    """Check that no number is text to YAML, as 1e-4 is."""
    for where, value in leaves(opt):
        key = where.rpartition('.')[2].partition('[')[0]
        if key not in _TEXT_KEYS and isinstance(value, str) and NUMBER_AS_TEXT.fullmatch(value):
            quoted = isinstance(yaml.safe_load(value), (int, float))
            raise OptionError(f"{where}: '{value}' is text, not a number, to YAML. Write "
                              + (f'{value} without quotes.' if quoted else f'!!float {value}.'))


def _check_key_names(opt: Mapping[str, Any]) -> None:
    """Check that keys are text: YAML reads ``1:``, ``on:`` and ``~:`` as something else."""
    for place, block in {'option file': opt, **{key: opt.get(key) or {} for key in BLOCKS}}.items():
        for key in block:
            check_type(key, str, f'{place}: key {key}')


def _model(opt: Mapping[str, Any]) -> type | None:
    """Return the model class, which says what keys are read; None where the file names none."""
    if opt.get('model_type') is None:
        return None
    name = opt.get('base_model_type') or opt['model_type']
    model = registered(registry.MODEL_REGISTRY, name, 'model_type', 'model')
    if not isinstance(model, type):
        raise OptionError("base_model_type: 'RecogAwareModel' is made from another class. Name it, e.g. SRModel.")
    return model


def _check_outline(opt: Mapping[str, Any]) -> None:
    """Check that the blocks are there that every run needs."""
    for key in ('name', 'model_type', 'datasets', 'network_g', 'path',
                *(('train', 'logger') if opt.get('is_train') else ())):
        if opt.get(key) is None:
            raise OptionError(f"option file: '{key}' is missing.")
    for phase, dataset in opt['datasets'].items():
        check_type(phase, str, 'datasets')
        check_type(dataset, TypedBlock, f'datasets.{phase}')
    if opt.get('is_train') and 'train' not in opt['datasets']:
        raise OptionError("datasets: 'train' is missing. To score a trained network: ra-plugin test")
    if not opt.get('is_train') and not opt.get('val'):
        raise OptionError("option file: 'val' is missing: it says what to score.")


def _check_names(opt: Mapping[str, Any]) -> None:
    """Check what the machine has to have, and the names that become those of folders."""
    if opt.get('num_gpu') not in (None, 0, 'auto') and not torch.cuda.is_available():
        raise OptionError(f"num_gpu: {opt['num_gpu']}, but torch finds no GPU. Write num_gpu: 0, or auto.")
    for where, name in (('name', opt['name']), *((f'datasets.{phase}.name', dataset.get('name'))
                                                 for phase, dataset in opt['datasets'].items())):
        if name is not None:  # that of the run may not be nested: BasicSR writes it into that of the log, too
            check_folder_name(str(name), where, 'experiments or results', is_nested_allowed=where != 'name')


def _check_datasets(opt: Mapping[str, Any]) -> None:
    """Check what each data set is, and that there is something to judge by."""
    for phase, dataset in opt['datasets'].items():
        where = f'datasets.{phase}'
        registered(registry.DATASET_REGISTRY, type_of(dataset, where), f'{where}.type', 'data set')
        kind = phase.split('_')[0]
        if kind not in ('train', 'val', 'test'):
            raise OptionError(f"{where}: expected train, val, val_<n>, test or test_<n>."
                              f"{suggestion(kind, ('train', 'val', 'test'))}")
        if phase != 'train' and (opt.get('val') or {}).get('recognizers'):
            check_given(dataset, f'val.recognizers: {where}')


def _check_blocks_of_datasets(opt: Mapping[str, Any]) -> None:
    scale = {} if opt.get('scale') is None else {'scale': opt['scale']}
    for phase, dataset in opt['datasets'].items():
        if phase != 'train' or opt.get('is_train', True):
            check_dataset({'phase': phase.split('_')[0], **scale, **dataset}, f'datasets.{phase}')
        else:  # not read when testing, but for whether there are labels
            build_block(LabelOptions, label_keys(dataset), f'datasets.{phase}')


def _check_labels(opt: Mapping[str, Any], train: TrainKeys) -> None:
    """Check that losses with labels get some."""
    dataset = opt['datasets'].get('train') or {}
    for where, block in train.losses:
        if recognition_losses()[block['type']].needs == 'label' and has_no_labels(dataset):
            raise OptionError(f'{where}: {no_labels(block["type"], dataset["type"])}')


def _check_learner(opt: Mapping[str, Any], train: TrainKeys, val: ValKeys) -> None:
    """Check what goes with a recognizer that learns, and with the steps that have a recognition loss."""
    learner = train.learner() if opt.get('is_train') else None
    _check_recog_every(opt, train, learner)
    if opt.get('is_train') and opt['train']['optim_g'] is None:
        _check_fixed_restorer(opt, train, learner)
    for name, block in (val.recognizers or {}).items():
        if is_trainable(block) and block != learner:
            raise OptionError(f'val.recognizers.{name}.trainable: must equal the trainable block in train.recog_opt, '
                              'whose recognizer is evaluated in its current state. Remove it for a frozen one; the '
                              'trained weights are in checkpoint: experiments/NAME/models/net_r_latest.pth.')


def _check_recog_every(opt: Mapping[str, Any], train: TrainKeys, learner: Mapping | None) -> None:
    train_opt, every = opt.get('train') or {}, train.recog_every or 1
    has_loss = train_opt.get('pixel_opt') or train_opt.get('perceptual_opt') or opt.get('network_t')
    if every > 1 and (learner or not has_loss):
        raise OptionError('train.recog_every: the steps between would have no loss, without pixel_opt or for a '
                          'recognizer that learns. Leave it out.')
    rests = train_opt.get('net_d_iters') or 1  # a GAN's generator learns in every step of that number alone
    if math.gcd(every, rests) > 1:
        raise OptionError(f'train.recog_every: expected a number without a common divisor with net_d_iters, {rests}, '
                          f'got {every}: steps of both kinds would fall together.')


def _check_budget(opt: Mapping[str, Any], train: TrainKeys) -> None:
    """Check what goes with ``train.recog_budget``: a network to start from, a loss that changes it, clean images."""
    budget, where = train.recog_budget, 'train.recog_budget'
    if budget is None or not opt.get('is_train'):
        return
    if not train.losses:
        raise OptionError(f'{where}: there is no recognition loss whose weight it could change. Add train.recog_opt.')
    if opt.get('network_t') or any(is_trainable(block['recognizer']) for _, block in train.losses):
        raise OptionError(f'{where}: it is for a loss that changes network_g alone, with a frozen recognizer. Remove '
                          'it, or network_t and trainable.')
    if opt['train'].get('optim_g') is None:
        raise OptionError(f'{where}: network_g does not learn, so that the loss costs nothing. Remove it.')
    if starts_at_random(opt):
        raise OptionError(f'{where}: the budget is counted from the network that the training starts from, which has '
                          'random weights here. Set path.pretrain_network_g to a trained one.')
    phases = [phase for phase in opt['datasets'] if phase != 'train']
    if not phases or budget.dataset not in (None, *phases):
        raise OptionError(f'{where}.dataset: expected one of {", ".join(phases) or "val, val_2, ..."} in datasets, got '
                          f'{budget.dataset or "none"}. PSNR is measured on its images.')
    phase = budget.phase_in(phases)
    if has_no_clean(opt['datasets'][phase]):
        raise OptionError(f'{where}.dataset: datasets.{phase} has no clean images, so there is no PSNR.')


def _check_fixed_restorer(opt: Mapping[str, Any], train: TrainKeys, learner: Mapping | None) -> None:
    """Check what goes with ``train.optim_g: ~``: the recognizer learns, and the restorer has learned."""
    if learner is None:
        raise OptionError('train.optim_g: expected an optimizer, got ~: neither the restorer would learn nor, with '
                          'trainable: true in train.recog_opt, a recognizer.')
    taught = [f'train.{key}' for key in ('pixel_opt', 'perceptual_opt', 'anchor_opt', 'ema_decay')
              if opt['train'].get(key)]
    taught += [place for place, block in train.losses if recognition_losses()[block['type']].needs != 'label']
    taught += [key for key in ('network_t', 'network_d') if opt.get(key)]
    if taught:
        raise OptionError(f'{taught[0]}: the recognizer alone learns where train.optim_g is ~. Remove it.')
    if not opt['path'].get('pretrain_network_g') and opt['network_g']['type'] != 'Interpolation':
        raise OptionError('path.pretrain_network_g: expected the weights of a trained network, since it does not learn '
                          'where train.optim_g is ~.')


def _check_transformer(opt: Mapping[str, Any], train: TrainKeys) -> None:
    """Check what goes with ``network_t``."""
    if opt.get('network_t'):
        if opt.get('is_train') and not train.losses:
            raise OptionError(NO_LOSS_FOR_T)
        return
    for key in ('optim_t', 'scheduler_t'):
        if getattr(train, key):
            raise OptionError(f'train.{key}: there is no network_t to train. Add network_t, or remove it.')
    if (opt.get('path') or {}).get('pretrain_network_t'):
        raise OptionError('path.pretrain_network_t: there is no network_t to load. Add network_t, or remove it.')
