"""Check values that BasicSR reads in the middle of a training, where a wrong one would end it."""
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypedDict

from ra_plugin.builders.built_blocks import check_losses, check_optimizers
from ra_plugin.options import Limits, OptionError, check_number, check_type, check_value, nearest, within
from ra_plugin.type_hints import TypedBlock

_Count = Annotated[float, Limits(least=1, whole=True)]  # may be written as 1e6
_Size = Annotated[int, Limits(least=1, whole=True)]
_Workers = Annotated[int, Limits(least=0, whole=True)]
_Probability = Annotated[float, Limits(least=0, most=1)]
_Factor = Annotated[float, Limits(least=0)]
_Seed = Annotated[int, Limits(least=0, most=2 ** 32 - 2 ** 16, whole=True)]  # numpy's, and each process adds its rank

_Optimizer: TypeAlias = TypedBlock | None  # ~: P stays as it is


class _BasicSRKeys(TypedDict, total=False):
    """Keys of BasicSR's models and data sets, in any block."""

    ema_decay: Annotated[float, Limits(least=0, below=1, remedy='E.g. 0.999; 0 for none.')]  # never empty
    dataset_enlarge_ratio: Annotated[float, Limits(above=0)]  # never empty
    net_d_iters: _Count | None
    net_d_init_iters: Annotated[float, Limits(least=0, whole=True)] | None
    scale: _Size | None
    gt_size: _Size | None
    queue_size: _Size | None
    num_frame: Annotated[int, Limits(least=-1, whole=True)] | None  # -1 in BasicSR's files: all frames, or not needed
    batch_size_per_gpu: _Size | None
    num_worker_per_gpu: _Workers | None
    num_prefetch_queue: _Size | None
    flow_lr_mul: _Factor | None
    dcn_lr_mul: _Factor | None
    sinc_prob: _Probability | None
    sinc_prob2: _Probability | None
    final_sinc_prob: _Probability | None
    second_blur_prob: _Probability | None
    gaussian_noise_prob: _Probability | None
    gaussian_noise_prob2: _Probability | None
    gray_noise_prob: _Probability | None
    gray_noise_prob2: _Probability | None
    use_hflip: bool | None
    use_rot: bool | None
    use_shuffle: bool | None
    pin_memory: bool | None
    persistent_workers: bool | None
    save_img: bool | None
    pbar: bool | None
    find_unused_parameters: bool | None
    high_order_degradation: bool | None
    random_reverse: bool | None
    num_gpu: Annotated[int, Limits(least=0, whole=True)] | Literal['auto']
    manual_seed: _Seed | None


# keys that every training needs, by block
_NEEDED: dict[str, dict[str, Any]] = {
    'train': {'total_iter': _Count, 'optim_g': _Optimizer, 'scheduler': TypedBlock},
    'logger': {'print_freq': _Count, 'save_checkpoint_freq': _Count},
    'val': {'val_freq': _Count},
    'datasets.train': {'batch_size_per_gpu': _Size, 'num_worker_per_gpu': _Workers},
}


def check_values(opt: Mapping[str, Any]) -> None:
    """Check the values of BasicSR's keys in the file, its data sets, ``train``, ``val`` and ``path``.

    Raises:
        OptionError: Of the wrong type, or out of the range that means something.
    """
    train_opt, val_opt = (opt.get(key) or {} for key in ('train', 'val'))
    blocks = {'': opt, 'train': train_opt, 'val': val_opt,
              **{f'datasets.{phase}': block for phase, block in (opt.get('datasets') or {}).items()}}
    for place, block in blocks.items():
        for key in ('ema_decay', 'dataset_enlarge_ratio'):
            if key in block and block[key] is None:
                raise OptionError(f'{within(place, key)}: expected a number, got ~. Leave the key out for its default.')
        check_value(block, _BasicSRKeys, place)
    _check_path(opt)


def check_seed(seed: Any) -> None:
    """Check ``manual_seed``.

    Raises:
        OptionError: It is no whole number, or out of the range of numpy's seeds.
    """
    check_value(seed, _Seed, 'manual_seed')


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


def check_run(opt: Mapping[str, Any], model: type) -> None:
    """Check the keys that every training needs, and set ``train.warmup_iter`` where there is none.

    Raises:
        OptionError: A key that is missing, or a value that cannot be used.
    """
    train_opt, train_data = opt['train'], opt['datasets']['train']
    blocks = {'train': train_opt, 'logger': opt['logger'], 'datasets.train': train_data}
    if opt.get('val'):
        blocks['val'] = opt['val']
    for place, block in blocks.items():
        for key, hint in _NEEDED[place].items():
            if key not in block:
                raise OptionError(f"{place}: '{key}' is missing.")
            check_value(block[key], hint, f'{place}.{key}')
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
    """Check sizes that have to divide each other, which BasicSR would find out in the first step."""
    scale, block = opt.get('scale') or 1, opt['datasets']['train']
    for where, size in (('datasets.train.gt_size', block.get('gt_size')), ('gt_size', opt.get('gt_size'))):
        if size and int(size) % int(scale):
            raise OptionError(f'{where}: expected a multiple of scale, {scale}, got {size}.')
    if hasattr(model, '_dequeue_and_enqueue') and opt.get('high_order_degradation', True):
        queue, batch = opt.get('queue_size', 180), block['batch_size_per_gpu'] * (
            1 if opt.get('dist') else max(int(opt.get('num_gpu') or 0), 1))
        if queue % batch:
            raise OptionError(f'queue_size: expected a multiple of the batch size, {batch}, got {queue}.')
