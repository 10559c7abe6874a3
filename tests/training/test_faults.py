"""Faults other than kills: a full disk, bad images, dead workers, NaN. No progress is lost."""
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import runs
import test_recog_aware_hosts as hosts
import torch
from basicsr.utils.registry import DATASET_REGISTRY, MODEL_REGISTRY
from PIL import Image

from ra_plugin.models.builder import run_ready
from ra_plugin.models.recog_aware_model import RecogAwareMixin, recog_aware

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp('whole')
    assert runs.train(root, runs.options(root)) == 0, runs.output(root)
    return root


# --------------------------------------------------------------------------------------------------- the disk


def full_at(root, *names):
    """Redirect writes to these names to /dev/full, which reports a full disk."""

    def fill():
        from ra_plugin.training import loop as training
        remove = training._remove_leftovers

        def after_the_folders_are_there(opt):
            remove(opt)
            for name in names:
                (runs.folder(root) / name).symlink_to('/dev/full')
        training._remove_leftovers = after_the_folders_are_there
    return fill


@pytest.mark.parametrize('name', ['models/.net_t_4.pth.part', 'models/.net_g_4.pth.part',
                                  'training_states/.4.state.part'])
def test_a_full_disk_costs_one_checkpoint(name, whole, tmp_path):
    opt = runs.options(tmp_path)
    assert runs.train(tmp_path, opt, before=full_at(tmp_path, name)) == 0
    said = runs.output(tmp_path)
    assert 'Iteration 4 is not saved' in said and 'No space left on device' in said
    states = runs.folder(tmp_path) / 'training_states'
    assert {path.name for path in states.iterdir()} == {'2.state', '6.state', '8.state'}
    runs.assert_same(runs.result(tmp_path), runs.result(whole))


def test_a_disk_that_is_full_at_the_end_is_an_error_and_the_run_can_go_on(whole, tmp_path):
    opt = runs.options(tmp_path)
    assert runs.train(tmp_path, opt, before=full_at(tmp_path, 'models/.net_g_latest.pth.part')) == 2
    assert 'net_g_latest.pth: cannot be written (No space left on device)' in runs.output(tmp_path)
    assert runs.train(tmp_path, opt, '--auto_resume') == 0
    runs.assert_same(runs.result(tmp_path), runs.result(whole))


def test_a_log_without_room_neither_ends_a_run_nor_floods_the_console(tmp_path):
    def fill():
        from ra_plugin.training import run_log
        start = run_log._LogFile.__init__
        run_log._LogFile.__init__ = lambda self, path, **settings: start(self, '/dev/full', **settings)

    assert runs.train(tmp_path, runs.options(tmp_path), before=fill) == 0, runs.output(tmp_path)
    assert 'Logging error' not in runs.output(tmp_path) and 'Traceback' not in runs.output(tmp_path)
    assert runs.result(tmp_path)


def test_a_folder_that_cannot_be_written_to_is_one_line_before_the_training(tmp_path):
    (tmp_path / 'experiments').symlink_to('/proc/self')
    assert runs.train(tmp_path, runs.options(tmp_path)) == 2
    said = runs.output(tmp_path).strip().splitlines()[-1]
    assert said.startswith('train.py: ') and 'the folder of the run cannot be created' in said


# ------------------------------------------------------------------------------------------------------- data


def spoil(root, name='c/c1.png'):
    path = root / 'images' / name
    path.write_bytes(path.read_bytes()[:120])
    return path


@pytest.mark.parametrize('workers', [0, 2])
def test_a_bad_image_is_named_and_the_run_saved(workers, tmp_path):
    opt = runs.options(tmp_path, total_iter=40)
    opt['datasets']['train']['num_worker_per_gpu'] = workers
    opt['logger']['save_checkpoint_freq'] = 1000
    opt['val']['val_freq'] = 1000
    path = spoil(tmp_path)
    assert runs.train(tmp_path, opt) == 2
    assert str(path) in runs.output(tmp_path).strip().splitlines()[-1]
    saved = {int(file.stem) for file in (runs.folder(tmp_path) / 'training_states').iterdir()}
    iterations, _ = runs.logged(tmp_path)
    assert saved == {max(map(int, iterations))} if iterations else not saved


def mislabel(iteration):
    """Set an invalid label once."""

    def install():
        feed = RecogAwareMixin.feed_data
        calls = iter(range(1, 1000))

        def feed_data(self, data):
            if self.is_train and next(calls) == iteration:
                data = {**data, 'label': data['label'] + 100}
            feed(self, data)
        RecogAwareMixin.feed_data = feed_data
    return install


@pytest.mark.parametrize('accum_iter, batch', [(1, 6), (2, 12)])
def test_a_label_that_cannot_be_ends_the_run_where_it_can_be_resumed_exactly(accum_iter, batch, tmp_path):
    """Nothing of the step that failed is left, neither in the schedule nor in batch norm nor in the random streams."""
    for name in ('whole', 'stopped'):
        (tmp_path / name).mkdir()
    opt = runs.options(tmp_path / 'whole', accum_iter=accum_iter)
    assert runs.train(tmp_path / 'whole', opt) == 0, runs.output(tmp_path / 'whole')
    assert runs.train(tmp_path / 'stopped', opt, before=mislabel(batch)) == 2
    assert 'expected labels in 0..9' in runs.output(tmp_path / 'stopped')
    assert (runs.folder(tmp_path / 'stopped') / 'training_states' / '5.state').is_file()
    assert runs.train(tmp_path / 'stopped', opt, '--auto_resume') == 0
    runs.assert_same(runs.result(tmp_path / 'stopped', 8), runs.result(tmp_path / 'whole', 8))


@pytest.mark.parametrize('workers', [0, 2])
def test_bad_images_can_be_skipped_and_are_named_all_the_same(workers, tmp_path):
    opt = runs.options(tmp_path)
    opt['datasets']['train'].update(num_worker_per_gpu=workers, on_bad_image='skip')
    del opt['val'], opt['datasets']['val']
    paths = [spoil(tmp_path), spoil(tmp_path, 'd/d0.png')]
    assert runs.train(tmp_path, opt) == 0, runs.output(tmp_path)
    for path in paths:
        assert f'{path}:' in runs.output(tmp_path)
    assert 'Skipped; the next image is used instead' in runs.output(tmp_path)


def test_a_folder_of_bad_images_does_not_skip_for_ever(tmp_path):
    opt = runs.options(tmp_path)
    opt['datasets']['train']['on_bad_image'] = 'skip'
    opt['datasets']['val']['dataroot_gt'] = str(runs.make_images(tmp_path / 'other images'))
    for path in (tmp_path / 'images').rglob('*.png'):
        path.write_bytes(b'')
    assert runs.train(tmp_path, opt) == 2
    assert '100 images in a row cannot be read' in runs.output(tmp_path)


def test_a_file_that_basicsrs_own_data_set_cannot_read_is_named(tmp_path):
    opt = runs.options(tmp_path)
    for side in ('gt', 'lq'):
        (tmp_path / side).mkdir()
        for i in range(8):
            Image.fromarray(np.full((16, 16, 3), i, np.uint8)).save(tmp_path / side / f'{i}.png')
    (tmp_path / 'lq' / '5.png').write_bytes(b'no image')
    opt['datasets'] = {'train': {
        'name': 'pairs', 'type': 'PairedImageDataset', 'dataroot_gt': str(tmp_path / 'gt'), 'gt_size': 16,
        'dataroot_lq': str(tmp_path / 'lq'), 'filename_tmpl': '{}', 'io_backend': {'type': 'disk'},
        'use_hflip': True, 'use_rot': True, 'batch_size_per_gpu': 4, 'num_worker_per_gpu': 0}}
    del opt['val'], opt['network_t'], opt['train']['optim_t']
    opt['train']['recog_opt']['type'] = 'RecogConsistencyLoss'
    assert runs.train(tmp_path, opt) == 2
    said = runs.output(tmp_path).strip().splitlines()[-1]
    assert str(tmp_path / 'lq' / '5.png') in said and 'cannot be read' in said


@DATASET_REGISTRY.register()
class KillsItsWorker(torch.utils.data.Dataset):
    """Data set whose images sometimes kill the process that reads them."""

    def __init__(self, opt):
        self.inner = DATASET_REGISTRY.get('LabeledImageDataset')({**opt, 'type': 'LabeledImageDataset'})
        self.opt, self.count = opt, opt['dataroot_gt'] + '/../deaths'

    def __len__(self):
        return len(self.inner)

    def __getitem__(self, index):
        deaths = open(self.count, 'a+')
        if deaths.tell() < 2 and index % 7 == 3:  # two of them
            deaths.write('x')
            deaths.close()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.inner[index]


def look_often():
    """Let torch check its workers more often than every five seconds."""
    torch.utils.data.dataloader._MultiProcessingDataLoaderIter._try_get_data.__defaults__ = (0.3,)


@pytest.mark.parametrize('persistent', [False, True])
def test_a_worker_that_dies_is_replaced_and_no_number_changes(persistent, whole, tmp_path):
    opt = runs.options(tmp_path)
    opt['datasets']['train'].update(type='KillsItsWorker', num_worker_per_gpu=1, persistent_workers=persistent)
    assert runs.train(tmp_path, opt, before=look_often) == 0, runs.output(tmp_path)
    assert runs.output(tmp_path).count('New workers are started') == 2
    runs.assert_same(runs.result(tmp_path), runs.result(whole))


def test_workers_that_die_again_and_again_end_the_run(tmp_path):
    opt = runs.options(tmp_path)
    opt['datasets']['train'].update(type='AlwaysKillsItsWorker', num_worker_per_gpu=1)
    assert runs.train(tmp_path, opt, before=look_often) == 2
    assert 'Lower num_worker_per_gpu' in runs.output(tmp_path).strip().splitlines()[-1]


@DATASET_REGISTRY.register()
class AlwaysKillsItsWorker(KillsItsWorker):

    def __getitem__(self, index):
        os.kill(os.getpid(), signal.SIGKILL)


@DATASET_REGISTRY.register()
class KillsItsRun(KillsItsWorker):
    """Data set that kills its run while the worker is busy."""

    def __getitem__(self, index):
        Path(self.count).write_text(str(os.getpid()))
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)


def test_a_worker_ends_with_a_run_that_is_killed(tmp_path):
    opt = runs.options(tmp_path)
    opt['datasets']['train'].update(type='KillsItsRun', num_worker_per_gpu=1)
    assert runs.train(tmp_path, opt) == -signal.SIGKILL
    worker = int((tmp_path / 'deaths').read_text())
    ended = time.monotonic() + 10
    while Path(f'/proc/{worker}').exists() and 'Z' not in Path(f'/proc/{worker}/stat').read_text().split()[2]:
        assert time.monotonic() < ended
        time.sleep(0.05)


# -------------------------------------------------------------------------------------------------------- NaN


def poison(*iterations):
    """Put NaN into one image of the batch at these iterations."""

    def install():
        feed = RecogAwareMixin.feed_data
        calls = iter(range(1, 1000))

        def feed_data(self, data):
            if self.is_train and 'size' not in data and len(data['lq']) == 8 and next(calls) in iterations:
                data = {**data, 'lq': data['lq'].clone()}
                data['lq'][0, 0, 0, 0] = float('nan')
            feed(self, data)
        RecogAwareMixin.feed_data = feed_data
    return install


def test_a_step_with_nan_is_not_applied(tmp_path):
    """The networks after a bad third step, with all their statistics and averages, are those after the second."""
    opt = runs.options(tmp_path, total_iter=3)
    opt['logger']['save_checkpoint_freq'] = 1
    assert runs.train(tmp_path, opt, before=poison(3)) == 0, runs.output(tmp_path)
    assert 'iteration 3: the gradient is not finite' in runs.output(tmp_path)
    before, after = ({name.replace(f'_{i}.pth', ''): value for name, value in runs.result(tmp_path, i).items()
                      if name.startswith('net_') or '.optimizers' in name and '.state[' in name} for i in (2, 3))
    runs.assert_same(before, after)
    assert all(torch.isfinite(value).all() for value in after.values() if isinstance(value, torch.Tensor))


def test_nan_again_and_again_ends_the_run_with_the_last_good_networks(tmp_path):
    opt = runs.options(tmp_path, max_bad_steps=3)
    opt['logger']['save_checkpoint_freq'] = 3
    assert runs.train(tmp_path, opt, before=poison(*range(4, 20))) == 2
    said = runs.output(tmp_path).strip().splitlines()[-1]
    assert 'iteration 6' in said and 'number 3 in a row' in said and 'train.max_bad_steps' in said
    networks = [{name.replace(f'_{i}.pth', ''): value for name, value in runs.result(tmp_path, i).items()
                 if name.startswith('net_')} for i in (3, 6)]
    runs.assert_same(*networks)


@pytest.mark.parametrize('total, status', [(6, 2), (5, 0)])
def test_nan_up_to_the_end_ends_the_run_where_a_device_tells_it_late(tmp_path, total, status):
    """The kernel of the last step decides, and no step follows in which that would be read."""
    opt = runs.options(tmp_path, max_bad_steps=3, total_iter=total,
                       **{f'optim_{net}': {'type': 'Adam', 'lr': 1e-3, 'fused': True} for net in 'gt'})
    opt['logger']['save_checkpoint_freq'] = 100
    assert runs.train(tmp_path, opt, before=poison(*range(4, 20))) == status, runs.output(tmp_path)
    said = runs.output(tmp_path)
    assert ('iteration 6: the gradient is not finite' in said and 'number 3 in a row' in said) == bool(status)
    assert ('End of training' in said) != bool(status)
    assert bool(status) == (runs.folder(tmp_path) / 'models' / 'net_g_6.pth').exists()


def test_a_gan_whose_generator_meets_nan_leaves_its_discriminator_alone():
    name = 'SRGANModel'
    model = run_ready(recog_aware(hosts.host_class(hosts.HOSTS[name][0])))(hosts.options(name, recog_opt=hosts.RECOG))
    before = {key: value.clone() for net in (model.net_g, model.net_d) for key, value in net.state_dict().items()}
    batch, = hosts.batches(1, name)
    batch['lq'][0, 0, 0, 0] = float('nan')
    model.update_learning_rate(1)
    model.feed_data(batch)
    model.optimize_parameters(1)
    after = {key: value for net in (model.net_g, model.net_d) for key, value in net.state_dict().items()}
    runs.assert_same(before, after)


def test_bad_steps_with_good_ones_between_go_on(tmp_path):
    opt = runs.options(tmp_path, max_bad_steps=2)
    assert runs.train(tmp_path, opt, before=poison(2, 4, 6, 8)) == 0, runs.output(tmp_path)
    assert runs.output(tmp_path).count('the gradient is not finite') == 4


def test_the_models_of_basicsr_are_left_as_they_were():
    assert MODEL_REGISTRY.get('SRModel').save_network.__qualname__.startswith('BaseModel')


def test_a_network_of_another_factor_than_the_data_is_one_line(tmp_path):
    opt = runs.options(tmp_path)
    opt['network_g']['upscale'] = 2
    del opt['network_t'], opt['train']['optim_t'], opt['train']['recog_opt']
    assert runs.train(tmp_path, opt) == 2
    line = runs.output(tmp_path).strip().splitlines()[-1]
    assert ('network_g: expected images of the shape of the clean ones, (8, 3, 16, 16), got (8, 3, 32, 32). '
            'Compare scale (1)') in line
