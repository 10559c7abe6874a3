"""Training and testing runs: BasicSR's option files, folders, builders and logs, with our checks and a progress bar.

BasicSR's own ``train_pipeline`` builds folders before it looks at the options and hard-codes validation batches of one;
this is the same sequence on the same parts, with the order changed.
"""
import datetime
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from basicsr import train as basicsr_train
from basicsr.data.prefetch_dataloader import CPUPrefetcher, CUDAPrefetcher
from basicsr.models import build_model
from basicsr.utils import AvgTimer, MessageLogger, make_exp_dirs, mkdir_and_rename
from basicsr.utils.options import copy_opt_file
from torch import nn

from ra_plugin.engine.loaders import build_train_loader, build_val_loaders, check_classes
from ra_plugin.engine.option_file import parse_options
from ra_plugin.engine.run_log import RunLog
from ra_plugin.recognizers.openmmlab_recognizer import OpenMMLabRecognizer
from ra_plugin.utils import command_line
from ra_plugin.utils.progress import progress


def run(pipeline: Callable[[Path], None], root: Path) -> int:
    """Run a pipeline for a command line: what the user can mend is one line on standard error, and exit status 2.

    The traceback is in the log of the run, where it had one by then.
    """
    return command_line.run(lambda: pipeline(root), Path(sys.argv[0]).name)


def train_pipeline(root: Path) -> None:
    """Train as the option file on the command line says.

    Raises:
        OptionError: The options cannot be meant, or do not fit the data; no existing run has been touched then.
    """
    opt, args = parse_options(root, is_train=True)
    torch.backends.cudnn.benchmark = True
    resume_state = basicsr_train.load_resume_state(opt)
    with RunLog(opt, 'train') as log:
        logger = log.logger
        train_loader, sampler = build_train_loader(opt)
        val_loaders = build_val_loaders(opt)
        model = build_model(opt)
        _check_recognizers(model, [train_loader, *val_loaders], logger)

        if resume_state is None:  # all is well: now make room, which moves an older run of that name aside
            make_exp_dirs(opt)
            if opt['logger'].get('use_tb_logger') and 'debug' not in opt['name'] and opt['rank'] == 0:
                mkdir_and_rename(os.path.join(opt['root_path'], 'tb_logger', opt['name']))
        if opt['rank'] == 0:
            copy_opt_file(args.opt, opt['path']['experiments_root'])
        log.open()
        _train(opt, model, train_loader, sampler, val_loaders, resume_state, logger)


def _train(opt, model, train_loader, sampler, val_loaders, resume_state, logger) -> None:
    tb_logger = basicsr_train.init_tb_loggers(opt)
    epoch, current_iter = 0, 0
    if resume_state:
        model.resume_training(resume_state)
        epoch, current_iter = resume_state['epoch'], resume_state['iter']
        logger.info(f'Resuming from epoch {epoch}, iteration {current_iter}.')

    total_iter = int(opt['train']['total_iter'])
    logger.info(f'{len(train_loader.dataset)} training images, {len(train_loader)} iterations an epoch, '
                f'{total_iter} in all.')
    message = MessageLogger(opt, current_iter, tb_logger)
    mode = opt['datasets']['train'].get('prefetch_mode')  # 'cpu' prefetching lives in the loader itself
    prefetcher = CUDAPrefetcher(train_loader, opt) if mode == 'cuda' else CPUPrefetcher(train_loader)
    data_timer, iter_timer, started = AvgTimer(), AvgTimer(), time.time()
    with progress(desc=opt['name'], total=total_iter, unit='iter', disable=opt['rank'] > 0) as bar:
        bar.update(current_iter)
        while current_iter < total_iter:
            sampler.set_epoch(epoch)
            try:
                prefetcher.reset()
                data = prefetcher.next()
                while data is not None and current_iter < total_iter:
                    data_timer.record()
                    model.update_learning_rate(current_iter + 1, warmup_iter=opt['train'].get('warmup_iter', -1))
                    model.feed_data(data)
                    model.optimize_parameters(current_iter + 1)
                    current_iter += 1
                    iter_timer.record()
                    bar.update()
                    if current_iter % opt['logger']['print_freq'] == 0:
                        log = model.get_current_log()
                        bar.set_postfix({key: f'{value:.3g}' for key, value in log.items()}, refresh=False)
                        message({'epoch': epoch, 'iter': current_iter, 'lrs': model.get_current_learning_rate(),
                                 'time': iter_timer.get_avg_time(), 'data_time': data_timer.get_avg_time(), **log})
                    if current_iter % opt['logger']['save_checkpoint_freq'] == 0:
                        model.save(epoch, current_iter)
                    if opt.get('val') and current_iter % opt['val']['val_freq'] == 0:
                        _validate(model, val_loaders, current_iter, tb_logger, opt)
                    data_timer.start()
                    iter_timer.start()
                    data = prefetcher.next()
            except ValueError:  # a bad image or label: what was learned before it is kept, and --auto_resume goes on
                if current_iter:
                    model.save(epoch, current_iter)
                raise
            epoch += 1
    logger.info(f'End of training after {datetime.timedelta(seconds=int(time.time() - started))}.')
    model.save(epoch=-1, current_iter=-1)  # -1 stands for the latest
    if opt.get('val') and total_iter % opt['val']['val_freq']:
        _validate(model, val_loaders, total_iter, tb_logger, opt)
    if tb_logger:
        tb_logger.close()


def test_pipeline(root: Path) -> None:
    """Restore and score every data set of the option file on the command line."""
    opt, _ = parse_options(root, is_train=False)
    torch.backends.cudnn.benchmark = True
    with RunLog(opt, 'test') as log:
        loaders = build_val_loaders(opt)
        model = build_model(opt)
        _check_recognizers(model, loaders, log.logger)
        make_exp_dirs(opt)
        log.open()
        for loader in loaders:
            log.logger.info(f'Testing {loader.dataset.opt["name"]}: {len(loader.dataset)} images.')
            model.validation(loader, current_iter=opt['name'], tb_logger=None,
                             save_img=opt['val'].get('save_img', False))


def _check_recognizers(model, loaders: list, logger: logging.Logger) -> None:
    used = model.labeled_recognizers() if hasattr(model, 'labeled_recognizers') else []
    judges = list(getattr(model, 'eval_recognizers', {}).values())
    for loader in loaders:
        training = loader.dataset.opt['phase'] == 'train'
        check_classes(loader.dataset, used if training else judges, f'datasets: {loader.dataset.opt["name"]}')
        if training:
            _warn_of_enlarged_crops(model, loader.dataset.opt, logger)


def _warn_of_enlarged_crops(model, dataset_opt: Mapping, logger: logging.Logger) -> None:
    """Say which recognizers of the loss resize crops as if they were whole images: objects become too large for them.

    It costs accuracy and time and shows nowhere else; yet it can be meant.
    """
    crop = dataset_opt.get('crop_size') or dataset_opt.get('gt_size')  # ours or BasicSR's
    if not crop:
        return
    height, width = (crop, crop) if isinstance(crop, int) else crop
    for recognizer in getattr(model, 'cri_recog', nn.ModuleList()).modules():  # an ensemble's members, too
        if isinstance(recognizer, OpenMMLabRecognizer) and recognizer.resize == 'model':
            resized = recognizer.geometry.size(height, width).resized
            if resized[0] > height or resized[1] > width:
                logger.warning(f'train.recog_opt: {recognizer} enlarges crops of {width}x{height} pixels to '
                               f"{resized[1]}x{resized[0]}, as its config's test pipeline does with whole images. Set "
                               'its resize: ~, or the factor that whole images are enlarged by.')


def _validate(model, loaders: list, current_iter: int, tb_logger, opt: dict) -> None:
    for loader in loaders:
        model.validation(loader, current_iter, tb_logger, opt['val'].get('save_img', False))
