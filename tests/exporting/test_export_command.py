"""``ra-plugin export``: files, cards whose code runs, and what is refused."""
import hashlib
import re
import sys

import numpy as np
import onnxruntime
import pytest
import safetensors.torch
import spandrel
import torch
import yaml
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from PIL import Image
from test_restore_command import NETWORK, TRANSFORMER, built, expected, write_run
from test_spandrel_network import NETWORKS, written

from ra_plugin.archs import SpandrelNetwork
from ra_plugin.cli.main import run_command
from ra_plugin.exporting import safetensors_file

RECOGNIZER = {'type': 'ModuleRecognizer', 'module': 'ra_plugin.recognizers.tiny_nets.TinyVGG', 'input_size': 32,
              'checkpoint': '/home/somebody/vgg.pth', 'mean': [0.5] * 3, 'std': [0.25] * 3}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return the folder of a training that has ended, in the current folder, with a network of Real-ESRGAN's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['ra-plugin'])
    folder = write_run(tmp_path, path={'pretrain_network_g': '/home/somebody/plain.pth'}, train={
        'total_iter': 600, 'recog_budget': {'max_psnr_drop': 0.1}, 'recog_opt': {
            'type': 'RecogConsistencyLoss', 'loss_weight': 0.001, 'recognizer': RECOGNIZER}})
    torch.manual_seed(0)
    torch.save({'params': compact().state_dict()}, tmp_path / 'compact.pth')
    return folder


def compact():
    return SRVGGNetCompact(3, 3, num_feat=8, num_conv=2, upscale=2).eval()


def export(*words):
    return run_command('export', 'ra-plugin export', [str(word) for word in words])


def pixels():
    return np.random.default_rng(0).integers(0, 256, (19, 26, 3), np.uint8)


def card_of(file):
    """Return the head of a card as YAML, and its text."""
    _, head, text = file.with_suffix('.md').read_text().split('---\n', 2)
    return yaml.safe_load(head), text


def example_in(text, folder, monkeypatch):
    """Return the names that the card's code leaves."""
    monkeypatch.chdir(folder)
    names = {}
    exec(re.search(r'```python\n(.*?)```', text, re.DOTALL)[1], names)
    return names


@pytest.mark.slow
@pytest.mark.parametrize('machine', [False, True])
def test_onnx_of_a_training(machine, run, tmp_path, capsys, monkeypatch):
    assert export('mine', '--out', 'out/x.onnx', *['--machine'] * machine) == 0
    said, file = capsys.readouterr().out, tmp_path / 'out' / 'x.onnx'
    assert re.search(r'^ONNX for images of any size, any number at a time; checked on 37x51, 32x48, 64x33, 33x71 '
                     r'\(height x width\): differs from PyTorch by at most \d\.\de-0[78] of the range', said, re.M)
    assert said.endswith('Model card: out/x.md.\nWritten to out/x.onnx.\n')
    assert sorted(path.name for path in file.parent.iterdir()) == ['x.md', 'x.onnx']

    head, text = card_of(file)
    assert head == {'library_name': 'onnx', 'pipeline_tag': 'image-to-image', 'tags': [
        'image-restoration', 'super-resolution', 'recognition-aware', 'onnx']}
    blocks = (NETWORK, TRANSFORMER) if machine else (NETWORK,)
    number = sum(parameter.numel() for block in blocks for parameter in built(block).parameters())
    assert f'SHA-256 `{hashlib.sha256(file.read_bytes()).hexdigest()}`' in text
    assert f'| parameters | {number:,} |' in text
    assert f'| architecture | {"SRResNet and then ResnetGenerator" if machine else "SRResNet"} |' in text
    assert '| input | `input`, (N, 3, H, W), float32, RGB in [0, 1] |' in text and '(N, 3, 2 H, 2 W)' in text
    for fact in ('`mine`, option file `mine.yml`', 'by the option file: 600', 'begun from: `plain.pth`',
                 'recognizers in its losses: ModuleRecognizer TinyVGG (vgg.pth)', 'max_psnr_drop: 0.1',
                 'licence: that of the weights'):
        assert fact in text
    assert '/home' not in text and str(tmp_path) not in text

    Image.fromarray(pixels()).save(file.parent / 'photo.png')
    example_in(text, file.parent, monkeypatch)
    restored = np.asarray(Image.open(file.parent / 'restored.png')).astype(float)
    assert np.abs(restored - expected(run, pixels(), machine)).max() <= 1


@pytest.mark.slow
def test_safetensors_of_a_training_run_with_the_code_of_the_card(run, tmp_path, monkeypatch):
    (run / 'models' / 'net_g_latest.pth').rename(run / 'models' / 'net_g_400.pth')
    assert export('mine', '--out', 'x.safetensors') == 0
    head, text = card_of(tmp_path / 'x.safetensors')
    assert head['library_name'] == 'pytorch' and '- iteration: 400 of 600' in text
    assert 'then normalized with mean [0.4, 0.4, 0.4]' in text and '| weights | float32 |' in text
    names = example_in(text, tmp_path, monkeypatch)
    original = torch.load(run / 'models' / 'net_g_400.pth')['params']
    assert names['restored'].shape == (1, 3, 128, 128)
    assert all(torch.equal(value, original[key]) for key, value in names['network'].state_dict().items())


@pytest.mark.slow
def test_safetensors_and_onnx_of_a_file_open_elsewhere(run, tmp_path, monkeypatch, capsys):
    assert export('compact.pth', '--out', 'x.safetensors') == export('compact.pth', '--out', 'y.onnx') == 0
    assert 'Read back by spandrel: differs by at most' in capsys.readouterr().out
    head, text = card_of(tmp_path / 'x.safetensors')
    assert head == {'library_name': 'spandrel', 'pipeline_tag': 'image-to-image',
                    'tags': ['image-restoration', 'super-resolution']}
    assert 'training: unknown' in text and '| architecture | RealESRGAN Compact |' in text and 'recog' not in text
    names, network = example_in(text, tmp_path, monkeypatch), compact()
    network.load_state_dict(torch.load('compact.pth')['params'])
    with torch.no_grad():
        ideal = network(names['image'])
    torch.testing.assert_close(names['restored'], ideal.clamp(0, 1), rtol=0, atol=1e-5)
    found = onnxruntime.InferenceSession('y.onnx').run(None, {'input': names['image'].numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(found), ideal, rtol=0, atol=1e-5)  # not clamped


def test_half_precision_is_written_as_it_was(run, tmp_path, capsys):
    file = written(tmp_path / 'half.safetensors', NETWORKS['Compact'](), torch.float16, author='somebody')
    assert export(file, '--out', 'x.safetensors') == 0
    assert '| weights | float16 |' in card_of(tmp_path / 'x.safetensors')[1]
    given, found = (safetensors.torch.load_file(path) for path in (file, 'x.safetensors'))
    assert given.keys() == found.keys() and all(torch.equal(value, found[key]) for key, value in given.items())
    assert spandrel.ModelLoader().load_from_file('x.safetensors').scale == 2


def test_a_tuned_network_has_the_layout_of_the_file_that_it_began_from(run, tmp_path, capsys):
    file = written(tmp_path / 'half.safetensors', NETWORKS['Compact'](), torch.float16, author='somebody')
    models = tmp_path / 'experiments' / 'tuned' / 'models'
    models.mkdir(parents=True)
    (models.parent / 'tuned.yml').write_text(yaml.safe_dump({'name': 'tuned', 'network_g': {
        'type': 'SpandrelNetwork', 'checkpoint': file}}))
    tuned = {key: value + 0.01 for key, value in SpandrelNetwork(file).state_dict().items()}
    torch.save({'params': tuned}, models / 'net_g_latest.pth')
    assert export('tuned', '--out', 'x.safetensors') == 0
    found = safetensors.torch.load_file('x.safetensors')
    assert found.keys() == safetensors.torch.load_file(file).keys()
    assert all(torch.equal(value, tuned[key].half()) for key, value in found.items())
    with safetensors.safe_open('x.safetensors', 'pt') as opened:
        assert opened.metadata()['author'] == 'somebody'
    head, text = card_of(tmp_path / 'x.safetensors')
    assert head['library_name'] == 'spandrel' and '- begun from: `half.safetensors`' in text
    assert '| architecture | RealESRGAN Compact |' in text and str(tmp_path) not in text


def test_a_file_that_is_not_what_the_network_is_leaves_nothing(run, tmp_path, monkeypatch, capsys):
    save = safetensors_file.save_restorer

    def untrue(network, path):
        next(network.parameters()).data += 0.1
        save(network, path)
        next(network.parameters()).data -= 0.1

    monkeypatch.setattr(safetensors_file, 'save_restorer', untrue)
    assert export('compact.pth', '--out', 'out/x.safetensors') == 2
    assert 'values that differ by' in capsys.readouterr().err and not (tmp_path / 'out').exists()
    monkeypatch.setattr('ra_plugin.exporting.onnx_file.Graph.forward', lambda self, x: self.stages[0].run(x) + 0.1)
    assert export('compact.pth', '--out', 'out/x.onnx') == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 2 and 'compact.pth: no ONNX file for images of any size: of 1x3x37x51 ' in error[1]
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('words, message', [
    (['compact.pth', '--out', 'x.pt'], "--out: expected a file that ends in .onnx or .safetensors, got 'x.pt'."),
    (['mine', '--machine', '--out', 'x.safetensors'], 'these are two. Write them as ONNX: --out x.onnx.'),
    (['mine', '--size', '8x8', '--out', 'x.safetensors'], '--size: weights are for images of any size.'),
    (['compact.pth', '--machine', '--out', 'x.onnx'], '--machine: compact.pth has no network_t'),
    (['compact.pth', '--out', 'there.onnx'], "--out: 'there.onnx' is there already. Replace it with --overwrite"),
    (['compact.pth', '--out', 'card.onnx'], "--out: 'card.md' is there already."),
    (['compact.pth', '--out', 'folder.onnx'], "--out: expected a file, got the folder 'folder.onnx'."),
    (['compact.pth', '--out', 'compact.pth/x.onnx'], 'is not a folder. Choose another one.'),
    (['there.safetensors', '--out', 'there.safetensors', '--overwrite'], 'is the file that it is made from.'),
    (['mnie', '--out', 'x.onnx'], "Did you mean 'mine'?")])
def test_what_is_refused(words, message, run, tmp_path, capsys):
    (tmp_path / 'folder.onnx').mkdir()
    for name in ('there.onnx', 'card.md', 'there.safetensors'):
        (tmp_path / name).write_bytes(b'abc')
    assert export(*words) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 2 and message in error[1]
    assert all((tmp_path / name).read_bytes() == b'abc' for name in ('there.onnx', 'card.md', 'there.safetensors'))


def test_a_size_that_is_none(run, capsys):
    with pytest.raises(SystemExit):
        export('compact.pth', '--out', 'x.onnx', '--size', '256')
    assert "expected height and width, e.g. 256x384, got '256'." in capsys.readouterr().err


@pytest.mark.slow
def test_files_are_replaced_when_asked_for_and_kept_where_the_disk_is_full(run, tmp_path, capsys, monkeypatch):
    for name in ('x.onnx', 'x.md'):
        (tmp_path / name).write_bytes(b'abc')
    with monkeypatch.context() as full:
        full.setattr('os.fsync', lambda file: (_ for _ in ()).throw(OSError(28, 'No space left on device')))
        assert export('compact.pth', '--out', 'x.onnx', '--size', '12x16', '--overwrite') == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 2 and 'No space left on device' in error[1]
    assert (tmp_path / 'x.onnx').read_bytes() == (tmp_path / 'x.md').read_bytes() == b'abc'
    assert export('compact.pth', '--out', 'x.onnx', '--size', '12x16', '--overwrite') == 0
    assert 'ONNX for images of 12x16 pixels, any number at a time; checked on 12x16 (' in capsys.readouterr().out
    assert '(N, 3, 24, 32)' in card_of(tmp_path / 'x.onnx')[1]
    assert not list(tmp_path.glob('.*'))
