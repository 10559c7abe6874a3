"""A restorer of an evaluation named by its file alone: judged as its network is, known by its content."""
import shutil

import pytest
import torch
import yaml
from basicsr.archs import build_network
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from small_evaluation import COUNT, Counted, make

from ra_plugin.archs import SpandrelNetwork, save_restorer
from ra_plugin.evaluation.judging import Batch
from ra_plugin.evaluation.restorers import build_restorer, restorer_options
from ra_plugin.options import OptionError
from ra_plugin.restoring.blending import blend

CPU = torch.device('cpu')


def compact(file, seed=0, channels=3, scale=1):
    torch.manual_seed(seed)
    torch.save({'params': SRVGGNetCompact(channels, channels, 4, 1, scale).state_dict()}, file)
    return str(file)


def processings(root, **block):
    return build_restorer('x', restorer_options(block, root, {}, 'restorers.x'), CPU).processings


def test_a_file_alone_is_its_network(tmp_path):
    files = [compact(tmp_path / f'{seed}.pth', seed) for seed in (1, 2)]
    images = torch.rand(2, 3, 9, 7)
    batch = Batch(images, images, torch.zeros(2), [0, 1], ['a', 'b'])
    for file, alone in zip(files, processings(tmp_path, checkpoint=files), strict=True):
        within, = processings(tmp_path, network_g={'type': 'SpandrelNetwork', 'checkpoint': file})
        expected = SpandrelNetwork(file).eval()(images)
        torch.testing.assert_close(alone(batch), expected)
        torch.testing.assert_close(within(batch), expected)


def test_a_checkpoint_of_a_training_goes_into_the_network_of_a_file(tmp_path):
    file, other = compact(tmp_path / 'a.pth', 1), compact(tmp_path / 'b.pth', 2)
    images = torch.rand(1, 3, 8, 8)
    process, = processings(tmp_path, network_g={'type': 'SpandrelNetwork', 'checkpoint': file}, checkpoint=other)
    torch.testing.assert_close(process(Batch(images, images, torch.zeros(1), [0], ['a'])),
                               SpandrelNetwork(other).eval()(images))


def test_the_file_of_a_runs_network_is_looked_up_below_the_root(tmp_path, monkeypatch):
    compact(tmp_path / 'net.pth')
    run = {'name': 'run', 'scale': 1, 'network_g': {'type': 'SpandrelNetwork', 'checkpoint': 'net.pth'}}
    (tmp_path / 'run.yml').write_text(yaml.safe_dump(run))
    models = tmp_path / 'experiments' / 'run' / 'models'
    models.mkdir(parents=True)
    compact(models / 'net_g_latest.pth', 5)
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    process, = processings(tmp_path, option_file=str(tmp_path / 'run.yml'))
    assert torch.equal(next(process.fitted.network.parameters()),
                       next(SpandrelNetwork(str(models / 'net_g_latest.pth')).parameters()))


@pytest.mark.parametrize('alpha', [None, 0.25])
def test_a_blend_is_the_file_that_the_command_writes(alpha, tmp_path, monkeypatch):
    files = [compact(tmp_path / f'{seed}.pth', seed) for seed in (1, 2)]
    monkeypatch.chdir(tmp_path)
    blend(files, alpha, tmp_path / 'blend.safetensors', False, tmp_path)
    ours, = processings(tmp_path, blend=files, **({} if alpha is None else {'alpha': alpha}))
    written, = processings(tmp_path, checkpoint=str(tmp_path / 'blend.safetensors'))
    theirs = written.fitted.network.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.fitted.network.state_dict().items())
    assert not torch.equal(next(iter(theirs.values())), next(SpandrelNetwork(files[0]).parameters()))


def test_a_blend_of_the_weights_of_a_run(tmp_path):
    block = {'type': 'SRResNet', 'num_feat': 4, 'num_block': 1, 'upscale': 1}
    (tmp_path / 'run.yml').write_text(yaml.safe_dump({'name': 'run', 'scale': 1, 'network_g': block}))
    files, states = [str(tmp_path / f'net_g_{number}.pth') for number in (1, 2)], []
    for file in files:
        states.append(build_network(dict(block)).state_dict())
        torch.save({'params': states[-1]}, file)
    for source in ({'network_g': block}, {'option_file': str(tmp_path / 'run.yml')}):
        process, = processings(tmp_path, blend=files, alpha=0.25, **source)
        torch.testing.assert_close(process.fitted.network.state_dict()['0.tail.weight'],
                                   0.75 * states[0]['tail.weight'] + 0.25 * states[1]['tail.weight'])


@pytest.mark.parametrize('block, expected', [
    ({}, r'^restorers\.x: expected one of option_file, network_g and folder, or checkpoint or blend alone, '
         r'got none\.$'),
    ({'blend': ['net.pth']}, r'^restorers\.x: blend: expected two networks or more, got 1\.$'),
    ({'blend': ['net.pth', 'net.pth'], 'alpha': 2}, r'^restorers\.x: alpha: expected a number from 0 .* got 2'),
    ({'checkpoint': 'net.pth', 'alpha': 0.2}, r'^restorers\.x: alpha: it is the share .* there is no blend\.$'),
    ({'blend': ['net.pth', 'other.pth']}, r'^restorers\.x: other\.pth does not exist\.$'),
    ({'blend': ['net.pth'] * 2, 'checkpoint': 'net.pth'}, r'^restorers\.x\.blend: it takes the place of checkpoint, .* '
                                                          r'Leave out checkpoint\.$'),
    ({'blend': ['net.pth'] * 2, 'folder': '.'}, r'^restorers\.x\.blend: .* Leave out folder\.$'),
    ({'blend': ['net.pth', 'large.pth']}, r'^net\.pth and large\.pth: expected networks of one size'),
    ({'checkpoint': 'net.pth', 'network_t': {'type': 'SRResNet'}}, r'^restorers\.x\.network_t: it goes with network_g'),
    ({'checkpoint': 'other.pth'}, r'^restorers\.x: other\.pth does not exist\.$'),
    ({'checkpoint': 'text.pth'}, r'^restorers\.x: SpandrelNetwork\.checkpoint: text\.pth is damaged, or not a weights'),
    ({'checkpoint': 'gray.pth'}, r'^restorers\.x: the network takes images of 1 channel, and is given RGB\. '
                                 r'Recognizers judge color\.'),
    ({'network_g': {'type': 'SpandrelNetwork'}}, r"^restorers\.x\.network_g: 'checkpoint' is missing"),
    ({'network_g': {'type': 'SpandrelNetwork', 'checkpoint': 3}}, r'^restorers\.x\.network_g\.checkpoint: expected ')])
def test_blocks_that_cannot_be_used_are_one_line(block, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    compact('net.pth')
    compact('gray.pth', channels=1)
    torch.save(SRVGGNetCompact(3, 3, 6, 1, 1).state_dict(), 'large.pth')
    (tmp_path / 'text.pth').write_text('text')
    with pytest.raises((OptionError, ValueError, FileNotFoundError), match=expected) as error:
        processings(tmp_path, **block)
    assert '\n' not in str(error.value)


@pytest.mark.slow
def test_records_go_by_the_content_of_a_file(tmp_path, monkeypatch):
    opt, run = make(tmp_path), Counted(tmp_path, monkeypatch)
    opt.update(baseline='no processing', restorers={'A': {'checkpoint': compact(tmp_path / 'a.pth', 1)}})
    run(opt)
    assert {name for _, name, _ in run.asked} >= {'A'}
    shutil.copy(tmp_path / 'a.pth', tmp_path / 'moved.pth')
    opt['restorers'] = {'A': {'checkpoint': str(tmp_path / 'moved.pth')}}
    run(opt)
    assert not run.asked  # the same weights in another place
    save_restorer(SpandrelNetwork(str(tmp_path / 'a.pth')), tmp_path / 'a.safetensors')
    opt['restorers'] = {'A': {'checkpoint': str(tmp_path / 'a.safetensors')}}
    run(opt)
    assert not run.asked  # and in another format
    opt['restorers'] = {'A': {'blend': [str(tmp_path / 'a.pth'), str(tmp_path / 'a.safetensors')]}}
    run(opt)
    assert not run.asked  # and as the mean of themselves
    compact(tmp_path / 'moved.pth', 2)
    opt['restorers'] = {'A': {'checkpoint': str(tmp_path / 'moved.pth')}}
    run.same_as_anew(opt)
    assert {number for number, name, _ in run.asked if name == 'A'} == set(range(COUNT))


@pytest.mark.slow
def test_a_network_of_another_scale_is_one_line(tmp_path, monkeypatch):
    opt, run = make(tmp_path), Counted(tmp_path, monkeypatch)
    torch.save(RRDBNet(3, 3, 4, num_feat=4, num_block=1).state_dict(), tmp_path / 'x4.pth')
    opt.update(baseline='no processing', restorers={'A': {'checkpoint': str(tmp_path / 'x4.pth')}})
    with pytest.raises(ValueError, match='Is it a network of another scale') as error:
        run(opt)
    assert '\n' not in str(error.value)


def test_the_transform_of_openmmlab_takes_the_scale_of_the_file(tmp_path):
    from ra_plugin.mm.restore_image import RestoreImage
    file = compact(tmp_path / 'net.pth', scale=2)
    assert RestoreImage({'type': 'SpandrelNetwork', 'checkpoint': file}).scale == 2
