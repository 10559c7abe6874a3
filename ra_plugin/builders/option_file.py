"""Read a BasicSR option file, and check it before any folder is made or network built."""
import importlib
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from basicsr.utils import registry, set_random_seed
from basicsr.utils.options import parse_options as basicsr_parse_options

from ra_plugin.builders.built_blocks import check_logger, check_metrics
from ra_plugin.builders.forced_options import check_forced
from ra_plugin.builders.given import check_given, check_metrics_given, has_no_labels
from ra_plugin.builders.networks import check_network, registered
from ra_plugin.builders.option_blocks import (OURS, SET_BY_RUN, check_dataset, check_keys, check_what_model_needs,
                                              model_class)
from ra_plugin.builders.option_paths import check_folder_name, resolve_paths
from ra_plugin.builders.run_options import check_run, check_seed, check_values
from ra_plugin.data.given import GAIN_LABELS
from ra_plugin.losses.recognizer_loss import RecognizerLoss
from ra_plugin.metrics.task_scores import TASKS
from ra_plugin.models.recog_aware_model import recog_aware, recog_blocks
from ra_plugin.models.training_step import StepOptions
from ra_plugin.options import (NUMBER_AS_TEXT, OptionError, check_arguments, check_number, check_type, nearest,
                               suggestion, type_of)
from ra_plugin.recognizers.trainable import frozen, is_trainable
from ra_plugin.registry import RECOGNIZER_REGISTRY
from ra_plugin.utils.processes import of_first
from ra_plugin.utils.yaml_file import read_yaml

_TEXT_KEYS = {'name', 'type', 'suffix', 'classes', 'keep_classes', 'project', 'resume_id', 'split', 'subfolders',
              'labels', 'annotation_file', 'meta_info', 'meta_info_file', 'dataroot', 'dataroot_gt', 'dataroot_lq',
              'checkpoint', 'model_name'}  # may look like numbers, as the folder of a year


def parse_options(root: str | Path, is_train: bool) -> tuple[dict, Any]:
    """BasicSR's command line and option file, checked, with the recognition-aware model switched on where asked for.

    Relative paths in the file are taken from the current folder, and where nothing is there, from ``root``: a shipped
    option file works from any folder.

    Returns:
        The options, and the parsed command line.

    Raises:
        OptionError: One line on what is wrong, with its place in the file.
    """
    if 'pytorch' in sys.argv and 'RANK' not in os.environ:
        raise OptionError('--launcher pytorch: start it with torchrun, e.g. torchrun --nproc_per_node 4 -m ra_plugin '
                          'train -opt FILE --launcher pytorch')
    check_forced(sys.argv[1:])
    try:
        opt, args = basicsr_parse_options(str(root), is_train=is_train)
    except (yaml.YAMLError, OSError) as error:
        raise OptionError(f'option file: {error}') from None
    except KeyError as error:
        raise OptionError(f'option file: the key {error} is missing.{_meant_by(error.args[0])}') from None
    except OptionError:  # one of ours, already in words
        raise
    except ValueError:  # a seed that numpy refuses
        _check_first_keys(_content())
        raise
    except (TypeError, AttributeError) as error:  # a list, a bare word or nothing where a block of keys belongs
        _check_first_keys(_content())
        raise OptionError(f"option file: expected blocks of keys, as in BasicSR's option files ({error}).") from error
    if opt['dist'] and opt['num_gpu'] == 0 and torch.distributed.get_backend() == 'nccl':
        raise OptionError('num_gpu: 0 with --launcher on a machine with GPUs: its processes talk through these. Set '
                          'CUDA_VISIBLE_DEVICES= (empty) before the command to train on the CPU.')
    # without manual_seed BasicSR draws one in each process, and they would share no order of the images
    opt['manual_seed'] = of_first(opt['manual_seed'])
    set_random_seed(opt['manual_seed'] + opt['rank'])  # BasicSR seeds before --force_yml can change the seed
    opt['root_path'] = str(root)
    resolve_paths(opt, Path(root))
    import_own(opt)
    if isinstance(opt.get('logger'), dict):
        opt['logger'].setdefault('use_tb_logger', False)
    check_options(opt)
    if opt['model_type'] != 'RecogAwareModel' and _is_recognition_aware(opt):
        opt['base_model_type'], opt['model_type'] = opt['model_type'], 'RecogAwareModel'
    return opt, args


def folders_not_taken(opt: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each folder that the option file or the command line names, and BasicSR puts elsewhere."""
    content = _content()
    named = dict((content.get('path') or {}) if isinstance(content, Mapping) else {})
    for argument in sys.argv[1:]:
        key, is_forced, value = argument.partition('=')
        if is_forced and key.startswith('path:'):
            named[key.removeprefix('path:')] = None if value in ('~', 'null', 'none') else value
    for key in sorted(SET_BY_RUN['path',] & named.keys() & opt.get('path', {}).keys()):
        taken = Path(opt['path'].get(key) or '')
        if named[key] is not None and Path(str(named[key])) not in (taken, *taken.parents):
            yield (f'path.{key}: {named[key]!r} has no effect: BasicSR takes {taken}. '
                   'To keep it elsewhere, make that a link.')


def _meant_by(key: object) -> str:
    """A hint at the key of the file that may stand for one that is missing."""
    content = _content()
    meant = nearest(key, map(str, content)) if isinstance(content, Mapping) and key not in content else None
    return f" Did you mean it by '{meant}'?" if meant else ''


def _check_first_keys(content: object) -> None:
    """Check what BasicSR uses while it reads the file, so that its own error need not be shown."""
    if not isinstance(content, Mapping):
        return
    check_type(content.get('name', ''), str, 'name')
    if content.get('manual_seed') is not None:
        check_seed(content['manual_seed'])
    for key in ('datasets', 'network_g', 'path', 'train', 'val', 'logger'):
        check_type(content.get(key, {}), Mapping | None, key)


def _content() -> object:
    """Return what the option file of the command line holds, before BasicSR has read it."""
    file = next((sys.argv[i + 1] for i, flag in enumerate(sys.argv[:-1]) if flag == '-opt'), None)
    return read_yaml(file, 'option file') if file else None


def import_own(opt: Mapping[str, Any]) -> None:
    """Import the modules of ``custom_imports``: a user's recognizers, losses, architectures register themselves."""
    check_type(opt.get('custom_imports'), Sequence[str] | None, 'custom_imports')
    if opt.get('custom_imports') or any(where.endswith('.module') for where, _ in _leaves(opt)):
        sys.path.append(os.getcwd())  # a colleague's module beside the option file's data is found without PYTHONPATH
    for module in opt.get('custom_imports') or ():
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if not f'{module}.'.startswith(f'{error.name}.'):
                raise  # it is there; something that it imports is not
            raise OptionError(f"custom_imports: no module '{error.name}'. Is its folder on PYTHONPATH?") from None


def check_options(opt: Mapping[str, Any]) -> None:
    """Check everything that this package adds to an option file, and the names of what BasicSR is to build.

    Raises:
        OptionError: With the place in the file and, where a name or key is close to a known one, that one.
    """
    for where, value in _leaves(opt):
        key = where.rpartition('.')[2].partition('[')[0]
        if key not in _TEXT_KEYS and isinstance(value, str) and NUMBER_AS_TEXT.fullmatch(value):
            quoted = isinstance(yaml.safe_load(value), (int, float))
            raise OptionError(f"{where}: '{value}' is text, not a number, to YAML. Write "
                              + (f'{value} without quotes.' if quoted else f'!!float {value}.'))
    for key in ('datasets', 'network_g', 'path', 'train', 'val', 'logger'):
        check_type(opt.get(key), Mapping | None, key)
    train_opt, val_opt, logger_opt = (opt.get(key) or {} for key in ('train', 'val', 'logger'))
    _check_places(opt)
    if opt.get('model_type') is not None:  # which keys are read is for the model to say
        name = opt.get('base_model_type') or opt['model_type']
        model = registered(registry.MODEL_REGISTRY, name, 'model_type', 'model')
        if not isinstance(model, type):
            raise OptionError("base_model_type: 'RecogAwareModel' is made from another class. Name it, e.g. SRModel.")
    check_keys(opt)
    for key in ('name', 'model_type', 'datasets', 'network_g', 'path',
                *(('train', 'logger') if opt.get('is_train') else ())):
        if opt.get(key) is None:
            raise OptionError(f"option file: '{key}' is missing.")
    for phase, dataset in opt['datasets'].items():
        check_type(phase, str, 'datasets')
        check_type(dataset, Mapping, f'datasets.{phase}')
    if opt.get('is_train') and 'train' not in opt['datasets']:
        raise OptionError("datasets: 'train' is missing. To score a trained network: ra-plugin test")
    if not opt.get('is_train') and not val_opt:
        raise OptionError("option file: 'val' is missing: it says what to score.")
    check_values(opt)
    if opt.get('is_train'):
        check_run(opt, model_class(opt))
    if opt.get('num_gpu') not in (None, 0, 'auto') and not torch.cuda.is_available():
        raise OptionError(f"num_gpu: {opt['num_gpu']}, but torch finds no GPU. Write num_gpu: 0, or auto.")
    for where, name in (('name', opt['name']), *((f'datasets.{phase}.name', dataset.get('name'))
                                                 for phase, dataset in opt['datasets'].items())):
        if name is not None:  # that of the run may not be nested: BasicSR writes it into that of the log, too
            check_folder_name(str(name), where, 'experiments or results', is_nested_allowed=where != 'name')
    if _is_recognition_aware(opt) or opt['model_type'] == 'RecogAwareModel':
        recog_aware(model)
    for name in opt:
        if name.startswith('network_'):
            check_network(opt[name], name)
    for phase, dataset in opt['datasets'].items():
        where = f'datasets.{phase}'
        cls = registered(registry.DATASET_REGISTRY, type_of(dataset, where), f'{where}.type', 'data set')
        kind = phase.split('_')[0]
        if kind not in ('train', 'val', 'test'):
            raise OptionError(f"{where}: expected train, val, val_<n>, test or test_<n>."
                              f"{suggestion(kind, ('train', 'val', 'test'))}")
        if hasattr(cls, 'check_options'):
            cls.check_options(dataset, where)
        check_type(dataset.get('labels'), str | None, f'{where}.labels')
        if phase != 'train' and val_opt.get('recognizers'):
            check_given(dataset, f'val.recognizers: {where}')
    StepOptions.of(train_opt)
    check_type(train_opt.get('log_grad_ratio'), bool | None, 'train.log_grad_ratio')
    check_type(logger_opt.get('console_level'), Literal['debug', 'info', 'warning', 'error'] | None,
               'logger.console_level')
    for where, block in _numbered('train.recog_opt', train_opt.get('recog_opt')):
        _check_loss(block, where, opt)
    check_type(val_opt.get('recognizers'), Mapping | None, 'val.recognizers')
    learner = _learner(train_opt) if opt.get('is_train') else None
    _check_recog_every(opt, learner)
    if opt.get('is_train') and train_opt['optim_g'] is None:
        _check_fixed_restorer(opt, learner)
    for name, block in (val_opt.get('recognizers') or {}).items():
        RECOGNIZER_REGISTRY.check(frozen(block), f'val.recognizers.{name}')
        if is_trainable(block) and block != learner:
            raise OptionError(f'val.recognizers.{name}.trainable: expected the very block that learns in '
                              'train.recog_opt, which judges as it is by then. Leave it out for one that does not '
                              'learn; what was learned is in checkpoint: experiments/NAME/models/net_r_latest.pth.')
    check_type(val_opt.get('recognition_metrics'), Mapping | None, 'val.recognition_metrics')
    for task, metrics in (val_opt.get('recognition_metrics') or {}).items():
        if task not in TASKS:
            raise OptionError(f"val.recognition_metrics: no task '{task}'.{suggestion(task, TASKS)} "
                              f"Known: {', '.join(TASKS)}")
        check_type(metrics, str | Sequence[str] | None, f'val.recognition_metrics.{task}')
    check_metrics(val_opt.get('metrics'), 'val.metrics')
    check_metrics_given(opt)
    check_logger(opt)
    if opt.get('network_t') and opt.get('is_train') and not recog_blocks(train_opt):
        raise OptionError('network_t: the transformer learns from the recognition loss alone. Add train.recog_opt.')
    if not opt.get('network_t'):
        for key in ('optim_t', 'scheduler_t'):
            if train_opt.get(key):
                raise OptionError(f'train.{key}: there is no network_t to train. Add network_t, or remove it.')
        if (opt.get('path') or {}).get('pretrain_network_t'):
            raise OptionError('path.pretrain_network_t: there is no network_t to load. Add network_t, or remove it.')
    for phase, dataset in opt['datasets'].items():
        if phase == 'train' and not opt.get('is_train', True):  # of a file for testing it is not read
            continue
        scale = {} if opt.get('scale') is None else {'scale': opt['scale']}
        check_dataset({'phase': phase.split('_')[0], **scale, **dataset}, f'datasets.{phase}')
    check_what_model_needs(opt)


def _check_places(opt: Mapping) -> None:
    """Keys of this package stand in the block that they are for."""
    for place, own in OURS.items():
        block = opt
        for key in place:
            block = block.get(key) or {}
        for key in block:
            other = [p for p, names in OURS.items() if key in names and p != place]
            if other and key not in own:
                raise OptionError(f"{'.'.join(place) or 'option file'}: '{key}' belongs under "
                                  f"{'.'.join(other[0]) or 'the top level'}.")


def _check_recog_every(opt: Mapping, learner: Mapping | None) -> None:
    train_opt = opt.get('train') or {}
    every = train_opt.get('recog_every')
    check_type(every, int | None, 'train.recog_every')
    if every is not None and every < 1:
        raise OptionError(f'train.recog_every: expected a whole number >= 1, got {every}.')
    has_loss = train_opt.get('pixel_opt') or train_opt.get('perceptual_opt') or opt.get('network_t')
    if (every or 1) > 1 and (learner or not has_loss):
        raise OptionError('train.recog_every: the steps between would have no loss, without pixel_opt or for a '
                          'recognizer that learns. Leave it out.')
    rests = train_opt.get('net_d_iters') or 1  # a GAN's generator learns in every step of that number alone
    if math.gcd(every or 1, rests) > 1:
        raise OptionError(f'train.recog_every: expected a number without a common divisor with net_d_iters, {rests}, '
                          f'got {every}: steps of both kinds would fall together.')


def _is_recognition_aware(opt: Mapping) -> bool:
    return bool((opt.get('train') or {}).get('recog_opt') or (opt.get('val') or {}).get('recognizers')
                or opt.get('network_t'))


def _check_loss(block: Any, where: str, opt: Mapping) -> None:
    if not isinstance(block, Mapping):
        raise OptionError(f'{where}: expected a block with a type, got {block!r}. Write {{type: RecogLoss, ...}}.')
    losses = {name: cls for name, cls in registry.LOSS_REGISTRY
              if isinstance(cls, type) and issubclass(cls, RecognizerLoss)}
    name = block.get('type')
    if not isinstance(name, str) or name not in losses:
        raise OptionError(f"{where}.type: no recognition loss '{name}'.{suggestion(name, losses)} "
                          f"Registered: {', '.join(sorted(losses))}")
    cls = losses[name]
    arguments = {key: value for key, value in block.items() if key != 'type'}
    check_arguments(cls, arguments, where)
    cls.check_options(arguments, where)
    check_number(block.get('loss_weight', 1), f'{where}.loss_weight', least=0)
    if block.get('reduction') == 'none':
        raise OptionError(f"{where}.reduction: training needs one number; 'none' is for use from Python. "
                          'Use mean or sum.')
    dataset = opt['datasets'].get('train') or {}
    if cls.needs == 'label' and has_no_labels(dataset):
        raise OptionError(f'{where}: {block["type"]} needs labels, and {dataset["type"]} gives none. {GAIN_LABELS} '
                          'for datasets.train, or RecogConsistencyLoss, which needs none.')


def _learner(train_opt: Mapping) -> Mapping | None:
    """The block of the recognizer that is to learn, if there is one."""
    blocks = [block['recognizer'] for block in recog_blocks(train_opt) if is_trainable(block['recognizer'])]
    if len(blocks) > 1:
        raise OptionError(f'train.recog_opt: expected one recognizer with trainable: true, got {len(blocks)}.')
    for key in ('optim_r', 'scheduler_r'):
        if train_opt.get(key) and not blocks:
            raise OptionError(f'train.{key}: there is no recognizer to train. Set trainable: true in that of '
                              'train.recog_opt, or remove it.')
    return blocks[0] if blocks else None


def _check_fixed_restorer(opt: Mapping, learner: Mapping | None) -> None:
    """What ``train.optim_g: ~`` goes with: the recognizer learns, and the restorer has learned."""
    if learner is None:
        raise OptionError('train.optim_g: expected an optimizer, got ~: neither the restorer would learn nor, with '
                          'trainable: true in train.recog_opt, a recognizer.')
    taught = [f'train.{key}' for key in ('pixel_opt', 'perceptual_opt', 'ema_decay') if opt['train'].get(key)]
    taught += [key for key in ('network_t', 'network_d') if opt.get(key)]
    if taught:
        raise OptionError(f'{taught[0]}: the recognizer alone learns where train.optim_g is ~. Remove it.')
    if not opt['path'].get('pretrain_network_g') and opt['network_g']['type'] != 'Interpolation':
        raise OptionError('path.pretrain_network_g: expected the weights of a trained network, since it does not learn '
                          'where train.optim_g is ~.')


def _numbered(where: str, blocks: Any) -> list[tuple[str, Any]]:
    if blocks is None:
        return []
    if isinstance(blocks, list):
        return [(f'{where}[{i}]', block) for i, block in enumerate(blocks)]
    return [(where, blocks)]


def _leaves(node: Any, where: str = '') -> Iterator[tuple[str, Any]]:
    """Every value in the file, with its dotted place."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, f'{where}.{key}' if where else str(key))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from _leaves(value, f'{where}[{i}]')
    else:
        yield where, node
