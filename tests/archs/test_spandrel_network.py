"""The network in a file: as spandrel and BasicSR run it, trained, and written so that both open the result."""
import copy
import re

import pytest
import runs
import safetensors.torch
import spandrel
import test_recog_aware_hosts as hosts
import torch
from basicsr.archs import build_network
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from basicsr.archs.swinir_arch import SwinIR
from safetensors import safe_open
from spandrel.architectures.DRUNet import DRUNet
from spandrel.architectures.FDAT import FDAT
from spandrel.architectures.NAFNet import NAFNet
from spandrel.architectures.RCAN import RCAN
from spandrel.architectures.Uformer import Uformer
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from dev import zoo_spandrel
from ra_plugin.archs import SpandrelNetwork, restorer_file, save_restorer
from ra_plugin.builders.networks import check_color, check_scale, trained_network
from ra_plugin.builders.option_paths import resolve_paths
from ra_plugin.checkpoint import load_weights
from ra_plugin.models.builder import build_model
from ra_plugin.options import OptionError

NETWORKS = {
    'RRDBNet': lambda: RRDBNet(3, 3, scale=4, num_feat=4, num_block=1, num_grow_ch=32),
    'RRDBNet, unshuffled': lambda: RRDBNet(3, 3, scale=2, num_feat=4, num_block=1, num_grow_ch=32),
    'SwinIR': lambda: SwinIR(upscale=2, img_size=16, window_size=8, embed_dim=6, depths=[2], num_heads=[2], mlp_ratio=2,
                             upsampler='pixelshuffledirect', drop_path_rate=0.),
    'Compact': lambda: SRVGGNetCompact(3, 3, num_feat=4, num_conv=1, upscale=2),
    'NAFNet': lambda: NAFNet(width=4, enc_blk_nums=[1], dec_blk_nums=[1])}


def by_spandrel(file, images):
    """What spandrel makes of images, one by one: clamped, under inference mode."""
    descriptor = spandrel.ModelLoader().load_from_file(file).eval()
    return torch.cat([descriptor(image.clone()) for image in images.detach().split(1)])


def written(file, network, dtype=torch.float32, **metadata):
    weights = {name: value.to(dtype) if value.is_floating_point() else value
               for name, value in network.state_dict().items()}
    if file.suffix == '.safetensors':
        safetensors.torch.save_file({name: value.contiguous() for name, value in weights.items()}, file, metadata)
    else:
        torch.save({'params_ema': weights, 'iter': 5}, file)
    return str(file)


def tuned(network, images, steps=2):
    """Train a network by some steps of Adam towards darker images; return its weights by name."""
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        network(images).square().mean().backward()
        optimizer.step()
    return network


def names_of(file):
    return {name: value.dtype for name, value in safetensors.torch.load_file(file).items()}


# ---------------------------------------------------------------------------------------------------- what it restores
@pytest.mark.parametrize('name', NETWORKS)
@pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
def test_it_restores_as_spandrel_and_the_original_do(name, ending, tmp_path):
    original = NETWORKS[name]()
    network = SpandrelNetwork(written(tmp_path / f'net{ending}', original)).eval()
    images = torch.rand(2, 3, 16, 24)
    with torch.no_grad():
        ours = network(images)
        torch.testing.assert_close(ours, original.eval()(images), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.clamp(0, 1), by_spandrel(tmp_path / f'net{ending}', images), rtol=1e-4, atol=1e-5)
    assert ours.shape == (2, 3, network.scale * 16, network.scale * 24)


@pytest.mark.parametrize('name, size', [('RRDBNet', (1, 5)), ('SwinIR', (9, 3)), ('NAFNet', (7, 2)),
                                        ('RRDBNet, unshuffled', (3, 6))])
def test_images_of_any_size_are_extended_as_spandrel_does(name, size, tmp_path):
    file = written(tmp_path / 'net.pth', NETWORKS[name]())
    network = SpandrelNetwork(file).eval()
    images = torch.rand(2, 3, *size)
    torch.testing.assert_close(network(images).clamp(0, 1), by_spandrel(file, images), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_network_that_asks_for_squares_gets_them(tmp_path):
    network = Uformer(**zoo_spandrel.SMALLEST['Uformer'][2])
    file = written(tmp_path / 'net.pth', network)
    images = torch.rand(1, 3, 20, 130)
    ours = SpandrelNetwork(file).eval()(images)
    assert ours.shape == images.shape
    torch.testing.assert_close(ours.clamp(0, 1), by_spandrel(file, images), rtol=1e-4, atol=1e-5)


def test_a_batch_is_restored_as_its_images_where_spandrel_adds_a_noise_map(tmp_path):
    file = written(tmp_path / 'net.pth', DRUNet(in_nc=4, out_nc=3, nc=[2, 4, 6, 8], nb=2))
    network = SpandrelNetwork(file).eval()
    images = torch.rand(3, 3, 11, 9)
    assert network.input_channels == 3
    torch.testing.assert_close(network(images).clamp(0, 1), by_spandrel(file, images), rtol=1e-4, atol=1e-5)


def test_images_that_a_network_scales_in_place_are_kept(tmp_path):
    network = SpandrelNetwork(written(tmp_path / 'net.pth', RCAN(scale=2, n_resgroups=1, n_resblocks=1, n_feats=16)))
    images = torch.rand(1, 3, 8, 8, requires_grad=True)
    kept = images.detach().clone()
    network(images).sum().backward()
    assert torch.equal(images, kept) and images.grad.any()


def test_nothing_is_clamped_and_the_gradient_is_that_of_the_original(tmp_path):
    original = NETWORKS['RRDBNet']()
    nn.init.constant_(original.conv_last.bias, 3.)
    network = SpandrelNetwork(written(tmp_path / 'net.pth', original))
    ours, theirs = (torch.full((1, 3, 6, 7), 0.5, requires_grad=True) for _ in range(2))
    output = network(ours)
    assert output.min() > 1 and network.training
    output.square().sum().backward()
    original(theirs).square().sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    torch.testing.assert_close([p.grad for p in network.parameters()][0], original.conv_first.weight.grad)


# ------------------------------------------------------------------------------------------------- what is written
@pytest.mark.parametrize('name', NETWORKS)
def test_a_tuned_network_is_written_with_the_names_of_its_file(name, tmp_path):
    original = NETWORKS[name]()
    network = SpandrelNetwork(written(tmp_path / 'net.safetensors', original, author='somebody', iter='12'))
    images = torch.rand(1, 3, 16, 16)
    tuned(network.train(), images)
    save_restorer(network, tmp_path / 'tuned.safetensors')
    assert names_of(tmp_path / 'tuned.safetensors') == names_of(tmp_path / 'net.safetensors')
    with safe_open(tmp_path / 'tuned.safetensors', 'pt') as file:
        assert file.metadata() == {'format': 'pt', 'author': 'somebody', 'iter': '12'}
    ours = network.eval()(images)
    torch.testing.assert_close(ours.clamp(0, 1), by_spandrel(tmp_path / 'tuned.safetensors', images), rtol=1e-4,
                               atol=1e-5)
    again = NETWORKS[name]()  # the program that wrote the file opens the result, too
    again.load_state_dict(safetensors.torch.load_file(tmp_path / 'tuned.safetensors'))
    torch.testing.assert_close(ours, again.eval()(images), rtol=1e-4, atol=1e-5)
    assert not torch.equal(ours, original.eval()(images))


def test_tuning_gives_the_weights_that_basicsrs_own_network_gets(tmp_path):
    original = NETWORKS['RRDBNet']()
    network = SpandrelNetwork(written(tmp_path / 'net.pth', original))
    images = torch.rand(2, 3, 8, 8)
    tuned(network, images)
    tuned(original, images)
    save_restorer(network, tmp_path / 'tuned.safetensors')
    ours = safetensors.torch.load_file(tmp_path / 'tuned.safetensors')
    assert ours.keys() == original.state_dict().keys()
    for name, value in original.state_dict().items():
        torch.testing.assert_close(ours[name], value, msg=name)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_trained_in_float32_and_written_as_it_was(dtype, tmp_path):
    network = SpandrelNetwork(written(tmp_path / 'net.safetensors', NETWORKS['Compact'](), dtype))
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    tuned(network, torch.rand(1, 3, 8, 8))
    save_restorer(network, tmp_path / 'tuned.safetensors')
    assert set(names_of(tmp_path / 'tuned.safetensors').values()) == {dtype}
    for name, value in safetensors.torch.load_file(tmp_path / 'tuned.safetensors').items():
        torch.testing.assert_close(value, network.state_dict()[name].to(dtype), msg=name)


def test_what_a_file_has_beside_the_network_is_kept(tmp_path):
    network = zoo_spandrel.build('OmniSR')
    weights = {**network.state_dict(), 'input.total_ops': torch.tensor([7.])}
    torch.save(weights, tmp_path / 'net.pth')
    save_restorer(SpandrelNetwork(str(tmp_path / 'net.pth')), tmp_path / 'tuned.safetensors')
    found = safetensors.torch.load_file(tmp_path / 'tuned.safetensors')
    assert found.keys() == weights.keys() and found['input.total_ops'].item() == 7


def test_weights_that_are_computed_from_those_of_a_file_are_written_with_spandrels_names(tmp_path, monkeypatch):
    file = written(tmp_path / 'net.pth', NETWORKS['RRDBNet'](), torch.float16)
    monkeypatch.setattr(restorer_file._Copies, '__torch_function__',
                        lambda self, func, types, args=(), kwargs=None: func(*args, **(kwargs or {})))
    network = SpandrelNetwork(file)
    images = torch.rand(1, 3, 8, 8)
    tuned(network, images)
    save_restorer(network, tmp_path / 'tuned.safetensors')
    assert names_of(tmp_path / 'tuned.safetensors') == dict.fromkeys(network.state_dict(), torch.float16)
    torch.testing.assert_close(network.eval()(images).clamp(0, 1),
                               by_spandrel(tmp_path / 'tuned.safetensors', images), rtol=1e-2, atol=1e-2)


def test_two_names_of_one_tensor_are_written_apart(tmp_path):
    original = NETWORKS['RRDBNet']()
    original.body[0].rdb2 = original.body[0].rdb1
    network = SpandrelNetwork(written(tmp_path / 'net.pth', original))
    tuned(network, torch.rand(1, 3, 8, 8))
    save_restorer(network, tmp_path / 'tuned.safetensors')
    found = safetensors.torch.load_file(tmp_path / 'tuned.safetensors')
    assert found.keys() == original.state_dict().keys()
    assert not torch.equal(found['body.0.rdb1.conv1.weight'], found['body.0.rdb2.conv1.weight'])


def test_other_networks_are_written_as_they_are(tmp_path):
    network = NETWORKS['Compact']()
    save_restorer(network, tmp_path / 'net.safetensors')
    assert torch.equal(safetensors.torch.load_file(tmp_path / 'net.safetensors')['body.0.weight'],
                       network.body[0].weight)
    with pytest.raises(ValueError, match=r'expected a file that ends in \.safetensors, got net\.pth'):
        save_restorer(network, 'net.pth')


# ------------------------------------------------------------------------------------------- names within a training
@pytest.mark.parametrize('wrap', [lambda net: net, copy.deepcopy, nn.Sequential], ids=['bare', 'copied', 'within'])
def test_its_state_has_the_names_of_spandrels_network(wrap, tmp_path):
    network = SpandrelNetwork(written(tmp_path / 'net.pth', NETWORKS['RRDBNet']()))
    own = spandrel.ModelLoader().load_from_file(tmp_path / 'net.pth').model
    prefix = '0.' if wrap is nn.Sequential else ''
    wrapped = wrap(network)
    state = wrapped.state_dict()
    assert list(state) == [f'{prefix}{name}' for name in own.state_dict()]
    changed = {name: value + 1 for name, value in state.items()}
    assert wrapped.load_state_dict(changed) == ([], [])
    assert all(torch.equal(value, changed[name]) for name, value in wrapped.state_dict().items())
    with pytest.raises(RuntimeError, match='Missing key'):
        wrapped.load_state_dict({})


def test_weights_of_a_training_are_loaded_and_nan_is_seen(tmp_path):
    file = written(tmp_path / 'net.pth', NETWORKS['Compact']())
    network, other = SpandrelNetwork(file), SpandrelNetwork(file)
    tuned(network, torch.rand(1, 3, 8, 8))
    torch.save({'params': network.state_dict()}, tmp_path / 'net_g_5.pth')
    load_weights(other, tmp_path / 'net_g_5.pth', 'here')
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in other.state_dict().items())
    broken = {**network.state_dict(), 'body.0.weight': torch.full((4, 3, 3, 3), torch.nan)}
    torch.save({'params': broken}, tmp_path / 'net_g_6.pth')
    with pytest.raises(ValueError, match='contains NaN: 1 keys with NaN: body.0.weight'):
        load_weights(other, tmp_path / 'net_g_6.pth', 'here')


def options(file, **more):
    return {**hosts.options('SRModel', ema_decay=0.5), 'model_type': 'SRModel',
            'network_g': {'type': 'SpandrelNetwork', 'checkpoint': file}, **more}


def test_a_model_of_basicsr_saves_what_spandrel_opens(tmp_path):
    file = written(tmp_path / 'net.pth', NETWORKS['RRDBNet, unshuffled']())
    model = build_model(options(file, path={'models': str(tmp_path), 'training_states': str(tmp_path)}))
    for i, batch in enumerate(hosts.batches(3, 'SRModel'), 1):
        model.feed_data(batch)
        model.optimize_parameters(i)
    model.save(0, 3)
    images = torch.rand(1, 3, 8, 8)
    for key, network in (('params', model.net_g), ('params_ema', model.net_g_ema)):
        torch.save(torch.load(tmp_path / 'net_g_3.pth')[key], tmp_path / f'{key}.pth')
        torch.testing.assert_close(network.eval()(images).clamp(0, 1), by_spandrel(tmp_path / f'{key}.pth', images))
    assert not torch.equal(model.net_g(images), model.net_g_ema(images))
    again = options(file, path={'pretrain_network_g': str(tmp_path / 'net_g_3.pth'), 'param_key_g': 'params_ema'})
    assert torch.equal(build_model(again).net_g.eval()(images), model.net_g_ema(images))
    tuned_file = trained_network({'type': 'SpandrelNetwork', 'checkpoint': str(tmp_path / 'net_g_3.pth')}, None, 'x')
    assert torch.equal(tuned_file(images), model.net_g_ema(images))  # a file of a training is one like any other


@pytest.mark.slow
@pytest.mark.distributed
def test_a_resumed_training_is_an_uninterrupted_one(tmp_path):
    results = []
    for name in ('whole', 'parts'):
        root = tmp_path / name
        root.mkdir()
        opt = runs.options(root)
        opt['network_g'] = {'type': 'SpandrelNetwork', 'checkpoint': written(tmp_path / 'net.pth', nafnet())}
        if name == 'parts':
            shorter = copy.deepcopy(opt)
            shorter['train']['total_iter'] = 4
            assert runs.train(root, shorter) == 0, runs.output(root)
        assert runs.train(root, opt, '--auto_resume') == 0, runs.output(root)
        results.append(runs.result(root))
    runs.assert_same(*results)
    file = tmp_path / 'whole' / 'experiments' / 'run' / 'models' / 'net_g_latest.pth'
    assert spandrel.ModelLoader().load_from_file(file).architecture.id == 'NAFNet'


def nafnet():
    torch.manual_seed(0)
    return NETWORKS['NAFNet']()


@pytest.mark.slow
@pytest.mark.distributed
def test_a_file_of_another_scale_stops_a_run_before_it_starts(tmp_path):
    opt = runs.options(tmp_path)
    opt['network_g'] = {'type': 'SpandrelNetwork', 'checkpoint': written(tmp_path / 'x2.pth', NETWORKS['Compact']())}
    assert runs.train(tmp_path, opt) == 2
    assert 'network_g: expected a network of scale 1, as the option scale says, got one of scale 2' in runs.output(
        tmp_path)
    opt['network_g'] = {'type': 'SpandrelNetwork', 'checkpoint': 'missing.pth'}
    assert runs.train(tmp_path, opt) == 2
    assert re.search(r'SpandrelNetwork\.checkpoint: no checkpoint .*missing\.pth', runs.output(tmp_path))
    assert not runs.folder(tmp_path).exists()


@pytest.mark.slow
def test_weights_that_no_image_reaches_do_not_stop_several_processes(tmp_path):
    file = written(tmp_path / 'net.pth', FDAT(**zoo_spandrel.SMALLEST['FDAT'][2]))
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        model = build_model(options(file, dist=True, rank=0, world_size=1))
        assert isinstance(model.net_g, DistributedDataParallel)
        for i, batch in enumerate(hosts.batches(3, 'SRModel'), 1):
            model.feed_data(batch)
            model.optimize_parameters(i)
        names = model.net_g.state_dict()
        assert {name.removeprefix('module.') for name in names} == set(model.get_bare_model(model.net_g).state_dict())
        unreached = [p for p in model.net_g.parameters() if p.requires_grad and p.grad is None]
        assert len(unreached) == 3
    finally:
        torch.distributed.destroy_process_group()


# ----------------------------------------------------------------------------------------------------- where it is used
def test_it_restores_with_the_weights_of_its_file(tmp_path):
    block = {'type': 'SpandrelNetwork', 'checkpoint': written(tmp_path / 'net.pth', NETWORKS['Compact']())}
    network = trained_network(block, None, 'restorers.x.network_g')
    assert isinstance(network, SpandrelNetwork) and not network.training
    assert isinstance(build_network(block), SpandrelNetwork)
    assert 'RealESRGAN Compact, scale=2' in repr(network)
    check_color(network, 'network_g', '')
    check_scale(network, 2, 'network_g')
    check_scale(nn.Conv2d(3, 3, 1), 4, 'network_g')
    with pytest.raises(OptionError, match=r'^network_g: expected a network of scale 4, as the option scale says, got '
                                          r'one of scale 2 \(.*net\.pth\)\. Set scale: 2 or use another file\.$'):
        check_scale(network, 4, 'network_g')


def test_its_file_is_looked_up_as_other_paths_are(tmp_path):
    opt = {'network_g': {'type': 'SpandrelNetwork', 'checkpoint': 'net.pth'}}
    resolve_paths(opt, tmp_path)
    assert opt['network_g']['checkpoint'] == str(tmp_path / 'net.pth')


@pytest.mark.parametrize('channels, words, remedy', [(1, '1 channel', 'color: y'), (4, '4 channels', 'transparency')])
def test_images_of_other_channels_are_one_line(channels, words, remedy, tmp_path):
    file = written(tmp_path / 'net.pth', SRVGGNetCompact(channels, channels, num_feat=4, num_conv=1, upscale=1))
    network = SpandrelNetwork(file)
    assert network(torch.rand(1, channels, 8, 8)).shape == (1, channels, 8, 8)
    with pytest.raises(OptionError, match=rf'^SpandrelNetwork\(net\.pth\): expected images of {words}, got 3\. '
                                          rf'.*{remedy}.*\.$'):
        network(torch.rand(1, 3, 8, 8))
    with pytest.raises(OptionError, match=f'^network_g: the network takes images of {words},'):
        check_color(network, 'network_g', 'Do this.')


# -------------------------------------------------------------------------------------------------------- files refused
class Evil:
    def __reduce__(self):
        return print, ('run',)


def no_restorer(file):
    torch.save({'conv1.weight': torch.rand(4, 3, 3, 3), 'fc.weight': torch.rand(2, 4)}, file)


def of_videos(file):
    torch.save({'spynet.basic_module.0.weight': torch.rand(4, 3, 3, 3), 'last.weight': torch.rand(2, 4, 1, 1)}, file)


def incomplete(file):
    weights = NETWORKS['SwinIR']().state_dict()
    weights.pop('norm.weight')
    torch.save(weights, file)


def diverged(file):
    network = NETWORKS['Compact']()
    nn.init.constant_(network.body[0].weight, torch.nan)
    written(file, network)


REFUSED = {
    'none': (lambda file: None, 'no checkpoint '),
    'folder': (lambda file: file.mkdir(), 'is a folder. Name the file in it'),
    'code': (lambda file: torch.save({'params': Evil()}, file), 'contains more than tensors'),
    'damaged': (lambda file: file.write_bytes(b'abc'), 'is damaged, or not a weights file'),
    'empty': (lambda file: torch.save({'iter': 3}, file), 'has no weights'),
    'classifier': (no_restorer, r'is no restorer that spandrel 0\.4\.\d+ knows \(2 weights: conv1.weight, fc.weight, '
                                r'\.\.\.\)\. .*pip install spandrel_extra_arches'),
    'videos': (of_videos, 'is a network for videos. Recognition losses take single images'),
    'incomplete': (incomplete, r'looks like SwinIR, but its weights do not fit \(RuntimeError: .*norm\.weight'),
    'NaN': (diverged, 'contains NaN: 1 keys with NaN: body.0.weight')}


@pytest.mark.parametrize('case', REFUSED)
def test_other_files_are_refused_in_one_line(case, tmp_path):
    write, expected = REFUSED[case]
    write(tmp_path / 'net.pth')
    with pytest.raises((ValueError, FileNotFoundError), match=expected) as error:
        SpandrelNetwork(str(tmp_path / 'net.pth'))
    assert re.match(r'SpandrelNetwork\.checkpoint: .*net\.pth', str(error.value))
    assert '\n' not in str(error.value)


def test_networks_of_another_purpose_are_refused_in_one_line(tmp_path, monkeypatch):
    network = NETWORKS['Compact']()
    lama = spandrel.MAIN_REGISTRY['LaMa'].architecture
    descriptor = spandrel.MaskedImageModelDescriptor(network, network.state_dict(), lama, 'Inpainting', [], False,
                                                     False, 3, 3)
    monkeypatch.setattr(spandrel.ModelLoader, 'load_from_state_dict', lambda self, weights: descriptor)
    file = written(tmp_path / 'net.pth', NETWORKS['Compact']())
    with pytest.raises(ValueError, match='which fills holes: it takes a mask beside the image'):
        SpandrelNetwork(file)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['LaMa', 'GFPGAN'])
def test_inpainting_and_aligned_faces_are_refused(name, tmp_path):
    torch.save(zoo_spandrel.build(name).state_dict(), tmp_path / 'net.pth')
    with pytest.raises(ValueError, match=f'is {name}, which (fills holes|takes aligned faces of 512x512 pixels)'):
        SpandrelNetwork(str(tmp_path / 'net.pth'))


def test_weights_under_a_trainers_prefix_are_found(tmp_path):
    original = NETWORKS['RRDBNet']()
    for prefix in ('module.', '_orig_mod.', 'generator.', 'model.net_g.'):
        torch.save({'state_dict': {f'{prefix}{name}': value for name, value in original.state_dict().items()}},
                   tmp_path / 'net.ckpt')
        network = SpandrelNetwork(str(tmp_path / 'net.ckpt'))
        assert torch.equal(next(network.parameters()), original.conv_first.weight)
        save_restorer(network, tmp_path / 'tuned.safetensors')
        assert 'conv_first.weight' in {name.removeprefix(prefix) for name in names_of(tmp_path / 'tuned.safetensors')}


# ------------------------------------------------------------------------------------------------------ all of spandrel
def test_the_table_has_every_architecture():
    assert {room for room, _, _ in zoo_spandrel.SMALLEST.values()} == {
        known.architecture.id for known in spandrel.MAIN_REGISTRY}


def test_faults_are_named(monkeypatch):
    def untuned(network, path):
        safetensors.torch.save_file({key: value + 0.1 for key, value in network.state_dict().items()}, path)

    monkeypatch.setattr(zoo_spandrel, 'save_restorer', untuned)
    assert zoo_spandrel.check('Compact')[0] == ['the written file gives another output']
    monkeypatch.setattr(SpandrelNetwork, 'run', lambda self, x: self.model(x.flip(3)).flip(3))
    assert 'the output is not that of spandrel' in zoo_spandrel.check('Compact')[0]
    monkeypatch.setattr(SpandrelNetwork, 'run', lambda self, x: self.model(x.detach()) + x.mean())
    assert 'an image depends on the others of its batch' in zoo_spandrel.check('Compact')[0]


@pytest.mark.slow
@pytest.mark.parametrize('name', ['Compact', 'DnCNN', 'MoSR', 'SAFMN', 'SeemoRe', 'SPAN'])
def test_architectures_are_tuned_and_written_back(name):
    assert zoo_spandrel.check(name)[0] == []
