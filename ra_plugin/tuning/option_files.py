"""Option files of a tuning: of its training and of its report. They can be edited and run by themselves."""
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ra_plugin.losses import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss
from ra_plugin.losses.recognizer_loss import RecognizerLoss
from ra_plugin.models.recog_budget import LANDING, MEASUREMENTS, BudgetOptions
from ra_plugin.tuning.image_plan import CHOOSE, REPORT, TRAIN, ImagePlan
from ra_plugin.tuning.options import TuneOptions
from ra_plugin.tuning.probe import Probe
from ra_plugin.tuning.source import Source

ORIGINAL, TUNED = 'original', 'tuned'
_WARM_UP = 12  # a twelfth of the steps: the first ones of Adam move a trained network away
_AVERAGE = 0.98  # of the weights: PSNR is measured on the average, which does not jump with the learning rate
_CHECKPOINTS = 12
_MOST = 1000  # images that the budget is measured on
_SHARE = 0.2  # of the training's time, for that
AUDITED = 500
_LOSSES = {'consistency': RecogConsistencyLoss, 'labels': RecogLoss, 'features': RecogFeatureLoss}


def loss_block(options: TuneOptions, recognizer: Mapping[str, Any], weight: float) -> dict[str, Any]:
    """Return the block of the recognition loss."""
    return {'type': _LOSSES[options.loss].__name__, 'loss_weight': weight, 'recognizer': dict(recognizer)}


def build_loss(options: TuneOptions, recognizer: Any) -> RecognizerLoss:
    """Return the recognition loss with a weight of 1, of a recognizer or its block."""
    return _LOSSES[options.loss](recognizer)


def stays_near_original(options: TuneOptions, seen: Probe) -> bool:
    """Return True where restored images are to stay near those of the original rather than near clean ones."""
    is_for_looks = seen.psnr < seen.psnr_without
    return options.image_loss == 'original' or options.image_loss == 'auto' and is_for_looks


def image_loss(options: TuneOptions, seen: Probe) -> dict[str, Any]:
    """Return the key of the image loss with its block."""
    squares = {'type': 'MSELoss', 'loss_weight': 1.0, 'reduction': 'mean'}
    return {'anchor_opt': {**squares, 'to': 'start'}} if stays_near_original(options, seen) else {'pixel_opt': squares}


def training_options(options: TuneOptions, source: Source, images: ImagePlan, recognizer: Mapping[str, Any],
                     seen: Probe, device: str | None = None) -> dict[str, Any]:
    """Return the option file of the training; on the CPU where it is the device, else where there is a GPU on that."""
    loading = {'batch_size_per_gpu': images.batch_size, 'num_worker_per_gpu': 0}
    return {
        'name': TUNED,
        **source.training(),
        'num_gpu': 0 if device == 'cpu' else 'auto',
        'manual_seed': options.seed,
        'datasets': {
            'train': {'name': 'train', **images.blocks[TRAIN], **loading, 'use_shuffle': True,
                      'dataset_enlarge_ratio': 1, 'prefetch_mode': None},
            'val': {'name': 'choose', **loading, **images.blocks[CHOOSE]}},
        'train': {
            'optim_g': {'type': 'Adam', 'lr': options.lr, 'betas': [0.9, 0.999]},
            'scheduler': {'type': 'CosineAnnealingRestartLR', 'periods': [options.steps], 'restart_weights': [1],
                          'eta_min': 0},
            'total_iter': options.steps, 'warmup_iter': options.steps // _WARM_UP, 'ema_decay': _AVERAGE,
            **image_loss(options, seen),
            'recog_opt': loss_block(options, recognizer, seen.loss_weight),
            'recog_budget': {'max_psnr_drop': options.max_psnr_drop, 'images': measured_images(options, images, seen)}},
        'logger': {'print_freq': max(1, options.steps // MEASUREMENTS),
                   'save_checkpoint_freq': max(1, options.steps // _CHECKPOINTS), 'use_tb_logger': False,
                   'console_level': 'warning'},  # a bar shows the progress; the log has the details
    }


def report_options(options: TuneOptions, source: Source, images: ImagePlan, recognizers: Mapping[str, Mapping],
                   used: str, tuned: Path) -> dict[str, Any]:
    """Return the option file of the evaluation.

    Args:
        options: The tuning.
        source: The restorer.
        images: Its images.
        recognizers: Name -> block of those that judge.
        used: Name of the one that the training used.
        tuned: File of the tuned restorer.
    """
    return {
        'name': f'{source.name}_tuned',
        'datasets': {f'{Path(options.images).resolve().name}, held out': images.blocks[REPORT]},
        'restorers': {ORIGINAL: source.restorer(source.file),
                      TUNED: {**source.restorer(tuned), 'used': [used]}},
        'baseline': ORIGINAL,
        'recognizers': dict(recognizers),
        'images': min(options.report_images, images.counts[REPORT]),
        'audit': min(AUDITED, images.counts[REPORT]),
        'seed': options.seed,
    }


def measured_images(options: TuneOptions, images: ImagePlan, seen: Probe) -> int:
    """Return the number of images that the budget is measured on: at most 1,000, and at least 200 where there are.

    The drop of 200 images differs from that of all images by 0.01 dB or so (a standard error), that of 1,000 by half of
    it. Between the two, measuring takes a fifth of the time of the training.
    """
    affordable = _SHARE * options.steps * seen.step / (MEASUREMENTS + LANDING) / max(seen.restoring, 1e-9)
    return min(images.counts[CHOOSE], max(BudgetOptions.images, min(_MOST, int(affordable))))
