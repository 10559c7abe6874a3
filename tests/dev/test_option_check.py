"""dev/check_options.py: its outcomes, and that each of its checks can fail."""
import inspect
import re
import sys
from copy import deepcopy
from pathlib import Path

import cv2
import pytest
import torch
import warm_start
import yaml
from basicsr.archs import build_network, vgg_arch
from basicsr.data import build_dataset
from basicsr.utils.registry import ARCH_REGISTRY
from programs import run_tool

from dev import option_check
from dev.tiny_options import tiny_options
from ra_plugin.builders.file_check import check_file
from ra_plugin.compat.random_vgg import random_vgg
from ra_plugin.options import OptionError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
ADAM = {'type': 'Adam', 'lr': 1e-3}
PLAIN = {
    'name': 'plain', 'model_type': 'SRModel', 'scale': 2, 'num_gpu': 8, 'manual_seed': 0,
    'datasets': {
        'train': {'name': 'a', 'type': 'PairedImageDataset', 'io_backend': {'type': 'lmdb'},
                  'dataroot_gt': 'data/gt.lmdb', 'dataroot_lq': 'data/x2.lmdb', 'gt_size': 192,
                  'use_hflip': True, 'use_rot': True, 'num_worker_per_gpu': 6,
                  'batch_size_per_gpu': 16, 'dataset_enlarge_ratio': 100},
        'val': {'name': 'b', 'type': 'PairedImageDataset', 'dataroot_gt': 'data/b/HR', 'dataroot_lq': 'data/b/LR',
                'filename_tmpl': '{}x2', 'io_backend': {'type': 'disk'}},
        'val_2': {'name': 'c', 'type': 'PairedImageDataset', 'dataroot_gt': 'data/c/HR', 'dataroot_lq': 'data/c/LR',
                  'meta_info_file': 'data/c.txt', 'io_backend': {'type': 'disk'}}},
    'network_g': {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 256, 'num_block': 32, 'upscale': 2},
    'path': {'pretrain_network_g': None, 'strict_load_g': True, 'resume_state': None},
    'train': {'ema_decay': 0.999, 'optim_g': ADAM, 'total_iter': 300000,
              'scheduler': {'type': 'MultiStepLR', 'milestones': [200000], 'gamma': 0.5},
              'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'}},
    'val': {'val_freq': 5e3, 'save_img': True, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 2}}},
    'logger': {'print_freq': 100, 'save_checkpoint_freq': 5e3, 'use_tb_logger': False},
}


def changed(**blocks):
    """Return PLAIN with changed keys or blocks; None removes a block."""
    opt = deepcopy(PLAIN)
    for key, value in blocks.items():
        if isinstance(opt.get(key), dict) and isinstance(value, dict):
            opt[key].update(value)
        else:
            opt[key] = value
    return {key: value for key, value in opt.items() if value is not None}


GAN = changed(
    model_type='SRGANModel', val=None, network_d={'type': 'UNetDiscriminatorSN', 'num_in_ch': 3, 'num_feat': 64},
    path={'pretrain_network_g': 'weights/edsr.pth'},
    train={'optim_d': ADAM, 'gan_opt': {'type': 'GANLoss', 'gan_type': 'vanilla', 'loss_weight': 0.005},
           'perceptual_opt': {'type': 'PerceptualLoss', 'layer_weights': {'conv1_1': 1}, 'vgg_type': 'vgg11'}})
FILES = {
    'sub/plain.yml': PLAIN,
    'gan.yml': GAN,
    'broken.yml': changed(network_g={'type': 'EDSRs'}),
    'video.yml': changed(model_type='VideoRecurrentModel', network_g={'type': 'BasicVSR', 'num_feat': 64}),
}


@pytest.fixture
def program(monkeypatch, capsys):
    """Return ``program(*arguments)``, which runs the tool in this process: exit status, output and errors."""

    def run(*arguments):
        return run_tool(monkeypatch, 'check_options', *arguments), *capsys.readouterr()

    return run


def test_program(program, tmp_path, monkeypatch):
    for name, opt in FILES.items():
        file = tmp_path / 'files' / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(opt))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    monkeypatch.setattr(sys, 'executable', warm_start.python())
    status, output, _ = program('files', '--workers', 2, '--source', 'four files', '--out', 'table.md')
    lines = dict(line.split(': ', 1) for line in output.splitlines() if ': ' in line)
    assert list(lines) == sorted(FILES)
    assert re.fullmatch(r'pass  \(\d+\.\d s\)', lines['sub/plain.yml'])
    assert lines['gan.yml'].startswith('pass trained and resumed; it has no val block')
    assert lines['broken.yml'].startswith("fail network_g.type: no architecture 'EDSRs'. Did you mean 'EDSR'?")
    assert lines['video.yml'].startswith('not an image model model_type: VideoRecurrentModel does not support')
    assert '2 of 3 image option files pass; 1 more are not for image models' in output
    assert status == 1
    table = (tmp_path / 'table.md').read_text()
    assert 'on four files, with BasicSR 1.' in table and '| sub/plain.yml | SRModel | EDSR | pass |' in table
    assert '| video.yml | VideoRecurrentModel | BasicVSR | not an image model |' in table
    assert sorted(path.name for path in tmp_path.iterdir()) == ['files', 'table.md']  # it leaves nothing else


def test_a_folder_without_files_is_one_line(program, tmp_path):
    status, output, error = program(tmp_path / 'none')
    assert (status, output, error.partition('\n')[2]) == (  # the first line says that it loads
        2, '', f'check_options.py: {tmp_path}/none: no *.yml below it.\n')


def test_a_process_that_dies_or_hangs_is_a_failure(tmp_path, monkeypatch):
    (tmp_path / 'x.yml').touch()
    monkeypatch.setattr(option_check, '_SECONDS', 0.01)
    finding, = option_check.check_files(tmp_path, 1)
    assert (finding.outcome, finding.reason) == (option_check.FAIL, 'more than 0.01 seconds')
    monkeypatch.setattr(option_check, '_SECONDS', 60)
    monkeypatch.setattr(sys, 'executable', '/bin/false')
    finding, = option_check.check_files(tmp_path, 1)
    assert (finding.outcome, finding.reason) == (option_check.FAIL, 'its process ended with status 1')


@pytest.mark.parametrize('text, reason', [
    ('- a', "expected blocks of keys as in BasicSR's option files, got list."), ('a: [', 'ParserError: '),
    ('name: x', "option file: 'datasets' is missing.")])
def test_a_file_that_is_no_option_file_is_a_failure(text, reason, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['pytest'])
    (tmp_path / 'x.yml').write_text(text)
    finding = option_check.check_file(tmp_path / 'x.yml', 'x.yml', tmp_path)
    assert finding.outcome == option_check.FAIL and finding.reason.startswith(reason)


def test_a_video_model_that_is_not_refused_is_a_failure(tmp_path, monkeypatch):
    (tmp_path / 'x.yml').write_text(yaml.safe_dump(FILES['video.yml']))
    monkeypatch.setattr(option_check, '_train', lambda *_: '')
    finding = option_check.check_file(tmp_path / 'x.yml', 'x.yml', tmp_path)
    assert (finding.outcome, finding.reason) == (
        option_check.FAIL, 'it is not a model for single images, but was not rejected')


TINY = {'num_feat': 2, 'num_block': 1}


def save_weights(run, iteration, weights, buffer=0):
    network = build_network({**PLAIN['network_g'], **TINY})
    values = {name: torch.full_like(value, weights) for name, value in network.named_parameters()}
    torch.save({'params': {**values, 'buffer': torch.tensor(buffer)}}, run / f'models/net_g_{iteration}.pth')


LOG = """
[plain][epoch:  0, iter:       1, lr:(1.000e-03,)] [eta: 0:00:00, time (data): 0.1 (0.0)] l_pix: 2e-01 l_recog: 3e-04
[plain][epoch:  0, iter:       2, lr:(1.000e-03,)] [eta: 0:00:00, time (data): 0.1 (0.0)] l_pix: 2e-01 l_recog: 3e-04
Validation b
\t # psnr: 9.1\tBest: 9.1 @ 2 iter
Validation c
\t # psnr: 8.1\tBest: 8.1 @ 2 iter
"""


@pytest.mark.parametrize('log, change, problem', [
    (LOG, lambda run: None, None),
    (LOG.replace('l_recog: 3e-04\nV', 'l_recog: nan\nV'), lambda run: None, 'l_recog is not finite'),
    (LOG.replace('l_pix: 2e-01', 'l_pix: inf', 1), lambda run: None, 'l_pix is not finite'),
    (LOG.replace(' l_recog: 3e-04', ''), lambda run: None, 'l_recog is not logged'),
    (LOG.replace('iter:       1', 'iter:       3'), lambda run: None,
     'the log has iterations [3, 2] instead of [1, 2]'),
    (LOG.replace('psnr: 8.1', 'psnr: nan'), lambda run: None, 'psnr is not finite'),
    (LOG.partition('Validation c')[0], lambda run: None, 'validation gave 1 values of psnr for 2 data sets'),
    (LOG, lambda run: (run / 'models/net_g_1.pth').unlink(), 'net_g_1.pth was not saved'),
    (LOG, lambda run: (run / 'training_states/2.state').unlink(), '2.state was not saved'),
    (LOG, lambda run: save_weights(run, 2, weights=1, buffer=2), 'the weights did not change'),
    (LOG, lambda run: save_weights(run, 2, weights=torch.nan), 'the weights are not finite'),
    (LOG, lambda run: (run / 'visualization/0/0_2.png').unlink(), 'validation saved no image'),
])
def test_faults_of_a_run_are_named(log, change, problem, tmp_path):
    run = tmp_path / 'experiments' / 'plain'
    for folder in ('models', 'training_states', 'visualization/0'):
        (run / folder).mkdir(parents=True)
    for i in (1, 2):
        save_weights(run, i, weights=i)
        (run / f'training_states/{i}.state').touch()
    for file in ('models/net_g_latest.pth', 'visualization/0/0_2.png'):
        (run / file).touch()
    change(run)
    assert option_check._problems(changed(network_g=TINY), tmp_path, log, [1, 2]) == ([problem] if problem else [])


def test_tiny_options_make_the_data_that_a_file_asks_for(tmp_path):
    before = deepcopy(PLAIN)
    opt = tiny_options(PLAIN, tmp_path)
    assert PLAIN == before
    assert opt['network_g'] == {**PLAIN['network_g'], 'num_feat': 8, 'num_block': 1}
    for phase, block in opt['datasets'].items():
        dataset = build_dataset({**block, 'phase': phase, 'scale': 2})
        assert len(dataset) == 3
        item = dataset[0]
        assert item['gt'].shape[-1] == 2 * item['lq'].shape[-1] == (48 if phase == 'train' else 216)
    low = cv2.imread(opt['datasets']['val']['dataroot_lq'] + '/0002x2.png')
    clean = cv2.imread(opt['datasets']['val']['dataroot_gt'] + '/0002.png')
    assert abs(low.mean() - clean.mean()) < 0.5 and abs(low.astype(int) - clean[::2, ::2]).mean() < 12


@pytest.mark.parametrize('network, kept, size', [
    ('VGGStyleDiscriminator', {'num_feat': 64}, 128),
    ('VGGStyleDiscriminator', {'num_feat': 64, 'input_size': 256}, 256),
    ('HiFaceGAN', {'crop_size': 512}, 64), ('UNetDiscriminatorSN', {}, 48)])
def test_crops_have_the_size_that_a_network_insists_on(network, kept, size, tmp_path):
    opt = tiny_options(changed(network_d={'type': network, **kept}, gt_size=256, queue_size=180), tmp_path)
    assert opt['datasets']['train']['gt_size'] == opt['gt_size'] == size
    assert opt['queue_size'] == opt['datasets']['train']['batch_size_per_gpu'] == 2
    assert opt['network_d']['num_feat'] == 8


@pytest.mark.parametrize('network', ['MSRResNet', 'EDSR', 'RCAN', 'RRDBNet', 'SwinIR', 'ECBSR', 'SRVGGNetCompact'])
def test_networks_get_no_key_that_they_do_not_take(network, tmp_path):
    given = {'num_in_ch': 3, 'num_out_ch': 3, 'num_block': 2, 'num_channel': 16, 'with_idt': False, 'scale': 2,
             'act_type': 'prelu'}
    arguments = inspect.signature(ARCH_REGISTRY.get(network)).parameters
    given = {key: value for key, value in given.items() if key in arguments}
    block = tiny_options(changed(network_t={'type': network, **given}), tmp_path)['network_t']
    assert set(block) - {'type'} <= set(arguments)
    assert given.keys() <= block.keys() and len(block) > 1


@pytest.mark.parametrize('place, kind, name', [
    ('model_type', 'model', 'RealESRNetModel'), ('datasets.val.type', 'data set', 'RealESRGANDataset'),
    ('network_g.type', 'architecture', 'SRVGGNetCompact')])
def test_names_that_basicsr_registers_with_a_suffix_are_known(place, kind, name):
    opt = changed(num_gpu=0)
    *parents, last = place.split('.')
    node = opt
    for key in parents:
        node = node[key]
    node[last] = name
    if name == 'SRVGGNetCompact':
        opt['network_g'] = {'type': name}
    if name == 'RealESRGANDataset':  # the keys that it cannot do without
        node.update({f'{key}{number}': [1] for key in ('kernel_list', 'kernel_prob', 'blur_sigma', 'betag_range',
                                                       'betap_range') for number in ('', '2')},
                    meta_info='list.txt', blur_kernel_size=7, blur_kernel_size2=7, sinc_prob=0.1, sinc_prob2=0.1,
                    final_sinc_prob=0.1, use_hflip=True, use_rot=True)
    check_file(opt)
    node = opt['network_g'] if name == 'SRVGGNetCompact' else node
    node[last] = name[:-1]
    with pytest.raises(OptionError, match=rf"{place}: no {kind} '{name[:-1]}'\. Did you mean '{name}'\?"):
        check_file(opt)


@pytest.mark.skipif(torch.cuda.is_available(), reason='about machines without a GPU')
def test_gpus_that_are_not_there_are_one_line():
    with pytest.raises(OptionError, match='num_gpu: 8, but torch finds no GPU. Write num_gpu: 0, or auto.'):
        check_file(PLAIN)


def test_random_vgg_downloads_nothing_and_leaves_nothing(monkeypatch):
    monkeypatch.setattr(torch.hub, 'load_state_dict_from_url', None)
    before = vgg_arch.vgg
    with random_vgg():
        features = vgg_arch.VGGFeatureExtractor(['conv1_1'], 'vgg11')(torch.rand(1, 3, 16, 16))
    assert vgg_arch.vgg is before
    assert features['conv1_1'].shape == (1, 64, 16, 16) and features['conv1_1'].std() > 0
