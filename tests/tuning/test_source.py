"""The restorer that is named: a training's networks, its averaged weights, and trainings that cannot be tuned."""
import pytest
import torch
import yaml
from basicsr.archs import build_network

from ra_plugin.options import OptionError
from ra_plugin.tuning.source import find_source

NETWORK = {'type': 'SRResNet', 'num_feat': 4, 'num_block': 1, 'upscale': 2}


def make_run(root, states=('params',), **more):
    folder = root / 'experiments' / 'mine'
    (folder / 'models').mkdir(parents=True)
    (folder / 'mine.yml').write_text(yaml.safe_dump({'name': 'mine', 'model_type': 'SRModel', 'scale': 2,
                                                     'network_g': NETWORK, **more}))
    torch.manual_seed(0)
    weights = {key: build_network(dict(more.get('network_g', NETWORK))).state_dict() for key in states}
    torch.save(weights, folder / 'models' / 'net_g_latest.pth')
    return weights


@pytest.mark.parametrize('states', [('params',), ('params', 'params_ema')])
def test_a_training_starts_from_the_weights_that_are_evaluated(states, tmp_path):
    weights = make_run(tmp_path, states)[states[-1]]
    found = find_source('mine', tmp_path)
    assert all(torch.equal(value, weights[name]) for name, value in found.network.state_dict().items())
    assert found.training() == {
        'model_type': 'SRModel', 'scale': 2, 'network_g': NETWORK,
        'path': {'pretrain_network_g': str(found.file), 'strict_load_g': True, 'param_key_g': states[-1]}}
    assert found.restorer(tmp_path / 'x.safetensors') == {'network_g': NETWORK,
                                                         'checkpoint': str(tmp_path / 'x.safetensors')}


@pytest.mark.parametrize('more, message', [
    ({'network_t': {'type': 'ResnetGenerator'}}, 'mine: it has a network_t'),
    ({'datasets': {'train': {'mean': [0.5] * 3, 'std': [0.5] * 3}}}, 'takes normalized images'),
    ({'network_g': {'type': 'SRVGGNetCompact', 'num_in_ch': 1, 'num_out_ch': 1, 'num_feat': 4, 'num_conv': 1,
                    'upscale': 2}}, 'one channel')])
def test_trainings_that_cannot_be_tuned(more, message, tmp_path):
    make_run(tmp_path, **more)
    with pytest.raises(OptionError, match=message):
        find_source('mine', tmp_path)
