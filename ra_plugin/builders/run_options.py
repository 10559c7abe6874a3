"""The values of a training's option file that BasicSR reads in the middle of a run, where a wrong one would end it."""
from collections.abc import Mapping
from typing import Any, Literal

from ra_plugin.builders.built_blocks import check_losses, check_optimizers
from ra_plugin.options import OptionError, check_number, check_type, nearest

Limits = dict[str, Any]  # of `check_number`
_COUNT: Limits = {'least': 1, 'whole': True}
_NEEDED = {
    'train': {'total_iter': _COUNT, 'optim_g': None, 'scheduler': None},
    'logger': {'print_freq': _COUNT, 'save_checkpoint_freq': _COUNT},
    'val': {'val_freq': _COUNT},
    'datasets.train': {'batch_size_per_gpu': _COUNT, 'num_worker_per_gpu': {'least': 0, 'whole': True}},
}
_PROBABILITY: Limits = {'least': 0, 'most': 1}
# Keys of BasicSR's models and data sets, wherever they stand.
_LIMITS: dict[str, Limits] = {
    'ema_decay': {'least': 0, 'below': 1, 'remedy': 'E.g. 0.999; 0 for none.'},
    'net_d_iters': _COUNT, 'net_d_init_iters': {'least': 0, 'whole': True},
    'scale': _COUNT, 'gt_size': _COUNT, 'queue_size': _COUNT,
    'num_frame': {'least': -1, 'whole': True},  # -1 in BasicSR's files: all frames, or not needed
    'batch_size_per_gpu': _COUNT, 'num_worker_per_gpu': {'least': 0, 'whole': True},
    'dataset_enlarge_ratio': {'above': 0}, 'num_prefetch_queue': _COUNT,
    'flow_lr_mul': {'least': 0}, 'dcn_lr_mul': {'least': 0},
    **dict.fromkeys(('sinc_prob', 'sinc_prob2', 'final_sinc_prob', 'second_blur_prob', 'gaussian_noise_prob',
                     'gaussian_noise_prob2', 'gray_noise_prob', 'gray_noise_prob2'), _PROBABILITY),
}
_NEVER_EMPTY = ('ema_decay', 'dataset_enlarge_ratio')  # read as a number wherever they stand
_SIZES = ('batch_size_per_gpu', 'num_worker_per_gpu', 'gt_size', 'scale', 'queue_size', 'num_frame',
          'num_prefetch_queue')  # whole numbers that may not be written as 1e6
_BOOLEAN = ('use_hflip', 'use_rot', 'use_shuffle', 'pin_memory', 'persistent_workers', 'save_img', 'pbar',
            'find_unused_parameters', 'high_order_degradation', 'random_reverse')


def check_values(opt: Mapping[str, Any]) -> None:
    """Check the values of BasicSR's keys in the file, its data sets, ``train``, ``val`` and ``path``.

    Raises:
        OptionError: Of the wrong type, or out of the range that means something.
    """
    train_opt, val_opt = (opt.get(key) or {} for key in ('train', 'val'))
    blocks = {'': opt, 'train': train_opt, 'val': val_opt,
              **{f'datasets.{phase}': block for phase, block in (opt.get('datasets') or {}).items()}}
    for place, block in blocks.items():
        for key, value in block.items():
            where = f'{place}.{key}' if place else str(key)
            if key in _SIZES and value is not None:
                check_type(value, int, where)
            if key in _NEVER_EMPTY and value is None:
                raise OptionError(f'{where}: expected a number, got ~. Leave the key out for its default.')
            if key in _LIMITS and value is not None:
                check_number(value, where, **_LIMITS[key])
            elif key in _BOOLEAN:
                check_type(value, bool | None, where)
    if opt.get('num_gpu', 'auto') != 'auto':
        check_type(opt['num_gpu'], int | Literal['auto'], 'num_gpu')
        check_number(opt['num_gpu'], 'num_gpu', least=0, whole=True)
    if opt.get('manual_seed') is not None:
        check_seed(opt['manual_seed'])
    _check_path(opt)


def check_seed(seed: Any) -> None:
    """Check ``manual_seed``.

    Raises:
        OptionError: It is no whole number, or out of the range of numpy's seeds.
    """
    check_type(seed, int, 'manual_seed')
    most = 2 ** 32 - 2 ** 16  # numpy's, and each process adds its rank
    check_number(seed, 'manual_seed', least=0, most=most, whole=True)


def _check_path(opt: Mapping[str, Any]) -> None:
    for key, value in (opt.get('path') or {}).items():
        where, networks = f'path.{key}', [name for name in opt if str(name).startswith('network_')]
        if key.startswith('strict_load_'):
            check_type(value, bool, where)
        elif key.startswith(('pretrain_network_', 'param_key_')) or key == 'resume_state':
            check_type(value, str | None, where)
        elif key == 'ignore_resume_networks':
            check_type(value, list[str] | None, where)
            for name in value or ():
                if name not in networks:
                    meant = nearest(name, networks, cutoff=0.6)
                    raise OptionError(f"{where}: no network '{name}' in this file."
                                      + (f" Did you mean '{meant}'?" if meant else ''))


def check_run(opt: dict, model: type) -> None:
    """Check what a training cannot do without; sets ``train.warmup_iter`` where there is none.

    Raises:
        OptionError: A key that is missing, or a value that cannot be used.
    """
    train_opt, train_data = opt['train'], opt['datasets']['train']
    blocks = {'train': train_opt, 'logger': opt['logger'], 'datasets.train': train_data}
    if opt.get('val'):
        blocks['val'] = opt['val']
    for place, block in blocks.items():
        for key, limits in _NEEDED[place].items():
            if key not in block:
                raise OptionError(f"{place}: '{key}' is missing.")
            if limits:
                check_number(block[key], f'{place}.{key}', **limits)
    check_type(train_opt['optim_g'], Mapping | None, 'train.optim_g')  # ~: the restorer is to stay as it is
    check_type(train_opt['scheduler'], Mapping, 'train.scheduler')
    if train_opt.get('warmup_iter') is None:
        train_opt['warmup_iter'] = -1
    check_number(train_opt['warmup_iter'], 'train.warmup_iter', least=-1)
    check_losses(train_opt, model)
    check_optimizers(opt, model)
    mode = train_data.get('prefetch_mode')
    if mode not in (None, 'cpu') and not (mode == 'cuda' and train_data.get('pin_memory')):
        raise OptionError(f"datasets.train.prefetch_mode: expected ~, 'cpu', or 'cuda' with pin_memory: true; "
                          f'got {mode!r}.')
    _check_sizes(opt, model)


def _check_sizes(opt: Mapping[str, Any], model: type) -> None:
    """Sizes that have to divide each other: BasicSR finds out in the first step."""
    scale, block = opt.get('scale') or 1, opt['datasets']['train']
    for where, size in (('datasets.train.gt_size', block.get('gt_size')), ('gt_size', opt.get('gt_size'))):
        if size and int(size) % int(scale):
            raise OptionError(f'{where}: expected a multiple of scale, {scale}, got {size}.')
    if hasattr(model, '_dequeue_and_enqueue') and opt.get('high_order_degradation', True):
        queue, batch = opt.get('queue_size', 180), block['batch_size_per_gpu'] * (
            1 if opt.get('dist') else max(int(opt.get('num_gpu') or 0), 1))
        if queue % batch:
            raise OptionError(f'queue_size: expected a multiple of the batch size, {batch}, got {queue}.')
