"""Blocks whose keys are arguments, and values that mean something: held against what they build, before it is built."""
import importlib.util
import math

import pytest
from basicsr.utils.registry import MODEL_REGISTRY
from test_option_file import base
from test_unread_keys import put

from ra_plugin.builders import built_blocks
from ra_plugin.builders.file_check import check_file
from ra_plugin.builders.run_options import check_values
from ra_plugin.compat.basicsr_patches import optimizer_classes
from ra_plugin.options import OptionError, check_number, nearest

GAN = MODEL_REGISTRY.get('SRGANModel')


@pytest.mark.slow
@pytest.mark.parametrize('place, value, message', [
    ('train.pixel_opt.loss_wieght', 1.0, "train.pixel_opt: unknown key 'loss_wieght'. Did you mean 'loss_weight'"),
    ('train.pixel_opt.type', 'L1Los', "train.pixel_opt.type: no loss 'L1Los'. Did you mean 'L1Loss'"),
    ('train.pixel_opt.loss_weight', -1.0, 'train.pixel_opt.loss_weight: expected a number >= 0, got -1.0'),
    ('train.pixel_opt.reduction', 'maen', "got 'maen'. Did you mean 'mean'"),
    ('train.pixel_opt.reduction', 'none', 'train.pixel_opt.reduction: training needs one number'),
    ('train.recog_opt.loss_weight', -1e-3, 'train.recog_opt.loss_weight: expected a number >= 0'),
    ('train.optim_g.beta', [0.9, 0.99], "train.optim_g: unknown key 'beta'. Did you mean 'betas'. Known: lr, betas"),
    ('train.optim_g.betas', [9, 0.99], 'train.optim_g: Invalid beta parameter at index 0: 9'),
    ('train.optim_g.lr', 0, 'train.optim_g.lr: expected a number > 0, got 0'),
    ('train.optim_g.lr', -1e-3, 'train.optim_g.lr: expected a number > 0'),
    ('train.scheduler', {'type': 'MultiStepLR', 'milestone': [5]},
     "unknown key 'milestone'. Did you mean 'milestones'"),
    ('train.scheduler.milestones', 5, 'train.scheduler.milestones: expected a list of numbers, got 5'),
    ('train.scheduler', {'type': 'CosineAnnealingRestartLR', 'periods': [5, 5]}, 'should have the same length'),
    ('train.scheduler.gamma', 0, 'train.scheduler.gamma: expected a number > 0'),
    ('train.ema_decay', 999, 'train.ema_decay: expected a number >= 0 and < 1, got 999. E.g. 0.999'),
    ('train.total_iter', 0, 'train.total_iter: expected a whole number >= 1, got 0'),
    ('train.total_iter', 0.5, 'train.total_iter: expected a whole number >= 1, got 0.5'),
    ('train.total_iter', math.nan, 'train.total_iter: expected a whole number >= 1, got nan'),
    ('train.warmup_iter', -5, 'train.warmup_iter: expected a number >= -1'),
    ('datasets.train.batch_size_per_gpu', 0, 'datasets.train.batch_size_per_gpu: expected a whole number >= 1'),
    ('datasets.val.batch_size_per_gpu', -2, 'datasets.val.batch_size_per_gpu: expected a whole number >= 1'),
    ('datasets.train.num_worker_per_gpu', -1, 'datasets.train.num_worker_per_gpu: expected a whole number >= 0'),
    ('datasets.train.dataset_enlarge_ratio', 0, 'dataset_enlarge_ratio: expected a number > 0'),
    ('datasets.train.degradation', {'type': 'GaussianNoise', 'sigma': 25},
     'datasets.train.degradation.sigma: expected .* in .0, 1., got 25. .* scale: 25 / 255 = 0.098'),
    ('datasets.val.degradation', {'type': 'Compose', 'steps': [{'type': 'JPEGCompression', 'quality': 0}]},
     r'datasets.val.degradation.steps.0.: JPEGCompression: expected quality from 1 to 100'),
    ('manual_seed', -1, 'manual_seed: expected a whole number >= 0'),
    ('num_gpu', -1, 'num_gpu: expected a whole number >= 0'),
    ('path.strict_load_g', 'yes', 'path.strict_load_g: expected true or false'),
    ('path.ignore_resume_networks', ['network_q'], "path.ignore_resume_networks: no network 'network_q'"),
    ('val.save_img', 'yes', 'val.save_img: expected true or false'),
    ('val.metrics.psnr.crop_border', -1, 'val.metrics.psnr.crop_border: expected a whole number >= 0'),
    ('val.metrics.psnr.crop_border', 4.0, 'val.metrics.psnr.crop_border: expected a whole number, got 4.0'),
    ('val.metrics.psnr.better', 'hihger', "got 'hihger'. Did you mean 'higher'"),
    ('val.metrics.psnr.type', 'calculate_psnr_pt', 'val.metrics.psnr: calculate_psnr_pt gives no value of two images'),
    ('val.metrics.psnr.input_order', 'CWH', 'val.metrics.psnr: .*Wrong input_order'),
])
def test_a_value_that_cannot_work_is_named(place, value, message):
    with pytest.raises(OptionError, match=message.replace('?', r'\?')):
        check_file(put(base(), place, value))


@pytest.mark.slow
def test_periods_have_to_last_as_long_as_the_training():
    opt = base()
    opt['train']['total_iter'] = 10
    opt['train']['scheduler'] = {'type': 'CosineAnnealingRestartLR', 'periods': [4, 5], 'restart_weights': [1, 1]}
    check_file(opt)  # the last step is taken with the rate after 9
    opt['train']['total_iter'] = 11
    with pytest.raises(OptionError, match='periods: expected numbers > 0 that add up to total_iter, 11, or more'):
        check_file(opt)


def test_a_whole_number_of_iterations_may_be_written_as_a_float():
    check_file(put(base(), 'train.total_iter', 3e5))


@pytest.mark.parametrize('name', sorted(optimizer_classes()))
def test_every_optimizer_can_be_asked_for(name):
    built_blocks._check_optimizer({'type': name, 'lr': 1e-3}, 'train.optim_g')


@pytest.mark.parametrize('block, message', [
    ({'gan_opt': {'type': 'GANLoss', 'gan_type': 'vanila'}}, 'train.gan_opt: .*vanila'),
    ({'perceptual_opt': {'type': 'PerceptualLoss', 'layer_weights': {'conv5_5': 1}}}, "no layer 'conv5_5'. Did you"),
    ({'perceptual_opt': {'type': 'PerceptualLoss', 'layer_weights': {'conv5_4': 1}, 'criterion': 'l3'}}, 'criterion'),
    ({'perceptual_opt': {'type': 'PerceptualLoss', 'layer_weights': {'conv5_4': 1}, 'vgg_type': 'vgg20'}}, 'vgg_type'),
    ({'perceptual_opt': {'layer_weights': {'conv5_4': 1}}}, "train.perceptual_opt: 'type' is missing"),
])
def test_losses_of_a_gan(block, message):
    with pytest.raises(OptionError, match=message):
        built_blocks.check_losses(block, GAN)


def test_sizes_that_do_not_divide_each_other():
    opt = base()
    opt['gt_size'] = 33
    with pytest.raises(OptionError, match='gt_size: expected a multiple of scale, 2, got 33'):
        check_file(opt)


@pytest.mark.parametrize('logger, missing, message', [
    ({'use_tb_logger': False, 'wandb': {'project': 'x', 'resume_id': None}}, '', 'logger.wandb: .*use_tb_logger: true'),
    ({'use_tb_logger': True, 'wandb': {'project': 'x'}}, 'wandb', 'logger.wandb needs wandb.*pip install wandb'),
    ({'use_tb_logger': True}, 'tensorboard', 'logger.use_tb_logger needs tensorboard.*pip install tensorboard'),
    ({'wandb': {'project': ['x']}}, '', 'logger.wandb.project: expected text')])
def test_loggers(logger, missing, message, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name, *rest: None if name == missing else find(name, *rest))
    with pytest.raises(OptionError, match=message):
        built_blocks.check_logger({'name': 'run', 'logger': logger})
    built_blocks.check_logger({'name': 'debug_run', 'logger': {'use_tb_logger': False}})


@pytest.mark.parametrize('key, known, meant', [
    ('vla', ['val', 'train'],
     'val'), ('LR', ['lr'], 'lr'), ('meta_info', ['meta_info_file', 'scale'], 'meta_info_file'),
    ('psrn', ['psnr', 'ssim'], 'psnr'), ('tile', ['scale', 'val'], None), ('x', [], None)])
def test_nearest(key, known, meant):
    assert nearest(key, known) == meant


@pytest.mark.parametrize('value, limits, fits', [
    (1, {'least': 1}, True), (1, {'above': 1}, False), (1, {'below': 1}, False), (1, {'most': 1}, True),
    (2.0, {'whole': True}, True), (2.5, {'whole': True}, False), (math.inf, {}, False),
    (math.nan, {'whole': True}, False)])
def test_check_number(value, limits, fits):
    if fits:
        check_number(value, 'x', **limits)
    else:
        with pytest.raises(OptionError, match='^x: expected a (whole )?number'):
            check_number(value, 'x', **limits)


@pytest.mark.parametrize('eps', [None, [], 'small'])
def test_a_value_that_a_loss_only_meets_in_a_step_is_named_before(eps):
    opt = base()
    opt['train']['pixel_opt'] = {'type': 'CharbonnierLoss', 'eps': 1e-6}
    check_file(opt)
    opt['train']['pixel_opt']['eps'] = eps
    with pytest.raises(OptionError, match='train.pixel_opt'):
        check_file(opt)


@pytest.mark.parametrize('place, value', [
    ('train.optim_g.betas', [0, 0.99]), ('datasets.train.dataroot_gt', '2024'),
    ('path.pretrain_network_g', None)])
def test_a_value_that_basicsrs_files_have_is_taken(place, value):
    check_file(put(base(), place, value))


def test_the_number_of_frames_that_basicsrs_files_of_videos_have_is_taken():
    check_values({'datasets': {'val': {'num_frame': -1}, 'train': {'num_frame': 15}}})
    with pytest.raises(OptionError, match='datasets.val.num_frame: expected a whole number >= -1, got -2'):
        check_values({'datasets': {'val': {'num_frame': -2}}})
