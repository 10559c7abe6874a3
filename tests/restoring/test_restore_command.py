"""The command on folders: names, batches and tiles, broken files, kills, and what is refused."""
import errno
import os
import shutil
import signal
import sys
import time
import traceback

import numpy as np
import pytest
import torch
import yaml
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from PIL import Image
from runs import finish
from test_tiles import convolutions, photo
from torch import nn

from ra_plugin.builders.fitted_network import FittedNetwork
from ra_plugin.builders.networks import trained_network
from ra_plugin.cli.main import run_command
from ra_plugin.restoring import memory, tile_choice
from ra_plugin.restoring.photograph import read_photograph
from ra_plugin.restoring.run import Restoring, RestoringOptions
from ra_plugin.utils.tensors import denormalized, normalized

CPU = torch.device('cpu')
NETWORK = {'type': 'SRResNet', 'num_feat': 4, 'num_block': 1, 'upscale': 2}
TRANSFORMER = {'type': 'ResnetGenerator', 'num_feat': 4, 'num_block': 1}


def folder_of_photographs(root):
    """Write files of several sizes and formats, and return the folder."""
    folder = root / 'photos'
    (folder / 'sub' / 'deep').mkdir(parents=True)
    for i, name in enumerate(['a.png', 'b.PNG', 'sub/a.png', 'sub/deep/c d.tiff']):
        Image.fromarray(photo(24, 30, i)).save(folder / name)
    Image.fromarray(photo(90, 110, 7)).save(folder / 'large.png')
    Image.fromarray(photo(24, 30, 8)).convert('L').save(folder / 'gray.png')
    (folder / 'notes.txt').write_text('not an image')
    (folder / '.hidden.png').write_bytes(b'')
    return folder


def restore(folder, out, network=None, **options):
    return Restoring(FittedNetwork(network or nn.Identity()), CPU, RestoringOptions(**options))(folder, out)


def written(out):
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob('*')) if path.is_file()}


@pytest.fixture
def small(monkeypatch):
    """Make tiles and patches small."""
    monkeypatch.setattr(tile_choice, 'PATCH', 176)
    monkeypatch.setattr(tile_choice, '_CORE', 32)
    monkeypatch.setattr(tile_choice, '_RAMP', 4)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return the folder of a training that has ended, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['ra-plugin'])
    return write_run(tmp_path)


def write_run(root, **more):
    """Write what a training with ``more`` in its option file leaves; return its folder."""
    models = root / 'experiments' / 'mine' / 'models'
    models.mkdir(parents=True)
    opt = {'name': 'mine', 'model_type': 'SRModel', 'scale': 2, 'network_g': NETWORK, 'network_t': TRANSFORMER,
           'datasets': {'train': {'mean': [0.4] * 3, 'std': [0.3] * 3}}, **more}
    (models.parent / 'mine.yml').write_text(yaml.safe_dump(opt))
    for letter, block in (('g', NETWORK), ('t', TRANSFORMER)):
        torch.manual_seed(3)
        torch.save({'params': built(block).state_dict()}, models / f'net_{letter}_latest.pth')
    return models.parent


def built(block):
    from basicsr.archs import build_network
    return build_network(dict(block))


def command(*words):
    return run_command('restore', 'ra-plugin restore', [str(word) for word in words])


def expected(run, pixels, machine):
    """Return what the networks of the run make of pixels, with PyTorch alone."""
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        values = normalized(images, [0.4] * 3, [0.3] * 3)
        for letter, block in (('g', NETWORK), ('t', TRANSFORMER))[:1 + machine]:
            values = trained_network(block, str(run / 'models' / f'net_{letter}_latest.pth'), 'x')(values)
    return denormalized(values, [0.4] * 3, [0.3] * 3)[0].clamp(0, 1).mul(255).permute(1, 2, 0).numpy()


@pytest.mark.slow
@pytest.mark.parametrize('machine', [False, True])
def test_the_command_restores_a_folder(tmp_path, run, machine, capsys, small):
    folder = folder_of_photographs(tmp_path)
    assert command('mine', folder, '--out', 'out', *['--machine'] * machine) == 0
    said = capsys.readouterr()
    assert set(written(tmp_path / 'out')) == {'a.png', 'b.PNG', 'sub/a.png', 'sub/deep/c d.tiff', 'large.png',
                                              'gray.png'}
    for name in ('a.png', 'sub/deep/c d.tiff', 'large.png'):
        found = np.asarray(Image.open(tmp_path / 'out' / name)).astype(float)
        ideal = expected(run, np.array(Image.open(folder / name)), machine)
        assert found.shape == ideal.shape and np.abs(found - ideal).max() <= 1  # also in tiles
    assert Image.open(tmp_path / 'out' / 'gray.png').mode == 'L'
    network = 'SRResNet and ResnetGenerator' if machine else 'SRResNet'
    assert f'Network: {network} of experiments/mine/models/net_g_latest.pth.\n6 files.\n' in said.out
    assert 'of 255 levels, measured in a.png' in said.out and 'Memory: at most ' in said.out
    assert said.out.endswith('Written to out.\n')


@pytest.mark.slow
def test_a_network_is_named_in_several_ways(tmp_path, run):
    (tmp_path / 'one').mkdir()
    Image.fromarray(photo(24, 30)).save(tmp_path / 'one' / 'a.png')
    shutil.copy(run / 'mine.yml', 'elsewhere.yml')
    names = ['mine', 'experiments/mine', 'elsewhere.yml', run / 'models' / 'net_g_latest.pth']
    for i, name in enumerate(names):
        assert command(name, tmp_path / 'one' / ('' if i else 'a.png'), '--out', f'out{i}') == 0
    assert all(written(tmp_path / f'out{i}') == written(tmp_path / 'out0') for i in range(len(names)))
    (run / 'models' / 'net_g_latest.pth').rename(run / 'models' / 'net_g_10.pth')  # a training that was stopped
    (run / 'models' / 'net_g_9.pth').write_bytes(b'older')
    assert command('mine', tmp_path / 'one', '--out', 'out9') == 0
    assert written(tmp_path / 'out9') == written(tmp_path / 'out0')


def test_the_network_in_a_file_of_another_program(tmp_path, capsys, monkeypatch):
    """The file is one of Real-ESRGAN's compact networks, which spandrel and BasicSR both know."""
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    network = SRVGGNetCompact(3, 3, num_feat=8, num_conv=2, upscale=2, act_type='prelu').eval()
    torch.save({'params': network.state_dict()}, tmp_path / 'compact.pth')
    (tmp_path / 'photos').mkdir()
    Image.fromarray(photo(24, 30)).save(tmp_path / 'photos' / 'a.png')
    assert command('compact.pth', 'photos', '--out', 'out') == 0
    assert 'Network: that of compact.pth.' in capsys.readouterr().out
    pixels = torch.from_numpy(photo(24, 30)).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        ideal = (network(pixels)[0].clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()
    assert np.abs(np.asarray(Image.open(tmp_path / 'out' / 'a.png')).astype(float) - ideal).max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize('words, message', [
    (['mnie'], "mnie: no training, option file or weights file of that name. Did you mean 'mine'?"),
    (['photos'], "photos: expected the folder of a training, got 'photos' without an option file."),
    (['bad.yml'], "bad.yml: expected BasicSR's option file of a training"),
    (['other.yml'], 'Train it first: ra-plugin train -opt other.yml'),
    (['other.pth'], 'other.pth: '), (['other.pth', '--machine'], '--machine: other.pth has no network_t'),
    (['plain.yml', '--machine'], '--machine: plain.yml has no network_t'),
    (['mine', '--quality', '0'], '--quality: expected'), (['mine', '--tile', '-1'], '--tile: expected'),
    (['mine', '--device', 'abacus'], '--device: expected a device')])
def test_what_is_refused_of_a_network(words, message, tmp_path, run, capsys):
    (tmp_path / 'photos').mkdir()
    Image.fromarray(photo(8, 8)).save(tmp_path / 'photos' / 'a.png')
    (tmp_path / 'bad.yml').write_text('name: x\n')
    (tmp_path / 'other.yml').write_text(yaml.safe_dump({'name': 'other', 'network_g': NETWORK}))
    (tmp_path / 'plain.yml').write_text(yaml.safe_dump({'name': 'mine', 'network_g': NETWORK}))
    (tmp_path / 'other.pth').write_bytes(b'')
    assert command(words[0], 'photos', '--out', 'out', *words[1:]) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 2 and message in error[1]
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('prepare, given, out, options, message', [
    (lambda root: None, 'none', 'out', {}, "FOLDER: no folder or file '.*none'"),
    (lambda root: (root / 'empty').mkdir(), 'empty', 'out', {}, 'FOLDER: no images in'),
    (lambda root: (root / 'a.txt').write_text('x'), 'a.txt', 'out', {}, 'FOLDER: expected a folder, or a file that'),
    (lambda root: None, 'photos', 'photos', {}, 'is the folder of the originals'),
    (lambda root: None, 'photos', 'photos/out', {}, 'is in the folder of the originals'),
    (lambda root: None, 'photos/sub', 'photos', {}, 'has the folder of the originals in it'),
    (lambda root: (root / 'link').symlink_to(root / 'photos'), 'photos', 'link', {}, 'is the folder of the originals'),
    (lambda root: None, 'photos/a.png', 'photos', {}, "'.*a.png' is the original"),
    (lambda root: (root / 'out').write_text('x'), 'photos', 'out', {}, '--out: expected a folder for results'),
    (lambda root: Image.new('RGB', (8, 8)).save(root / 'photos/a.jpg'), 'photos', 'out', {'kind': 'png'},
     "'a.jpg' and 'a.png' would both be written to '.*out/a.png'"),
    (lambda root: ((root / 'out').mkdir(), (root / 'out/sub').symlink_to(root)), 'photos', 'out', {},
     "leads out of the folder, to '"),
    (lambda root: (root / 'out/a.png').mkdir(parents=True), 'photos', 'out', {}, "'.*a.png' is a folder"),
    (lambda root: ((root / 'out').mkdir(), (root / 'out/a.png').write_text('mine')), 'photos', 'out', {},
     "1 of 6 files are there already, 'a.png'. Go on after them with --skip-existing")])
def test_what_is_refused_of_folders(tmp_path, prepare, given, out, options, message):
    folder_of_photographs(tmp_path)
    prepare(tmp_path)
    before = written(tmp_path)
    with pytest.raises(ValueError, match=message) as raised:
        restore(tmp_path / given, tmp_path / out, **options)
    assert '\n' not in str(raised.value) and written(tmp_path) == before


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    folder = folder_of_photographs(tmp_path)
    monkeypatch.setattr(os, 'access', lambda path, mode: not mode & os.W_OK)  # root may write anywhere
    with pytest.raises(ValueError, match='is not writable'):
        restore(folder, tmp_path / 'out')


def test_broken_files_are_named_and_the_others_go_on(tmp_path, capsys):
    folder = folder_of_photographs(tmp_path)
    whole = (folder / 'large.png').read_bytes()
    (folder / 'cut.png').write_bytes(whole[:len(whole) // 2])
    (folder / 'a_empty.jpg').write_bytes(b'')
    (folder / 'loop').symlink_to(folder)  # followed, it would have no end
    assert restore(folder, tmp_path / 'out') == 1
    errors = capsys.readouterr().err.splitlines()
    assert [sum(name in line for line in errors) for name in ('cut.png', 'a_empty.jpg', 'large.png')] == [1, 1, 0]
    assert errors[-1] == '2 of 8 files are not restored: see above.'
    assert len(written(tmp_path / 'out')) == 6


@pytest.mark.parametrize('kind, endings', [('png', {'.png', '.PNG'}), ('tiff', {'.tif', '.tiff'}), ('webp', {'.webp'})])
def test_another_format(tmp_path, kind, endings):
    folder = folder_of_photographs(tmp_path)
    assert restore(folder, tmp_path / 'out', kind=kind, quality=100, bits=16 if kind == 'tiff' else None) == 0
    files = [path for path in (tmp_path / 'out').rglob('*') if path.is_file()]
    assert len(files) == 6 and {path.suffix for path in files} <= endings
    found = next(path for path in files if path.stem == 'large')
    pixels = read_photograph(str(found)).pixels
    np.testing.assert_array_equal(pixels // 257 if kind == 'tiff' else pixels, Image.open(folder / 'large.png'))


class Counting(nn.Module):
    """Identity that notes what it is given."""

    def __init__(self):
        super().__init__()
        self.shapes = []

    def forward(self, x):
        self.shapes.append(tuple(x.shape))
        return x


def test_images_of_one_size_are_restored_together(tmp_path):
    network = Counting()
    folder = folder_of_photographs(tmp_path)
    assert restore(folder, tmp_path / 'out', network) == 0
    assert network.shapes[-2:] == [(5, 3, 24, 30), (1, 3, 90, 110)]  # after the trial
    for name in ('a.png', 'b.PNG', 'gray.png', 'large.png'):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / 'out' / name)),
                                      np.asarray(Image.open(folder / name)))


@pytest.mark.slow
@pytest.mark.parametrize('scale, tile', [(1, None), (2, 24), (2, 0)])
def test_tiles_of_the_command(tmp_path, small, scale, tile, capsys):
    folder = folder_of_photographs(tmp_path)
    network = convolutions(scale)
    assert restore(folder, tmp_path / 'out', network, tile=tile) == 0
    assert ('in tiles of' in capsys.readouterr().out) == (tile != 0)
    pixels = np.asarray(Image.open(folder / 'large.png'))
    with torch.no_grad():
        whole = network(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255)[0]
    found = np.asarray(Image.open(tmp_path / 'out' / 'large.png')).astype(float)
    assert np.abs(found - whole.clamp(0, 1).mul(255).permute(1, 2, 0).numpy()).max() <= 1


class Halves(nn.Module):
    """Takes sides that 8 divides, and says nothing about it."""

    def forward(self, x):
        return x.view(*x.shape[:2], x.shape[2] // 8, 8, -1).flatten(2, 3) if x.shape[3] % 8 == 0 else x[..., 1:]


def test_a_network_that_takes_certain_sizes_is_given_them(tmp_path, capsys):
    folder = folder_of_photographs(tmp_path)
    assert restore(folder, tmp_path / 'out', Halves()) == 0
    assert 'Sides are extended to multiples of 8, and the result is cut.' in capsys.readouterr().out
    np.testing.assert_array_equal(Image.open(tmp_path / 'out' / 'large.png'), Image.open(folder / 'large.png'))


@pytest.mark.parametrize('network, message', [
    (nn.Conv2d(4, 3, 1), 'the network does not take an image'), (nn.Conv2d(3, 1, 1), 'expected images of 3 channels')])
def test_networks_that_do_not_fit(tmp_path, network, message):
    with pytest.raises(ValueError, match=message):
        restore(folder_of_photographs(tmp_path), tmp_path / 'out', network)
    assert not (tmp_path / 'out').exists()


class Failing(nn.Module):
    """Makes NaN of images of one size, once it has been tried out."""

    def forward(self, x):
        return x * float('nan') if x.shape[-2:] == (90, 110) else x


def test_an_image_that_the_network_fails_on(tmp_path, capsys):
    assert restore(folder_of_photographs(tmp_path), tmp_path / 'out', Failing()) == 1
    assert 'large.png: the network gives values that are not finite' in capsys.readouterr().err
    assert len(written(tmp_path / 'out')) == 5


def test_a_full_disk_ends_the_run(tmp_path, monkeypatch):
    def full(number):
        raise OSError(errno.ENOSPC, 'full')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match=r"No space left on device. What is finished is kept: make room, and go on with"):
        restore(folder_of_photographs(tmp_path), tmp_path / 'out')
    assert not written(tmp_path / 'out')  # no part of a file either


def test_images_that_there_is_no_memory_for(tmp_path, monkeypatch, capsys):
    fits = memory.of_files((24, 30), 1, 8, 24)
    monkeypatch.setattr('ra_plugin.restoring.run.available', lambda device: 2 ** 26 + fits)
    monkeypatch.setattr(tile_choice.Choice, 'needed', lambda self, header: 2 ** 26 + memory.of_files(
        header.size, 1, header.bits, header.size[1]))
    assert restore(folder_of_photographs(tmp_path), tmp_path / 'out') == 1
    assert 'large.png: 110x90 pixels take 0.1 GB of memory' in capsys.readouterr().err


class Slow(nn.Module):
    def forward(self, x):
        time.sleep(0.05)
        return x


def forked(folder, out, *flags):
    """Start the command with a slow network in a fork, and return its id."""
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        sys.argv = ['ra-plugin']
        import ra_plugin.restoring.run_network as module
        module.named_network = lambda *arguments: FittedNetwork(Slow())
        tile_choice._BATCH_AT_MOST = 1
        status = command('x', folder, '--out', out, '--device', 'cpu', *flags)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


@pytest.mark.slow
@pytest.mark.parametrize('number, status', [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 143)])
def test_a_killed_run_leaves_whole_files_and_goes_on(tmp_path, number, status, count):
    folder, out = folder_of_photographs(tmp_path), tmp_path / 'out'
    for i in range(20):
        Image.fromarray(photo(24, 30, 20 + i)).save(folder / f'more{i}.png')
    assert restore(folder, tmp_path / 'whole') == 0
    child, end = forked(folder, out), time.monotonic() + 60
    while not out.is_dir() or sum(path.suffix == '.png' for path in out.iterdir()) < 3:
        assert time.monotonic() < end
        time.sleep(0.01)
    os.kill(child, number)
    assert finish(child) == status
    count('kills')
    there, whole = written(out), written(tmp_path / 'whole')
    finished = {name: content for name, content in there.items() if not name.rpartition('/')[2].startswith('.')}
    assert 3 <= len(finished) < len(whole) and finished.items() <= whole.items()
    times = {name: (out / name).stat().st_mtime_ns for name in finished}
    with pytest.raises(ValueError, match='files are there already'):
        restore(folder, out)
    assert finish(forked(folder, out, '--skip-existing')) == 0
    assert written(out).items() >= whole.items()
    assert {name: (out / name).stat().st_mtime_ns for name in finished} == times


def test_everything_is_there_already(tmp_path, capsys):
    folder = folder_of_photographs(tmp_path)
    assert restore(folder, tmp_path / 'out') == 0
    (tmp_path / 'out' / 'a.png').write_text('mine')
    assert restore(folder, tmp_path / 'out', skip_existing=True) == 0
    assert capsys.readouterr().out.endswith('6 files, 6 of them restored already.\n')
    assert (tmp_path / 'out' / 'a.png').read_text() == 'mine'
    assert restore(folder, tmp_path / 'out', overwrite=True) == 0
    assert Image.open(tmp_path / 'out' / 'a.png').size == (30, 24)


class Inverted(nn.Module):
    """Network whose results are unlike what it is given."""

    def forward(self, x):
        return 1 - x


@pytest.mark.slow
@pytest.mark.parametrize('gray', [False, True])
def test_a_gate_keeps_photographs_with_little_noise_and_names_them(tmp_path, capsys, gray):
    folder, out = tmp_path / 'photos', tmp_path / 'out'
    folder.mkdir()
    clean = np.full((32, 40) if gray else (32, 40, 3), 100, np.uint8)
    noisy = (clean + np.random.default_rng(0).normal(0, 25, clean.shape)).clip(0, 255).astype(np.uint8)
    Image.fromarray(clean).save(folder / 'clean.png')
    Image.fromarray(noisy).save(folder / 'noisy.png')
    assert restore(folder, out, Inverted(), gate='noise') == 0
    assert (np.asarray(Image.open(out / 'clean.png')) == clean).all()
    assert (np.asarray(Image.open(out / 'noisy.png')) == 255 - noisy).all()
    said = capsys.readouterr().out
    assert 'Gate noise:0.04: 1 of 2 photographs taken as given: clean.png. Found: 0 to 0.09' in said
    assert restore(folder, out, Inverted(), gate='noise', bits=16, overwrite=True) == 0
    assert (read_photograph(str(out / 'clean.png')).pixels == 100 * 257).all()


@pytest.mark.slow
@pytest.mark.usefixtures('run')
def test_a_gate_is_for_networks_of_scale_1(tmp_path, capsys):
    Image.fromarray(photo(24, 30, 0)).save(tmp_path / 'a.png')
    assert command('mine', tmp_path / 'a.png', '--out', tmp_path / 'out', '--gate', 'noise') == 2
    assert '--gate: expected a network of scale 1' in capsys.readouterr().err
    assert command('mine', tmp_path / 'a.png', '--out', tmp_path / 'out', '--gate', 'blur') == 2
    assert "--gate: expected noise, jpeg, noise:SIGMA" in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
