"""Trainings with an anchor to their start: one that is stopped goes on to the same end, near the same network."""
import pytest
import runs
import torch
from basicsr.archs import build_network

pytestmark = pytest.mark.slow


def options(root) -> dict:
    """Return options without a pixel loss, which start from a file with weights and an average of others."""
    opt = runs.options(root, anchor_opt={'type': 'L1Loss', 'loss_weight': 1.0, 'to': 'start'})
    del opt['network_t'], opt['train']['optim_t'], opt['train']['pixel_opt']
    torch.manual_seed(0)
    weights = {key: build_network(dict(opt['network_g'])).state_dict() for key in ('params', 'params_ema')}
    torch.save(weights, root / 'given.pth')
    opt['path'] = {'pretrain_network_g': str(root / 'given.pth')}
    opt['logger']['save_checkpoint_freq'] = 3
    return opt


def test_a_run_that_is_stopped_ends_as_one_that_is_not(tmp_path):
    whole, stopped = runs.assert_stops_change_nothing(tmp_path, options, (4, 7))
    assert all('l_anchor' in line for line in runs.logged(whole)[0].values())
    kept = torch.load(runs.folder(stopped) / 'models' / 'net_g_start.pth', weights_only=True)['params']
    given = torch.load(whole / 'given.pth', weights_only=True)['params_ema']
    assert kept.keys() == given.keys() and all(torch.equal(kept[key], value) for key, value in given.items())


def test_a_run_whose_start_is_missing_is_not_resumed(tmp_path):
    opt = options(tmp_path)
    assert runs.train(tmp_path, opt, before=lambda: runs.stop_at(4)) != 0
    (runs.folder(tmp_path) / 'models' / 'net_g_start.pth').unlink()
    assert runs.train(tmp_path, opt, '--auto_resume') != 0
    said = runs.output(tmp_path)
    assert 'net_g_start.pth: missing. It is the network that the run started from' in said
    assert 'Traceback' not in said
