"""Training loop: steps, logs, checkpoints, validations, and an interruption from which the run can be resumed."""
import datetime
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from basicsr.utils import AvgTimer, MessageLogger

from ra_plugin.models.recog_budget import BudgetImages
from ra_plugin.models.resume.writer import SaveError
from ra_plugin.models.step_log import numbers
from ra_plugin.models.training_step import NotFinite
from ra_plugin.options import OptionError
from ra_plugin.training.device_batches import on_device
from ra_plugin.training.network_sizes import sizes_told
from ra_plugin.training.programs import this_command
from ra_plugin.training.resumable_batches import TrainingBatches
from ra_plugin.utils.full_disk import is_full_disk
from ra_plugin.utils.interruption import Interrupted, Interruption
from ra_plugin.utils.progress import progress
from ra_plugin.utils.random_streams import kept_random_streams
from ra_plugin.utils.text import how_many


class Training:
    """Training run, from its first iteration or a training state to the last iteration.

    After iteration i, batches ``0 .. i * accum_iter - 1`` have been processed, regardless of interruptions.

    Args:
        opt: The parsed option file.
        model: Model built from it.
        batches: Batches of ``datasets.train``.
        val_loaders: Loaders of the validation sets.
        logger: Logger of the run.
        tb_logger: TensorBoard writer, or None.
        is_part: Another command trains, which says how to go on.
    """

    def __init__(self, opt: dict, model: Any, batches: TrainingBatches, val_loaders: list, logger: logging.Logger,
                 tb_logger: Any = None, is_part: bool = False):
        self.is_part = is_part
        self.opt, self.model, self.batches, self.val_loaders = opt, model, batches, val_loaders
        self.logger, self.tb_logger = logger, tb_logger
        self.total = int(opt['train']['total_iter'])
        self.accum_iter = model.step_options.accum_iter
        self.iteration = 0
        self._budget = BudgetImages.of(opt, val_loaders) if getattr(model, 'budget', None) else None
        self._saved = -1  # the iteration of the last checkpoint
        self._problem: ValueError | None = None  # an error in the data

    @property
    def epoch(self) -> int:
        return self.iteration * self.accum_iter // self.batches.per_epoch

    def resume(self, state: Mapping) -> None:
        """Resume from a training state."""
        self.model.resume_training(state)
        self.iteration = self._saved = state['iter']
        self.logger.info(f'Resuming from epoch {state["epoch"]}, iteration {self.iteration}.')

    def run(self) -> int:
        """Train to the end, or until Ctrl-C or SIGTERM, after which the run is saved.

        Returns:
            Number of the signal that stopped the run in this process; otherwise 0.

        Raises:
            ValueError: An image or label is unusable, or the loss stays NaN. The run is saved.
            SaveError: The disk is full when the run is saved for the last time.
        """
        started = time.time()
        self.logger.info(f'{how_many(len(self.batches.dataset), "training image")}, '
                         f'{how_many(self.batches.per_epoch, "batch")} per epoch, '
                         f'{how_many(self.total, "iteration")} in total.')
        _remove_leftovers(self.opt)
        with Interruption() as interruption:
            try:
                if self.iteration and self._is_due('val', 'val_freq'):  # it may not have finished before a kill
                    self._validate(interruption)
                if not self.iteration:
                    self._keep_start()
                if not self._train(interruption):
                    self._stop(interruption.name)
                    return interruption.number
                self._read_last_steps()
                if self._budget:
                    self._on_budget(self._budget, self.model.land_on_budget)
                self.logger.info(f'End of training after {datetime.timedelta(seconds=int(time.time() - started))}.')
                self.model.save(epoch=-1, current_iter=-1)  # -1 stands for the latest
                if self.opt.get('val') and not self._is_due('val', 'val_freq'):
                    self._validate(interruption)
            except Interrupted:
                self._stop(interruption.name)
                return interruption.number
        return 0

    def _train(self, interruption: Interruption) -> bool:
        """Train until the last iteration and return True; return False if the run has to stop before."""
        message = message_logger(self.opt, self.iteration, self.tb_logger)
        data_timer, iter_timer = AvgTimer(), AvgTimer()
        check = getattr(self.model, 'check_batch', lambda batch: None)  # models that use labels have it
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
                if self._budget and self.iteration % self._budget.every == 0 and self.iteration < self.total:
                    self._on_budget(self._budget, self.model.hold_budget)  # before saving: a state has what follows
                if self._is_due('logger', 'save_checkpoint_freq'):
                    self._save_or_warn()
                if self._is_due('val', 'val_freq'):
                    self._validate(interruption)
                data_timer.start()
                iter_timer.start()
        return True

    def _fetch(self, stream: Iterator[dict]) -> list[dict]:
        """Return the batches of one iteration; keep an error for later, since all processes have to stop together."""
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
        except NotFinite:  # the step is complete, although it changed nothing
            self.iteration += 1
            self._save_or_warn()
            raise
        except ValueError:  # an invalid label
            self.model.abandon_step()
            if not self.opt['dist']:  # saving needs all processes, and the others have no error
                self._save_or_warn()
            raise
        except RuntimeError as error:  # a loss on images of different sizes
            restored, clean = (getattr(self.model, name, None) for name in ('output', 'gt'))
            if isinstance(restored, torch.Tensor) and isinstance(clean, torch.Tensor) and restored.shape != clean.shape:
                raise OptionError(f'network_g: expected images of the shape of the clean ones, {tuple(clean.shape)}, '
                                  f"got {tuple(restored.shape)}. Compare scale ({self.opt.get('scale')}) with the "
                                  'factor of the network and the data set.') from error
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

    def _keep_start(self) -> None:
        """Keep the network that the training starts from, and measure it, where something refers to it."""
        getattr(self.model, 'keep_start', lambda: None)()  # models with recognition losses have it
        if self._budget:
            self._on_budget(self._budget, self.model.start_budget)

    def _on_budget(self, images: BudgetImages, step: Callable[[BudgetImages], None]) -> None:
        """Measure on the images of the budget, without changing the random states of the training."""
        with kept_random_streams(), sizes_told(self.model, images.opt):
            step(images)

    def _validate(self, interruption: Interruption) -> None:
        """Validate on all validation sets, without changing the random states of the training."""
        if self.opt['dist']:  # save before, since an error in one process does not reach the others in time
            self._save_or_warn()
        try:
            with kept_random_streams(), interruption.at_once():
                for loader in self.val_loaders:
                    with sizes_told(self.model, loader.dataset.opt):
                        self.model.validation(loader, self.iteration, self.tb_logger,
                                              self.opt['val'].get('save_img', False))
        except Exception as error:  # a failed validation must not lose the training so far
            if not self.opt['dist']:
                self._save_or_warn()
            if is_of_full_disk(error):
                self.logger.error(f'Validation at iteration {self.iteration}: {error}. Training continues. Free disk '
                                  'space.')
            elif isinstance(error, RuntimeError) and 'DataLoader worker' in str(error):
                raise ValueError(f'validation: {str(error).splitlines()[0]} Lower num_worker_per_gpu if memory ran '
                                 'out.') from error
            else:
                raise

    def _current_log(self) -> dict[str, float]:
        """Return the numbers in the model's log; a user's own class may also log tensors and text."""
        log = numbers(self.model.get_current_log())
        return {name: value for name, value in log.items() if isinstance(value, (int, float))}

    def _log(self, message: MessageLogger, times: dict[str, float]) -> None:
        log = self._current_log()
        try:
            message({'epoch': self.epoch, 'iter': self.iteration, 'lrs': self.model.get_current_learning_rate(),
                     **times, **log})
        except OSError as error:  # from TensorBoard
            if not is_of_full_disk(error):
                raise
            self.logger.error(f'Iteration {self.iteration} is not logged: {error}. Training continues. Free disk '
                              'space.')

    def _save_or_warn(self) -> None:
        """Save the run; a full disk does not end it, since there may be space for the next checkpoint."""
        if self.iteration in (0, self._saved):
            return
        try:
            self.model.save(self.epoch, self.iteration)
            self._saved = self.iteration
        except SaveError as error:
            self.logger.error(f'Iteration {self.iteration} is not saved: {error} Training continues. Free disk space '
                              'before the next checkpoint.')

    def _stop(self, signal_name: str) -> None:
        """Save the run, and raise the error that stopped it, or log how to resume after a signal."""
        if self.iteration > max(self._saved, 0):
            self.model.save(self.epoch, self.iteration)
        if self._problem is not None:
            raise self._problem
        how = '' if self.is_part else f' Resume with --auto-resume: {this_command("--auto-resume")}'
        self.logger.warning(f'Stopped by {signal_name or "another process"} at iteration {self.iteration} of '
                            f'{self.total}; everything is saved.{how}')


def message_logger(opt: Mapping, iteration: int, tb_logger: Any = None) -> MessageLogger:
    """Return BasicSR's logger of losses, corrected to show the right time left instead of -1 day at the end."""
    message = MessageLogger(opt, iteration + 1, tb_logger)
    message.max_iters = int(opt['train']['total_iter']) + 1  # MessageLogger subtracts one
    return message


def is_of_full_disk(error: Exception) -> bool:
    """Return True if there was no disk space for a file; BasicSR's error for an image has no errno."""
    return is_full_disk(error) or isinstance(error, OSError) and 'Failed in writing images' in str(error)


def _remove_leftovers(opt: Mapping) -> None:
    """Delete temporary files that were left when the process was killed while writing."""
    if opt['rank'] == 0:
        for folder in ('models', 'training_states'):
            for path in Path(opt['path'][folder]).glob('.*.part'):
                path.unlink()
