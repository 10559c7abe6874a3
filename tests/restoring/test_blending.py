"""``ra-plugin blend``: files that open elsewhere, from files and trainings, and what is refused."""
import shutil
import sys

import pytest
import safetensors.torch
import spandrel
import torch
import yaml
from test_restore_command import NETWORK, built
from test_spandrel_network import NETWORKS, written

from ra_plugin.cli.main import run_command


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['ra-plugin'])


@pytest.fixture
def files(tmp_path):
    """Return three networks of one architecture, and write them as 0.pth, 1.pth, 2.pth."""
    networks = []
    for seed in range(3):
        torch.manual_seed(seed)
        networks.append(NETWORKS['Compact']())
        written(tmp_path / f'{seed}.pth', networks[-1])
    return networks


def blend(*words):
    return run_command('blend', 'ra-plugin blend', [str(word) for word in words])


@pytest.mark.parametrize('words, parts', [((), (0.5, 0.5)), (('--alpha', '0.25'), (0.75, 0.25))])
def test_two_files(words, parts, files, tmp_path, capsys):
    assert blend('0.pth', '1.pth', *words, '--out', 'out/x.safetensors') == 0
    said = capsys.readouterr().out
    assert said.endswith(f'{parts[0]} of 0.pth, {parts[1]} of 1.pth.\nWritten to out/x.safetensors.\n')
    assert 'statistics' not in said
    found = safetensors.torch.load_file('out/x.safetensors')
    states = [network.state_dict() for network in files]
    assert found.keys() == states[0].keys()
    for key, value in found.items():
        torch.testing.assert_close(value, parts[0] * states[0][key] + parts[1] * states[1][key])
    assert spandrel.ModelLoader().load_from_file('out/x.safetensors').architecture.name == 'RealESRGAN Compact'


def test_a_soup_of_three(files, capsys):
    assert blend('0.pth', '1.pth', '2.pth', '--out', 'x.safetensors') == 0
    assert '0.333 of 0.pth, 0.333 of 1.pth, 0.333 of 2.pth.' in capsys.readouterr().out
    key = 'body.0.weight'
    torch.testing.assert_close(safetensors.torch.load_file('x.safetensors')[key],
                               sum(network.state_dict()[key] for network in files) / 3)


def test_a_training_and_a_file_of_its_network(tmp_path, capsys):
    models = tmp_path / 'experiments' / 'mine' / 'models'
    models.mkdir(parents=True)
    (models.parent / 'mine.yml').write_text(yaml.safe_dump({'name': 'mine', 'network_g': NETWORK}))
    states = []
    for seed, file in enumerate((models / 'net_g_latest.pth', tmp_path / 'plain.pth')):
        torch.manual_seed(seed)
        states.append(built(NETWORK).state_dict())
        torch.save({'params': states[-1]}, file)
    assert blend('plain.pth', 'mine', '--alpha', '0.25', '--out', 'x.safetensors') == 0
    assert 'running statistics of batch norm are the mean of theirs' in capsys.readouterr().out
    found = safetensors.torch.load_file('x.safetensors')
    torch.testing.assert_close(found['tail.weight'], 0.25 * states[0]['tail.weight'] + 0.75 * states[1]['tail.weight'])


@pytest.mark.parametrize('words, message', [
    (['0.pth', '--out', 'x.safetensors'], 'blend: expected two networks or more, got 1.'),
    (['0.pth', '1.pth', '--out', 'x.pth'], "--out: expected a file that ends in .safetensors, got 'x.pth'."),
    (['0.pth', '1.pth', '2.pth', '--alpha', '0.2', '--out', 'x.safetensors'], '--alpha: it is the share'),
    (['0.pth', '1.pth', '--alpha', '2', '--out', 'x.safetensors'], '--alpha: expected a number from 0'),
    (['0.pth', 'other.pth', '--out', 'x.safetensors'], '0.pth and other.pth: expected networks of one architecture, '
                                                       'got RealESRGAN Compact and NAFNet.'),
    (['0.pth', 'none', '--out', 'x.safetensors'], 'none: no training, option file or weights file of that name.'),
    (['0.pth', '1.pth', '--out', 'there.safetensors'], "'there.safetensors' is there already."),
    (['there.safetensors', '1.pth', '--out', 'there.safetensors', '--overwrite'], 'is the file that it is made from.')])
def test_what_is_refused(words, message, files, tmp_path, capsys):
    written(tmp_path / 'other.pth', NETWORKS['NAFNet']())
    written(tmp_path / 'there.safetensors', files[0])
    before = (tmp_path / 'there.safetensors').read_bytes()
    assert blend(*words) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 2 and message in error[1]
    assert (tmp_path / 'there.safetensors').read_bytes() == before and not list(tmp_path.glob('x.*'))


def test_a_file_is_replaced_when_asked_for(files):
    shutil.copy('0.pth', 'x.safetensors')
    assert blend('0.pth', '1.pth', '--overwrite', '--out', 'x.safetensors') == 0
    assert safetensors.torch.load_file('x.safetensors')
