"""The training loop: steps, logs, checkpoints and validations, and an end that can be gone on from."""
import datetime
import errno
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from basicsr.utils import AvgTimer, MessageLogger

from ra_plugin.models.resume.writer import SaveError
from ra_plugin.models.step_log import numbers
from ra_plugin.models.training_step import NotFinite
from ra_plugin.options import OptionError
from ra_plugin.training.device_batches import on_device
from ra_plugin.training.network_sizes import sizes_told
from ra_plugin.training.programs import this_command
from ra_plugin.training.resumable_batches import TrainingBatches
from ra_plugin.utils.interruption import Interrupted, Interruption
from ra_plugin.utils.progress import progress
from ra_plugin.utils.random_streams import kept_random_streams


class Training:
    """One run, from its first iteration, or from where its training state left it, to the last.

    After iteration i, batches ``0 .. i * accum_iter - 1`` have been learned from, whenever the run was stopped and
    resumed in between.

    Args:
        opt: The parsed option file.
        model: As built from it.
        batches: Of ``datasets.train``.
        val_loaders: Of the other data sets.
        logger: Of the run.
        tb_logger: TensorBoard's writer, or None.
    """

    def __init__(self, opt: dict, model: Any, batches: TrainingBatches, val_loaders: list, logger: logging.Logger,
                 tb_logger: Any = None):
        self.opt, self.model, self.batches, self.val_loaders = opt, model, batches, val_loaders
        self.logger, self.tb_logger = logger, tb_logger
        self.total = int(opt['train']['total_iter'])
        self.accum_iter = model.step_options.accum_iter
        self.iteration = 0
        self._saved = -1  # the iteration that was saved last
        self._problem: ValueError | None = None  # with the data

    @property
    def epoch(self) -> int:
        return self.iteration * self.accum_iter // self.batches.per_epoch

    def resume(self, state: Mapping) -> None:
        """Go on from a training state."""
        self.model.resume_training(state)
        self.iteration = self._saved = state['iter']
        self.logger.info(f'Resuming from epoch {state["epoch"]}, iteration {self.iteration}.')

    def run(self) -> int:
        """Train to the end, or until Ctrl-C or SIGTERM, which save the run.

        Returns:
            The number of the signal that stopped it, where it came to this process; else 0.

        Raises:
            ValueError: An image or label that cannot be used, or a loss that stays NaN. The run is saved.
            SaveError: The disk is full when the run is to be saved for the last time.
        """
        started = time.time()
        self.logger.info(f'{len(self.batches.dataset)} training images, {self.batches.per_epoch} batches an epoch, '
                         f'{self.total} iterations in all.')
        _remove_leftovers(self.opt)
        with Interruption() as interruption:
            try:
                if self.iteration and self._is_due('val', 'val_freq'):  # a kill may have kept it from ending
                    self._validate(interruption)
                if not self._train(interruption):
                    self._stop(interruption.name)
                    return interruption.number
                self._read_last_steps()
                self.logger.info(f'End of training after {datetime.timedelta(seconds=int(time.time() - started))}.')
                self.model.save(epoch=-1, current_iter=-1)  # -1 stands for the latest
                if self.opt.get('val') and not self._is_due('val', 'val_freq'):
                    self._validate(interruption)
            except Interrupted:
                self._stop(interruption.name)
                return interruption.number
        return 0

    def _train(self, interruption: Interruption) -> bool:
        """Whether the last iteration was reached."""
        message = message_logger(self.opt, self.iteration, self.tb_logger)
        data_timer, iter_timer = AvgTimer(), AvgTimer()
        check = getattr(self.model, 'check_batch', lambda batch: None)  # those with labels have one
        stream = on_device(self.batches.starting_at(self.iteration * self.accum_iter), check, self.model.device,
                           self.opt['datasets']['train'].get('prefetch_mode') == 'cuda')
        with progress(desc=self.opt['name'], total=self.total, unit='iter', initial=self.iteration,
                      disable=self.opt['rank'] > 0) as bar:
            while self.iteration < self.total:
                batches = self._fetch(stream)
                data_timer.record()
                if interruption.requested(self._problem is not None):
                    return False
                self._step(batches)
                iter_timer.record()
                bar.update()
                if self._is_due('logger', 'print_freq'):
                    bar.set_postfix({key: f'{value:.3g}' for key, value in self._current_log().items()},
                                    refresh=False)
                    self._log(message, {'time': iter_timer.get_avg_time(), 'data_time': data_timer.get_avg_time()})
                if self._is_due('logger', 'save_checkpoint_freq'):
                    self._save_or_warn()
                if self._is_due('val', 'val_freq'):
                    self._validate(interruption)
                data_timer.start()
                iter_timer.start()
        return True

    def _fetch(self, stream: Iterator[dict]) -> list[dict]:
        """The batches of one iteration; where one is missing, the reason is kept: all processes end together."""
        try:
            return [next(stream) for _ in range(self.accum_iter)]
        except ValueError as error:
            self._problem = error
            return []

    def _step(self, batches: list[dict]) -> None:
        self.model.update_learning_rate(self.iteration + 1, warmup_iter=self.opt['train'].get('warmup_iter', -1))
        try:
            for batch in batches:
                self.model.feed_data(batch)
                with sizes_told(self.model, self.opt['datasets']['train']):
                    self.model.optimize_parameters(self.iteration + 1)
        except NotFinite:  # the step is over, although it changed nothing
            self.iteration += 1
            self._save_or_warn()
            raise
        except ValueError:  # an invalid label
            self.model.abandon_step()
            if not self.opt['dist']:  # the other processes are well, and would not take part
                self._save_or_warn()
            raise
        except RuntimeError as error:  # a loss of images of unequal size
            restored, clean = (getattr(self.model, name, None) for name in ('output', 'gt'))
            if isinstance(restored, torch.Tensor) and isinstance(clean, torch.Tensor) and restored.shape != clean.shape:
                raise OptionError(f'network_g: its images are {tuple(restored.shape)}, the clean ones '
                                  f"{tuple(clean.shape)}. Check scale ({self.opt.get('scale')}) against the network's "
                                  'own factor and the data set.') from error
            raise
        self.iteration += 1

    def _read_last_steps(self) -> None:
        try:
            self.model.read_last_steps()
        except NotFinite:
            self._save_or_warn()
            raise

    def _is_due(self, block: str, key: str) -> bool:
        return bool(self.opt.get(block)) and self.iteration % int(self.opt[block][key]) == 0

    def _validate(self, interruption: Interruption) -> None:
        """Score every validation set; nothing that is random in it reaches the training."""
        if self.opt['dist']:  # what goes wrong in one process is not known to the others in time
            self._save_or_warn()
        try:
            with kept_random_streams(), interruption.at_once():
                for loader in self.val_loaders:
                    with sizes_told(self.model, loader.dataset.opt):
                        self.model.validation(loader, self.iteration, self.tb_logger,
                                              self.opt['val'].get('save_img', False))
        except Exception as error:  # the validation is lost, not what was learned
            if not self.opt['dist']:
                self._save_or_warn()
            if is_of_full_disk(error):
                self.logger.error(f'Validation at iteration {self.iteration}: {error}. Training goes on. Make room.')
            elif isinstance(error, RuntimeError) and 'DataLoader worker' in str(error):
                raise ValueError(f'validation: {str(error).splitlines()[0]} Lower num_worker_per_gpu if memory ran '
                                 'out.') from error
            else:
                raise

    def _current_log(self) -> dict[str, float]:
        """Return the numbers that the model logs; a class of a user's own may log tensors, and text."""
        log = numbers(self.model.get_current_log())
        return {name: value for name, value in log.items() if isinstance(value, (int, float))}

    def _log(self, message: MessageLogger, times: dict[str, float]) -> None:
        log = self._current_log()
        try:
            message({'epoch': self.epoch, 'iter': self.iteration, 'lrs': self.model.get_current_learning_rate(),
                     **times, **log})
        except OSError as error:  # the curves of TensorBoard
            if not is_of_full_disk(error):
                raise
            self.logger.error(f'Iteration {self.iteration} is not logged: {error}. Training goes on. Make room.')

    def _save_or_warn(self) -> None:
        """Save the run as it is; a full disk is no reason to end it: there may be room the next time."""
        if self.iteration in (0, self._saved):
            return
        try:
            self.model.save(self.epoch, self.iteration)
            self._saved = self.iteration
        except SaveError as error:
            self.logger.error(f'Iteration {self.iteration} is not saved: {error} Training goes on. Make room before '
                              'the next checkpoint.')

    def _stop(self, signal_name: str) -> None:
        """Save and say how to go on; raise what kept the run from going on by itself."""
        if self.iteration > max(self._saved, 0):
            self.model.save(self.epoch, self.iteration)
        if self._problem is not None:
            raise self._problem
        self.logger.warning(f'Stopped by {signal_name or "another process"} at iteration {self.iteration} of '
                            f'{self.total}; everything is saved. To go on, add --auto-resume: '
                            f'{this_command("--auto-resume")}')


def message_logger(opt: Mapping, iteration: int, tb_logger: Any = None) -> MessageLogger:
    """BasicSR's lines, with the time left after ``iteration`` iterations, for which it says -1 day at the end."""
    message = MessageLogger(opt, iteration + 1, tb_logger)
    message.max_iters = int(opt['train']['total_iter']) + 1  # it takes one off
    return message


def is_of_full_disk(error: Exception) -> bool:
    """Return whether there was no room for a file; BasicSR has no number for an image that could not be written."""
    return isinstance(error, OSError) and (error.errno in (errno.ENOSPC, errno.EDQUOT)
                                           or 'Failed in writing images' in str(error))


def _remove_leftovers(opt: Mapping) -> None:
    """What a kill in the middle of writing left beside the files that it was to replace."""
    if opt['rank'] == 0:
        for folder in ('models', 'training_states'):
            for path in Path(opt['path'][folder]).glob('.*.part'):
                path.unlink()
