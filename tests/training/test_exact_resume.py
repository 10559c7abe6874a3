"""A killed and resumed run ends like an uninterrupted one, bit for bit: networks, optimizers, EMA, T, logs."""
import functools
import os
import random
import shutil
import signal
import socket
import time

import pytest
import runs
import torch
from conftest import SOAK

from ra_plugin.models.recog_aware_model import RecogAwareMixin
from ra_plugin.models.recog_validation import RecogValidationMixin
from ra_plugin.utils import atomic

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """Return the result of an uninterrupted run."""
    root = tmp_path_factory.mktemp('whole')
    assert runs.train(root, runs.options(root)) == 0, runs.output(root)
    return root


def assert_ended_as(root, whole):
    runs.assert_same(runs.result(root), runs.result(whole))
    runs.assert_same(runs.result(root, 8), runs.result(whole, 8))
    assert runs.logged(root) == runs.logged(whole)


def test_the_run_has_all_that_can_go_wrong(whole):
    names = runs.result(whole, 8)
    for part in ('net_g_8.pth.params.', 'net_g_8.pth.params_ema.', 'running_mean', 'net_t_8.pth.', 'momentum_buffer',
                 'exp_avg', 'state.optimizers[1]', 'state.schedulers', 'draws[0]', 'random.numpy',
                 'best_metric_results.val.'):
        assert any(part in name for name in names), part
    iterations, validations = runs.logged(whole)
    assert iterations.keys() == set('123456789') and len(validations) == 3  # at 4, 8 and the end
    assert len(set(iterations.values())) == 9


class Killer:
    """Hook that kills its own process with SIGKILL at the n-th stage of writing files."""

    def __init__(self, moment: int):
        self.left = moment

    def __call__(self) -> None:
        save, sync, rename = torch.save, os.fsync, os.replace

        def torch_save(content, file, **kwargs):
            self.count()  # the file is there and empty

            class Torn:
                def write(_, data):
                    size = file.write(bytes(data)[:len(data) // 2])
                    file.flush()
                    self.count()  # half of it is there
                    return size + file.write(bytes(data)[len(data) // 2:])

                def flush(_):
                    file.flush()

            save(content, Torn() if self.left < 4 else file, **kwargs)

        def fsync(descriptor):
            self.count()
            sync(descriptor)

        def replace(source, target):
            self.count()
            rename(source, target)
            self.count()

        atomic.torch = type('Torch', (), {'save': staticmethod(torch_save)})
        os.fsync, os.replace = fsync, replace

    def count(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def test_killed_while_it_writes(whole, tmp_path, count):
    """Kill a run at its first stage of writing, the resumed one at its second, and so on until one finishes."""
    opt, kills = runs.options(tmp_path), 0
    for moment in range(1, 10_000):
        status = runs.train(tmp_path, opt, '--auto_resume', before=Killer(moment))
        if status == 0:
            break
        assert status == -signal.SIGKILL, runs.output(tmp_path)
        kills += 1
    assert kills >= 15
    count('kills while writing', kills)
    assert_ended_as(tmp_path, whole)
    assert not list(runs.folder(tmp_path).rglob('.*.part'))


@pytest.mark.parametrize('workers', [0, 1, 2])
def test_killed_at_any_time_with_any_number_of_workers(workers, whole, tmp_path, count):
    rng, kills = random.Random(workers), 0
    opt = runs.options(tmp_path)
    opt['datasets']['train']['num_worker_per_gpu'] = workers
    while kills < 4 * SOAK:
        child = runs.start(tmp_path, opt, '--auto_resume')
        time.sleep(rng.uniform(0.1, 1.0))
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if runs.finish(child) == 0:  # it was faster: from the start
            runs.assert_same(runs.result(tmp_path), runs.result(whole))
            shutil.rmtree(tmp_path / 'experiments')
        else:
            kills += 1
    assert runs.train(tmp_path, opt, '--auto_resume') == 0, runs.output(tmp_path)
    assert_ended_as(tmp_path, whole)
    count('kills at any time', kills)


def interrupt_in_step(number, kind):
    step = RecogAwareMixin.optimize_parameters

    def interrupted(self, current_iter):
        if current_iter == number:
            os.kill(os.getpid(), kind)
        step(self, current_iter)

    RecogAwareMixin.optimize_parameters = interrupted


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_run_and_says_how_to_go_on(number, whole, tmp_path):
    opt = runs.options(tmp_path)
    assert runs.train(tmp_path, opt, before=lambda: interrupt_in_step(5, number)) == 128 + number
    said = runs.output(tmp_path)
    assert f'Stopped by {signal.Signals(number).name} at iteration 5 of 9' in said and '--auto-resume' in said
    assert said.count('Stopped by') == 1
    assert (runs.folder(tmp_path) / 'training_states' / '5.state').is_file()
    assert runs.train(tmp_path, opt, '--auto_resume') == 0
    assert_ended_as(tmp_path, whole)


def test_a_signal_during_validation_ends_it_and_it_is_made_up_for(whole, tmp_path):
    def in_validation():
        judge = RecogValidationMixin._judge

        def interrupted(self, *args):
            os.kill(os.getpid(), signal.SIGTERM)
            judge(self, *args)
        RecogValidationMixin._judge = interrupted

    opt = runs.options(tmp_path)
    assert runs.train(tmp_path, opt, before=in_validation) == 128 + signal.SIGTERM
    assert 'at iteration 4 of 9' in runs.output(tmp_path)
    assert runs.train(tmp_path, opt, '--auto_resume') == 0
    assert_ended_as(tmp_path, whole)


@pytest.mark.parametrize('file, damage', [
    ('training_states/6.state', 'cut'), ('training_states/6.state', 'flip'), ('models/net_g_6.pth', 'cut'),
    ('models/net_g_6.pth', 'flip'), ('models/net_t_6.pth', 'flip'), ('models/net_t_6.pth', 'gone')])
def test_a_damaged_file_is_noticed_and_the_one_before_is_taken(file, damage, whole, tmp_path):
    opt = runs.options(tmp_path, total_iter=7)
    assert runs.train(tmp_path, opt) == 0
    path = runs.folder(tmp_path) / file
    content = bytearray(path.read_bytes())
    tensors = [value for value in runs.flatten(torch.load(path, weights_only=False), '').values()
               if isinstance(value, torch.Tensor)]
    if damage == 'gone':
        path.unlink()
    elif damage == 'cut':
        path.write_bytes(content[:len(content) // 2])
    else:  # one bit of a number: torch reads it without a word
        content[content.index(max(tensors, key=torch.numel).numpy().tobytes())] ^= 1
        path.write_bytes(content)
        torch.load(path, weights_only=False)
    opt['train']['total_iter'] = 9
    assert runs.train(tmp_path, opt, '--auto_resume') == 0, runs.output(tmp_path)
    said = runs.output(tmp_path)
    assert f'{path}: missing or damaged' in said and 'iteration 4.' in said
    runs.assert_same(runs.result(tmp_path), runs.result(whole))


def test_without_a_seed_the_run_keeps_the_one_that_it_drew(tmp_path):
    opt = runs.options(tmp_path, total_iter=6)
    del opt['manual_seed']
    assert runs.train(tmp_path, opt, before=lambda: interrupt_in_step(3, signal.SIGTERM)) == 128 + signal.SIGTERM
    assert runs.train(tmp_path, opt, '--auto_resume') == 0, runs.output(tmp_path)
    seed = runs.result(tmp_path, 6)['state.ra_plugin.manual_seed']
    other = tmp_path / 'other'
    other.mkdir()
    assert runs.train(other, {**opt, 'manual_seed': seed}) == 0
    runs.assert_same(runs.result(tmp_path), runs.result(other))


@pytest.mark.parametrize('flags', [(), ('--auto_resume',)])
def test_an_older_run_that_cannot_be_resumed_is_moved_aside_in_one_line(flags, tmp_path):
    opt = runs.options(tmp_path, total_iter=1)  # shorter than save_checkpoint_freq: it leaves no state
    assert runs.train(tmp_path, opt, *flags) == 0, runs.output(tmp_path)
    assert 'was there' not in runs.output(tmp_path) and 'starts over' not in runs.output(tmp_path)
    first = runs.result(tmp_path)
    assert runs.train(tmp_path, opt, *flags) == 0, runs.output(tmp_path)
    archived, = tmp_path.glob('experiments/run_archived_*')
    line, = (line for line in runs.output(tmp_path).splitlines() if 'was there' in line)
    assert f'{runs.folder(tmp_path)} was there: moved to {archived}.' in line
    assert ('No training state was in it, so the run starts over.' in line) == bool(flags)
    log, = runs.folder(tmp_path).glob('train_*.log')
    assert line in log.read_text()
    runs.assert_same(runs.result(tmp_path), first)


def test_a_network_that_the_class_has_no_use_for_does_not_keep_a_run_from_resuming(whole, tmp_path):
    opt = {**runs.options(tmp_path), 'network_d': {'type': 'SRResNet', 'num_feat': 4, 'num_block': 1, 'upscale': 1}}
    assert runs.train(tmp_path, opt, before=lambda: interrupt_in_step(3, signal.SIGTERM)) == 128 + signal.SIGTERM
    assert runs.train(tmp_path, opt, '--auto_resume') == 0, runs.output(tmp_path)
    runs.assert_same(runs.result(tmp_path), runs.result(whole))


class Opens:
    """Object that opens a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, 'w')


def test_a_state_that_holds_code_is_refused_in_one_line(tmp_path):
    opt = runs.options(tmp_path)
    opt['path'] = {'resume_state': str(tmp_path / '3.state')}
    torch.save({'iter': 3, 'x': Opens(str(tmp_path / 'opened'))}, tmp_path / '3.state')
    assert runs.train(tmp_path, opt) == 2
    assert 'contains more than tensors' in runs.output(tmp_path).strip().splitlines()[-1]
    torch.save({'iter': 3}, tmp_path / '3.state')
    assert runs.train(tmp_path, opt) == 2
    assert 'is not a training state' in runs.output(tmp_path).strip().splitlines()[-1]
    assert not (tmp_path / 'opened').exists()


def test_when_all_states_are_damaged_nothing_is_overwritten(tmp_path):
    opt = runs.options(tmp_path, total_iter=4)
    assert runs.train(tmp_path, opt) == 0
    for path in (runs.folder(tmp_path) / 'training_states').iterdir():
        path.write_bytes(path.read_bytes()[:100])
    before = sorted(path.name for path in runs.folder(tmp_path).rglob('*'))
    assert runs.train(tmp_path, opt, '--auto_resume') == 2
    assert 'no training state is intact' in runs.output(tmp_path)
    assert sorted(path.name for path in runs.folder(tmp_path).rglob('*')) == before


def train_two(root, opt, *flags, before=lambda rank: None):
    """Train the same run in two processes, over gloo."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]

    def as_rank(rank):
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2', MASTER_ADDR='127.0.0.1',
                          MASTER_PORT=str(port))
        before(rank)

    children = [runs.start(root, opt, '--launcher', 'pytorch', *flags, before=functools.partial(as_rank, rank),
                           said=f'output{rank or ""}')
                for rank in range(2)]
    return [runs.finish(child) for child in children]


@pytest.mark.distributed
def test_two_processes_stop_together_and_resume_exactly(tmp_path):
    (tmp_path / 'whole').mkdir()
    (tmp_path / 'stopped').mkdir()
    opt = runs.options(tmp_path / 'whole')
    assert train_two(tmp_path / 'whole', opt) == [0, 0], runs.output(tmp_path / 'whole')

    def in_the_fifth_step_of_the_second(rank):
        if rank:
            interrupt_in_step(5, signal.SIGTERM)

    assert train_two(tmp_path / 'stopped', opt, before=in_the_fifth_step_of_the_second) == [0, 0]
    assert (runs.folder(tmp_path / 'stopped') / 'training_states' / '5.state').is_file()
    assert train_two(tmp_path / 'stopped', opt, '--auto_resume') == [0, 0], runs.output(tmp_path / 'stopped')
    assert_ended_as(tmp_path / 'stopped', tmp_path / 'whole')
