"""Finished trainings are reused as long as their inputs are unchanged."""
import pytest
import yaml
from small_evaluation import make, save_weights

from ra_plugin.training import train_if_needed as trained_runs
from ra_plugin.training.train_if_needed import is_trained, keep_inputs, train


@pytest.fixture
def run(tmp_path):
    """Write a finished training and return its options."""
    opt = make(tmp_path)
    run = {'name': 'run', 'datasets': {'train': {'type': 'PairedImageDataset', 'dataroot_gt': 'images'}},
           'path': {'pretrain_network_g': 'net.pth'},
           'train': {'recog_opt': {'recognizer': {**opt['recognizers']['one'], 'checkpoint': 'one.safetensors'}}}}
    (tmp_path / 'net.pth').write_text('weights')
    finish(tmp_path, run)
    keep_inputs(tmp_path, run)
    return run


def finish(root, run):
    folder = root / 'experiments' / 'run'
    (folder / 'models').mkdir(parents=True, exist_ok=True)
    (folder / 'models/net_g_latest.pth').touch()
    (folder / 'run.yml').write_text(yaml.safe_dump(run))


def another_recognizer(root):
    save_weights(root / 'one.safetensors', 2)


def another_start(root):
    (root / 'net.pth').write_text('others')


def another_image(root):
    (root / 'images/a/00.png').write_bytes(b'mended')


@pytest.mark.parametrize('change', [another_recognizer, another_start, another_image])
def test_a_run_of_other_weights_or_images_is_trained_anew(run, tmp_path, monkeypatch, change):
    assert is_trained(tmp_path, run)
    change(tmp_path)
    assert not is_trained(tmp_path, run)
    commands = []
    monkeypatch.setattr(trained_runs, 'run_program',
                        lambda command, threads: commands.append(command) or finish(tmp_path, run))
    for _ in range(2):
        train(tmp_path, tmp_path / 'options/run.yml', run)
    assert len(commands) == 1 and '--root' in commands[0]
    assert '--auto-resume' not in commands[0]  # which would take the finished weights


def test_a_file_that_was_only_touched_is_the_same(run, tmp_path):
    for path in (*tmp_path.rglob('*.png'), tmp_path / 'one.safetensors', tmp_path / 'net.pth'):
        path.touch()
    assert is_trained(tmp_path, run)


@pytest.mark.slow
def test_runs_of_an_older_version_are_taken(run, tmp_path):
    (tmp_path / 'experiments/run/inputs.txt').unlink()
    another_recognizer(tmp_path)
    assert is_trained(tmp_path, run)
