"""Trainings with a budget: they land on it, by BasicSR's own PSNR, and resume exactly."""
import math

import pytest
import runs
import torch
from basicsr.archs import build_network
from basicsr.metrics import calculate_psnr
from basicsr.utils import tensor2img

from ra_plugin.builders.loaders import build_dataset

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def start(tmp_path_factory):
    """Return the weights of a network that can hardly do better."""
    root = tmp_path_factory.mktemp('start')
    opt = options(root, total_iter=150)
    del opt['train']['recog_opt'], opt['train']['recog_budget']
    opt['train']['optim_g']['lr'] = 1e-2
    assert runs.train(root, opt) == 0, runs.output(root)
    return runs.folder(root) / 'models' / 'net_g_latest.pth'


def options(root, weights=None, **train) -> dict:
    opt = runs.options(root, recog_budget={'max_psnr_drop': 0.1}, **train)
    del opt['network_t'], opt['train']['optim_t']
    opt['network_g'] = {'type': 'SRVGGNetCompact', 'num_feat': 4, 'num_conv': 1, 'upscale': 1}  # begins as it is given
    opt['train']['scheduler'] = {'type': 'CosineAnnealingRestartLR', 'periods': [opt['train']['total_iter']],
                                 'restart_weights': [1], 'eta_min': 0}
    opt['path'] = {'pretrain_network_g': str(weights)} if weights else {}
    opt['val']['val_freq'], opt['logger']['save_checkpoint_freq'] = 1000, 7
    return opt


def validation(opt: dict):
    return build_dataset({**opt['datasets']['val'], 'phase': 'val', 'scale': 1})


def restored(opt: dict, file, key: str) -> list:
    """Return the 8-bit images of a network in a file, one by one and by BasicSR's own function."""
    network = build_network(dict(opt['network_g'])).eval()
    network.load_state_dict(torch.load(file, weights_only=True)[key])
    with torch.no_grad():
        return [tensor2img([network(item['lq'][None])]).astype(float) for item in validation(opt)]


def mean_psnr(opt: dict, file, key='params') -> float:
    """Return the mean PSNR over the validation images by BasicSR's own function."""
    values = [calculate_psnr(image, tensor2img([item['gt'][None]]), crop_border=0)
              for image, item in zip(restored(opt, file, key), validation(opt), strict=True)]
    return sum(values) / len(values)


def test_beside_an_anchor_the_change_counts_and_not_what_it_does_to_psnr(start, tmp_path):
    """The network of the start is one that any training improves: a sharp one, as from a GAN."""
    weights = torch.load(start, weights_only=True)
    for state in weights.values():
        state['body.2.weight'] *= 1.5
    torch.save(weights, tmp_path / 'sharp.pth')
    opt = options(tmp_path, tmp_path / 'sharp.pth', total_iter=60,
                  anchor_opt={'type': 'MSELoss', 'loss_weight': 1.0, 'to': 'start'})
    del opt['train']['pixel_opt']
    opt['train']['recog_opt']['loss_weight'] = 0.3
    assert runs.train(tmp_path, opt) == 0, runs.output(tmp_path)
    before, after = (restored(opt, file, 'params_ema') for file in (
        tmp_path / 'sharp.pth', runs.folder(tmp_path) / 'models' / 'net_g_latest.pth'))
    clean = [tensor2img([item['gt'][None]]).astype(float) for item in validation(opt)]
    drops = [10 * math.log10(1 + ((a - b) ** 2).mean() / ((a - c) ** 2).mean())
             for a, b, c in zip(before, after, clean, strict=True)]
    assert -0.02 < 0.1 - sum(drops) / len(drops) < 0.02, runs.output(tmp_path)


@pytest.mark.parametrize('weight', [1.0, 5.0])
def test_it_lands_on_the_budget(weight, start, tmp_path):
    opt = options(tmp_path, start, total_iter=60)
    opt['train']['recog_opt']['loss_weight'] = weight
    assert runs.train(tmp_path, opt) == 0, runs.output(tmp_path)
    models = runs.folder(tmp_path) / 'models'
    before = mean_psnr(opt, start, 'params_ema')
    for key in ('params', 'params_ema'):
        drop = before - mean_psnr(opt, models / 'net_g_latest.pth', key)
        assert -0.02 < 0.1 - drop - 1e-6 < 0.02, runs.output(tmp_path)
    assert abs(mean_psnr(opt, models / 'net_g_start.pth') - before) < 1e-6


def test_a_run_that_is_stopped_lands_where_one_that_is_not_does(start, tmp_path):
    whole, _ = runs.assert_stops_change_nothing(tmp_path, lambda root: options(root, start, total_iter=24), (10, 19))
    assert len({line.rpartition('recog_factor')[2] for line in runs.logged(whole)[0].values()}) > 12
