"""Pipelines for training and testing with BasicSR's option files, folders, builders and logs, and our checks.

BasicSR's own ``train_pipeline`` creates folders before it checks the options, and hard-codes validation batches of one;
this is the same sequence of the same parts in another order.
"""
import glob
import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from basicsr import train as basicsr_train
from basicsr.utils import get_time_str, make_exp_dirs, set_random_seed
from basicsr.utils.options import copy_opt_file
from torch import nn

from ra_plugin.builders.given import check_judges, check_metrics_given
from ra_plugin.builders.loaders import build_dataset, build_val_loaders
from ra_plugin.builders.networks import check_color, check_scale, place_of_block
from ra_plugin.builders.option_file import folders_not_taken, parse_options
from ra_plugin.builders.unread_keys import own_folders, unread_keys
from ra_plugin.builders.word_check import check_words, warn_of_long_words
from ra_plugin.checkpoint import OWN_KEY
from ra_plugin.data.class_check import check_classes
from ra_plugin.data.degraded_image_dataset import DegradedImageDataset
from ra_plugin.data.image_dataset import dataset_of
from ra_plugin.library_errors import is_worded, told, translated
from ra_plugin.models.builder import build_model
from ra_plugin.models.resume.reader import load_resume_state
from ra_plugin.options import OptionError
from ra_plugin.shipped.find import shown_name
from ra_plugin.training.loop import Training
from ra_plugin.training.network_sizes import check_validation_sizes, sizes_told
from ra_plugin.training.recognizer_log import crop_size, recognizer_lines
from ra_plugin.training.resumable_batches import TrainingBatches
from ra_plugin.training.run_log import RunLog
from ra_plugin.utils import command_line, processes
from ra_plugin.utils.out_folder import from_here, say_written
from ra_plugin.utils.signals import Interrupted
from ra_plugin.utils.text import how_many


def run(pipeline: Callable[[Path], object], root: Path, kept: str = 'the same command resumes it') -> int:
    """Run a pipeline as a program and return its exit status; see `command_line.run`, also for ``kept``.

    The traceback of an error is in the log of the run if the log was already open.
    """
    try:
        return command_line.run(lambda: pipeline(root), Path(sys.argv[0]).name, kept)
    finally:
        processes.leave()


def train_pipeline(root: Path, is_part: bool = False) -> None:
    """Train by the option file on the command line.

    Args:
        root: Folder of ``experiments``.
        is_part: Another command trains, which itself says where results are and how to go on.

    Raises:
        OptionError: The options are invalid, or do not fit the data; existing runs are not touched.
    """
    opt, args = parse_options(root, is_train=True)
    torch.backends.cudnn.benchmark = True
    with RunLog(opt, 'train') as log:
        logger = log.logger
        _tell_unread_keys(opt, logger)
        resume_state = load_resume_state(opt)
        _take_seed(opt, resume_state, logger)
        batches = TrainingBatches(build_dataset(opt['datasets']['train'], 'datasets.train'), opt)
        val_loaders = build_val_loaders(opt)
        model = _build_model(opt)
        _check_recognizers(model, [batches.dataset, *map(dataset_of, val_loaders)], logger)
        check_validation_sizes(model, val_loaders if opt.get('val') else ())
        for line in recognizer_lines(model, opt):
            logger.info(line)

        if resume_state is None:  # all checks passed: now create folders, which archives an older run of that name
            _make_folders(opt, logger)
            if opt['logger'].get('use_tb_logger') and 'debug' not in opt['name'] and opt['rank'] == 0:
                _move_aside(Path(opt['root_path']) / 'tb_logger' / opt['name'], logger)
        if opt['rank'] == 0:
            _copy_option_file(args.opt, opt['path']['experiments_root'])
        log.open()
        with translated('logger'):
            tb_logger = basicsr_train.init_tb_loggers(opt)
        training = Training(opt, model, batches, val_loaders, logger, tb_logger, is_part)
        if resume_state:
            training.resume(resume_state)
        number = training.run()
        if tb_logger:
            tb_logger.close()
    if not number and not is_part:
        _say_where(opt)
    if number and not opt['dist']:  # for several processes the launcher reports how they ended
        raise Interrupted(number, is_told=True)  # the log has reported it


def test_pipeline(root: Path) -> None:
    """Restore and score all data sets of the option file on the command line."""
    opt, _ = parse_options(root, is_train=False)
    torch.backends.cudnn.benchmark = True
    with RunLog(opt, 'test') as log:
        _tell_unread_keys(opt, log.logger)
        loaders = build_val_loaders(opt)
        model = _build_model(opt)
        _check_recognizers(model, list(map(dataset_of, loaders)), log.logger)
        for line in recognizer_lines(model, opt):
            log.logger.info(line)
        _make_folders(opt, log.logger)
        log.open()
        for loader in loaders:
            dataset = dataset_of(loader)
            log.logger.info(f'Testing {dataset.opt["name"]}: {how_many(len(dataset), "image")}.')
            with sizes_told(model, dataset.opt):
                model.validation(loader, current_iter=opt['name'], tb_logger=None,
                                 save_img=opt['val'].get('save_img', False))
    _say_where(opt)


def _copy_option_file(file: str, folder: str) -> None:
    """Copy the options with the command line above them, which names shipped files as they are known everywhere."""
    given = list(sys.argv)
    sys.argv[:] = [shown_name(word) for word in given]  # BasicSR reads them
    try:
        copy_opt_file(file, folder)
    finally:
        sys.argv[:] = given


def _say_where(opt: Mapping) -> None:
    if opt['rank'] == 0:
        say_written(Path(opt['path']['experiments_root' if opt['is_train'] else 'results_root']))


def _take_seed(opt: dict, resume_state: Mapping | None, logger: logging.Logger) -> None:
    """Use the seed with which the run started, since without manual_seed BasicSR draws one at each start."""
    seed = ((resume_state or {}).get(OWN_KEY) or {}).get('manual_seed')
    if seed is not None and seed != opt['manual_seed']:
        logger.info(f'manual_seed: {seed}, as at the start of the run.')
        opt['manual_seed'] = seed
        set_random_seed(seed + opt['rank'])


def _tell_unread_keys(opt: Mapping, logger: logging.Logger) -> None:
    for line in (*map(str, unread_keys(opt)), *folders_not_taken(opt)):
        logger.warning(line)


def _build_model(opt: dict):
    try:
        model = build_model(opt)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        place = place_of_block(error, opt)
        if place and not is_worded(error):
            raise OptionError(f'{place}: {told(error)}') from error
        if not isinstance(error, KeyError):
            raise
        # raised by BasicSR's classes for a missing option
        kind = opt.get('base_model_type') or opt['model_type']
        raise OptionError(f'{kind}: the option {error} is missing.') from error
    for name, scale in (('net_g', opt.get('scale')), ('net_t', 1)):
        if isinstance(getattr(model, name, None), nn.Module):
            check_scale(model.get_bare_model(getattr(model, name)), scale, name.replace('net', 'network'))
    return model


def _make_folders(opt: dict, logger: logging.Logger) -> None:
    """Create the folders of the run; an older run of that name is archived.

    BasicSR starts over, too, where ``--auto-resume`` finds no state: a run that ended before its first one, or that was
    shorter than ``save_checkpoint_freq``.
    """
    root = opt['path']['experiments_root' if opt['is_train'] else 'results_root']
    try:
        if opt['rank'] == 0:
            _move_aside(Path(root), logger, 'No training state was in it, so the run starts over.'
                        if opt.get('auto_resume') and opt['is_train'] else '')
        folders = own_folders(opt)  # BasicSR would create a folder for each value under path
        make_exp_dirs({**opt, 'path': {key: path for key, path in opt['path'].items() if key in folders and path}})
    except OSError as error:
        raise OptionError(f'{error.filename}: the folder of the run cannot be created ({error.strerror}). Free disk '
                          'space, allow writing there, or start in another folder.') from error


def _move_aside(folder: Path, logger: logging.Logger, why: str = '') -> None:
    """Archive a folder under BasicSR's name (to the second, with a suffix if that is taken), and say so."""
    if folder.exists():
        name = f'{folder.name}_archived_{get_time_str()}'
        taken = len(list(folder.parent.glob(f'{glob.escape(name)}*')))
        to = folder.rename(folder.with_name(f'{name}_{taken}' if taken else name))
        logger.log(logging.WARNING if why else logging.INFO,
                   f'{from_here(folder)} was there: moved to {from_here(to)}.{why and f" {why}"}')


def _check_recognizers(model, datasets: list, logger: logging.Logger) -> None:
    check_metrics_given(model.opt, logger)
    used = model.labeled_recognizers() if hasattr(model, 'labeled_recognizers') else []
    judges = getattr(model, 'eval_recognizers', {})
    for dataset in datasets:
        if isinstance(dataset, DegradedImageDataset):
            check_color(model.get_bare_model(model.net_g), 'network_g',
                        f'{type(dataset).__name__} has color images. Use a data set with color: y, e.g. '
                        'PairedImageDataset with labels: folders, or a network for three channels.')
        training = dataset.opt['phase'] == 'train'
        check_classes(dataset, used if training else judges.values(), f'datasets: {dataset.opt["name"]}')
        if training:
            check_words(dataset, used, f'datasets: {dataset.opt["name"]}')
            _warn_of_enlarged_crops(model, dataset.opt, logger)
        else:
            warn_of_long_words(dataset, judges.values(), f'datasets: {dataset.opt["name"]}')
    check_judges(model.opt, [dataset for dataset in datasets if dataset.opt['phase'] != 'train'], judges, logger)


def _warn_of_enlarged_crops(model, dataset_opt: Mapping, logger: logging.Logger) -> None:
    """Warn of recognizers in the loss that resize crops like whole images, so that objects become too large.

    This costs accuracy and time without any other sign, but may be intended.
    """
    crop = crop_size(dataset_opt)
    if crop is None:
        return
    height, width = crop
    for recognizer in (member for loss in getattr(model, 'cri_recog', ()) for member in loss.recognizer.members()):
        if recognizer.resizes_as_whole_images:
            resized = recognizer.resized(height, width)
            if resized[0] > height or resized[1] > width:
                logger.warning(f'train.recog_opt: {recognizer} enlarges crops of {width}x{height} pixels to '
                               f"{resized[1]}x{resized[0]}, as its config's test pipeline does with whole images. Set "
                               'its resize: ~, or to the factor by which whole images are enlarged.')
