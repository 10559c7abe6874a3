"""Check the blocks of losses, optimizers, schedules, metrics and file readers, whose keys are arguments.

Each block is checked against the signature; what is cheap to build is also built, and called once, before anything
heavy.
"""
import importlib.util
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from basicsr.archs.vgg_arch import NAMES
from basicsr.losses.basic_loss import PerceptualLoss
from basicsr.metrics import calculate_metric
from basicsr.models import lr_scheduler
from basicsr.utils import registry
from basicsr.utils.file_client import FileClient

from ra_plugin.builders.networks import registered
from ra_plugin.builders.option_keys import read_keys
from ra_plugin.compat.basicsr_patches import optimizer_classes
from ra_plugin.library_errors import innermost_module, translated
from ra_plugin.metrics.calculate_pyiqa import calculate_pyiqa, check_pyiqa
from ra_plugin.models.stock import is_stock
from ra_plugin.models.training_step import with_float_betas
from ra_plugin.options import OptionError, check_arguments, check_number, check_type, missing, type_of, unknown
from ra_plugin.type_hints import TypedBlock
from ra_plugin.utils.text import one_line

_SCHEDULERS = {'MultiStepLR': lr_scheduler.MultiStepRestartLR, 'MultiStepRestartLR': lr_scheduler.MultiStepRestartLR,
               'CosineAnnealingRestartLR': lr_scheduler.CosineAnnealingRestartLR}
_FROM_DATASET = ('db_paths', 'client_keys')  # of lmdb: the data set adds them
_TRIED = 192  # pixels a side of the images that a metric is tried on; NIQE takes no less
_WEIGHTS = ('loss_weight', 'perceptual_weight', 'style_weight')
_CHOICES = {'reduction': Literal['none', 'mean', 'sum'], 'criterion': Literal['l1', 'l2', 'fro'],
            'vgg_type': Literal[(*NAMES, *(f'{name}_bn' for name in NAMES))]}


def check_losses(train_opt: Mapping[str, Any], model: type) -> None:
    """Check the blocks of losses that BasicSR builds for a model, ``pixel_opt`` and others.

    Raises:
        OptionError: No such loss, or arguments that it does not take.
    """
    read = read_keys(model)
    for key, block in train_opt.items():
        builders = read.built.get(('train', key), set())
        if key == 'recog_opt' or not block or not isinstance(block, Mapping) or 'build_loss' not in builders:
            if 'build_loss' in builders and block:
                check_type(block, TypedBlock, f'train.{key}')
            continue
        where = f'train.{key}'
        kind = registered(registry.LOSS_REGISTRY, type_of(block, where), f'{where}.type', 'loss')
        check_loss(kind, block, where)
        if block.get('reduction') == 'none' and is_stock(model, 'optimize_parameters'):
            raise OptionError(f'{where}.reduction: training needs one number. Use mean or sum.')


def check_loss(kind: type, block: Mapping[str, Any], where: str) -> None:
    """Check the arguments of a loss; of one of BasicSR also their values.

    Raises:
        OptionError: Arguments that it does not take.
    """
    check_signature(kind, block, where)
    if kind.__module__.startswith('basicsr.'):
        _check_values(kind, block, where)


def _check_values(kind: type, block: Mapping[str, Any], where: str) -> None:
    """Check the values of a loss of BasicSR by building it, and call pixel losses once.

    The perceptual loss, which loads a network, is not built.
    """
    for key, value in block.items():
        if key in _WEIGHTS:
            check_number(value, f'{where}.{key}', least=0)
        elif key in _CHOICES:
            check_type(value, _CHOICES[key], f'{where}.{key}')
    if issubclass(kind, PerceptualLoss):
        check_type(block['layer_weights'], Mapping[str, float], f'{where}.layer_weights')
        known = NAMES[block.get('vgg_type', 'vgg19').removesuffix('_bn')]
        for layer, weight in block['layer_weights'].items():
            if layer not in known and not layer.startswith('bn'):
                raise unknown('layer', layer, known, f'{where}.layer_weights')
            check_number(weight, f'{where}.layer_weights.{layer}', least=0)
        return
    with translated(where):
        loss = kind(**{key: value for key, value in block.items() if key != 'type'})
        if list(inspect.signature(loss.forward).parameters)[:2] == ['pred', 'target']:  # what it takes is met here
            loss(torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8))


def check_signature(target: Any, block: Mapping[str, Any], where: str, given: Sequence[str] = ()) -> None:
    """Check the keys of a block, ``type`` aside, see `check_arguments`."""
    check_arguments(target, {key: value for key, value in block.items() if key != 'type'}, where, given)


def check_optimizers(opt: Mapping[str, Any], model: type) -> None:
    """Check the optimizers and the schedules of their learning rates, by building each for a parameter of its own.

    A class that builds them in its own way is left to it.

    Raises:
        OptionError: No such optimizer or schedule, or arguments that it does not take.
    """
    train_opt = opt['train']
    for key, block in train_opt.items():
        if key.startswith('optim_') and block and is_stock(model, 'get_optimizer'):
            _check_optimizer(block, f'train.{key}')
    for key, block in train_opt.items():
        if (key == 'scheduler' or key.startswith('scheduler_')) and block and is_stock(model, 'setup_schedulers'):
            _check_scheduler(block, f'train.{key}', train_opt['total_iter'])


def _check_optimizer(block: Any, where: str) -> None:
    check_type(block, TypedBlock, where)
    known = optimizer_classes()
    kind = type_of(block, where)
    if not isinstance(kind, str) or kind not in known:  # what a file gives as a type need not be hashable
        raise unknown('optimizer', kind, known, f'{where}.type')
    if 'lr' not in block:
        raise missing('lr', block, where)
    check_number(block['lr'], f'{where}.lr', above=0)
    check_signature(known[kind], block, where, given=('params',))
    with translated(where):
        known[kind]([torch.zeros(1, 1, requires_grad=True)],
                    **with_float_betas({key: value for key, value in block.items() if key != 'type'}))


def _check_scheduler(block: Any, where: str, total_iter: float) -> None:
    check_type(block, TypedBlock, where)
    kind = type_of(block, where)
    if not isinstance(kind, str) or kind not in _SCHEDULERS:
        raise unknown('schedule', kind, _SCHEDULERS, f'{where}.type')
    check_signature(_SCHEDULERS[kind], block, where, given=('optimizer',))
    for key in ('milestones', 'restarts', 'restart_weights', 'periods'):
        if key in block:
            check_type(block[key], list[float], f'{where}.{key}')
    if 'gamma' in block:
        check_number(block['gamma'], f'{where}.gamma', above=0)
    if 'eta_min' in block:
        check_number(block['eta_min'], f'{where}.eta_min', least=0)
    with translated(where):
        _SCHEDULERS[kind](torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0),
                          **{key: value for key, value in block.items() if key != 'type'})
    periods = block.get('periods')
    if periods is not None and (min(periods, default=0) <= 0 or sum(periods) < total_iter - 1):
        raise OptionError(f'{where}.periods: expected numbers > 0 that add up to total_iter, {total_iter:g}, or more, '
                          f'got {list(periods)}. After them there is no learning rate.')


def check_metrics(metrics: Any, where: str) -> None:
    """Check blocks of metrics as BasicSR calls them; its own are tried once.

    A block of ``calculate_pyiqa`` gets ``better``, as pyiqa says.

    Raises:
        OptionError: No such metric, arguments that it does not take, or no value of two images.
    """
    check_type(metrics, Mapping | None, where)
    for name, block in (metrics or {}).items():
        place = f'{where}.{name}'
        check_type(block, TypedBlock, place)
        metric = registered(registry.METRIC_REGISTRY, type_of(block, place), f'{place}.type', 'metric')
        check_type(block.get('better', 'higher'), Literal['higher', 'lower'], f'{place}.better')
        if 'crop_border' in block:
            check_type(block['crop_border'], int, f'{place}.crop_border')  # a slice takes no 4.0
            check_number(block['crop_border'], f'{place}.crop_border', least=0, whole=True)
        if metric is calculate_pyiqa:
            block.setdefault('better', check_pyiqa(block, place))
            continue
        arguments = {key: value for key, value in block.items() if key not in ('type', 'better')}
        check_arguments(metric, arguments, place, given=('img', 'img2'))
        if metric.__module__.startswith('basicsr.'):
            _try_metric(block, place)


def _try_metric(block: Mapping[str, Any], where: str) -> None:
    rng = np.random.default_rng(0)
    size = _TRIED + 2 * block.get('crop_border', 0)
    images = [rng.integers(0, 256, (size, size, 3), np.uint8) for _ in range(2)]
    try:
        float(calculate_metric(dict(zip(('img', 'img2'), images, strict=False)), block))
    except Exception as error:  # of any kind: these are what a validation would end with
        if innermost_module(error).startswith('ra_plugin'):
            raise
        raise OptionError(f'{where}: {block["type"]} gives no value of two images of 8 bits '
                          f'({type(error).__name__}: {one_line(error, 200)}).') from error


def check_reader(block: Any, where: str) -> None:
    """Check ``io_backend``, as BasicSR's data sets hand it to its reader of files.

    Raises:
        OptionError: No such kind, or arguments that it does not take.
    """
    check_type(block, TypedBlock, where)
    kinds = FileClient._backends
    kind = type_of(block, where)
    if not isinstance(kind, str) or kind not in kinds:
        raise unknown('reader', kind, kinds, f'{where}.type')
    given = {key: value for key, value in block.items() if key not in _FROM_DATASET}
    check_signature(kinds[kind], given, where, given=_FROM_DATASET)


def check_logger(opt: Mapping[str, Any]) -> None:
    """Check that what ``logger`` asks for is installed, and that its parts go together.

    Raises:
        OptionError: Weights & Biases without TensorBoard, or one that is not installed.
    """
    logger_opt = opt.get('logger') or {}
    check_type(logger_opt.get('use_tb_logger'), bool | None, 'logger.use_tb_logger')
    check_type(logger_opt.get('wandb'), Mapping | None, 'logger.wandb')
    wandb = logger_opt.get('wandb') or {}
    for key in ('project', 'resume_id'):
        check_type(wandb.get(key), str | None, f'logger.wandb.{key}')
    if 'debug' in str(opt.get('name')):  # BasicSR logs to neither then
        return
    if wandb.get('project') and not logger_opt.get('use_tb_logger'):
        raise OptionError('logger.wandb: BasicSR sends what TensorBoard logs. Set use_tb_logger: true, or remove '
                          'project.')
    for wanted, package, place in ((logger_opt.get('use_tb_logger'), 'tensorboard', 'logger.use_tb_logger'),
                                   (wandb.get('project'), 'wandb', 'logger.wandb')):
        if wanted and importlib.util.find_spec(package) is None:
            raise OptionError(f'{place} needs {package}, which is not installed. Install it with: pip install '
                              f'{package}; or leave it out.')
