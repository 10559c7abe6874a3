"""Patches of BasicSR: each check fails with the unpatched release 1.4.2, and passes with the patch."""
import functools
import os
import socket
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
import warm_start
from hiding import HIDE, ROOT

from ra_plugin import compat

pytest.importorskip('basicsr' if compat.installed('basicsr') else 'no_basicsr')
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason='about machines without a GPU')


def run(code: str, *args: str, cwd: Path, **env: str) -> subprocess.Popen:
    """Start ``code`` in a process of its own."""
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', **env}
    return subprocess.Popen([warm_start.python(), '-c', code, *args], cwd=cwd, env=env, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(*processes: subprocess.Popen, timeout: float = 300) -> list[str]:
    """Wait for all processes, expect success, and return their outputs."""
    try:
        outputs = [process.communicate(timeout=timeout)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output
    return outputs


class BatchNormNet(torch.nn.Module):
    """The smallest restorer with buffers."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 1)
        self.norm = torch.nn.BatchNorm2d(3)

    def forward(self, lq):
        return self.norm(self.conv(lq))


@pytest.fixture
def opt(tmp_path, monkeypatch):
    """Options of a tiny SRModel that trains with EMA; its folders exist."""
    from basicsr.utils.registry import ARCH_REGISTRY
    monkeypatch.setitem(ARCH_REGISTRY._obj_map, 'BatchNormNet', BatchNormNet)
    path = {'models': tmp_path / 'run' / 'models', 'training_states': tmp_path / 'run' / 'training_states'}
    for folder in path.values():
        folder.mkdir(parents=True)
    return {
        'name': 'run', 'num_gpu': 0, 'dist': False, 'is_train': True, 'rank': 0, 'auto_resume': False,
        'network_g': {'type': 'BatchNormNet'},
        'path': {'resume_state': None, **{key: str(folder) for key, folder in path.items()}},
        'train': {
            'ema_decay': 0.9, 'pixel_opt': {'type': 'L1Loss'}, 'optim_g': {'type': 'Adam', 'lr': 1e-3},
            'scheduler': {'type': 'MultiStepLR', 'milestones': [2, 3], 'gamma': 0.5}},
    }


def sr_model(opt):
    from basicsr.models.sr_model import SRModel
    return SRModel(deepcopy(opt))


def step(model, current_iter):
    model.update_learning_rate(current_iter)
    model.feed_data({'lq': torch.rand(2, 3, 4, 4) + 5, 'gt': torch.rand(2, 3, 4, 4)})
    model.optimize_parameters(current_iter)


# --------------------------------------------- mend_basicsr() ------------------------------------------------ #
def test_mended_twice_is_mended_once():
    import basicsr.train
    from basicsr.models import base_model
    from basicsr.models.base_model import BaseModel

    def state():
        return [*vars(BaseModel).values(), *vars(basicsr.train).values(), base_model.torch]

    before = state()
    compat.mend_basicsr()
    assert all(a is b for a, b in zip(before, state(), strict=True))


def test_without_basicsr_the_error_says_what_to_install(tmp_path):
    finish(run("HIDDEN = {'basicsr'}" + HIDE + """
from ra_plugin import compat
for _ in range(2):
    try:
        compat.mend_basicsr()
    except ImportError as error:
        assert 'pip install --no-build-isolation "basicsr>=1.4.2"' in str(error), error
    else:
        raise AssertionError('BasicSR is hidden')
assert 'ra_plugin.compat.basicsr_imports' not in sys.modules
""", cwd=tmp_path))


@pytest.mark.slow
def test_basicsr_before_ra_plugin_basicsr_is_told_what_to_import(tmp_path):
    code = """
import importlib.util, sys
import ra_plugin
name = 'torchvision.transforms.functional_tensor'
if importlib.util.find_spec(name):  # others may ask
    print('as it is')
    sys.exit()
try:
    import basicsr
except ModuleNotFoundError as error:
    assert error.name == name, error.name
    print(error)
import ra_plugin.basicsr
from basicsr.archs import build_network
print(type(build_network({'type': 'SRResNet'})).__name__)
"""
    output, = finish(run(code, cwd=tmp_path))
    if output == 'as it is\n':
        pytest.skip('BasicSR imports as it is')
    assert 'Put `import ra_plugin.basicsr` before the first import of basicsr.' in output
    assert output.splitlines()[-1] == 'SRResNet'


@pytest.mark.slow
def test_import_as_of_python_312_and_after_the_error_of_a_broken_basicsr(tmp_path):
    broken = tmp_path / 'broken'
    (broken / 'basicsr').mkdir(parents=True)
    (broken / 'basicsr' / '__init__.py').write_text('import a_module_that_is_missing')
    finish(run("HIDDEN = {'distutils', 'torchvision.transforms.functional_tensor'}" + HIDE + """
sys.path.insert(0, sys.argv[1])
try:
    from ra_plugin import compat
    compat.mend_basicsr()
except ModuleNotFoundError as error:
    assert error.name == 'a_module_that_is_missing', error
else:
    raise AssertionError('the error of a broken basicsr was hidden')
sys.path.remove(sys.argv[1])
sys.path_importer_cache.clear()
from ra_plugin import compat
compat.mend_basicsr()
from basicsr.archs.arch_util import LooseVersion
assert LooseVersion('0.29.2+cpu') >= LooseVersion('0.9.0')
import torch
from basicsr.data.degradations import rgb_to_grayscale
assert rgb_to_grayscale(torch.rand(1, 3, 4, 4), num_output_channels=1).shape == (1, 1, 4, 4)
""", str(broken), cwd=tmp_path))


# ------------------------------------------------ every machine ------------------------------------------------ #
def test_jpeg_takes_a_fractional_quality():
    from basicsr.data import degradations
    img = np.random.default_rng(0).random((16, 16, 3), dtype=np.float32)
    whole = degradations.add_jpg_compression(img, 50)
    np.testing.assert_array_equal(degradations.add_jpg_compression(img, 50.9), whole)
    assert degradations.random_add_jpg_compression(img, (50, 90)).shape == img.shape


@pytest.mark.parametrize('module', ['utils.img_process_util', 'models.realesrnet_model', 'models.realesrgan_model'])
def test_filter2d_takes_channels_last(module):
    filter2d = sys.modules[f'basicsr.{module}'].filter2D
    img, kernel = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 3)
    torch.testing.assert_close(filter2d(img.to(memory_format=torch.channels_last), kernel), filter2d(img, kernel))


@pytest.mark.parametrize('criterion, distance', [('l1', 0.5), ('l2', 0.25)])
def test_perceptual_loss_criterion(monkeypatch, criterion, distance):
    from basicsr.losses import basic_loss

    class Features(torch.nn.Module):

        def __init__(self, **kwargs):
            super().__init__()

        def forward(self, img):
            return {'conv1_1': img}

    monkeypatch.setattr(basic_loss, 'VGGFeatureExtractor', Features)
    loss = basic_loss.PerceptualLoss({'conv1_1': 2.}, criterion=criterion)
    gt = torch.rand(1, 3, 4, 4)
    assert loss.criterion_type == criterion
    assert loss(gt + 0.5, gt)[0].item() == pytest.approx(2 * distance)


@pytest.mark.parametrize('kind, arguments', [('Adam', {'betas': (0.5, 0.9)}), ('AdamW', {}),
                                             ('SGD', {'momentum': 0.9})])
def test_optimizer_is_any_of_torch(opt, kind, arguments):
    opt['train']['optim_g'] = {'type': kind, 'lr': 0.01, **arguments}
    optimizer = sr_model(opt).optimizer_g
    assert type(optimizer) is getattr(torch.optim, kind)
    assert {key: optimizer.defaults[key] for key in arguments} == arguments and optimizer.defaults['lr'] == 0.01


def test_unknown_optimizer_gets_a_suggestion(opt):
    opt['train']['optim_g']['type'] = 'AdamWW'
    with pytest.raises(KeyError, match="no optimizer 'AdamWW'. Did you mean 'AdamW'?.* Known: .*SGD"):
        sr_model(opt)


def test_ema_follows_batch_norm_and_averages_parameters(opt):
    model = sr_model(opt)
    start = model.net_g_ema.conv.weight.clone()
    step(model, 1)
    for name, buffer in model.net_g.named_buffers():
        torch.testing.assert_close(model.net_g_ema.get_buffer(name), buffer, rtol=0, atol=0)
    assert model.net_g.norm.num_batches_tracked == 1
    torch.testing.assert_close(model.net_g_ema.conv.weight, 0.9 * start + 0.1 * model.net_g.conv.weight)


@pytest.mark.parametrize('file', ['models/net_g_5.pth', 'training_states/5.state'])
def test_a_write_cut_short_leaves_the_old_checkpoint(opt, tmp_path, monkeypatch, file):
    model = sr_model(opt)
    step(model, 1)
    model.save(epoch=0, current_iter=5)
    path = tmp_path / 'run' / file
    before = path.read_bytes()

    def killed(obj, f, **kwargs):
        with open(f, 'wb') if isinstance(f, (str, Path)) else f as stream:
            stream.write(b'half')
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, 'save', killed)
    with pytest.raises(KeyboardInterrupt):
        model.save_network(model.net_g, 'net_g', 5) if path.suffix == '.pth' else model.save_training_state(0, 5)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_checkpoint_loads_again(opt, tmp_path):
    model = sr_model(opt)
    step(model, 1)
    model.save(epoch=0, current_iter=5)
    model.save(epoch=0, current_iter=5)  # replaces
    opt['path']['pretrain_network_g'] = str(tmp_path / 'run/models/net_g_5.pth')
    again = sr_model(opt)
    for net, other in ((model.net_g, again.net_g), (model.net_g_ema, again.net_g_ema)):
        torch.testing.assert_close(net.state_dict(), other.state_dict(), rtol=0, atol=0)


class Opened:
    """Object that a checkpoint must not be able to create."""

    def __reduce__(self):
        return open, ('opened', 'w')


@pytest.mark.parametrize('kind, message', [
    ('missing', 'no checkpoint .*net.pth'), ('module', r"contains more than tensors .*torch.save\(model.state_dict"),
    ('code', 'contains more than tensors'), ('text', 'is damaged, or not a weights file'),
    ('other', 'net.pth does not fit BatchNormNet with param_key params: .*missing: conv.weight.*unexpected'),
    ('bare', r"net.pth: no key 'params'. The file has only weights: use ~ as path.param_key_g")])
def test_a_network_that_cannot_be_loaded_is_one_line_and_runs_nothing(opt, tmp_path, monkeypatch, kind, message):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'net.pth'
    weights = BatchNormNet().state_dict()
    content = {'module': BatchNormNet(), 'code': {'params': Opened()}, 'bare': weights,
               'other': {'params': {f'{key}_other': value for key, value in weights.items()}}}
    if kind in content:
        torch.save(content[kind], path)
    elif kind == 'text':
        path.write_text('no weights')
    model = sr_model(opt)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        model.load_network(model.net_g, str(path))
    assert '\n' not in str(error.value)
    assert not (tmp_path / 'opened').exists()


@pytest.mark.parametrize('key', ['params', 'params_ema', None])
def test_a_network_is_loaded_from_safetensors_whatever_the_key(opt, tmp_path, key):
    from safetensors.torch import save_file
    weights = BatchNormNet().state_dict()
    save_file(weights, tmp_path / 'net.safetensors')
    model = sr_model(opt)
    model.load_network(model.net_g, str(tmp_path / 'net.safetensors'), param_key=key)
    for name, value in model.net_g.state_dict().items():
        assert torch.equal(value, weights[name])


@pytest.mark.parametrize('strict', [True, False])
@pytest.mark.parametrize('prefix', ['module.', '_orig_mod.', 'module._orig_mod.', '_orig_mod.module.', 'net_g.'])
def test_a_network_is_loaded_under_its_own_names(opt, tmp_path, prefix, strict):
    weights = BatchNormNet().state_dict()
    torch.save({'params': {f'{prefix}{name}': value for name, value in weights.items()}}, tmp_path / 'net.pth')
    model = sr_model(opt)
    model.load_network(model.net_g, str(tmp_path / 'net.pth'), strict)
    for name, value in model.net_g.state_dict().items():
        assert torch.equal(value, weights[name])


def test_weights_that_are_not_there_are_named_by_their_key(opt, tmp_path):
    model = sr_model(opt)
    model.opt['path']['pretrain_network_g'] = str(tmp_path / 'none.pth')
    with pytest.raises(FileNotFoundError, match=r'path\.pretrain_network_g: no checkpoint .*none\.pth'):
        model.load_network(model.net_g, str(tmp_path / 'none.pth'))


class LmdbDataset(torch.utils.data.Dataset):
    """Data set that opens its file client with the first sample, like BasicSR's."""

    def __init__(self, path):
        self.path, self.client = str(path), None

    def __len__(self):
        return 2

    def __getitem__(self, index):
        from basicsr.utils import FileClient
        self.client = self.client or FileClient('lmdb', db_paths=[self.path], client_keys=['gt'])
        return torch.frombuffer(bytearray(self.client.get(str(index), 'gt')), dtype=torch.uint8)


def test_two_datasets_read_one_lmdb(tmp_path):
    lmdb = pytest.importorskip('lmdb')
    path = str(tmp_path / 'gt.lmdb')
    with lmdb.open(path, map_size=1 << 20) as environment, environment.begin(write=True) as transaction:
        for index in range(2):
            transaction.put(str(index).encode(), bytes([index] * 4))
    val = LmdbDataset(path)
    assert val[1].tolist() == [1] * 4
    assert LmdbDataset(path)[0].tolist() == [0] * 4  # in the same process
    forked = torch.utils.data.DataLoader(LmdbDataset(path), num_workers=1, multiprocessing_context='fork')
    assert torch.cat(list(forked)).tolist() == [[0] * 4, [1] * 4]  # in a worker that inherits what val opened
    assert val[0].tolist() == [0] * 4
    del val
    lmdb.open(path).close()  # the last reader has closed it


@pytest.mark.filterwarnings('ignore::pytest.PytestUnhandledThreadExceptionWarning')
def test_an_error_in_the_prefetch_thread_reaches_the_loop():
    from basicsr.data.prefetch_dataloader import PrefetchDataLoader

    class Broken(torch.utils.data.Dataset):

        def __len__(self):
            return 3

        def __getitem__(self, index):
            if index == 1:
                raise OSError('an unreadable image')
            return index

    samples = iter(PrefetchDataLoader(1, dataset=Broken()))
    samples.queue.get = functools.partial(samples.queue.get, timeout=10)  # else the unmended wait has no end
    assert next(samples).item() == 0
    with pytest.raises(OSError, match='an unreadable image'):
        next(samples)


@pytest.mark.parametrize('program', ['basicsr.train', 'basicsr.test', 'basicsr.utils.options'])
def test_local_rank_with_a_dash(tmp_path, monkeypatch, program):
    option_file = tmp_path / 'test.yml'
    option_file.write_text('{name: test, num_gpu: 0, datasets: {}, path: {}}')
    monkeypatch.setattr(sys, 'argv', ['train.py', '--local-rank=3', '-opt', str(option_file)])
    opt, args = sys.modules[program].parse_options(str(tmp_path), is_train=False)
    assert args.local_rank == 3 and opt['name'] == 'test'


# ------------------------------------------------ no GPU ------------------------------------------------ #
@pytest.mark.parametrize('auto_resume', [True, False])
def test_resume_restores_optimizer_and_schedule(opt, tmp_path, monkeypatch, auto_resume):
    import basicsr.train
    model = sr_model(opt)
    for current_iter in (1, 2, 3):
        step(model, current_iter)
    model.save(epoch=1, current_iter=3)
    (tmp_path / 'run/training_states/2.state').write_bytes(b'older')
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    if auto_resume:
        opt['auto_resume'] = True
    else:
        opt['path']['resume_state'] = str(tmp_path / 'run/training_states/3.state')

    state = basicsr.train.load_resume_state(opt)
    assert state['epoch'] == 1 and state['iter'] == 3
    assert opt['path']['pretrain_network_g'] == str(tmp_path / 'run/models/net_g_3.pth')
    again = sr_model(opt)
    again.resume_training(state)
    for seed, net in ((7, model), (7, again)):
        torch.manual_seed(seed)
        step(net, 4)
    assert again.get_current_learning_rate() == model.get_current_learning_rate() == [5e-4 * 0.5]
    torch.testing.assert_close(again.net_g_ema.state_dict(), model.net_g_ema.state_dict(), rtol=0, atol=0)


def test_nothing_to_resume(opt):
    import basicsr.train
    assert basicsr.train.load_resume_state(opt) is None
    opt['auto_resume'] = True
    assert basicsr.train.load_resume_state(opt) is None


def test_a_state_that_is_not_there_is_named(opt, tmp_path):
    import basicsr.train
    opt['path']['resume_state'] = str(tmp_path / '3.state')
    with pytest.raises(ValueError, match=r'path\.resume_state: no file .*3\.state'):
        basicsr.train.load_resume_state(opt)


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['RealESRNet', 'RealESRGAN'])
def test_realesr_models_make_pairs_on_the_cpu(opt, kind):
    from basicsr.utils.registry import MODEL_REGISTRY
    stage = {
        'resize_prob': [0.2, 0.7, 0.1], 'resize_range': [0.5, 1.5], 'gaussian_noise_prob': 0.5, 'noise_range': [1, 30],
        'poisson_scale_range': [0.05, 3], 'gray_noise_prob': 0.4, 'jpeg_range': [30, 95]}
    opt.update(stage, **{key + '2': value for key, value in stage.items()}, second_blur_prob=1., scale=2, gt_size=32,
               queue_size=4, gt_usm=True, l1_gt_usm=True, is_train=False)
    model = MODEL_REGISTRY.get(f'{kind}Model')(opt)
    model.is_train = True  # without networks for the losses: only the data is looked at
    identity = torch.zeros(2, 21, 21)
    identity[:, 10, 10] = 1
    data = {'gt': torch.rand(2, 3, 64, 64), **dict.fromkeys(('kernel1', 'kernel2', 'sinc_kernel'), identity)}
    for _ in range(3):  # the third batch finds the pool full
        model.feed_data(data)
        assert model.lq.shape == (2, 3, 16, 16) and model.gt.shape == (2, 3, 32, 32)
        assert model.lq.device == model.gt.device == model.queue_lr.device == torch.device('cpu')
    assert model.queue_ptr == 4 and model.queue_lr.shape == (4, 3, 16, 16)
    del model.queue_lr
    model.queue_size = 3
    with pytest.raises(AssertionError, match='divisible'):
        model.feed_data(data)


@no_gpu
def test_prefetch_mode_cuda_without_cuda():
    import basicsr.train
    prefetcher = basicsr.train.CUDAPrefetcher([1, 2], {'num_gpu': 0})
    assert [prefetcher.next() for _ in range(3)] == [1, 2, None]


@pytest.mark.distributed
@no_gpu
def test_two_processes_train_over_gloo(tmp_path):
    import cv2
    for index in range(4):
        img = np.random.default_rng(index).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        for folder, size in (('gt', 8), ('lq', 4)):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f'{index}.png'), img[:size, :size])
    (tmp_path / 'train.yml').write_text(f'''
name: gloo
model_type: SRModel
scale: 2
num_gpu: 0
manual_seed: 0
datasets:
  train: {{name: tiny, type: PairedImageDataset, dataroot_gt: {tmp_path}/gt, dataroot_lq: {tmp_path}/lq,
           io_backend: {{type: disk}}, gt_size: 8, use_hflip: false, use_rot: false, num_worker_per_gpu: 0,
           batch_size_per_gpu: 1}}
network_g: {{type: MSRResNet, num_feat: 4, num_block: 1, upscale: 2}}
path: {{pretrain_network_g: ~, resume_state: ~}}
train:
  optim_g: {{type: Adam, lr: !!float 1e-3}}
  scheduler: {{type: MultiStepLR, milestones: [10]}}
  total_iter: 2
  pixel_opt: {{type: L1Loss}}
logger: {{print_freq: 1, save_checkpoint_freq: 10, use_tb_logger: false}}
''')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    code = '''
import sys
from ra_plugin import compat
compat.mend_basicsr()
import basicsr.train, torch
from basicsr.models.sr_model import SRModel
save, models = SRModel.save, []
SRModel.save = lambda self, *args, **kwargs: (models.append(self), save(self, *args, **kwargs))
basicsr.train.train_pipeline(sys.argv.pop(1))
net = models[-1].net_g
assert torch.distributed.get_backend() == 'gloo' and torch.distributed.get_world_size() == 2
assert isinstance(net, torch.nn.parallel.DistributedDataParallel)
print('sum', sum(p.double().sum().item() for p in net.parameters()))
torch.distributed.destroy_process_group()
'''
    options = ['-opt', str(tmp_path / 'train.yml'), '--launcher', 'pytorch']
    outputs = finish(*(run(code, str(tmp_path), f'--local-rank={rank}', *options, cwd=tmp_path, RANK=str(rank),
                           LOCAL_RANK=str(rank), WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
                       for rank in range(2)))
    sums = {line for output in outputs for line in output.splitlines() if line.startswith('sum ')}
    assert len(sums) == 1, outputs  # both ranks ended at the same weights
    assert (tmp_path / 'experiments/gloo/models/net_g_latest.pth').is_file()
